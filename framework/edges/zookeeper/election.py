"""Who leads: the candidate with the lowest number, once it has written its leadership into the node ``epoch``.

Every such writing gives that node a new version, which the store's writes check: so the leadership begins for all at
once, and ends for the one before.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress

import msgspec

from framework.edges.zookeeper.connection import Check, Put, RefusedError, ZooKeeperConnection
from framework.edges.zookeeper.store import ZooKeeperStore
from framework.errors import DeposedError, StoreError, StoreFullError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, Leader, jittered

log = get_logger(__name__)

LOOK_EVERY_S = 2.0
"""How often a candidate looks at the others though no watch told it of a change."""

_CANDIDATE = re.compile(r"[0-9a-f]{32}-(\d{10})")  # whose it is, and ZooKeeper's number


class Candidate(msgspec.Struct, frozen=True):
    """What the others are told of us."""

    url: str  # of our API
    name: str  # of our machine and process
    version: str


class _Epoch(msgspec.Struct, frozen=True):
    """The data of the node ``epoch``."""

    epoch: int
    node: str  # the candidate's
    url: str
    name: str
    version: str
    since: float


_decode_epoch = msgspec.json.Decoder(_Epoch).decode


class ZooKeeperElection:
    """``framework.ports.Election``; for one event loop. ``lead`` and ``deposed`` are to be awaited in turn."""

    def __init__(
        self, connection: ZooKeeperConnection, store: ZooKeeperStore, me: Candidate, clock: Clock, chance: Chance
    ) -> None:
        self._zk = connection
        self._store = store
        self._me = me
        self._clock = clock
        self._chance = chance
        self._prefix = f"{chance.uuid4().hex()}-"  # by which we know a candidate of ours whose answer was lost
        self._node: str | None = None
        self._leader: Leader | None = None
        self._others: tuple[str, ...] = ()
        self._over: str | None = "it does not lead yet"  # why we do not lead
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        connection.on_change(self._connection_changed)

    @property
    def leader(self) -> Leader | None:
        return self._leader

    @property
    def standbys(self) -> int:
        """How many others stand for election, as last heard."""
        return len(self._others)

    @property
    def connected(self) -> bool:
        return self._zk.connected

    async def lead(self) -> int:
        """Raises StoreError where the chroot is somebody else's or damaged."""
        self._loop = asyncio.get_running_loop()
        attempt = 0
        standing: asyncio.Future[int | None] | None = None
        try:
            while True:
                self._woken.clear()
                standing = asyncio.ensure_future(asyncio.to_thread(self._stand))
                try:
                    epoch = await asyncio.shield(standing)
                except RefusedError as error:
                    raise self._zk.gone(error) from error
                except (StoreFullError, DeposedError) as error:
                    log.debug("standing for election", reason=str(error))
                    await self._clock.sleep(jittered(self._chance, attempt, base_s=0.05, cap_s=1.0))
                    attempt += 1
                    continue
                attempt = 0
                if epoch is not None:
                    return epoch
                await self._until_woken()
        except asyncio.CancelledError:
            if standing is not None:
                await asyncio.wait([standing])  # a thread cannot be cancelled, and might yet be elected
            await self.step_down()
            raise

    async def deposed(self) -> str:
        self._loop = asyncio.get_running_loop()
        while self._over is None:
            self._woken.clear()
            with suppress(StoreFullError):  # suspended
                await asyncio.to_thread(self._look_after)
            if self._over is None:
                await self._until_woken()
        return self._over

    async def confirm(self) -> None:
        try:
            await asyncio.to_thread(self._confirm)
        except StoreFullError as error:
            raise UnavailableError(str(error)) from error

    async def step_down(self) -> None:
        await asyncio.to_thread(self._store.give_up)
        self._end("it stepped down")
        await self._withdraw()

    async def close(self) -> None:
        """Stands no more; what it led is another's at once."""
        await self.step_down()

    # On threads.

    def _stand(self) -> int | None:
        """Our epoch where we have just been elected, None while another leads. Raises as calls of ZooKeeper do."""
        self._zk.prepare()
        names = self._candidates()
        if self._node not in names:
            mine = [name for name in names if name.startswith(self._prefix)]
            self._node = mine[0] if mine else self._stand_anew()
            names = self._candidates()
        record, version = self._epoch()
        self._others = tuple(name for name in names if name != self._node)
        self._leader = _leader_of(record) if record is not None and record.node in names else None
        node = self._node  # None where the session was lost meanwhile
        if node is None or names[:1] != [node]:
            return None
        if record is None or record.node != node:
            record, version = self._begin(node, record, version)
        self._over = None
        self._store.take_over(record.epoch, version, self._end)
        self._leader = _leader_of(record)
        log.info("elected", epoch=record.epoch)
        return record.epoch

    def _begin(self, node: str, before: _Epoch | None, version: int) -> tuple[_Epoch, int]:
        epoch = before.epoch + 1 if before is not None else 1
        me = self._me
        record = _Epoch(epoch, node, me.url, me.name, me.version, self._clock.now())
        data = msgspec.json.encode(record)
        candidate = Check(self._zk.path("election", node), 0)
        try:
            self._zk.transact(candidate, Put(self._zk.path("epoch"), data, version))
        except RefusedError as error:  # our place is gone with its session, or its answer was lost
            raise DeposedError(f"state.zookeeper {self._zk.url}: {error.path} changed meanwhile") from error
        return record, version + 1

    def _stand_anew(self) -> str:
        data = json.dumps({"url": self._me.url, "name": self._me.name, "version": self._me.version}).encode()
        path = self._zk.create_ephemeral(self._zk.path("election", self._prefix), data)
        return path.rpartition("/")[2]

    def _look_after(self) -> None:
        """Whether we still stand and the leadership is still ours; ends it where not."""
        try:
            names = self._candidates()
            record, _ = self._epoch()
        except RefusedError:  # somebody removed all of it
            names, record = [], None
        self._others = tuple(name for name in names if name != self._node)
        if self._node not in names or record is None or record.node != self._node:
            self._store.give_up()
            self._end("its place in the election is gone")

    def _confirm(self) -> None:
        if self._over is None:
            self._zk.sync()
            self._look_after()
        if self._over is not None:
            raise DeposedError(f"state.zookeeper {self._zk.url}: this scheduler does not lead: {self._over}")

    def _candidates(self) -> list[str]:
        """Names of the candidates' nodes, who stood first before the others; other nodes stand for nobody."""
        found = [_CANDIDATE.fullmatch(name) for name in self._zk.children(self._zk.path("election"), self._changed)]
        return [each[0] for each in sorted(filter(None, found), key=lambda each: each[1])]

    def _epoch(self) -> tuple[_Epoch | None, int]:
        path = self._zk.path("epoch")
        data, version = self._zk.watched(path, self._changed)
        try:
            return (_decode_epoch(data) if data else None), version
        except ValueError as error:
            raise StoreError(
                f"state.zookeeper {self._zk.url}: node {path} is damaged ({error}); restore ZooKeeper's data, or name "
                "another path to start anew"
            ) from error

    def _changed(self, _: object) -> None:
        self._wake()

    def _connection_changed(self, lost: bool) -> None:
        if lost:
            self._node = None
        self._wake()

    def _end(self, reason: str) -> None:
        if self._over is None:
            self._over = reason
            self._leader = None
        self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._woken.set)

    # On the event loop.

    async def _until_woken(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), LOOK_EVERY_S)

    async def _withdraw(self) -> None:
        node, self._node = self._node, None
        if node is not None:
            with suppress(StoreError):  # then it goes with the session
                await asyncio.to_thread(self._zk.delete, self._zk.path("election", node))


def _leader_of(record: _Epoch) -> Leader:
    return Leader(record.url, record.name, record.version, record.epoch, record.since)
