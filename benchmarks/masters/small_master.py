"""A master as small as can be, for what is asked of those around it: it serves, says who it is, and keeps a record.

Run as ``python3 -S -E small_master.py`` with PORT0, JENKINS_HOME and BUTLERY_TENANT, standard library only. It takes
BOOT_S until it is well, as a Jenkins does that answers 503 meanwhile, and adds a line to ``starts`` in its home each
time.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

BOOT_S = 0.5


class Master:
    """Says the same to every request, once it has booted."""

    def __init__(self, home: Path, tenant: str, port: int) -> None:
        self._booted_at = time.time() + BOOT_S
        record = home / "starts"
        with record.open("a") as file:
            file.write(f"{os.getpid()}\n")
        told = {
            "tenant": tenant,
            "port": port,
            "pid": os.getpid(),
            "task": os.environ.get("MESOS_TASK_ID", ""),
            "starts": len(record.read_text().splitlines()),
            "booted_at": self._booted_at,
        }
        self._answer = _response(b"200 OK", json.dumps(told).encode())

    def answer(self) -> bytes:
        if time.time() < self._booted_at:
            return _response(b"503 Service Unavailable", b"Starting Jenkins")
        return self._answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive; requests without a body."""
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(self.answer())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went
        finally:
            writer.close()


def _response(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nX-Jenkins: 2.0\r\nX-Jenkins-Session: %x\r\nContent-Length: %d\r\n\r\n"
    return head % (status, os.getpid(), len(body)) + body


async def main() -> None:
    port = int(os.environ["PORT0"])
    master = Master(Path(os.environ["JENKINS_HOME"]), os.environ["BUTLERY_TENANT"], port)
    server = await asyncio.start_server(master.serve, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
