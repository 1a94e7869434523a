"""One line a record, its subject in fields, and no secret in any of it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import log
from framework.log import MASK, MAX_SECRETS, Redactor, configure, get_logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    rooms = [logging.getLogger(), *(logging.getLogger(room) for room in ("framework", "masters", "benchmarks"))]
    before = [room.level for room in rooms]
    stream = Terminal()
    yield stream
    for room, level in zip(rooms, before, strict=True):
        room.setLevel(level)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, log._Handler)]:
        root.removeHandler(handler)


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_has_the_fields_as_keys(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    get_logger("framework.runtime").info(
        "launched", tenant="a", task_id="r1.1", offer_id=None, host="h", resources={"mem_mib": 3}, ids=("x",)
    )
    (record,) = records(stream)
    assert str(record.pop("at")).endswith("Z")
    assert record == {
        "level": "info",
        "logger": "framework.runtime",
        "message": "launched",
        "tenant": "a",
        "task_id": "r1.1",
        "host": "h",
        "resources": {"mem_mib": 3},
        "ids": ["x"],
    }


def test_people_get_one_line_with_escapes_and_quotes(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    configure("info", "human", stream)
    get_logger("framework.runtime").warning("a\nb \x1b[31m é", job="two words", host="h1", empty="", n=3)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line.partition("Z ")[2] == ('WARNING runtime: a\\nb \\x1b[31m é job="two words" host=h1 empty="" n=3\n')


def test_colour_on_a_terminal_only_and_not_where_unwanted(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    configure("info", "human", stream)
    get_logger("framework.x").error("bad")
    assert stream.getvalue().startswith("\033[31m")
    plain = io.StringIO()
    configure("info", "human", plain)
    get_logger("framework.x").error("bad")
    assert "\033" not in plain.getvalue()


def test_levels(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    logger = get_logger("framework.x")
    logger.debug("no")
    logger.info("yes")
    logger.at("warning", "yes")
    logging.getLogger("some.library").info("no")
    logging.getLogger("some.library").warning("yes %d", 1)
    assert [record["message"] for record in records(stream)] == ["yes", "yes", "yes 1"]


def test_configured_again_it_writes_once_and_to_the_last_stream(stream: io.StringIO) -> None:
    configure("info", "json", io.StringIO())
    configure("debug", "json", stream)
    get_logger("framework.x").debug("once")
    assert len(records(stream)) == 1


def fail(message: str) -> None:
    raise ValueError(message)


@pytest.mark.parametrize("style", ["json", "human"])
def test_secrets_are_masked_wherever_they_come(stream: io.StringIO, style: str) -> None:
    configure("info", style, stream)
    log.protect('s3cr"et é')
    logger = get_logger("framework.x")
    try:
        fail('went wrong with s3cr"et é in the traceback')
    except ValueError:
        logger.exception('s3cr"et é 100% in text', where=['s3cr"et é'], env={"A": 's3cr"et é'}, admin_token="abc")
    logger.info("Authorization: Bearer bt~a~uvwxyz, basic dXNlcjpwYXNz and https://me:pw@example.org/x")
    logger.info("once more bt~team.a~uvwxyz")
    text = stream.getvalue()
    for secret in ("s3cr", "abc", "uvwxyz", "dXNlcjpwYXNz", "me:pw"):
        assert secret not in text
    assert "https://****@example.org/x" in text
    assert "bt~team.a~****" in text
    assert "Traceback" in text


def test_a_field_named_as_a_key_of_the_line_is_kept_beside_it(stream: io.StringIO) -> None:
    configure("info", "json", stream)
    get_logger("framework.x").info("m", level="high", at="noon")
    assert records(stream)[0]["level"] == "info"
    assert records(stream)[0]["level_"] == "high"
    assert records(stream)[0]["at_"] == "noon"


def test_short_secrets_are_left_and_many_are_bounded() -> None:
    redactor = Redactor(["abc", *(f"secret-{n:04}" for n in range(MAX_SECRETS + 1))])
    assert redactor.text("abc secret-0000 secret-0001") == f"abc secret-0000 {MASK}"


def test_the_longer_of_two_secrets_goes_first() -> None:
    assert Redactor(["abcd", "abcdef"]).text("xabcdefx") == f"x{MASK}x"


@given(st.text(min_size=4), st.text(), st.text())
def test_no_protected_secret_gets_through(secret: str, before: str, after: str) -> None:
    masked = Redactor([secret]).text(before + secret + after)
    assert secret not in masked or secret in MASK * 3 or secret in (before + MASK + after).replace(secret, "")
