"""What the connections make of bytes that come compressed, or over TLS."""

from __future__ import annotations

import asyncio
import gzip
import random
import ssl
import zlib
from typing import Any

import pytest
import trustme

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
    stream = EventStream(lambda record: records.append(bytes(record)), pytest.fail)
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
    calls = CallConnection(answers.extend, pytest.fail)
    calls.connection_made(Wire())
    for body in (gzip.compress(b"because"), b"\x1f\x8bnone", gzip.compress(bytes(1 << 20))):
        calls.data_received(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert [answer.body for answer in answers] == [b"because", b"\x1f\x8bnone", bytes(1 << 16)]


async def test_records_larger_than_those_of_tls_come_whole() -> None:
    """One of TLS holds 16 KiB, and several are read at once."""
    ca = trustme.CA()
    serving, asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(serving)
    ca.configure_trust(asking)
    sent = [random.Random(number).randbytes(300_000) for number in range(5)]

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD.replace(b"Content-Encoding: gzip\r\n", b""))
        for record in sent:
            writer.write(chunk(b"%d\n%b" % (len(record), record)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
    records: list[bytes] = []
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with server, asyncio.timeout(20):
        stream = EventStream(lambda record: records.append(bytes(record)), lost.set_result)
        port = server.sockets[0].getsockname()[1]
        await asyncio.get_running_loop().create_connection(lambda: stream, "127.0.0.1", port, ssl=asking)
        assert await lost == "the peer closed the connection"
    assert records == sent
