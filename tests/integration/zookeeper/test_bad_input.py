"""A ZooKeeper that is not there, is none, has no leader, is somebody else's, or holds what we cannot have written."""

from __future__ import annotations

import http.server
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import msgspec
import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from framework.core.effects import SaveTenant
from framework.edges.zookeeper import changes, store
from framework.edges.zookeeper.connection import LAYOUT, ZooKeeperConnection
from framework.edges.zookeeper.nodes import FrameHead
from framework.errors import InputError, StoreError, StoreFullError
from framework.local import zookeeper
from framework.local.cluster import free_port
from framework.runtime.chance import SystemChance
from tests.fakes import samples
from tests.fakes.zookeeper_server import ZooKeeperFactory
from tests.integration.zookeeper.clients import CLUSTER, Client, clients, until
from tests.integration.zookeeper.test_election import commit_when_possible
from tests.integration.zookeeper.test_log import raw

TIMEOUT_S = 20.0
AUTH = "butlery:hunter2hunter2"


@contextmanager
def connected(url: str, cluster: str = CLUSTER, auth: str | None = None) -> Iterator[ZooKeeperConnection]:
    with closing(ZooKeeperConnection(url, cluster, auth, 4.0, SystemChance())) as connection:
        yield connection


def refusal(url: str, cluster: str = CLUSTER, auth: str | None = None) -> str:
    """What is said of a chroot that cannot be used; never the password."""
    with connected(url, cluster, auth) as connection, pytest.raises(StoreError) as caught:
        connection.check(TIMEOUT_S)
    assert not caught.value.retryable
    assert "hunter2" not in str(caught.value)
    assert url in str(caught.value)
    return str(caught.value)


def used(url: str, auth: str | None = None) -> None:
    """Makes a chroot of ours with a tenant in it."""
    with closing_client(url, auth) as client:
        client.lead()
        client.store.commit([SaveTenant(samples.tenant())])
        client.store.commit([SaveTenant(samples.tenant("other"))])


@contextmanager
def closing_client(url: str, auth: str | None = None) -> Iterator[Client]:
    client = Client(url, auth=auth)
    try:
        yield client
    finally:
        client.close()


# Somebody else's.


def test_nodes_of_others_are_left_alone(zookeeper_url: str) -> None:
    with raw(zookeeper_url) as see:
        see.create("/kafka/brokers", b"x", makepath=True)
        assert "holds somebody else's nodes (kafka); name another path" in refusal(zookeeper_url)
        assert see.get_children("/") == ["kafka"]


def test_data_of_others_are_left_alone(zookeeper_url: str) -> None:
    for data in (b"theirs", b"{}", b"[]", b'"text"', b"\xff"):
        with raw(zookeeper_url) as see:
            see.ensure_path("/")
            see.set("/", data)
            assert "somebody else's nodes (data of its own)" in refusal(zookeeper_url)
            assert see.get("/")[0] == data


def test_nodes_of_others_among_ours_are_left_alone(zookeeper_url: str) -> None:
    used(zookeeper_url)
    theirs = ["/election/0000000000", "/parts/theirs", "/snapshots/theirs/x"]
    with raw(zookeeper_url) as see:
        for path in theirs:
            see.create(path, b"x", makepath=True)
        with closing_client(zookeeper_url) as client:
            client.lead()
            client.store.commit([SaveTenant(samples.tenant())])
            (candidate,) = set(see.get_children("/election")) - {"0000000000"}
            assert re.fullmatch(r"[0-9a-f]{32}-\d{10}", candidate)
        assert all(see.exists(path) for path in theirs)


def test_an_empty_node_is_taken(zookeeper_url: str) -> None:
    with raw(zookeeper_url) as see:
        see.ensure_path("/")
    used(zookeeper_url)


def test_two_clusters_on_one_chroot_are_told_apart(zookeeper_url: str) -> None:
    used(zookeeper_url)
    said = refusal(zookeeper_url, cluster="butlery at http://elsewhere:5050")
    assert f"is the state of another cluster, '{CLUSTER}'; this one is 'butlery at http://elsewhere:5050'" in said
    used(zookeeper_url)


def test_a_layout_of_another_version_is_refused(zookeeper_url: str) -> None:
    used(zookeeper_url)
    with raw(zookeeper_url) as see:
        marker = msgspec.json.decode(see.get("/")[0])
        see.set("/", msgspec.json.encode({**marker, "butlery_layout": LAYOUT + 1}))
    assert f"has layout {LAYOUT + 1}, but this version of butlery reads {LAYOUT}" in refusal(zookeeper_url)


# Who may.


def test_with_a_password_everything_is_its_users_alone(zookeeper_url: str) -> None:
    used(zookeeper_url, AUTH)
    with raw(zookeeper_url) as see, pytest.raises(NoAuthError):
        see.get("/")
    assert "is closed to us; set state.zookeeper_auth_file to its user's" in refusal(zookeeper_url)
    said = refusal(zookeeper_url, auth="butlery:hunter2wrong")
    assert "is closed to us; use its user and password in state.zookeeper_auth_file" in said
    used(zookeeper_url, AUTH)


def test_every_node_has_the_users_acl(zookeeper_url: str) -> None:
    with closing_client(f"{zookeeper_url}/below/here", AUTH) as client:
        client.lead()
        client.store.commit([SaveTenant(samples.tenant())])
        kazoo: KazooClient = client.connection._client
        chroot = client.connection.chroot
        frame = f"{chroot}/log/0000000000/000000000001"
        parts = frame.split("/")
        paths = ["/".join(parts[:depth]) for depth in range(2, len(parts) + 1)]
        for path in (*paths, f"{chroot}/election", f"{chroot}/epoch"):
            (acl,) = kazoo.get_acls(path)[0]
            assert (acl.id.scheme, acl.perms) == ("digest", 31), path
        (candidate,) = kazoo.get_children(f"{chroot}/election")
        assert kazoo.get_acls(f"{chroot}/election/{candidate}")[0][0].id.scheme == "digest"


def test_nodes_that_are_open_to_all_are_named(zookeeper_url: str) -> None:
    used(zookeeper_url)
    said = refusal(zookeeper_url, auth=AUTH)
    assert "is not its user's alone" in said
    assert "open to world:anyone" in said


@pytest.mark.parametrize("auth", ["hunter2", ":hunter2", "butlery:"])
def test_half_of_a_password_is_refused(zookeeper_url: str, auth: str) -> None:
    with pytest.raises(InputError, match=r"state\.zookeeper_auth_file: must hold USER:PASSWORD"):
        ZooKeeperConnection(zookeeper_url, CLUSTER, auth, 4.0, SystemChance())


@pytest.mark.parametrize("url", ["http://h:1/b", "zk://h:2181", "zk://h:2181/", "zk://user:pass@h:2181/b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"state\.zookeeper: must be zk://HOST:PORT"):
        ZooKeeperConnection(url, CLUSTER, None, 4.0, SystemChance())


# Damaged.

LOG = "/log/0000000000"
DAMAGES: dict[str, tuple[Callable[[KazooClient], object], str]] = {
    "a frame is gone": (lambda zk: zk.delete(f"{LOG}/000000000001"), "frame 1 is gone, though there is 2"),
    "a frame of noise": (lambda zk: zk.set(f"{LOG}/000000000001", b"\xc1noise"), f"{LOG}/000000000001 is damaged"),
    "a frame cut off": (lambda zk: zk.set(f"{LOG}/000000000002", _cut(zk)), f"{LOG}/000000000002 is damaged"),
    "an empty frame": (lambda zk: zk.set(f"{LOG}/000000000001", b""), f"{LOG}/000000000001 is damaged"),
    "a part is gone": (
        lambda zk: zk.set(f"{LOG}/000000000001", msgspec.msgpack.encode(FrameHead(b"x", 1, 3, b""))),
        "/parts/000000000001-78-0000 is damaged (is gone)",
    ),
    "a frame that unpacks to too much": (
        lambda zk: zk.set(f"{LOG}/000000000001", msgspec.msgpack.encode(FrameHead(b"x", 1, 0, _bomb()))),
        f"{LOG}/000000000001 is damaged (cut off, or too large)",
    ),
    "a checkpoint of noise": (lambda zk: zk.set("/checkpoint", b"noise"), "/checkpoint is damaged"),
    "a checkpoint of nothing": (
        lambda zk: zk.set("/checkpoint", msgspec.msgpack.encode(("none", 9, 1, 0))),
        "/snapshots/none/0000 is damaged (is gone)",
    ),
    "an epoch of noise": (lambda zk: zk.set("/epoch", b"noise"), "/epoch is damaged"),
    "nodes of others among the frames": (lambda zk: zk.create(f"{LOG}/theirs", b""), f"{LOG} is damaged"),
    "the log is gone": (lambda zk: zk.delete("/log", recursive=True), "/log gone; restore ZooKeeper's data"),
}


def _cut(zk: KazooClient) -> bytes:
    head = msgspec.msgpack.decode(zk.get(f"{LOG}/000000000002")[0], type=FrameHead)
    return msgspec.msgpack.encode(msgspec.structs.replace(head, data=head.data[:-3]))


def _bomb() -> bytes:
    return changes.pack([changes.PutToken(samples.TEAM, "0" * 3_000_000)])


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_named_and_nothing_is_written_over_it(
    zookeeper_url: str, damage: Callable[[KazooClient], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(zookeeper_url)
    with raw(zookeeper_url) as see:
        damage(see)
        monkeypatch.setattr(changes, "MAX_GROUP_MIB", 2)
        before = see.get_children("/log") if see.exists("/log") else None
        with clients(zookeeper_url, "one") as (one,):
            with pytest.raises(StoreError) as caught:
                one.lead()
            assert said in str(caught.value)
            assert not caught.value.retryable
        assert (see.get_children("/log") if see.exists("/log") else None) == before


def test_who_follows_a_log_with_a_gap_says_so_until_a_checkpoint_is_past_it(
    zookeeper_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clients(zookeeper_url, "one", "two") as (one, two), raw(zookeeper_url) as see:

        def write() -> None:
            one.store.commit([SaveTenant(samples.tenant())])

        def gap_told() -> bool:
            return any("is gone, though there is" in notice for notice in two.store.notices)

        one.lead()
        for _ in range(3):
            write()
        until(lambda: two.store.revision == one.store.revision, "the follower's copy")
        see.delete(f"{LOG}/{one.store.revision:012}")
        write()
        until(gap_told, "the follower's notice")
        monkeypatch.setattr(store, "CHECKPOINT_FRAMES", 2)
        write()
        until(lambda: two.store.revision == one.store.revision and not gap_told(), "the follower's recovery")


def test_a_damaged_piece_of_a_checkpoint_is_named(zookeeper_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHECKPOINT_FRAMES", 2)
    with raw(zookeeper_url) as see:
        with closing_client(zookeeper_url) as client:
            client.lead()
            for weight in range(3):
                client.store.commit([SaveTenant(samples.tenant(weight=weight))])
            until(lambda: bool(see.get("/checkpoint")[0]), "a checkpoint")
        (name,) = see.get_children("/snapshots")
        see.set(f"/snapshots/{name}/0000", b"noise")
        with clients(zookeeper_url, "one") as (one,):
            with pytest.raises(StoreError, match=f"/snapshots/{name} is damaged"):
                one.lead()
            until(lambda: bool(one.store.notices), "the follower's word of it")
            with pytest.raises(StoreError, match="is damaged"):
                one.store.load()


def test_what_can_be_made_again_is_made_again_and_told(zookeeper_url: str) -> None:
    used(zookeeper_url)
    with raw(zookeeper_url) as see:
        see.delete("/parts")
        see.delete("/election", recursive=True)
    with clients(zookeeper_url, "one") as (one,):
        one.lead()
        assert len(one.store.load().tenants) == 2
        assert sorted(notice.partition("was gone")[0][-12:].strip() for notice in one.store.notices) == [
            f"{one.connection.chroot}/election"[-11:],
            f"{one.connection.chroot}/parts"[-11:],
        ]


# Not there.


def test_no_zookeeper_is_told_by_address() -> None:
    port = free_port()
    with connected(f"zk://127.0.0.1:{port}/b") as connection, pytest.raises(StoreFullError) as caught:
        connection.check(0.3)
    assert f"127.0.0.1:{port}: cannot be reached (Connection refused)" in str(caught.value)


def test_a_web_server_is_no_zookeeper() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"127.0.0.1:{server.server_address[1]}"
        try:
            with connected(f"zk://{address}/b") as connection, pytest.raises(StoreFullError) as caught:
                connection.check(0.5)
        finally:
            server.shutdown()
            thread.join()
    assert f"{address}: is no ZooKeeper" in str(caught.value)


def test_an_ensemble_without_a_leader_is_told_as_such(own_zookeeper: ZooKeeperFactory) -> None:
    servers = own_zookeeper(3)
    servers[0].kill9()
    servers[1].kill9()
    until(lambda: not servers[2].serving(), "the end of the quorum")
    url = zookeeper.url(servers, "/b")
    with connected(url) as connection:
        with pytest.raises(StoreFullError) as caught:
            connection.check(0.5)
        assert f"{servers[2].address}: is up but has no leader" in str(caught.value)
        servers[1].restart()
        connection.check(TIMEOUT_S)


def test_a_session_that_is_granted_otherwise_is_told(zookeeper_url: str) -> None:
    with closing(ZooKeeperConnection(zookeeper_url, CLUSTER, None, 60.0, SystemChance())) as connection:
        connection.check(TIMEOUT_S)
        (notice,) = connection.notices
        assert "ZooKeeper grants 10 s where 60 s were asked for" in notice


def test_a_scheduler_waits_for_a_zookeeper_that_comes_later(own_zookeeper: ZooKeeperFactory) -> None:
    (server,) = own_zookeeper()
    server.stop()
    with clients(zookeeper.url([server], "/b"), "one") as (one,):
        with pytest.raises(StoreFullError, match="is not read yet"):
            one.store.load()
        server.start()
        assert one.lead() == 1
        assert one.store.load().tenants == []


def test_hosts_that_are_off_do_not_use_up_the_session(own_zookeeper: ZooKeeperFactory) -> None:
    """As a machine that is off, a socket whose queue is full answers nothing to those that connect."""
    (server,) = own_zookeeper()
    with ExitStack() as stack:
        hung = []
        for _ in range(2):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            hung.append(f"127.0.0.1:{listener.getsockname()[1]}")
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
        url = f"zk://{','.join(hung)},{server.address}/b"
        with clients(url, "one", session_timeout_s=8) as (one,):
            one.lead()
            for weight in (1, 2, 3):
                server.restart()
                commit_when_possible(one, weight)  # and not as one who was deposed
