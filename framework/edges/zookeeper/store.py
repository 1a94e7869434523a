"""The state in ZooKeeper: a log of frames that one leader writes, and a copy in memory that every scheduler keeps.

A frame is one transaction that also checks whose leadership it is, so one who was deposed can write nothing. Its node
is named by its number, so that a frame whose answer was lost can be found out and is never there twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from agents.spec import BuildSpec
from framework.core.effects import Save
from framework.core.ids import RequestId, TenantName
from framework.core.tasks import Request, Task
from framework.edges.zookeeper.changes import (
    AddRequest,
    Change,
    PutMaster,
    PutToken,
    WithdrawRequests,
    changes_of,
    pack,
    pack_groups,
    submission,
    unpack,
    unpack_groups,
)
from framework.edges.zookeeper.connection import RefusedError, ZooKeeperConnection
from framework.edges.zookeeper.copy import Copy, decode_request
from framework.edges.zookeeper.nodes import NODE_BYTES, Checkpoint, FencedError, Nodes
from framework.errors import DeposedError, IdempotencyConflictError, StoreError, StoreFullError
from framework.jenkins_ports import MasterRecord
from framework.log import get_logger
from framework.ports import Chance, JobQuery, NewRequest, Snapshot, jittered

log = get_logger(__name__)

COMMIT_EVERY_S = 0.02
"""At most 50 writes a second, whatever there is to do."""
FOLLOW_EVERY_S = 1.0
"""How often a follower looks for frames that no watch told it of."""
CHECKPOINT_FRAMES = 4096
CHECKPOINT_MIB = 4
"""Of log since the last checkpoint, or half of that one's size where that is more."""
SECRETS_S = 60.0
"""The longest that secrets which are in the state no more stay in the log; longer where a checkpoint takes more than a

write a second of that.
"""
MAX_STATE_MIB = 160
"""Of requests, descriptions and attempts before compression; ZooKeeper keeps all of it in memory."""


class _Doubt(msgspec.Struct, frozen=True):
    """A frame that was sent and not answered: it may be there, or come to be, at the next number."""

    id: bytes
    void_id: bytes  # of an empty frame that takes the number where this one did not
    packed: bytes
    changes: tuple[Change, ...]
    submitted: tuple[RequestId, ...]  # whose submitters were told that they were not saved


class ZooKeeperStore:
    """``framework.ports.SharedStore``. Follows the log from the start, on a thread of its own, which also writes the

    checkpoints while we lead.
    """

    commit_every_s = COMMIT_EVERY_S

    def __init__(self, connection: ZooKeeperConnection, chance: Chance) -> None:
        self._zk = connection
        self._chance = chance
        self._nodes = Nodes(connection)
        self._copy: Copy | None = None
        self._applied = 0  # the number of the last frame in the copy
        self._last_id: bytes | None = None  # and its id; None where the copy is a checkpoint's as yet
        self._fault: StoreError | None = None  # why there is no copy
        self._fence: int | None = None  # the version of the node ``epoch`` while we lead
        self._epoch = 0
        self._deposed: Callable[[str], None] = lambda _: None
        self._doubt: _Doubt | None = None
        self._checkpoint: Checkpoint | None = None
        self._log_bytes = 0
        self._stale_since: float | None = None
        self._lock = threading.Lock()  # of the copy
        self._writing = threading.RLock()  # of everything that reads the log or adds to it
        self._wake = threading.Event()
        self._closing = threading.Event()
        connection.on_change(self._connection_changed)
        self._thread = threading.Thread(target=self._live, name="zookeeper-store", daemon=True)
        self._thread.start()

    @property
    def revision(self) -> int:
        return self._applied

    @property
    def notices(self) -> list[str]:
        return [*self._zk.notices, *([str(self._fault)] if self._fault is not None else [])]

    def close(self) -> None:
        self._closing.set()
        self._fence = None
        self._wake.set()
        self._thread.join()

    # Leading.

    def take_over(self, epoch: int, fence: int, deposed: Callable[[str], None]) -> None:
        """Takes writes from now on: of leadership ``epoch``, while the node ``epoch`` has the version ``fence``.

        ``deposed`` is called once, on any thread, with the reason where that is over. Raises as a read of the log does,
        and DeposedError.
        """
        with self._writing:
            self._fence = None
            self._zk.sync()
            self._catch_up()
            self._check_whole()
            self._doubt = None
            try:
                self._nodes.sweep(self._checkpoint, fence, unused_parts=True)
            except FencedError as error:
                raise self._deposed_error() from error
            self._deposed, self._epoch, self._fence = deposed, epoch, fence

    def give_up(self) -> None:
        """Takes no writes any more; returns when none is under way."""
        with self._writing:
            self._fence = None
        self._wake.set()

    def commit(
        self, frame: Sequence[Save], batch: Sequence[NewRequest] = ()
    ) -> list[RequestId | IdempotencyConflictError]:
        changes = changes_of(frame)
        with self._writing:
            taken, added = self._sifted(batch) if batch else ([], ())
            if changes or added:
                self._save((*changes, *added), tuple(each.id for each in added))
            return taken

    def _sifted(
        self, batch: Sequence[NewRequest]
    ) -> tuple[list[RequestId | IdempotencyConflictError], tuple[AddRequest, ...]]:
        """What to answer of each, and what is to be saved."""
        self._settle()
        self._check_room()
        taken: list[RequestId | IdempotencyConflictError] = []
        fresh: dict[tuple[TenantName, str], NewRequest] = {}
        added: list[AddRequest] = []
        for new in batch:
            known = self._known(new, fresh)
            if known is None:
                added.append(submission(new))
                if new.idempotency_key is not None:
                    fresh[new.request.tenant, new.idempotency_key] = new
            taken.append(known or new.request.id)
        return taken, tuple(added)

    def set_token(self, tenant: TenantName, token_sha256: str) -> None:
        self._save_of(tenant, PutToken(tenant, token_sha256))

    def set_master(self, tenant: TenantName, master: MasterRecord | None) -> None:
        self._save_of(tenant, PutMaster(tenant, master))

    def _save_of(self, tenant: TenantName, change: Change) -> None:
        """Where the tenant is known."""
        with self._writing:
            self._settle()
            with self._reading() as copy:
                known = copy.knows_tenant(tenant)
            if known:
                self._save((change,), ())

    # Reads.

    def load(self) -> Snapshot:
        with self._reading() as copy:
            return copy.snapshot()

    def repeat_of(
        self, tenant: TenantName, idempotency_key: str, digest: str
    ) -> RequestId | IdempotencyConflictError | None:
        with self._reading() as copy:
            return copy.repeat_of(tenant, idempotency_key, digest)

    def payload(self, request_id: RequestId) -> BuildSpec | None:
        with self._reading() as copy:
            return copy.payload(request_id)

    def request(self, request_id: RequestId) -> Request | None:
        with self._reading() as copy:
            return copy.request(request_id)

    def requests(self, query: JobQuery) -> list[Request]:
        with self._reading() as copy:
            return copy.requests(query)

    def master(self, tenant: TenantName) -> MasterRecord | None:
        with self._reading() as copy:
            return copy.master(tenant)

    def tasks_of(self, request_id: RequestId) -> list[Task]:
        with self._reading() as copy:
            return copy.tasks_of(request_id)

    def ended_since(self, at_s: float) -> Iterator[Request]:
        with self._reading() as copy:
            records = copy.ended()
        found = [request for request in map(decode_request, records) if (request.ended_at or 0.0) >= at_s]
        yield from sorted(found, key=lambda request: (request.ended_at, request.id))

    def _reading(self) -> _Reading:
        if self._copy is None:
            raise self._fault or StoreFullError(f"state.zookeeper {self._zk.url}: is not read yet; try again")
        return _Reading(self._lock, self._copy)

    # Writing frames.

    def _known(
        self, new: NewRequest, fresh: dict[tuple[TenantName, str], NewRequest]
    ) -> RequestId | IdempotencyConflictError | None:
        tenant, key = new.request.tenant, new.idempotency_key
        if key is None:
            return None
        first = fresh.get((tenant, key))
        if first is None:
            return self.repeat_of(tenant, key, new.digest)
        if first.digest == new.digest:
            return first.request.id
        return IdempotencyConflictError(
            f"idempotency key {key!r} stands for another job, {first.request.id}; use a new key"
        )

    def _check_room(self) -> None:
        with self._reading() as copy:
            size_mib = copy.size >> 20
        if size_mib >= MAX_STATE_MIB:
            raise StoreFullError(
                f"state.zookeeper {self._zk.url}: {size_mib} MiB of requests are kept, of at most {MAX_STATE_MIB}; "
                "try again when builds have ended"
            )

    def _save(self, changes: tuple[Change, ...], submitted: tuple[RequestId, ...]) -> None:
        packed = pack(changes)
        if self._doubt is not None and self._doubt.packed != packed:
            self._settle()
        doubt = self._doubt or _Doubt(self._chance.uuid4(), self._chance.uuid4(), packed, changes, submitted)
        found = self._put(doubt.id, packed, doubt)
        if found == doubt.void_id:  # sent while we wanted to be sure of this very frame
            self._take_in(found, ())
            return self._save(changes, submitted)
        self._check_ours(found, doubt.id)
        self._take_in(found, changes, len(packed))
        return None

    def _settle(self) -> None:
        """Finds out what became of a frame without an answer, by taking its number for an empty one."""
        doubt = self._doubt
        if doubt is None:
            self._fence_or_raise()
            return
        found = self._put(doubt.void_id, pack(()), doubt)
        if found == doubt.id:
            self._take_in(found, doubt.changes, len(doubt.packed))
        else:
            self._check_ours(found, doubt.void_id)
            self._take_in(found, ())
        with self._reading() as copy:
            withdrawn = tuple(each for each in doubt.submitted if copy.holds(each))
        if withdrawn:
            self._save((WithdrawRequests(withdrawn),), withdrawn)

    def _put(self, frame_id: bytes, packed: bytes, doubt: _Doubt) -> bytes:
        """Writes the next frame; the id of the one that is there then. ``doubt`` is what is in doubt without answer."""
        fence = self._fence_or_raise()
        try:
            return self._nodes.put_frame(self._applied + 1, frame_id, self._epoch, packed, fence)
        except StoreFullError:
            self._doubt = doubt
            raise
        except FencedError as error:
            self._depose("another scheduler was elected")
            raise self._deposed_error() from error

    def _take_in(self, frame_id: bytes, changes: Sequence[Change], size: int = 0) -> None:
        self._doubt = None
        with self._reading() as copy:
            for change in changes:
                copy.apply(change)
            self._applied += 1
            self._last_id = frame_id
            stale_secrets = copy.stale_secrets
        self._log_bytes += size
        if stale_secrets and self._stale_since is None:
            self._stale_since = time.monotonic()
        if self._fence is not None and self._checkpoint_due():
            self._wake.set()

    def _check_ours(self, found: bytes, expected: bytes) -> None:
        if found != expected:
            self._depose("the log holds a frame that is not ours")
            raise StoreError(
                f"state.zookeeper {self._zk.url}: frame {self._applied + 1} was written by something that does not lead"
            )

    def _fence_or_raise(self) -> int:
        fence = self._fence
        if fence is None:
            raise self._deposed_error()
        return fence

    def _deposed_error(self) -> DeposedError:
        return DeposedError(f"state.zookeeper {self._zk.url}: this scheduler does not lead; nothing was saved")

    def _depose(self, reason: str) -> None:
        if self._fence is not None:
            self._fence = None
            self._deposed(reason)
            self._wake.set()

    def _connection_changed(self, lost: bool) -> None:
        if lost:
            self._depose("ZooKeeper ended our session, as it did not hear from us in time")
        self._wake.set()

    # Following the log, and checkpoints.

    def _live(self) -> None:
        attempt = 0
        while not self._closing.is_set():
            self._wake.clear()
            try:
                if self._fence is None:
                    with self._writing:
                        if self._fence is None:
                            self._catch_up(self._changed)
                elif self._checkpoint_due():
                    self._write_checkpoint()
            except (StoreError, RefusedError, FencedError) as error:
                self._told(error)
                self._closing.wait(jittered(self._chance, attempt, base_s=0.1, cap_s=2.0))
                attempt += 1
            else:
                attempt = 0
                self._wake.wait(FOLLOW_EVERY_S)

    def _told(self, error: StoreError | RefusedError | FencedError) -> None:
        if isinstance(error, RefusedError):
            error = self._zk.gone(error)
        if isinstance(error, StoreError) and not error.retryable:
            if str(error) != str(self._fault):
                log.error("the state in ZooKeeper cannot be read", reason=str(error))
            self._fault = error

    def _changed(self, _: object) -> None:
        self._wake.set()

    def _catch_up(self, changed: Callable[[object], None] | None = None) -> None:
        """Takes in every frame that is there; ``changed`` is called when there is more."""
        self._zk.prepare()
        checkpoint = self._nodes.checkpoint(changed)
        if checkpoint != self._checkpoint:
            self._checkpoint, self._log_bytes = checkpoint, 0
        if self._gone_back(checkpoint):
            log.warning("ZooKeeper's data are older than they were; taking them as they are now", url=self._zk.url)
            self._zk.notices.append(
                f"state.zookeeper {self._zk.url}: its data were older than before; it was read anew"
            )
            self._copy = None
        if self._copy is None or (checkpoint is not None and checkpoint.frame > self._applied):
            self._load(checkpoint)
        followed = self._applied
        while (head := self._nodes.head(self._applied + 1, changed)) is not None:
            number = self._applied + 1
            try:
                packed = self._nodes.frame(number, head)
                changes = unpack(packed)
            except ValueError as error:
                raise self._nodes.damaged_frame(number, error) from error
            self._take_in(head.id, changes, len(packed))
        if self._applied == followed:
            self._check_whole()
        self._fault = None

    def _check_whole(self) -> None:
        """Raises StoreError where somebody removed the next frame, and with it the way to those after it."""
        newest = self._nodes.newest()
        if newest <= self._applied or self._nodes.head(self._applied + 1) is not None:
            return
        if self._nodes.checkpoint() == self._checkpoint:  # else it was the leader that removed it
            raise StoreError(
                f"state.zookeeper {self._zk.url}: frame {self._applied + 1} is gone, though there is {newest}; "
                "restore ZooKeeper's data, or name another path to start anew"
            )

    def _gone_back(self, checkpoint: Checkpoint | None) -> bool:
        """Whether the log is no more the one that the copy was made from, as after a restored backup."""
        if self._last_id is None or (checkpoint is not None and checkpoint.frame >= self._applied):
            return False
        head = self._nodes.head(self._applied)
        return head is None or head.id != self._last_id

    def _load(self, checkpoint: Checkpoint | None) -> None:
        copy = Copy()
        if checkpoint is not None:
            data = self._nodes.snapshot(checkpoint)
            try:
                for change in unpack_groups(data):
                    copy.apply(change)
            except ValueError as error:
                raise self._nodes.damaged_snapshot(checkpoint, error) from error
        with self._lock:
            self._copy, self._applied = copy, checkpoint.frame if checkpoint is not None else 0
            self._last_id = None

    def _checkpoint_due(self) -> bool:
        last, pieces = (self._checkpoint.frame, self._checkpoint.pieces) if self._checkpoint is not None else (0, 0)
        # A checkpoint rewrites everything, so a large one must be worth it.
        worth_bytes = max(CHECKPOINT_MIB << 20, pieces * NODE_BYTES // 2)
        if self._applied - last >= CHECKPOINT_FRAMES or self._log_bytes >= worth_bytes:
            return True
        wait_s = max(SECRETS_S, float(pieces))
        return self._stale_since is not None and time.monotonic() - self._stale_since >= wait_s

    def _write_checkpoint(self) -> None:
        """Beside the writing of frames: what it holds is frozen at its beginning."""
        with self._writing:
            fence = self._fence_or_raise()
            frame, log_bytes = self._applied, self._log_bytes
            with self._reading() as copy:
                frozen = copy.frozen()
                copy.stale_secrets = False
            self._stale_since = None
        try:
            data = pack_groups(frozen.changes())
            name = f"{frame:012}-{self._chance.uuid4().hex()}"
            self._checkpoint = self._nodes.put_snapshot(name, frame, data, fence)
            self._log_bytes = max(0, self._log_bytes - log_bytes)
            self._nodes.sweep(self._checkpoint, fence)
        except (StoreError, RefusedError, FencedError):
            with self._lock:
                copy.stale_secrets |= frozen.stale_secrets
            raise
        log.debug("wrote a checkpoint", frame=frame, bytes=len(data))


class _Reading:
    """The copy, while nothing changes it."""

    def __init__(self, lock: threading.Lock, copy: Copy) -> None:
        self._lock = lock
        self._copy = copy

    def __enter__(self) -> Copy:
        self._lock.acquire()
        return self._copy

    def __exit__(self, *_: object) -> None:
        self._lock.release()
