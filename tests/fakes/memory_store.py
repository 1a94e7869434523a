"""A store in memory, which fails when a test wants it to and keeps a journal of its writes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence

import msgspec

from agents.spec import BuildSpec
from framework.core.effects import Save, SaveDraining, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId, RequestId, TenantName
from framework.core.tasks import Request, RequestState, Task, TaskState, Tenant
from framework.errors import IdempotencyConflictError
from framework.jenkins_ports import MasterRecord
from framework.ports import JobQuery, NewRequest, Snapshot, TenantRecord


class _Tables(msgspec.Struct):
    """Records as bytes, as nothing saved may change with the object that it was saved from."""

    framework_id: FrameworkId | None = None
    draining: bool = False
    tenants: dict[TenantName, bytes] = {}
    tokens: dict[TenantName, str] = {}
    masters: dict[TenantName, MasterRecord] = {}
    requests: dict[RequestId, bytes] = {}
    tasks: dict[str, bytes] = {}
    specs: dict[RequestId, bytes] = {}
    keys: dict[tuple[TenantName, str], tuple[RequestId, str]] = {}

    def copy(self) -> _Tables:
        names = ("tenants", "tokens", "masters", "requests", "tasks", "specs", "keys")
        return _Tables(self.framework_id, self.draining, **{name: dict(getattr(self, name)) for name in names})


class MemoryStore:
    """Implements ``framework.ports.Store``. ``failing`` is raised by writes, ``unreadable`` by reads of payloads."""

    commit_every_s = 0.0

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.failing: Exception | None = None
        self.refusing: Exception | None = None
        """Raised by writes that have new requests among them."""
        self.unreadable: Exception | None = None
        self.journal: list[object] = []
        """Frames and batches that were saved; a driver may write its calls in between."""
        self.tried = 0
        """Writes begun, those that failed included."""
        self.hold: threading.Event | None = None
        """Where there is one, a write waits for it (at most 10 s) before it is done."""
        self._tables = _Tables()
        self._lock = threading.Lock()

    def load(self) -> Snapshot:
        tables = self._tables
        tenants = [msgspec.json.decode(record, type=Tenant) for record in tables.tenants.values()]
        requests = [msgspec.json.decode(record, type=Request) for record in tables.requests.values()]
        tasks = [msgspec.json.decode(record, type=Task) for record in tables.tasks.values()]
        return Snapshot(
            tables.framework_id,
            [TenantRecord(tenant, tables.tokens.get(tenant.name)) for tenant in tenants],
            [request for request in requests if request.state is not RequestState.ENDED],
            [task for task in tasks if task.state is not TaskState.ENDED],
            tables.draining,
        )

    def commit(
        self, frame: Sequence[Save], batch: Sequence[NewRequest] = ()
    ) -> list[RequestId | IdempotencyConflictError]:
        with self._lock:
            self._begin()
            if batch and self.refusing is not None:
                raise self.refusing
            fresh = self._tables.copy()
            for save in frame:
                match save:
                    case SaveTenant():
                        fresh.tenants[save.tenant.name] = msgspec.json.encode(save.tenant)
                    case SaveFrameworkId():
                        fresh.framework_id = save.framework_id
                    case SaveDraining():
                        fresh.draining = save.draining
                    case SaveTask():
                        fresh.tasks[save.task.id] = msgspec.json.encode(save.task)
                    case SaveRequest():
                        self._save_request(fresh, save.request)
            taken = [self._add(fresh, new) for new in batch]
            self._tables = fresh
            self.journal += [tuple(part) for part in (frame, batch) if part]
            return taken

    def repeat_of(
        self, tenant: TenantName, idempotency_key: str, digest: str
    ) -> RequestId | IdempotencyConflictError | None:
        first, its_digest = self._tables.keys.get((tenant, idempotency_key), (None, digest))
        return first if its_digest == digest else IdempotencyConflictError(f"the key stands for {first}")

    def payload(self, request_id: RequestId) -> BuildSpec | None:
        if self.unreadable is not None:
            raise self.unreadable
        spec = self._tables.specs.get(request_id)
        return None if spec is None else BuildSpec.from_json(spec)

    def forget_payload(self, request_id: RequestId) -> None:
        del self._tables.specs[request_id]

    def request(self, request_id: RequestId) -> Request | None:
        record = self._tables.requests.get(request_id)
        return None if record is None else msgspec.json.decode(record, type=Request)

    def requests(self, query: JobQuery) -> list[Request]:
        found = (msgspec.json.decode(record, type=Request) for record in self._tables.requests.values())
        kept = [
            request
            for request in found
            if query.tenant in (None, request.tenant)
            and (not query.states or request.state.value in query.states)
            and query.job in (None, request.job)
            and (query.before is None or request.id < query.before)
        ]
        return sorted(kept, key=lambda request: request.id, reverse=True)[: query.limit]

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        tasks = [msgspec.json.decode(record, type=Task) for record in self._tables.tasks.values()]
        return sorted((task for task in tasks if task.request_id == request_id), key=lambda task: task.launched_at)

    def ended_since(self, at_s: float) -> Iterator[Request]:
        found = self.requests(JobQuery(states=(RequestState.ENDED.value,), limit=len(self._tables.requests)))
        ended = [request for request in found if request.ended_at is not None and request.ended_at >= at_s]
        yield from sorted(ended, key=lambda request: (request.ended_at, request.id))

    def set_token(self, tenant: TenantName, token_sha256: str) -> None:
        with self._lock:
            self._begin()
            self._tables.tokens[tenant] = token_sha256

    def master(self, tenant: TenantName) -> MasterRecord | None:
        return self._tables.masters.get(tenant)

    def set_master(self, tenant: TenantName, master: MasterRecord | None) -> None:
        with self._lock:
            self._begin()
            self._tables.masters.pop(tenant, None)
            if master is not None and tenant in self._tables.tenants:
                self._tables.masters[tenant] = master

    def close(self) -> None:
        self.journal.append("closed")

    def _begin(self) -> None:
        self.tried += 1
        if self.hold is not None and not self.hold.wait(10):
            raise TimeoutError("the test forgot to let the store go on")
        if self.failing is not None:
            raise self.failing

    @staticmethod
    def _save_request(tables: _Tables, request: Request) -> None:
        if request.id not in tables.requests:
            return
        tables.requests[request.id] = msgspec.json.encode(request)
        if request.state is RequestState.ENDED and request.id in tables.specs:
            spec = BuildSpec.from_json(tables.specs[request.id])
            tables.specs[request.id] = dataclasses.replace(spec, secrets={}).to_json()

    @staticmethod
    def _add(tables: _Tables, new: NewRequest) -> RequestId | IdempotencyConflictError:
        request = new.request
        if new.idempotency_key is not None:
            key = (request.tenant, new.idempotency_key)
            first, digest = tables.keys.setdefault(key, (request.id, new.digest))
            if digest != new.digest:
                return IdempotencyConflictError(f"the key stands for {first}")
            if first != request.id:
                return first
        tables.requests[request.id] = msgspec.json.encode(request)
        tables.specs[request.id] = new.spec.to_json()
        return request.id
