"""What users of masters notice is told as it is, and nothing that went wrong for them counts as well."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.masters.clients import Clients

TIMEOUT_S = 10.0


class Masters:
    """Each request is answered by what ``task`` and ``tenant`` say at that time."""

    def __init__(self) -> None:
        self.tenant, self.task, self.port = "a", "a.1", 1
        self.booted_at: Any = time.time()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                told = {"tenant": self.tenant, "task": self.task, "port": self.port, "booted_at": self.booted_at}
                body = json.dumps(told).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.01)


async def test_answers_of_another_master_or_task_are_failures_of_those_that_stay() -> None:
    masters = Masters()
    async with await asyncio.start_server(masters.serve, "127.0.0.1", 0) as server:
        clients = Clients("127.0.0.1", server.sockets[0].getsockname()[1], ["a.localhost"], [], 0.01)
        clients.start()
        await until(lambda: clients.connected() == 1 and clients.steady.requests > 2)
        assert not clients.steady.failures
        masters.task = "a.2"
        await until(lambda: clients.steady.failures["another task"] > 0)
        masters.tenant = "b"
        await until(lambda: clients.steady.failures["another master"] > 0)
        await asyncio.to_thread(clients.stop)


async def test_a_move_is_timed_from_the_end_of_the_boot_and_says_whether_it_led_elsewhere() -> None:
    masters = Masters()
    async with await asyncio.start_server(masters.serve, "127.0.0.1", 0) as server:
        clients = Clients("127.0.0.1", server.sockets[0].getsockname()[1], [], ["a.localhost"], 0.01)
        clients.start()
        seen = clients.followed["a.localhost"]
        await until(lambda: seen.last is not None)
        masters.task, masters.port, masters.booted_at = "a.2", 2, time.time() - 5
        await until(lambda: bool(seen.moves))
        assert seen.misled == 0
        masters.tenant = "b"
        await until(lambda: seen.misled > 0)
        await asyncio.to_thread(clients.stop)
    assert seen.moves[0].elsewhere
    assert 5 <= seen.moves[0].follow_s < 5 + TIMEOUT_S


async def test_clients_that_end_by_a_fault_of_their_own_do_not_count_as_content() -> None:
    masters = Masters()
    async with await asyncio.start_server(masters.serve, "127.0.0.1", 0) as server:
        clients = Clients("127.0.0.1", server.sockets[0].getsockname()[1], [], ["a.localhost"], 0.01)
        clients.start()
        seen = clients.followed["a.localhost"]
        await until(lambda: seen.last is not None)
        masters.task, masters.booted_at = "a.2", "yesterday"
        await until(clients.ended)
        with pytest.raises(ExceptionGroup):
            clients.stop()
