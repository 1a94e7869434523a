"""What the store in ZooKeeper does beyond the contract: its nodes, lost answers, crashes, and those that follow it."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from framework.core.effects import Save, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import RequestId
from framework.core.tasks import RequestState
from framework.edges.zookeeper import copy, nodes, store
from framework.edges.zookeeper.connection import Check, Op, ZooKeeperConnection
from framework.errors import StoreFullError
from framework.local import zookeeper
from framework.local.zookeeper import ZooKeeperServer
from framework.ports import JobQuery
from tests.contract.store_contract import plain
from tests.fakes import samples
from tests.fakes.zookeeper_server import ZooKeeperFactory
from tests.integration.zookeeper.clients import Client, clients, until


@contextmanager
def raw(url: str) -> Iterator[KazooClient]:
    """ZooKeeper as anybody sees it, from the chroot on."""
    hosts, _, chroot = url.removeprefix("zk://").partition("/")
    client = KazooClient(hosts=hosts)
    try:
        client.start(30)
        client.chroot = f"/{chroot}"  # only now, as it need not be there yet
        yield client
    finally:
        client.stop()
        client.close()


def every_node(client: KazooClient, path: str = "/") -> dict[str, tuple[int, int]]:
    """Bytes and number of children of each; those that go meanwhile are left out."""
    try:
        data, stat = client.get(path)
        names = client.get_children(path)
    except NoNodeError:
        return {}
    found = {path: (len(data), stat.numChildren)}
    for name in names:
        found.update(every_node(client, f"{path.rstrip('/')}/{name}"))
    return found


def noise(size: int) -> str:
    """Text that cannot be compressed by much."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


def reopened(client: Client, url: str) -> Client:
    client.close()
    again = Client(url, "again")
    again.lead()
    return again


# Nodes.


def test_what_is_large_is_split_and_comes_back_whole(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one", "two") as (one, two), raw(zookeeper_url) as see:
        one.lead()
        builds = {f"r{n}": samples.spec(command=noise(300_000 * n), secrets={"T": noise(1000)}) for n in (1, 2, 3)}
        one.store.commit((), [samples.new(samples.request(name), build) for name, build in builds.items()])
        frame = [SaveTenant(samples.tenant(f"team-{n:05}-{os.urandom(120).hex()}")) for n in range(3000)]
        one.store.commit(frame)
        found = every_node(see)
        assert max(size for size, _ in found.values()) <= 256 * 1024
        assert sum(path.startswith("/parts/") for path in found) > 8
        until(lambda: two.store.revision == one.store.revision, "the frames")
        again = reopened(one, zookeeper_url)
        for follower in (two, again):
            assert len(follower.store.load().tenants) == 3000
            for name, build in builds.items():
                assert follower.store.payload(RequestId(name)) == build
        again.vanish()


def test_the_log_is_bounded_by_checkpoints_in_small_directories(
    zookeeper_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "SHARD_FRAMES", 8)
    monkeypatch.setattr(nodes, "NODE_BYTES", 2000)
    monkeypatch.setattr(store, "CHECKPOINT_FRAMES", 30)
    with clients(zookeeper_url, "one", "two") as (one, two), raw(zookeeper_url) as see:
        one.lead()
        for number in range(1, 201):
            one.store.commit([SaveTenant(samples.tenant(f"team-{number % 7}", number))])
            if number % 50 == 0:
                one.store.commit((), [samples.new(samples.request(f"r{number}", job=noise(3000)))])
        until(lambda: len(every_node(see)) < 60, f"fewer nodes than {every_node(see)}")
        found = every_node(see)
        assert max(children for _, children in found.values()) <= 8
        assert sum(path.count("/") == 2 and path.startswith("/snapshots/") for path in found) == 1
        until(lambda: two.store.revision == one.store.revision == 204, "the frames")
        before = plain(one.store.load())
        again = reopened(one, zookeeper_url)
        assert plain(again.store.load()) == plain(two.store.load()) == before
        again.vanish()


def test_one_who_falls_behind_a_checkpoint_starts_from_it(zookeeper_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHECKPOINT_FRAMES", 5)
    with clients(zookeeper_url, "one", "two") as (one, two), raw(zookeeper_url) as see:
        one.lead()
        with two.store._writing:  # follows nothing meanwhile
            for number in range(1, 31):
                one.store.commit([SaveTenant(samples.tenant(weight=number))])
            until(lambda: not see.exists("/log/0000000000/000000000005"), "the sweep")
        until(lambda: two.store.revision == 30, "the frames")
        assert plain(two.store.load()) == plain(one.store.load())


def test_what_a_crash_left_lying_is_swept_up(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one", "two") as (one, two), raw(zookeeper_url) as see:
        one.lead()
        one.store.commit([SaveTenant(samples.tenant())])
        see.create(f"/parts/000000000002-{'0' * 32}-0000", b"half a frame")
        half = f"/snapshots/000000000001-{'0' * 32}"
        see.create(half, b"")
        see.create(f"{half}/0000", b"half a checkpoint")
        one.close()
        two.lead()
        assert see.get_children("/parts") == see.get_children("/snapshots") == []
        assert len(two.store.load().tenants) == 1


def test_secrets_of_ended_builds_are_gone_with_the_next_checkpoint(
    zookeeper_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SECRETS_S", 0.2)
    monkeypatch.setattr(nodes, "SHARD_FRAMES", 2)
    with clients(zookeeper_url, "one", "two") as (one, two), raw(zookeeper_url) as see:
        one.lead()
        requests = [samples.request("r1"), samples.request("r2")]
        for request in requests:
            one.store.commit((), [samples.new(request, samples.spec(secrets={"T": f"hunter2-{request.id}"}))])
        one.store.commit(samples.ended(requests[0]))
        until(lambda: two.store.revision >= 3, "the frames")
        for client in (one, two):
            build = client.store.payload(requests[0].id)
            assert build is not None
            assert build.secrets == {}
        until(lambda: not see.exists("/log/0000000000/000000000001"), "the checkpoint")
        until(lambda: two.store.revision == one.store.revision)
        again = reopened(one, zookeeper_url)
        kept = again.store.payload(requests[1].id)
        assert kept is not None
        assert kept.secrets == {"T": "hunter2-r2"}
        again.vanish()


def test_of_what_has_ended_the_newest_are_kept(zookeeper_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "KEPT_ENDED", 3)
    with clients(zookeeper_url, "one") as (one,):
        one.lead()
        requests = [samples.request(f"r{number}") for number in range(6)]
        one.store.commit((), [samples.new(request, key=f"k-{request.id}") for request in requests])
        for request in (requests[5], *requests[:4]):
            one.store.commit(samples.ended(request))
        assert [request.id for request in one.store.requests(JobQuery())] == ["r4", "r3", "r2", "r1"]
        assert one.store.tasks_of(RequestId("r0")) == []
        assert one.store.repeat_of(samples.TEAM, "k-r5", "d1") is None
        assert one.store.repeat_of(samples.TEAM, "k-r1", "d1") == "r1"


def test_too_much_at_once_is_refused(zookeeper_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with clients(zookeeper_url, "one") as (one,):
        one.lead()
        one.store.commit((), [samples.new(samples.request("r1"), samples.spec(command=noise(2 << 20)))])
        monkeypatch.setattr(store, "MAX_STATE_MIB", 2)
        with pytest.raises(StoreFullError, match="2 MiB of requests are kept, of at most 2"):
            one.store.commit((), [samples.new(samples.request("r2"))])
        monkeypatch.setattr(nodes, "MAX_FRAME_MIB", 1)
        with pytest.raises(StoreFullError, match="cannot be saved at once"):
            one.store.commit([SaveTenant(samples.tenant(noise(2 << 20)))])


# Answers that are lost.


class Trouble:
    """Has the writes of a connection fail as the plan says, as a network does."""

    def __init__(self, connection: ZooKeeperConnection, plan: Iterator[str]) -> None:
        self._transact = connection.transact
        self._plan = plan
        self._late: list[tuple[Op, ...]] = []
        connection.transact = self.transact  # type: ignore[method-assign]

    def transact(self, *ops: Op) -> None:
        if not isinstance(ops[0], Check):
            return self._transact(*ops)
        fate = next(self._plan, "well")
        if fate == "late":  # sent, and done only before the next one
            self._late.append(ops)
            raise StoreFullError("no answer")
        for late in self._late:
            try:
                self._transact(*late)
            except Exception:  # noqa: BLE001 - nobody hears of it
                continue
        self._late.clear()
        if fate == "unsent":
            raise StoreFullError("no connection")
        self._transact(*ops)
        if fate == "unanswered":
            raise StoreFullError("no answer")
        return None


FATES = st.lists(st.sampled_from(["well", "unsent", "unanswered", "late"]), max_size=40)
STEPS = st.lists(st.sampled_from(["commit", "submit", "submit large", "token", "hand over"]), min_size=1, max_size=14)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, fates=FATES, patience=st.integers(0, 3))
def test_nothing_is_lost_or_doubled_whatever_answers_are_lost(
    zookeeper_server: ZooKeeperServer, steps: list[str], fates: list[str], patience: int
) -> None:
    """A frame is tried until it is saved, as the loop does. A submission that was told to have failed has failed, but

    where the leadership went on to another before that was made sure of.
    """
    url = zookeeper.url([zookeeper_server], f"/trouble-{os.urandom(8).hex()}")
    with pytest.MonkeyPatch.context() as patch, clients(url, "one", "two") as (leads, follows):
        patch.setattr(store, "CHECKPOINT_FRAMES", 4)
        patch.setattr(nodes, "SHARD_FRAMES", 3)
        leads.lead()
        leads.store.commit([SaveTenant(samples.tenant())])
        plan = iter(fates)
        for client in (leads, follows):
            Trouble(client.connection, plan)
        taken: dict[int, str] = {}
        doubtful: set[str] = set()  # told to have failed just before a handing over
        failed: set[str] = set()
        token, weight = None, 100
        for number, step in enumerate([*steps, "commit"]):
            if step == "commit":
                weight = number
                _insist(partial(leads.store.commit, [SaveTenant(samples.tenant(weight=number))]))
                failed.clear()
            elif step == "token":
                token = f"{number:064}"
                _insist(partial(leads.store.set_token, samples.TEAM, token))
                failed.clear()
            elif step == "hand over":
                asyncio.run(leads.election.step_down())
                leads, follows = follows, leads
                leads.lead()
                doubtful |= failed
            else:
                build = samples.spec(command=noise(450_000) if step == "submit large" else "true")
                for attempt in range(patience + 1):
                    request_id = f"r{number:03}-{attempt}"
                    new = samples.new(samples.request(request_id), build, key=f"k{number}")
                    try:
                        (answer,) = leads.store.commit((), [new])
                    except StoreFullError:
                        failed.add(request_id)
                        continue
                    assert answer == request_id  # not that of a try that was told to have failed
                    taken[number] = request_id
                    failed.clear()
                    break
        until(lambda: follows.store.revision == leads.store.revision, "the frames")
        before = plain(leads.store.load())
        leads.close()
        follows.lead()
        loaded = follows.store.load()
        assert plain(loaded) == before
        live = {str(request.id) for request in loaded.requests}
        assert live >= set(taken.values())
        assert live - set(taken.values()) <= doubtful
        (record,) = loaded.tenants
        assert (record.tenant.weight, record.token_sha256) == (weight, token)


def _insist(write: Callable[[], object]) -> None:
    while not _tried(write):
        pass


def _tried(write: Callable[[], object]) -> bool:
    try:
        write()
    except StoreFullError:
        return False
    return True


# Crashes of ZooKeeper.


def test_kill_9_of_zookeeper_amid_commits_loses_and_doubles_nothing(own_zookeeper: ZooKeeperFactory) -> None:
    (server,) = own_zookeeper(tick_ms=2000)  # grants 40 s, so that no slow restart costs a leadership
    url = zookeeper.url([server], "/b")
    with clients(url, "one", "two", session_timeout_s=40) as (one, two):
        one.lead()
        request = samples.request("r1", state=RequestState.RUNNING)
        one.store.commit((), [samples.new(request)])
        done = threading.Event()
        promised: list[int] = []

        def write() -> None:
            for number in range(1, 100_000):
                request.losses = number
                frame: list[Save] = [SaveTask(samples.task(request, number)), SaveRequest(request)]
                while not _tried(partial(one.store.commit, frame)):
                    done.wait(0.02)
                promised.append(number)
                if done.is_set():
                    return

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for crash in range(1, 4):
                until(lambda crash=crash: len(promised) > crash * 60, "commits")  # type: ignore[misc]
                server.kill9()
                server.restart()
        finally:
            done.set()
            writer.join(60)
        assert not writer.is_alive()
        assert promised == list(range(1, len(promised) + 1))
        revision = one.store.revision
        with closing(ZooKeeperConnection(url, "another", None, 4.0, one.store._chance)) as look:
            until(lambda: look.connected)
            names = look.children(look.path("log", "0000000000"))
        assert len(names) == min(revision, nodes.SHARD_FRAMES - 1)
        until(lambda: two.store.revision == revision, "the frames", 60)  # a dead connection is seen within its 40 s
        (loaded,) = two.store.load().requests
        assert loaded.losses == len(promised)
        assert len(two.store.tasks_of(request.id)) == len(promised)
        # One frame for each, and at most an empty one for each crash.
        assert len(promised) + 1 <= revision <= len(promised) + 4


def test_a_zookeeper_that_was_restored_from_a_backup_is_read_anew(
    own_zookeeper: ZooKeeperFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server,) = own_zookeeper()
    with clients(zookeeper.url([server], "/b"), "one", "two", session_timeout_s=8) as (one, two):
        one.lead()
        one.store.commit([SaveTenant(samples.tenant(weight=1))])
        server.stop()
        backup = server.directory / "backup"
        shutil.copytree(server.directory / "data", backup)
        server.start()
        for weight in (2, 3, 4):
            while not _tried(partial(one.store.commit, [SaveTenant(samples.tenant(weight=weight))])):
                time.sleep(0.05)
        until(lambda: two.store.revision == 4, "the frames")
        one.vanish()
        server.stop()
        shutil.rmtree(server.directory / "data")
        backup.rename(server.directory / "data")
        server.start()
        # ZooKeeper itself keeps out a session that has seen more than it has, until it has as much again.
        with clients(two.connection.url, "three", session_timeout_s=2) as (three,):
            three.lead()
            assert [record.tenant.weight for record in three.store.load().tenants] == [1]
            until(
                lambda: (
                    _tried(lambda: three.store.commit([SaveTenant(samples.tenant("new"))])) and two.connection.connected
                )
            )
            until(lambda: two.store.revision == three.store.revision, "the frames")
            assert plain(two.store.load()) == plain(three.store.load())
        assert "older than before" in two.store.notices[-1]
