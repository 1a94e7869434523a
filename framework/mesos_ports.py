"""Protocols of Mesos: the driver of its scheduler API, what that is told, and the operator's view of hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from framework.core.effects import AcceptInverse, Acknowledge, Decline, DeclineInverse, Kill, Reconcile
from framework.core.events import Event, OperationUpdate
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId
from framework.core.offers import Host
from framework.core.pieces import Piece, ReservedUse
from framework.core.resources import Resources

Emit = Callable[[Event], None]
"""Where an edge puts what happened; never blocks, called on the loop's thread only."""


class Uri(msgspec.Struct, frozen=True):
    """What Mesos' fetcher brings into the sandbox; ``extract``: unpacks it there, if it is an archive by its name."""

    value: str
    extract: bool = True
    executable: bool = False
    cache: bool = False  # on the host, for others that fetch it
    output_file: str | None = None  # in the sandbox; None: named as in the URI


class MesosExecutor(msgspec.Struct, frozen=True):
    """A Mesos executor as it is started where the host has none of its id yet.

    Tasks that share one on a host give it in every part alike, else Mesos refuses them. One that is started by a group
    has a sliver of its tasks' disk where it has none of its own, so it is not shared with tasks launched one by one.
    """

    id: str
    name: str
    resources: Resources  # of its own, on top of its tasks'
    command: str  # starts it on the host, by /bin/sh
    uris: tuple[str | Uri, ...] = ()  # fetched into the sandbox first
    environment: dict[str, str] = {}  # seen in Mesos' state, so no secrets
    shutdown_grace_s: float | None = None
    pieces: tuple[Piece, ...] = ()  # of its own too, taken as they are, where it is not shared


class TaskLaunch(msgspec.Struct, frozen=True):
    """One task. Plain ``resources`` are drawn from the offers by ``reserved``; ``pieces`` are taken as they are.

    Of ``resources.ports`` only those named in ``ports`` are taken.
    """

    task_id: TaskId
    name: str
    resources: Resources
    executor: MesosExecutor
    ports: tuple[int, ...] = ()
    reserved: ReservedUse = ReservedUse.LAST
    pieces: tuple[Piece, ...] = ()  # such as a persistent volume
    data: bytes = b""  # TaskInfo.data; not seen in Mesos' state
    labels: dict[str, str] = {}


class LaunchTasks(msgspec.Struct, frozen=True):
    tasks: tuple[TaskLaunch, ...]


class LaunchGroup(msgspec.Struct, frozen=True):
    """Tasks of one Mesos executor, of which Mesos launches all or none."""

    tasks: tuple[TaskLaunch, ...]


class Reserve(msgspec.Struct, frozen=True):
    """``pieces`` as they shall be: the innermost of their reservations is made."""

    pieces: tuple[Piece, ...]
    operation_id: str | None = None  # asks for an OperationUpdate


class Unreserve(msgspec.Struct, frozen=True):
    """``pieces`` as they are: the innermost of their reservations is ended."""

    pieces: tuple[Piece, ...]
    operation_id: str | None = None


class CreateVolumes(msgspec.Struct, frozen=True):
    """``pieces`` as they shall be: disks with their volumes."""

    pieces: tuple[Piece, ...]
    operation_id: str | None = None


class DestroyVolumes(msgspec.Struct, frozen=True):
    """What is in the volumes is gone for good."""

    pieces: tuple[Piece, ...]
    operation_id: str | None = None


class GrowVolume(msgspec.Struct, frozen=True):
    volume: Piece
    addition: Piece
    operation_id: str | None = None


class ShrinkVolume(msgspec.Struct, frozen=True):
    volume: Piece
    subtract_thousandths: int
    operation_id: str | None = None


Operation: TypeAlias = (
    LaunchTasks | LaunchGroup | Reserve | Unreserve | CreateVolumes | DestroyVolumes | GrowVolume | ShrinkVolume
)


class SchedulerDriver(Protocol):
    """Mesos' v1 scheduler API. Calls are put on the wire in order and return at once; while no subscription stands they

    are dropped (the core reconciles after the next one), which ``connected`` tells.
    """

    @property
    def connected(self) -> bool: ...

    async def run(self, emit: Emit) -> None:
        """Subscribes, and again after every loss, until ``stop``. Raises UnavailableError never: losses are retried;

        raises MesosRefusedError where Mesos says that no retry can help (framework removed, not authorised).
        """
        ...

    async def stop(self) -> None:
        """Closes the connection once the calls made are answered, and keeps the framework, so that its tasks run on."""
        ...

    async def teardown(self) -> None:
        """Ends the framework and every task of it: on the operator's own command only."""
        ...

    def accept(
        self,
        offer_ids: Sequence[OfferId],
        host_id: HostId,
        operations: Sequence[Operation],
        refuse_s: float = 0.0,
    ) -> None:
        """Uses offers of one host and role, operation after operation; none gives them back to be offered at once.

        What is left is not offered again for ``refuse_s``. Where Mesos refuses the call as a whole, each task gets
        TASK_DROPPED and each operation with an id OPERATION_DROPPED from here.
        """
        ...

    def decline(self, call: Decline) -> None: ...

    def accept_inverse(self, call: AcceptInverse) -> None: ...

    def decline_inverse(self, call: DeclineInverse) -> None: ...

    def revive(self, roles: Sequence[str] = ()) -> None:
        """Asks for offers again, of these roles or, with none named, of all."""
        ...

    def suppress(self, roles: Sequence[str] = ()) -> None: ...

    def request_resources(self, resources: Sequence[Resources]) -> None:
        """REQUEST: a hint to allocators that heed it; Mesos' own does not."""
        ...

    def update_framework(self, roles: Sequence[str], suppressed: Sequence[str] = ()) -> None:
        """Takes up other roles, and keeps them for the subscriptions to come."""
        ...

    def shutdown(self, host_id: HostId, executor_id: str) -> None:
        """Ends a Mesos executor and all its tasks."""
        ...

    def kill(self, call: Kill) -> None: ...

    def acknowledge(self, call: Acknowledge) -> None: ...

    def reconcile(self, call: Reconcile) -> None: ...

    def acknowledge_operation(self, update: OperationUpdate) -> None: ...

    def reconcile_operations(self, operations: Sequence[tuple[str, HostId]]) -> None:
        """Asks for an OperationUpdate of each (id and host); with none named, of every one that Mesos knows."""
        ...

    def message(self, host_id: HostId, executor_id: str, data: bytes) -> None: ...

    async def drain(self) -> None:
        """Returns once Mesos has taken so much of the calls made that there is room for more; within a bounded time."""
        ...


class ClusterView(Protocol):
    """Mesos' operator side: hosts and sandboxes."""

    async def hosts(self) -> tuple[Host, ...]:
        """Raises UnavailableError."""
        ...

    async def read_file(
        self, host_url: str, framework_id: FrameworkId, executor_id: str, path: str, offset: int, length: int
    ) -> tuple[int, bytes]:
        """Reads a file of the newest sandbox of that Mesos executor; offset -1 asks for its size.

        Returns the offset (or the size, with offset -1) and the bytes. Raises FileNotFoundError, UnavailableError.
        """
        ...

    async def list_files(
        self, host_url: str, framework_id: FrameworkId, executor_id: str, path: str
    ) -> list[tuple[str, int]]:
        """Names relative to ``path`` and sizes in bytes of the files below it. Raises as ``read_file``."""
        ...
