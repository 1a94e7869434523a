"""What the connections make of bytes that come compressed."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest

from framework.edges.mesos.connection import Answer, CallConnection, EventStream


class Wire(asyncio.Transport):
    """Takes what is written and sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self

    def setsockopt(self, *_: object) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nMesos-Stream-Id: s\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_an_event_stream_in_gzip() -> None:
    records: list[bytes] = []
    stream = EventStream(records.append, pytest.fail)
    stream.connection_made(Wire())
    packer = zlib.compressobj(wbits=31)
    sent = HEAD
    for record in (b"first", b"x" * 3_000_000):
        data = packer.compress(b"%d\n%b" % (len(record), record)) + packer.flush(zlib.Z_SYNC_FLUSH)
        sent += chunk(data)
    for position in range(0, len(sent), 7):
        stream.data_received(sent[position : position + 7])
    assert records == [b"first", b"x" * 3_000_000]
    assert (await stream.answer).status == 200


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no gzip", "says gzip and is not"),
        (gzip.compress(b"99999999\n" + bytes(1 << 26)), "at most 67108864 are taken"),
    ],
)
async def test_a_stream_that_is_no_gzip_or_grows_without_end(data: bytes, reason: str) -> None:
    lost: list[str] = []
    wire = Wire()
    stream = EventStream(lambda _: None, lost.append)
    stream.connection_made(wire)
    stream.data_received(HEAD + chunk(data))
    assert wire.aborted
    assert [reason in why for why in lost] == [True]


async def test_answers_in_gzip() -> None:
    answers: list[Answer] = []
    calls = CallConnection(answers.append, pytest.fail)
    calls.connection_made(Wire())
    for body in (gzip.compress(b"because"), b"\x1f\x8bnone", gzip.compress(bytes(1 << 20))):
        calls.data_received(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert [answer.body for answer in answers] == [b"because", b"\x1f\x8bnone", bytes(1 << 16)]
