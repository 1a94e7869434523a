"""The port that inbound agents may come to by TCP. Behind Jenkins' first line the messages are our own."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import struct

from tests.fakes.jenkins.agents import AgentLink
from tests.fakes.jenkins.master import VERSION, Master

_HELLO_S = 10.0
_MAX_MESSAGE = 16 << 20
_PROTOCOL = "Protocol:JNLP4-connect"


class TcpChannel:
    """Messages with their length before them; an empty one is a ping."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, message: bytes) -> None:
        self._writer.write(struct.pack(">I", len(message)) + message)
        await self._writer.drain()

    def ping(self) -> None:
        self._writer.write(struct.pack(">I", 0))

    async def receive(self, within_s: float) -> bytes | None:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            while True:
                async with asyncio.timeout(within_s):
                    (size,) = struct.unpack(">I", await self._reader.readexactly(4))
                    if size > _MAX_MESSAGE:
                        return None
                    message = await self._reader.readexactly(size)
                if message:
                    return message
        return None

    def close(self) -> None:
        self._writer.close()


class AgentListener:
    """One port; ``stop`` ends what is connected."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, address: str, port: int) -> int:
        """The port it got. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, address, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError, UnicodeDecodeError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # it went away, spoke nonsense or waited too long, or the master ends
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HELLO_S):
            first = await reader.readexactly(4)
            if first in (b"GET ", b"HEAD"):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._status())
                await writer.drain()
                return
            size = int.from_bytes(first[:2], "big")
            protocol = first[2:] + await reader.readexactly(max(size - 2, 0))
            if protocol.decode() != _PROTOCOL:
                return
            name, secret = [await _text(reader) for _ in range(2)]
        node = self._master.nodes.get(name)
        fault = ""
        if node is None:
            fault = f"Unknown client name: {name}"
        elif not hmac.compare_digest(secret.encode(), self._master.home.node_secret(name).encode()):
            fault = f"Unauthorized: {name}"
        elif node.link is not None:
            fault = f"{name} is already connected to this controller. Rejecting this connection."
        told = fault.encode()
        writer.write(struct.pack(">H", len(told)) + told)
        await writer.drain()
        if node is not None and not fault:
            await self._master.serve_agent(node, AgentLink(TcpChannel(reader, writer)))

    def _status(self) -> bytes:
        return (
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\n"
            f"Jenkins-Agent-Protocols: JNLP4-connect, Ping\nJenkins-Version: {VERSION}\n"
            f"Jenkins-Session: {self._master.session}\nRemoting-Minimum-Version: 4.13\n"
        ).encode()


async def _text(reader: asyncio.StreamReader) -> str:
    (size,) = struct.unpack(">H", await reader.readexactly(2))
    return (await reader.readexactly(size)).decode()
