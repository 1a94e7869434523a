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
HEALTH_PATH = b"/login"


class Master:
    """``answer`` makes the response to one request's first line."""

    def __init__(self, home: Path, tenant: str) -> None:
        self._started = time.time()
        self._well_at: float | None = None
        record = home / "starts"
        with record.open("a") as file:
            file.write(f"{os.getpid()}\n")
        self._fixed = {
            "tenant": tenant,
            "pid": os.getpid(),
            "task": os.environ.get("MESOS_TASK_ID", ""),
            "starts": len(record.read_text().splitlines()),
        }

    def answer(self, line: bytes) -> bytes:
        now = time.time()
        if now < self._started + BOOT_S:
            return _response(b"503 Service Unavailable", b"Starting Jenkins")
        if self._well_at is None and line.split(b" ")[1].endswith(HEALTH_PATH):
            self._well_at = now
        told = {**self._fixed, "started_at": self._started, "well_at": self._well_at}
        return _response(b"200 OK", json.dumps(told).encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept alive; requests without a body."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(self.answer(head.split(b"\r\n", 1)[0]))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went
        finally:
            writer.close()


def _response(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nX-Jenkins: 2.0\r\nX-Jenkins-Session: %x\r\nContent-Length: %d\r\n\r\n"
    return head % (status, os.getpid(), len(body)) + body


async def main() -> None:
    master = Master(Path(os.environ["JENKINS_HOME"]), os.environ["BUTLERY_TENANT"])
    server = await asyncio.start_server(master.serve, "127.0.0.1", int(os.environ["PORT0"]), backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
