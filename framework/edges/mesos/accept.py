"""The operations of an ACCEPT as Mesos wants to be told them.

Typed structs, with the resources of a shape encoded once: 2.0 us a task of an ACCEPT where byte templates took 3.5 us
and structs alone 3.9 us. Measured with msgspec 0.22, Python 3.11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from msgspec import Raw, Struct
from msgspec.structs import replace

from framework.core.ids import HostId
from framework.core.pieces import PER_UNIT, Piece, ReservedUse
from framework.edges.mesos import wire
from framework.edges.mesos.purse import Purse
from framework.edges.mesos.resources import encoded, encoded_amount, is_drawable, resource
from framework.edges.mesos.wire import Allocation, Label, Labels, Scalar, Value
from framework.mesos_ports import (
    CreateVolumes,
    DestroyVolumes,
    GrowVolume,
    LaunchGroup,
    LaunchTasks,
    MesosExecutor,
    Operation,
    Reserve,
    ShrinkVolume,
    TaskLaunch,
    Unreserve,
    Uri,
)

NANOSECONDS = 1_000_000_000
MAX_REMEMBERED = 1000
"""Mesos executors of one host whose resources are kept in mind; 25 builds run there at once."""

SLIVER = Piece("disk", 1)
"""A thousandth of a MiB."""


class Duration(Struct, gc=False):
    nanoseconds: int


class _Variable(Struct, gc=False):
    name: str
    value: str
    type: str = "VALUE"


class _Environment(Struct, gc=False):
    variables: list[_Variable]


class _Uri(Struct, gc=False, omit_defaults=True):
    """Its defaults are Mesos' own."""

    value: str
    executable: bool = False
    extract: bool = True
    cache: bool = False
    output_file: str | None = None


class _Command(Struct, gc=False, omit_defaults=True):
    value: str
    uris: list[_Uri] = []
    environment: _Environment | None = None


class _Executor(Struct, gc=False, omit_defaults=True):
    executor_id: Value
    framework_id: Value
    name: str
    resources: Raw
    command: _Command
    type: str  # never left out
    shutdown_grace_period: Duration | None = None


class _Task(Struct, gc=False, omit_defaults=True):
    name: str
    task_id: Value
    agent_id: Value
    resources: Raw
    executor: _Executor | None
    data: bytes
    labels: Labels | None = None


class _Launch(Struct, gc=False):
    task_infos: list[_Task]


class _TaskGroup(Struct, gc=False):
    tasks: list[_Task]


class _LaunchGroup(Struct, gc=False):
    executor: _Executor
    task_group: _TaskGroup


class _Resources(Struct, gc=False):
    resources: Raw


class _Volumes(Struct, gc=False):
    volumes: Raw


class _GrowVolume(Struct, gc=False):
    volume: wire.Resource
    addition: wire.Resource


class _ShrinkVolume(Struct, gc=False):
    volume: wire.Resource
    subtract: Scalar


class OperationInfo(Struct, gc=False, omit_defaults=True):
    type: str
    id: Value | None = None
    launch: _Launch | None = None
    launch_group: _LaunchGroup | None = None
    reserve: _Resources | None = None
    unreserve: _Resources | None = None
    create: _Volumes | None = None
    destroy: _Volumes | None = None
    grow_volume: _GrowVolume | None = None
    shrink_volume: _ShrinkVolume | None = None


class Started(Struct, frozen=True):
    """What a Mesos executor was given at its start: of what was offered to which role."""

    role: str
    pieces: tuple[Piece, ...]


class Executors:
    """What Mesos executors were started with, where an offer alone would not tell.

    Mesos refuses a task whose ExecutorInfo is not what the running Mesos executor's was, down to the role its resources
    were offered to and whom they are reserved for.
    """

    def __init__(self) -> None:
        self._started: dict[HostId, dict[str, Started]] = {}

    def any_on(self, host_id: HostId) -> bool:
        return host_id in self._started

    def get(self, host_id: HostId, executor_id: str) -> Started | None:
        return self._started.get(host_id, {}).get(executor_id)

    def remember(self, host_id: HostId, started: Mapping[str, Started]) -> None:
        of_host = self._started.setdefault(host_id, {})
        of_host.update(started)
        while len(of_host) > MAX_REMEMBERED:
            del of_host[next(iter(of_host))]

    def forget(self, host_id: HostId, executor_id: str | None = None) -> None:
        """One that ended, or all of a host that is gone."""
        of_host = self._started.get(host_id, {})
        of_host.pop(executor_id or "", None)
        if executor_id is None or not of_host:
            self._started.pop(host_id, None)


class Accepting:
    """One ACCEPT in the making. With ``purse`` None nothing on the host is or was reserved, and we have but one role.

    ``running`` are the Mesos executors of ours that the host had when it was offered.
    """

    def __init__(
        self,
        framework: Value,
        host_id: HostId,
        role: str,
        purse: Purse | None = None,
        running: frozenset[str] = frozenset(),
        executors: Executors | None = None,
    ) -> None:
        self._framework = framework
        self._host_id = host_id
        self._host = Value(host_id)
        self._role = role
        self._purse = purse
        self._running = running
        self._known = executors or Executors()
        self._executors: dict[str, _Executor] = {}
        self.started: dict[str, Started] = {}
        """Mesos executors that are to be remembered once the call is made."""

    def operation(self, operation: Operation) -> OperationInfo:
        """To be asked for each operation of the call in its order."""
        match operation:
            case LaunchTasks(tasks):
                return OperationInfo("LAUNCH", launch=_Launch([self._task(task) for task in tasks]))
            case LaunchGroup(tasks):
                return OperationInfo("LAUNCH_GROUP", launch_group=self._group(tasks))
            case GrowVolume(volume, addition, operation_id):
                if self._purse is not None:
                    self._purse.spend(addition)
                grow = _GrowVolume(self._resource(volume), self._resource(addition))
                return OperationInfo("GROW_VOLUME", _id(operation_id), grow_volume=grow)
            case ShrinkVolume(volume, thousandths, operation_id):
                # What it frees is there once Mesos has done it, so not for what follows here.
                shrink = _ShrinkVolume(self._resource(volume), Scalar(thousandths / PER_UNIT))
                return OperationInfo("SHRINK_VOLUME", _id(operation_id), shrink_volume=shrink)
            case _:
                return self._conversion(operation)

    def _conversion(self, operation: Reserve | Unreserve | CreateVolumes | DestroyVolumes) -> OperationInfo:
        pieces, operation_id = self._encoded(operation.pieces), _id(operation.operation_id)
        if self._purse is not None:
            for piece in operation.pieces:
                before, after = _converted(operation, piece)
                self._purse.spend(before)
                self._purse.gain(after)
        match operation:
            case Reserve():
                return OperationInfo("RESERVE", operation_id, reserve=_Resources(pieces))
            case Unreserve():
                return OperationInfo("UNRESERVE", operation_id, unreserve=_Resources(pieces))
            case CreateVolumes():
                return OperationInfo("CREATE", operation_id, create=_Volumes(pieces))
            case DestroyVolumes():
                return OperationInfo("DESTROY", operation_id, destroy=_Volumes(pieces))
            case _:
                assert_never(operation)

    def _encoded(self, pieces: Sequence[Piece]) -> Raw:
        return encoded(pieces, self._role)

    def _resource(self, piece: Piece) -> wire.Resource:
        return resource(piece, Allocation(self._role))

    def _task(self, launch: TaskLaunch) -> _Task:
        if self._purse is None and not launch.ports and not launch.pieces and launch.reserved is not ReservedUse.ONLY:
            resources = encoded_amount(launch.resources, self._role)
        else:
            resources = self._encoded(self._drawn(launch))
        return self._task_info(launch, resources, self._executor(launch))

    def _task_info(self, launch: TaskLaunch, resources: Raw, executor: _Executor | None) -> _Task:
        labels = Labels([Label(key, value) for key, value in launch.labels.items()]) if launch.labels else None
        return _Task(launch.name, Value(launch.task_id), self._host, resources, executor, launch.data, labels)

    def _group(self, tasks: Sequence[TaskLaunch]) -> _LaunchGroup:
        drawn = [self._drawn(task) for task in tasks]
        # Mesos refuses a group whose Mesos executor has no disk at all: a sliver of its tasks' is the executor's.
        more = () if tasks[0].executor.resources.disk_mib else (_sliver_of(drawn),)
        executor = self._executor(tasks[0], more)
        infos = [self._task_info(task, self._encoded(pieces), None) for task, pieces in zip(tasks, drawn, strict=True)]
        return _LaunchGroup(executor, _TaskGroup(infos))

    def _drawn(self, launch: TaskLaunch) -> list[Piece]:
        purse = self._purse or Purse((), self._role)
        for piece in launch.pieces:
            purse.spend(piece)
        return [*purse.draw(launch.resources, launch.reserved, launch.ports), *launch.pieces]

    def _executor(self, launch: TaskLaunch, more: tuple[Piece, ...] = ()) -> _Executor:
        """The same for each task of it; its resources are drawn once, with its first."""
        told = launch.executor
        known = self._executors.get(told.id)
        if known is None:
            known = self._executors[told.id] = self._executor_info(told, self._executor_resources(launch, more))
        return known

    def _executor_resources(self, launch: TaskLaunch, more: tuple[Piece, ...]) -> Raw:
        told = launch.executor
        purse = self._purse
        if purse is None:
            if not more and not told.pieces:
                return encoded_amount(told.resources, self._role)
            return self._encoded([*Purse(()).draw(told.resources), *told.pieces, *more])
        known = self._known.get(self._host_id, told.id)
        if told.id in self._running:
            if known is not None:
                return encoded(known.pieces, known.role)
            # Another scheduler than this one started it; most likely with what is free, where there is any.
            use = ReservedUse.LAST if purse.has_free("cpus") else launch.reserved
            return self._encoded([*purse.copy().draw(told.resources, use), *more])
        if known is not None and known.role == self._role and self._take(known.pieces):
            return self._encoded(known.pieces)  # it may have been started since the host was offered
        for piece in told.pieces:
            purse.spend(piece)
        pieces = (*purse.draw(told.resources, launch.reserved), *told.pieces, *more)
        self.started[told.id] = Started(self._role, pieces)
        return self._encoded(pieces)

    def _take(self, pieces: Sequence[Piece]) -> bool:
        """Spends all of that, or nothing."""
        trial = self._purse.copy() if self._purse is not None else Purse(())
        if not all(trial.spend(piece) for piece in pieces):
            return False
        self._purse = trial
        return True

    def _executor_info(self, told: MesosExecutor, resources: Raw) -> _Executor:
        variables = [_Variable(name, value) for name, value in told.environment.items()]
        uris = [_uri(each) for each in told.uris]
        command = _Command(told.command, uris, _Environment(variables) if variables else None)
        grace = None if told.shutdown_grace_s is None else Duration(round(told.shutdown_grace_s * NANOSECONDS))
        return _Executor(Value(told.id), self._framework, told.name, resources, command, "CUSTOM", grace)


def _uri(uri: str | Uri) -> _Uri:
    if isinstance(uri, str):
        return _Uri(uri)
    return _Uri(uri.value, uri.executable, uri.extract, uri.cache, uri.output_file)


def _sliver_of(drawn: Sequence[list[Piece]]) -> Piece:
    """Takes it off the first disk among that; where there is none it is of the host's."""
    for pieces in drawn:
        for index, piece in enumerate(pieces):
            if piece.name == SLIVER.name and is_drawable(piece) and piece.thousandths > SLIVER.thousandths:
                pieces[index] = replace(piece, thousandths=piece.thousandths - SLIVER.thousandths)
                return replace(piece, thousandths=SLIVER.thousandths)
    return SLIVER


def _converted(operation: Reserve | Unreserve | CreateVolumes | DestroyVolumes, piece: Piece) -> tuple[Piece, Piece]:
    """What a piece of the operation is made of, and what it becomes."""
    outer = replace(piece, reservations=piece.reservations[:-1])
    disk = replace(piece, volume=None, shared=False)
    match operation:
        case Reserve():
            return outer, piece
        case Unreserve():
            return piece, outer
        case CreateVolumes():
            return disk, piece
        case DestroyVolumes():
            return piece, disk
        case _:
            assert_never(operation)


def _id(operation_id: str | None) -> Value | None:
    return Value(operation_id) if operation_id is not None else None
