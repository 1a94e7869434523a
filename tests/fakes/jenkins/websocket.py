"""The server's side of one WebSocket (RFC 6455): binary messages, pings, an orderly close."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_MESSAGE = 16 << 20
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10


def accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


class WebSocket:
    """``receive`` is called by one task at a time; ``send`` by any."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, message: bytes) -> None:
        """Raises OSError where the other side is gone."""
        self._writer.write(_frame(_BINARY, message))
        await self._writer.drain()

    def ping(self) -> None:
        self._writer.write(_frame(_PING, b""))

    async def receive(self, within_s: float) -> bytes | None:
        """The next message; None once the other side closed, broke, or said nothing at all for ``within_s``."""
        parts: list[bytes] = []
        try:
            while True:
                async with asyncio.timeout(within_s):
                    final, kind, payload = await self._read_frame()
                if kind == _CLOSE:
                    return None
                if kind == _PING:
                    self._writer.write(_frame(_PONG, payload))
                elif kind != _PONG:
                    parts.append(payload)
                    if sum(map(len, parts)) > _MAX_MESSAGE:
                        return None
                    if final:
                        return b"".join(parts)
        except (OSError, EOFError, TimeoutError):
            return None

    async def _read_frame(self) -> tuple[bool, int, bytes]:
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self._reader.readexactly(8))
        if length > _MAX_MESSAGE:
            raise EOFError
        mask = await self._reader.readexactly(4) if second & 0x80 else b""
        payload = await self._reader.readexactly(length)
        return bool(first & 0x80), first & 0x0F, _masked(payload, mask) if mask else payload

    def close(self) -> None:
        if not self._writer.is_closing():
            self._writer.write(_frame(_CLOSE, struct.pack(">H", 1000)))
        self._writer.close()


def _frame(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x80 | kind, size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | kind, 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | kind, 127, size)
    return head + payload


def _masked(payload: bytes, mask: bytes) -> bytes:
    if not payload:
        return payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")
