"""Bodies that are not JSON, or are JSON that would hurt."""

from __future__ import annotations

import pytest

from framework.local.marathon.definition.faults import InvalidJsonError
from framework.local.marathon.definition.read import parse


def test_json_is_read() -> None:
    assert parse(b'\xef\xbb\xbf {"a": [1, 2.5, -0, "\\ud83d\\ude00", null, true]}') == {
        "a": [1, 2.5, 0, "\N{GRINNING FACE}", None, True]
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"a": 1} x', "Extra data"),
        (b"{'a': 1}", "Expecting property name"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x00", "Expecting value"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[1e999]", "too large"),
        (b"9" * 5000, "too long"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a\\uDC00": 1}', "surrogate"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidJsonError, match="Invalid JSON") as caught:
        parse(body)
    assert caught.value.details is not None
    (detail,) = caught.value.details
    assert detail.path == "/"
    assert reason in detail.errors[0]


def test_keys_that_come_twice_are_told_with_their_paths() -> None:
    with pytest.raises(InvalidJsonError) as caught:
        parse(b'{"id": "/a", "env": {"A": "1", "A": "1"}, "id": "/b", "apps": [{}, {"id": 1, "id": 2, "id": 3}]}')
    assert caught.value.details is not None
    assert [one.path for one in caught.value.details] == ["/apps(1)/id", "/env/A", "/id"]
    assert {error for one in caught.value.details for error in one.errors} == {"the key is given more than once"}
