from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.executor.wire import MAX_RECORD_BYTES, Records, Response, WireError, json_object, request

CUTS = st.lists(st.integers(1, 9), max_size=60)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(CUTS, st.lists(st.binary(min_size=1, max_size=20), max_size=5))
def test_chunked_answers_however_they_are_cut(sizes: list[int], chunks: list[bytes]) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    response = Response()
    for piece in cut(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, sizes):
        response.feed(piece)
    assert (response.status, response.complete) == (200, True)
    assert response.take() == b"".join(chunks)


@given(CUTS)
def test_pipelined_answers_are_told_apart(sizes: list[int]) -> None:
    data = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n" + b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad"
    first, second = Response(), Response()
    for piece in cut(data, sizes):
        target = second if first.complete else first
        target.feed(piece)
        if target is first:
            second.feed(first.rest)
    assert (first.status, second.status, second.take()) == (202, 400, b"bad")


def test_an_answer_until_the_connection_closes() -> None:
    response = Response()
    response.feed(b"HTTP/1.0 200 OK\r\n\r\nabc")
    response.feed(b"def")
    assert (response.complete, response.take()) == (False, b"abcdef")


def test_what_follows_switching_protocols_is_not_http() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nraw")
    assert (response.status, response.raw_tail()) == (101, b"raw")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        Response().feed(data)


@given(CUTS, st.lists(st.dictionaries(st.text(), st.integers(), max_size=2), max_size=4))
def test_records_however_they_are_cut(sizes: list[int], records: list[dict[str, int]]) -> None:
    coded = [json.dumps(record).encode() for record in records]
    reader = Records()
    found = [
        record
        for piece in cut(b"".join(b"%d\n%s" % (len(c), c) for c in coded), sizes)
        for record in reader.feed(piece)
    ]
    assert found == records


@pytest.mark.parametrize("data", [b"x\n", b"-1\n", b"%d\n" % (MAX_RECORD_BYTES + 1), b"9" * 30, b"2\n[]", b"1\n{"])
def test_what_is_not_a_record_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        Records().feed(data)


def test_a_request() -> None:
    assert request("POST", "/x", {"Host": "h"}, b"{}") == b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(WireError, match="object"):
        json_object(b"[]")
