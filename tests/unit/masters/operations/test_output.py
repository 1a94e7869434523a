"""What a master writes, read through a Mesos in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from framework.errors import ButleryError, UnavailableError
from masters.operations import output
from masters.operations.output import Output, Reading
from masters.records import ObservedTask
from tests.fakes.applying import Bench

LINES = b"".join(b"line %d\n" % number for number in range(50_000))


class FakeOperator:
    """Files of tasks, told in small pieces."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.away = 0

    async def hosts(self) -> Any:
        gone = SimpleNamespace(hostname="host-1", url="", active=False)
        return (SimpleNamespace(hostname="host-1", url="http://127.0.0.1:5051", active=True), gone)

    async def read_file(
        self, host_url: str, framework_id: str, executor_id: str, path: str, offset: int, length: int
    ) -> tuple[int, bytes]:
        assert (host_url, framework_id, path) == ("http://127.0.0.1:5051", "marathon-0001", "stdout")
        if self.away:
            self.away -= 1
            raise UnavailableError("the host is away")
        if executor_id not in self.files:
            raise FileNotFoundError("no such file in the sandbox")
        data = self.files[executor_id]
        return (len(data), b"") if offset < 0 else (offset, data[offset : offset + min(length, 4096)])


def placed(bench: Bench, task: str, started_at: float = 1.0) -> str:
    """A running task of the master ``a``; its app's id."""
    master = bench.marathon.masters()["a"]
    told = ObservedTask(task, "host-1", "127.0.0.1", (1,), "TASK_RUNNING", started_at, True, 2.0)
    bench.marathon.apps[master.app_id] = replace(master, tasks=(told,))
    return master.app_id


def shown(bench: Bench, operator: FakeOperator, app_id: str, tail: int | None) -> bytes:
    found = bytearray()
    reading = Output(bench.marathon, operator, Reading(app_id, "stdout", tail))  # type: ignore[arg-type]
    asyncio.run(reading.show(found.extend, follow=False))
    return bytes(found)


@pytest.mark.parametrize(
    ("written", "tail", "expected"),
    [
        (LINES, None, LINES),
        (LINES, 2, b"line 49998\nline 49999\n"),
        (LINES, 0, b""),
        (b"a\nb\nno end", 2, b"b\nno end"),
        (b"a\n", 5, b"a\n"),
        (b"", 5, b""),
    ],
)
def test_the_last_lines(bench: Bench, written: bytes, tail: int | None, expected: bytes) -> None:
    bench.write("a")
    bench.apply()
    assert shown(bench, FakeOperator(one=written), placed(bench, "one"), tail) == expected


def test_nothing_runs(bench: Bench) -> None:
    bench.write("a")
    bench.apply()
    app_id = placed(bench, "one")
    assert shown(bench, FakeOperator(), app_id, None) == b""  # its sandbox is gone
    bench.marathon.apps[app_id] = replace(bench.marathon.apps[app_id], tasks=())
    with pytest.raises(ButleryError, match="no task of it runs"):
        shown(bench, FakeOperator(), app_id, None)


async def test_followed_over_a_restart(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PAUSE_S", 0.001)
    monkeypatch.setattr(output, "PAUSE_CAP_S", 0.01)
    bench.write("a")
    bench.apply()
    operator = FakeOperator(one=b"a\n")
    found = bytearray()
    reading = Reading(placed(bench, "one"), "stdout")
    told = Output(bench.marathon, operator, reading)  # type: ignore[arg-type]
    following = asyncio.create_task(told.show(found.extend, follow=True))

    async def until(expected: bytes) -> None:
        async with asyncio.timeout(20):
            while bytes(found) != expected:  # noqa: ASYNC110 - what is written comes in pieces
                await asyncio.sleep(0.002)

    await until(b"a\n")
    operator.away = 3
    operator.files |= {"one": b"a\nb\n", "two": b"c\n"}
    placed(bench, "two", 2.0)
    await until(b"a\nb\nc\n")
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
