"""Many launches at once, of builds that may each be large."""

from __future__ import annotations

import logging

import pytest

from framework.core.effects import Launch
from framework.core.events import Event
from framework.core.ids import HostId, OfferId
from framework.core.tasks import Task, TaskState
from framework.runtime.performer import TASKS_AT_ONCE, Performer
from tests.fakes import samples
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mesos_edges import Accepted, FakeDriver
from tests.unit.runtime.conftest import AGENT


def launch(store: MemoryStore, host: int, tasks: int) -> Launch:
    launched: list[Task] = []
    for number in range(tasks):
        request = samples.request(f"r{host}-{number}")
        store.commit((), [samples.new(request)])
        launched.append(samples.task(request, state=TaskState.LAUNCHING))
    return Launch((OfferId(f"o{host}"),), HostId(f"h{host}"), tuple(launched))


async def test_what_is_sent_leaves_before_more_is_read() -> None:
    store, journal, events = MemoryStore(), list[object](), list[Event]()
    sizes = [TASKS_AT_ONCE // 2, TASKS_AT_ONCE // 2, 2 * TASKS_AT_ONCE, 1, 1]
    launches = [launch(store, host, tasks) for host, tasks in enumerate(sizes)]
    await Performer(FakeDriver(None, journal), store, AGENT, events.append).perform(launches)
    sent = [entry.host_id if isinstance(entry, Accepted) else entry for entry in journal]
    assert sent == ["drain", "h0", "h1", "drain", "h2", "drain", "h3", "h4"]
    assert [len(entry.launches) for entry in journal if isinstance(entry, Accepted)] == sizes
    assert not events


async def test_a_launch_is_told_with_what_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    caplog.set_level(logging.INFO, "framework")
    await Performer(FakeDriver(None, []), store, AGENT, lambda _: None).perform([launch(store, 1, 1)])
    told = [getattr(record, "fields") for record in caplog.records if record.getMessage() == "launched"]  # noqa: B009
    assert told == [{"tenant": samples.TEAM, "task_id": "r1-0.1", "offer_id": "o1", "host": samples.HOST.hostname}]
