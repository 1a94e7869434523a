"""Who leads, against a real ZooKeeper: handed over, taken over, suspended, lost, and fenced."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress

import pytest
from kazoo.client import KazooClient

from framework.core.effects import SaveTenant
from framework.errors import DeposedError, StoreError, StoreFullError, UnavailableError
from framework.local import zookeeper
from tests.fakes import samples
from tests.fakes.zookeeper_server import ZooKeeperFactory
from tests.integration.zookeeper.clients import CLUSTER, DEADLINE_S, Client, clients, until


def weights(client: Client) -> dict[str, int]:
    return {record.tenant.name: record.tenant.weight for record in client.store.load().tenants}


def commit(client: Client, weight: int, name: str = "team") -> None:
    client.store.commit([SaveTenant(samples.tenant(name, weight))])


def commit_when_possible(client: Client, weight: int) -> None:
    def committed() -> bool:
        with suppress(StoreFullError):
            commit(client, weight)
            return True
        return False

    until(committed, "a commit")


def expire(client: Client) -> None:
    """Ends the client's session as ZooKeeper would: by its id and password, which it does not tell the client of."""
    hosts = client.connection.url.removeprefix("zk://").partition("/")[0]
    twin = KazooClient(hosts=hosts, client_id=client.connection._client.client_id)
    twin.start(DEADLINE_S)
    twin.stop()
    twin.close()


async def test_one_leads_and_the_others_know_it(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one", "two") as (one, two):
        assert one.election.leader is None
        assert await one.election.lead() == 1
        waiting = asyncio.create_task(two.election.lead())
        await asyncio.to_thread(until, lambda: two.election.leader is not None)
        for client in (one, two):
            assert client.election.leader is not None
            assert (client.election.leader.url, client.election.leader.name) == (one.me.url, "one")
            assert (client.election.leader.version, client.election.leader.epoch) == ("1.2.3", 1)
        with pytest.raises(DeposedError, match="does not lead"):
            commit(two, 1)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting


async def test_stepping_down_hands_over_at_once(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one", "two", session_timeout_s=10) as (one, two):
        await one.election.lead()
        over = asyncio.create_task(one.election.deposed())
        waiting = asyncio.create_task(two.election.lead())
        await asyncio.to_thread(until, lambda: one.election.standbys == 1)
        commit(one, 1)
        await one.election.step_down()
        assert await asyncio.wait_for(over, 5) == "it stepped down"
        assert await asyncio.wait_for(waiting, 5) == 2  # sooner than any session could end
        assert weights(two) == {"team": 1}
        with pytest.raises(DeposedError):
            commit(one, 2)
        commit(two, 3)
        again = asyncio.create_task(one.election.lead())
        await asyncio.to_thread(until, lambda: one.election.leader is not None and one.election.leader.name == "two")
        await asyncio.to_thread(until, lambda: weights(one) == {"team": 3}, "the copy of the one that follows")
        await two.election.close()
        assert await asyncio.wait_for(again, 5) == 3


async def test_who_gives_up_waiting_leaves_no_place_behind(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one", "two", "three") as (one, two, three):
        await one.election.lead()
        over = asyncio.create_task(one.election.deposed())
        waiting = asyncio.create_task(two.election.lead())
        await asyncio.to_thread(until, lambda: one.election.standbys == 1)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(until, lambda: one.election.standbys == 0)
        third = asyncio.create_task(three.election.lead())
        await asyncio.to_thread(until, lambda: one.election.standbys == 1)
        await one.election.step_down()
        await over
        assert await asyncio.wait_for(third, 5) == 2


async def test_a_lost_session_deposes_and_a_new_election_leads_again(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one") as (one,):
        await one.election.lead()
        commit(one, 1)
        over = asyncio.create_task(one.election.deposed())
        await asyncio.to_thread(expire, one)
        assert "ended our session" in await asyncio.wait_for(over, DEADLINE_S)
        with pytest.raises(DeposedError):
            commit(one, 2)
        assert await asyncio.wait_for(one.election.lead(), DEADLINE_S) == 2
        commit(one, 3)
        assert weights(one) == {"team": 3}


async def test_a_leader_that_does_not_know_yet_is_fenced(zookeeper_url: str) -> None:
    """Its session lives, but its place in the election is gone and another was elected."""
    with clients(zookeeper_url, "one", "two") as (one, two):
        await one.election.lead()
        commit(one, 1)
        await one.election.confirm()
        (place,) = two.connection.children(two.connection.path("election"))
        two.connection.delete(two.connection.path("election", place))
        assert await asyncio.wait_for(two.election.lead(), DEADLINE_S) == 2
        with pytest.raises(DeposedError, match="its place in the election is gone"):
            await one.election.confirm()
        with pytest.raises(DeposedError):
            commit(one, 2)
        with pytest.raises(DeposedError):
            one.store.commit((), [samples.new(samples.request("r1"))])
        assert await asyncio.wait_for(one.election.deposed(), 5)
        commit(two, 3, "other")
        assert weights(two) == {"team": 1, "other": 3}
        await asyncio.to_thread(until, lambda: weights(one) == {"team": 1, "other": 3}, "the copy of the deposed one")


async def test_a_leader_whose_place_is_gone_finds_it_out(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one") as (one,):
        await one.election.lead()
        over = asyncio.create_task(one.election.deposed())
        (place,) = one.connection.children(one.connection.path("election"))
        one.connection.delete(one.connection.path("election", place))
        assert await asyncio.wait_for(over, DEADLINE_S) == "its place in the election is gone"
        with pytest.raises(DeposedError):
            commit(one, 2)


async def test_a_suspended_connection_deposes_nobody(own_zookeeper: ZooKeeperFactory) -> None:
    (server,) = own_zookeeper()
    with clients(zookeeper.url([server], "/b"), "one", session_timeout_s=8) as (one,):
        await one.election.lead()
        over = asyncio.create_task(one.election.deposed())
        commit(one, 1)
        await asyncio.to_thread(server.kill9)
        await asyncio.to_thread(until, lambda: not one.election.connected)
        with pytest.raises(StoreFullError, match="connection is lost"):
            commit(one, 2)
        with pytest.raises(UnavailableError, match="connection is lost"):
            await one.election.confirm()
        assert weights(one) == {"team": 1}  # reads go on
        await asyncio.to_thread(server.restart)
        await asyncio.to_thread(commit_when_possible, one, 3)
        assert not over.done()
        assert one.election.leader is not None
        assert one.election.leader.epoch == 1
        over.cancel()


PAUSED = """
    import asyncio, sys
    from framework.core.effects import SaveTenant
    from framework.errors import DeposedError, StoreError, StoreFullError, UnavailableError
    from tests.fakes import samples
    from tests.integration.zookeeper.clients import Client

    async def main():
        client = Client(sys.argv[1], "paused", session_timeout_s=2.0)
        await client.election.lead()
        number = 0
        while True:
            number += 1
            try:
                await asyncio.to_thread(client.store.commit, [SaveTenant(samples.tenant("paused", number))])
                print(number, flush=True)
            except StoreFullError:
                await asyncio.sleep(0.05)
            except DeposedError:
                print("deposed", await client.election.deposed(), flush=True)
                break
        client.vanish()

    asyncio.run(main())
"""


def test_a_leader_that_slept_past_its_session_writes_nothing_more(zookeeper_url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PAUSED), zookeeper_url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process, process.stdout, clients(zookeeper_url, "other") as (other,):
        try:
            for _ in range(20):
                process.stdout.readline()
            process.send_signal(signal.SIGSTOP)
            assert other.lead() == 2
            at_takeover = weights(other)["paused"]
            commit(other, 7, "other")
            process.send_signal(signal.SIGCONT)
            said = process.stdout.read().splitlines()
            assert said[-1].startswith("deposed")
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
        assert weights(other) == {"paused": at_takeover, "other": 7}
        promised = [int(line) for line in said[:-1]]
        assert not promised or promised[-1] <= at_takeover
        commit(other, 8, "other")


def test_of_many_that_stand_at_once_one_leads_at_a_time(zookeeper_url: str) -> None:
    """Each leads for a few commits and steps down; every epoch is one's alone, and every commit is kept."""
    names = ("a", "b", "c")
    epochs: list[int] = []

    async def take_turns(client: Client) -> None:
        for turn in range(3):
            epochs.append(await client.election.lead())
            await asyncio.to_thread(commit, client, turn + 1, client.me.name)
            await client.election.step_down()

    with clients(zookeeper_url, *names) as made:
        threads = [threading.Thread(target=lambda client=client: asyncio.run(take_turns(client))) for client in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert sorted(epochs) == list(range(1, 10))
        assert made[0].lead() == 10
        assert weights(made[0]) == dict.fromkeys(names, 3)


def test_an_ensemble_carries_the_leader_over_the_loss_of_a_server(own_zookeeper: ZooKeeperFactory) -> None:
    servers = own_zookeeper(3)
    with clients(zookeeper.url(servers, "/b"), "one", session_timeout_s=8) as (one,):
        assert one.lead() == 1
        commit(one, 1)
        leading = next(server for server in servers if "Mode: leader" in server.command("srvr"))
        leading.kill9()
        commit_when_possible(one, 2)
        assert weights(one) == {"team": 2}
        commit(one, 3)


def test_all_of_a_cluster_say_who_they_are(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one") as (one,):
        one.lead()
        marker, _ = one.connection.get(one.connection.chroot)
        assert CLUSTER in marker.decode()


def test_a_paused_zookeeper_is_waited_for_within_bounds(own_zookeeper: ZooKeeperFactory) -> None:
    (server,) = own_zookeeper()
    with clients(zookeeper.url([server], "/b"), "one", session_timeout_s=3) as (one,):
        one.lead()
        commit(one, 1)
        server.pause()
        with pytest.raises(StoreFullError):
            commit(one, 2)
        server.resume()
        # Its clock went on meanwhile, so the session may be over with it.
        with suppress(DeposedError):
            commit_when_possible(one, 3)
        if one.store.load().tenants[0].tenant.weight != 3:
            one.lead()
            commit(one, 3)
        assert weights(one) == {"team": 3}


async def test_a_chroot_that_is_removed_under_its_schedulers_is_not_made_anew(zookeeper_url: str) -> None:
    with clients(zookeeper_url, "one", "two") as (one, two):
        await one.election.lead()
        waiting = asyncio.create_task(two.election.lead())
        await asyncio.to_thread(until, lambda: two.election.leader is not None)
        one.connection._client.delete(one.connection.chroot, recursive=True)
        with pytest.raises(DeposedError):
            commit(one, 1)
        assert await asyncio.wait_for(one.election.deposed(), DEADLINE_S)
        for standing in (waiting, one.election.lead()):
            with pytest.raises(StoreError, match="was removed or changed by somebody else"):
                await asyncio.wait_for(standing, DEADLINE_S)
        assert not one.connection.exists(one.connection.chroot)
        await asyncio.to_thread(until, lambda: bool(two.store.notices), "the follower's word of it")
