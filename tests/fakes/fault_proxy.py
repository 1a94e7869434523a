"""A proxy on 127.0.0.1 between a scheduler driver and a real Mesos master, with faults to order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable

Script = Callable[[str], bytes | None]
"""Told a request (``GET /version``, or a call's type) it may answer in Mesos' place; None passes the request on."""


def answer(status: str, body: str = "", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class FaultProxy:
    """Passes HTTP on until told otherwise."""

    def __init__(self, master_port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self._tls = tls
        self._master_port = master_port
        self._flowing = asyncio.Event()
        self._streaming = asyncio.Event()
        self.flow()
        self._clients: dict[asyncio.StreamWriter, bool] = {}  # whether it is an event stream
        self._conversations: set[asyncio.Task[None]] = set()
        self.script: Script = lambda _: None
        self.requests: list[str] = []
        self.heads: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def cut(self) -> None:
        """Every connection, as a machine that goes down does."""
        for client in list(self._clients):
            client.transport.abort()

    def stall(self) -> None:
        """Nothing passes any more, though every connection stands: as behind a firewall that forgot them."""
        self._flowing.clear()

    def hush(self) -> None:
        """Nothing comes down the event streams any more, while calls are answered."""
        self._streaming.clear()

    def flow(self) -> None:
        self._flowing.set()
        self._streaming.set()

    def inject(self, data: bytes) -> None:
        """Puts bytes into the event stream, as a chunk of it."""
        for client, streams in self._clients.items():
            if streams:
                client.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        self._clients[writer] = False
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # one side is gone, and so is the conversation
        finally:
            del self._clients[writer]
            self._conversations.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        master_reader, master = await asyncio.open_connection("127.0.0.1", self._master_port)
        back = asyncio.create_task(self._pass_back(master_reader, writer))
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(_content_length(head))
                request = str(json.loads(body)["type"]) if body else head.split(b" HTTP")[0].decode()
                self.requests.append(request)
                self.heads.append(head.decode())
                self._clients[writer] = request == "SUBSCRIBE"
                await self._flowing.wait()
                reply = self.script(request)
                if reply is None:
                    master.write(head + body)
                else:
                    writer.write(reply)
        finally:
            back.cancel()
            master.transport.abort()

    async def _pass_back(self, master: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await master.read(65536):
                await self._flowing.wait()
                if self._clients.get(client):
                    await self._streaming.wait()
                client.write(data)
        client.transport.abort()

    async def close(self) -> None:
        conversations = list(self._conversations)
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


@contextlib.asynccontextmanager
async def fault_proxy(
    master_port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[FaultProxy]:
    """A running proxy to the master at ``master_port`` of 127.0.0.1, which itself listens on ``host``."""
    proxy = FaultProxy(master_port, host, tls)
    server = await asyncio.start_server(proxy._serve, host, 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
