"""A driver and a cluster view that a test plays Mesos with. What they are asked goes into a journal, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from framework.core.effects import Acknowledge, Decline, Kill, Reconcile
from framework.core.events import Event
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId
from framework.core.offers import Host
from framework.errors import MesosRefusedError, UnavailableError
from framework.ports import Emit, TaskLaunch
from tests.fakes import samples


class Accepted:
    """An ACCEPT as it was called."""

    def __init__(self, offer_ids: Sequence[OfferId], host_id: HostId, launches: Sequence[TaskLaunch]) -> None:
        self.offer_ids = tuple(offer_ids)
        self.host_id = host_id
        self.launches = tuple(launches)


class FakeDriver:
    """Implements ``framework.ports.SchedulerDriver``; ``tell`` is what Mesos says."""

    def __init__(self, framework_id: FrameworkId | None, journal: list[object]) -> None:
        self.framework_id = framework_id
        self.connected = False
        self.stopped = False
        self._journal = journal
        self._emit: Emit | None = None
        self._end: asyncio.Future[None] | None = None

    def tell(self, *events: Event) -> None:
        assert self._emit is not None, "the driver does not run"
        for event in events:
            self._emit(event)

    def refuse(self, error: MesosRefusedError) -> None:
        """Ends ``run`` with the error."""
        assert self._end is not None
        self._end.set_exception(error)

    @property
    def running(self) -> bool:
        return self._end is not None and not self._end.done()

    async def run(self, emit: Emit) -> None:
        self._emit, self._end = emit, asyncio.get_running_loop().create_future()
        await self._end

    async def stop(self) -> None:
        self.stopped = True
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    async def teardown(self) -> None:
        self._journal.append("teardown")

    def accept(self, offer_ids: Sequence[OfferId], host_id: HostId, launches: Sequence[TaskLaunch]) -> None:
        self._journal.append(Accepted(offer_ids, host_id, launches))

    def decline(self, call: Decline) -> None:
        self._journal.append(call)

    def revive(self) -> None:
        self._journal.append("revive")

    def suppress(self) -> None:
        self._journal.append("suppress")

    def kill(self, call: Kill) -> None:
        self._journal.append(call)

    def acknowledge(self, call: Acknowledge) -> None:
        self._journal.append(call)

    def reconcile(self, call: Reconcile) -> None:
        self._journal.append(call)

    def message(self, host_id: HostId, executor_id: str, data: bytes) -> None:
        self._journal.append(("message", host_id, executor_id, data))

    async def drain(self) -> None:
        self._journal.append("drain")


class FakeCluster:
    """Implements ``framework.ports.ClusterView``. Without hosts Mesos does not answer."""

    def __init__(self) -> None:
        self.known: tuple[Host, ...] = (samples.HOST,)
        self.files: dict[tuple[TaskId, str], bytes] = {}
        self.asked = 0

    async def hosts(self) -> tuple[Host, ...]:
        self.asked += 1
        if not self.known:
            raise UnavailableError("Mesos does not answer")
        return self.known

    async def read_file(
        self, host_url: str, framework_id: FrameworkId, task_id: TaskId, path: str, offset: int, length: int
    ) -> tuple[int, bytes]:
        assert (host_url, framework_id) == (samples.HOST.url, "f-1")
        if (task_id, path) not in self.files:
            raise FileNotFoundError(path)
        data = self.files[task_id, path]
        return (len(data), b"") if offset == -1 else (offset, data[offset : offset + length])

    async def list_files(
        self, host_url: str, framework_id: FrameworkId, task_id: TaskId, path: str
    ) -> list[tuple[str, int]]:
        assert (host_url, framework_id) == (samples.HOST.url, "f-1")
        start = f"{path}/"
        found = {name: data for (task, name), data in self.files.items() if task == task_id and name.startswith(start)}
        return [(name.removeprefix(start), len(data)) for name, data in sorted(found.items())]
