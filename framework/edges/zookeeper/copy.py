"""The state in memory, as the frames make it: what reads answer from, and what checkpoints are written from."""

from __future__ import annotations

import copy
import json
from bisect import bisect_left, insort
from collections.abc import Iterator

import msgspec

from agents.spec import BuildSpec
from framework.core.ids import FrameworkId, RequestId, TaskId, TenantName
from framework.core.tasks import Request, RequestState, Task, Tenant
from framework.edges.zookeeper.changes import (
    AddRequest,
    Change,
    PutDraining,
    PutFrameworkId,
    PutMaster,
    PutRequest,
    PutTask,
    PutTenant,
    PutToken,
    WithdrawRequests,
)
from framework.errors import IdempotencyConflictError
from framework.jenkins_ports import MasterRecord
from framework.ports import JobQuery, Snapshot, TenantRecord

KEPT_ENDED = 10_000
"""Ended requests, the newest, that are kept: for their results, and for their idempotency keys."""
KEPT_ENDED_MIB = 24
"""Of them, with their builds' descriptions and attempts; the rest of the room in ZooKeeper is for what lives."""

decode_request = msgspec.msgpack.Decoder(Request).decode
_decode_task = msgspec.msgpack.Decoder(Task).decode
_decode_tenant = msgspec.msgpack.Decoder(Tenant).decode
_ENDED = RequestState.ENDED.value


class _Row(msgspec.Struct, frozen=True, gc=False):
    tenant: TenantName
    job: str
    state: str
    record: bytes
    spec: bytes
    secrets: bytes | None
    key: str | None
    digest: str

    def size(self) -> int:
        return len(self.record) + len(self.spec) + len(self.secrets or b"")


class _TaskRow(msgspec.Struct, frozen=True, gc=False):
    request_id: RequestId
    live: bool
    record: bytes


class Copy:
    """Not for use from several threads at once. Rows are replaced, never changed, so that ``frozen`` costs little."""

    def __init__(self) -> None:
        self.framework_id: FrameworkId | None = None
        self.draining = False
        self.size = 0
        """Bytes of requests, descriptions and attempts."""
        self.stale_secrets = False
        """Whether secrets of builds that have ended, or of masters before, may be in the log or the checkpoint yet."""
        self._tenants: dict[TenantName, bytes] = {}
        self._tokens: dict[TenantName, str] = {}
        self._masters: dict[TenantName, MasterRecord] = {}
        self._rows: dict[RequestId, _Row] = {}
        self._sorted: list[RequestId] = []
        self._keys: dict[tuple[TenantName, str], RequestId] = {}
        self._ended: dict[RequestId, None] = {}  # in the order in which they ended
        self._ended_size = 0
        self._tasks: dict[TaskId, _TaskRow] = {}
        self._attempts: dict[RequestId, tuple[TaskId, ...]] = {}

    def apply(self, change: Change) -> None:
        match change:
            case PutRequest():
                self._put_request(change)
            case PutTask():
                self._put_task(change)
            case AddRequest():
                self._add_request(change)
            case PutTenant():
                self._tenants[change.name] = bytes(change.record)
            case PutToken():
                self._tokens[change.tenant] = change.token_sha256
            case PutMaster():
                self._put_master(change)
            case PutFrameworkId():
                self.framework_id = change.framework_id
            case PutDraining():
                self.draining = change.draining
            case WithdrawRequests():
                for request_id in change.ids:
                    self._forget(request_id)

    def frozen(self) -> Copy:
        """A copy that later changes of this one do not reach."""
        other = copy.copy(self)
        for name in ("_tenants", "_tokens", "_masters", "_rows", "_ended", "_tasks"):
            setattr(other, name, getattr(self, name).copy())
        return other

    def changes(self) -> Iterator[Change]:
        """What makes an empty copy into this one."""
        yield PutFrameworkId(self.framework_id)
        yield PutDraining(self.draining)
        for name, record in self._tenants.items():
            yield PutTenant(name, msgspec.Raw(record))
        for name, token in self._tokens.items():
            yield PutToken(name, token)
        for name, master in self._masters.items():
            yield PutMaster(name, master)
        for request_id in [*self._ended, *(each for each in self._rows if each not in self._ended)]:
            row = self._rows[request_id]
            yield AddRequest(
                request_id,
                row.tenant,
                row.job,
                row.state,
                msgspec.Raw(row.record),
                row.spec,
                row.secrets,
                row.key,
                row.digest,
            )
        for task_id, task in self._tasks.items():
            yield PutTask(task_id, task.request_id, task.live, msgspec.Raw(task.record))

    # Reads.

    def snapshot(self) -> Snapshot:
        return Snapshot(
            framework_id=self.framework_id,
            tenants=[TenantRecord(_decode_tenant(record), self._tokens.get(n)) for n, record in self._tenants.items()],
            requests=[decode_request(row.record) for row in self._rows.values() if row.state != _ENDED],
            tasks=[_decode_task(task.record) for task in self._tasks.values() if task.live],
            draining=self.draining,
        )

    def repeat_of(self, tenant: TenantName, key: str, digest: str) -> RequestId | IdempotencyConflictError | None:
        known = self._keys.get((tenant, key))
        if known is not None and self._rows[known].digest != digest:
            return IdempotencyConflictError(f"idempotency key {key!r} stands for another job, {known}; use a new key")
        return known

    def holds(self, request_id: RequestId) -> bool:
        return request_id in self._rows

    def knows_tenant(self, tenant: TenantName) -> bool:
        return tenant in self._tenants

    def master(self, tenant: TenantName) -> MasterRecord | None:
        return self._masters.get(tenant)

    def request(self, request_id: RequestId) -> Request | None:
        row = self._rows.get(request_id)
        return None if row is None else decode_request(row.record)

    def payload(self, request_id: RequestId) -> BuildSpec | None:
        row = self._rows.get(request_id)
        if row is None:
            return None
        spec = BuildSpec.from_json(row.spec)
        spec.secrets = json.loads(row.secrets) if row.secrets else {}
        return spec

    def requests(self, query: JobQuery) -> list[Request]:
        end = len(self._sorted) if query.before is None else bisect_left(self._sorted, query.before)
        found: list[Request] = []
        for index in range(end - 1, -1, -1):
            if len(found) >= query.limit:
                break
            row = self._rows[self._sorted[index]]
            if (
                query.tenant in (None, row.tenant)
                and query.job in (None, row.job)
                and (not query.states or row.state in query.states)
            ):
                found.append(decode_request(row.record))
        return found

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        tasks = [_decode_task(self._tasks[each].record) for each in self._attempts.get(request_id, ())]
        return sorted(tasks, key=lambda task: task.launched_at)

    def ended(self) -> list[bytes]:
        """Records of requests that have ended, in that order, for ``decode_request``."""
        return [self._rows[each].record for each in self._ended]

    # Changes.

    def _put_master(self, change: PutMaster) -> None:
        self.stale_secrets |= self._masters.pop(change.tenant, None) is not None
        if change.master is not None:
            self._masters[change.tenant] = change.master

    def _add_request(self, new: AddRequest) -> None:
        if new.id in self._rows:
            self._forget(new.id)
        ended = new.state == _ENDED
        row = _Row(
            new.tenant,
            new.job,
            new.state,
            bytes(new.record),
            new.spec,
            None if ended else new.secrets,
            new.key,
            new.digest,
        )
        self._rows[new.id] = row
        insort(self._sorted, new.id)
        self.size += row.size()
        if new.key is not None:
            self._keys[new.tenant, new.key] = new.id
        if ended:
            self._end(new.id, row.size())

    def _put_request(self, change: PutRequest) -> None:
        old = self._rows.get(change.id)
        if old is None:
            return
        ended = change.state == _ENDED
        secrets = None if ended else old.secrets
        row = msgspec.structs.replace(old, state=change.state, record=bytes(change.record), secrets=secrets)
        self._rows[change.id] = row
        self.size += row.size() - old.size()
        if change.id in self._ended:
            self._ended_size += row.size() - old.size()
        elif ended:
            self.stale_secrets |= old.secrets is not None
            self._end(change.id, row.size() + self._attempts_size(change.id))

    def _put_task(self, change: PutTask) -> None:
        known = change.request_id in self._rows
        old = self._tasks.get(change.id)
        if not known and not change.live:  # its request was let go; nobody will ask for it
            if old is not None:
                self._forget_tasks(change.request_id)
            return
        row = _TaskRow(change.request_id, change.live, bytes(change.record))
        self._tasks[change.id] = row
        grown = len(row.record) - (len(old.record) if old is not None else 0)
        self.size += grown
        if change.request_id in self._ended:
            self._ended_size += grown
        if old is not None and old.request_id != change.request_id:  # a spare, given to another request
            left = tuple(each for each in self._attempts.pop(old.request_id) if each != change.id)
            if left:
                self._attempts[old.request_id] = left
            if old.request_id in self._ended:
                self._ended_size -= len(old.record)
        if old is None or old.request_id != change.request_id:
            self._attempts[change.request_id] = (*self._attempts.get(change.request_id, ()), change.id)

    def _end(self, request_id: RequestId, size: int) -> None:
        self._ended[request_id] = None
        self._ended_size += size
        while len(self._ended) > KEPT_ENDED or (self._ended_size > KEPT_ENDED_MIB << 20 and len(self._ended) > 1):
            oldest = next(iter(self._ended))
            if any(self._tasks[each].live for each in self._attempts.get(oldest, ())):
                del self._ended[oldest]  # an attempt outlives it, which happens to few and not for long
                self._ended[oldest] = None
                break
            self._forget(oldest)

    def _forget(self, request_id: RequestId) -> None:
        row = self._rows.pop(request_id, None)
        if row is None:
            return
        size = row.size()
        self.size -= size
        if request_id in self._ended:
            del self._ended[request_id]
            self._ended_size -= size + self._attempts_size(request_id)
        del self._sorted[bisect_left(self._sorted, request_id)]
        if row.key is not None and self._keys.get((row.tenant, row.key)) == request_id:
            del self._keys[row.tenant, row.key]
        self._forget_tasks(request_id)

    def _forget_tasks(self, request_id: RequestId) -> None:
        for task_id in self._attempts.pop(request_id, ()):
            self.size -= len(self._tasks.pop(task_id).record)

    def _attempts_size(self, request_id: RequestId) -> int:
        return sum(len(self._tasks[each].record) for each in self._attempts.get(request_id, ()))
