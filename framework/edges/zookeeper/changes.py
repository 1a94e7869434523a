"""What frames and checkpoints are made of: changes of the state, as msgpack, compressed where it pays.

Records are whole and by field names, so that one written by another version can be read: fields it lacks have their
defaults, fields it has more are passed over.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TypeAlias

import msgspec

from framework.core.effects import Save, SaveDraining, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId, RequestId, TaskId, TenantName
from framework.core.tasks import TaskState
from framework.jenkins_ports import MasterRecord
from framework.ports import NewRequest

GROUP_BYTES = 512 * 1024
"""Of a checkpoint, before compression, that are compressed at once."""
MAX_GROUP_MIB = 256
"""More than that, unpacked from one frame or group, is taken for damage."""
_PLAIN, _DEFLATED = b"\0", b"\1"


class _Change(msgspec.Struct, frozen=True, array_like=True):
    pass


class PutFrameworkId(_Change, frozen=True, tag=1):
    framework_id: FrameworkId | None


class PutDraining(_Change, frozen=True, tag=2):
    draining: bool


class PutTenant(_Change, frozen=True, tag=3):
    name: TenantName
    record: msgspec.Raw


class PutToken(_Change, frozen=True, tag=4):
    tenant: TenantName
    token_sha256: str


class AddRequest(_Change, frozen=True, tag=5):
    """A request as a checkpoint holds it, or as it was submitted."""

    id: RequestId
    tenant: TenantName
    job: str
    state: str
    record: msgspec.Raw
    spec: bytes  # JSON, without secrets
    secrets: bytes | None  # JSON
    key: str | None
    digest: str


class PutRequest(_Change, frozen=True, tag=6):
    id: RequestId
    state: str
    record: msgspec.Raw


class PutTask(_Change, frozen=True, tag=7):
    id: TaskId
    request_id: RequestId
    live: bool
    record: msgspec.Raw


class WithdrawRequests(_Change, frozen=True, tag=8):
    """Submissions that are in the log though those who submitted them were told that they were not saved."""

    ids: tuple[RequestId, ...]


class PutMaster(_Change, frozen=True, tag=9):
    tenant: TenantName
    master: MasterRecord | None  # None: it is forgotten


Change: TypeAlias = (
    PutFrameworkId
    | PutDraining
    | PutTenant
    | PutToken
    | AddRequest
    | PutRequest
    | PutTask
    | WithdrawRequests
    | PutMaster
)

_encoder = msgspec.msgpack.Encoder()
_decode_changes = msgspec.msgpack.Decoder(tuple[Change, ...]).decode


def record_of(thing: msgspec.Struct) -> msgspec.Raw:
    """Raises ValueError for text that cannot be written as UTF-8."""
    return msgspec.Raw(_encoder.encode(thing))


def pack(changes: Iterable[Change]) -> bytes:
    """Raises ValueError for text that cannot be written as UTF-8."""
    plain = _encoder.encode(tuple(changes))
    deflated = zlib.compress(plain)
    return _DEFLATED + deflated if len(deflated) < len(plain) else _PLAIN + plain


def unpack(data: bytes) -> tuple[Change, ...]:
    """Raises ValueError (or msgspec's, which is one) for what ``pack`` did not make."""
    kind, rest = data[:1], data[1:]
    if kind == _DEFLATED:
        unpacker = zlib.decompressobj()
        try:
            rest = unpacker.decompress(rest, MAX_GROUP_MIB << 20)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ValueError("cut off, or too large")
    elif kind != _PLAIN:
        raise ValueError("of no known form")
    return _decode_changes(rest)


def pack_groups(changes: Iterable[Change]) -> bytes:
    """Many changes, group by group, each with its length before it."""
    packed: list[bytes] = []
    group: list[Change] = []
    size = 0
    for change in changes:
        group.append(change)
        size += _size(change)
        if size >= GROUP_BYTES:
            packed.append(_sized(pack(group)))
            group, size = [], 0
    if group:
        packed.append(_sized(pack(group)))
    return b"".join(packed)


def unpack_groups(data: bytes) -> Iterator[Change]:
    """Raises ValueError as ``unpack``."""
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "big")
        offset += 4
        if offset + size > len(data):
            raise ValueError("cut off")
        yield from unpack(data[offset : offset + size])
        offset += size


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _size(change: Change) -> int:
    match change:
        case AddRequest():
            return len(bytes(change.record)) + len(change.spec)
        case PutTask() | PutTenant():
            return len(bytes(change.record))
        case _:
            return 64


def changes_of(frame: Sequence[Save]) -> tuple[Change, ...]:
    """Of several saves of one thing the last. Raises ValueError for what cannot be written."""
    changes: dict[object, Change] = {}
    for save in frame:
        match save:
            case SaveRequest():
                request = save.request
                changes["request", request.id] = PutRequest(request.id, request.state.value, record_of(request))
            case SaveTask():
                task = save.task
                live = task.state is not TaskState.ENDED
                changes["task", task.id] = PutTask(task.id, task.request_id, live, record_of(task))
            case SaveTenant():
                changes["tenant", save.tenant.name] = PutTenant(save.tenant.name, record_of(save.tenant))
            case SaveFrameworkId():
                changes["framework_id"] = PutFrameworkId(save.framework_id)
            case SaveDraining():
                changes["draining"] = PutDraining(save.draining)
    return tuple(changes.values())


def submission(new: NewRequest) -> AddRequest:
    request = new.request
    plain = asdict(new.spec)
    secrets = plain.pop("secrets")
    return AddRequest(
        request.id,
        request.tenant,
        request.job,
        request.state.value,
        record_of(request),
        json.dumps(plain).encode(),
        json.dumps(secrets).encode() if secrets else None,
        new.idempotency_key,
        new.digest,
    )
