from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.executor.output import MASK, BuildLog, Masker

LETTERS = st.text(alphabet="ab", min_size=4, max_size=8)


@given(st.lists(LETTERS, max_size=3), st.lists(st.text(alphabet="abc\n", max_size=12), max_size=12))
def test_masking_does_not_depend_on_where_the_chunks_are_cut(secrets: list[str], chunks: list[str]) -> None:
    whole = Masker(secrets)
    expected = whole.feed("".join(chunks).encode()) + whole.finish()
    cut = Masker(secrets)
    assert b"".join(cut.feed(chunk.encode()) for chunk in chunks) + cut.finish() == expected
    assert not any(secret.encode() in expected.replace(MASK, b"\0") for secret in secrets)


def test_what_cannot_become_a_secret_is_shown_at_once() -> None:
    masker = Masker(["secret"])
    assert masker.feed(b"name? ") == b"name? "
    assert masker.feed(b"sec") == b""
    assert masker.feed(b"ond") == b"second"


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    masker = Masker(["abcd", "abcdef"])
    assert masker.feed(b"abcd") + masker.feed(b"ef abcdx") + masker.finish() == b"**** ****x"


def test_short_values_are_not_masked() -> None:
    assert Masker(["", "abc"]).feed(b"abc") == b"abc"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "build.log"


def test_the_log_is_bounded_and_still_takes_a_last_note(path: Path) -> None:
    log = BuildLog(str(path), 10, [])
    log.write(b"12345678")
    before = log.full
    log.write(b"90123")
    assert (before, log.full) == (False, True)
    log.note("too much")
    log.close()
    assert path.read_bytes() == b"1234567890\n[butlery] too much\n"
    assert log.size_bytes == path.stat().st_size


def test_the_last_line_is_masked_and_has_something_in_it(path: Path) -> None:
    log = BuildLog(str(path), 1000, ["topsecret"])
    log.write(b"one\nfatal: topsecret is wrong\n\n  \n")
    assert log.last_line() == "fatal: **** is wrong"
    log.forget_tail()
    assert log.last_line() == ""
    log.close()


def test_lines_of_a_secret_are_masked_by_themselves() -> None:
    key = "-----BEGIN-----\nc2VjcmV0c2VjcmV0\n  x\n"
    masker = Masker([key])
    assert masker.feed(key.encode()) + masker.finish() == MASK
    assert masker.whole("KEY=-----BEGIN-----\nA=b\nc2VjcmV0c2VjcmV0\n  x") == "KEY=****\nA=b\n****\n  x"
