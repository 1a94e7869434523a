"""The leading Mesos master as a real ZooKeeper tells it, where the test elects as Mesos' masters do."""

from __future__ import annotations

import asyncio
import getpass
import json
import logging
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from framework.core.events import Disconnected
from framework.edges.mesos import detector as detector_module
from framework.edges.mesos.access import Access
from framework.edges.mesos.detector import ZooKeeperDetector
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.operator import MesosOperator
from framework.edges.mesos.pymesos_driver import PymesosDriver
from framework.errors import UnavailableError
from framework.local import zookeeper
from framework.local.cluster import MesosCluster
from tests.fakes.driving import Driving, FastClock, SeededChance
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.zookeeper_server import ZooKeeperFactory


class Election:
    """A group of masters below the path of ``url``."""

    def __init__(self, url: str) -> None:
        hosts, _, path = url.removeprefix("zk://").partition("/")
        self.path = f"/{path}"
        self.client = KazooClient(hosts=hosts)
        self.client.start(30)

    def stand(self, url: str, number: int, data: bytes | None = None, name: str = "json.info_{:010}") -> None:
        parts = urlsplit(url)
        info = {
            "address": {"hostname": "localhost", "ip": "127.0.0.1", "port": parts.port},
            "id": "m",
            "port": parts.port,
        }
        node = f"{self.path}/{name.format(number)}"
        self.client.create(node, json.dumps(info).encode() if data is None else data, ephemeral=True, makepath=True)

    def fall(self, number: int, name: str = "json.info_{:010}") -> None:
        self.client.delete(f"{self.path}/{name.format(number)}")

    def close(self) -> None:
        self.client.stop()
        self.client.close()


@pytest.fixture
def election(zookeeper_url: str) -> Iterator[Election]:
    running = Election(zookeeper_url)
    yield running
    running.close()


@pytest.fixture
async def detector(zookeeper_url: str) -> AsyncIterator[ZooKeeperDetector]:
    running = ZooKeeperDetector(zookeeper_url, Access())
    yield running
    await running.close()


async def leader(detector: ZooKeeperDetector) -> str:
    masters = await detector.masters()
    return ",".join(address.url for address in masters.addresses)


async def test_the_lowest_number_leads_and_changes_are_told(election: Election, detector: ZooKeeperDetector) -> None:
    election.stand("http://127.0.0.1:1005", 5)
    election.stand("http://127.0.0.1:1009", 9)
    election.client.create(f"{election.path}/log_replicas")
    assert await leader(detector) == "http://127.0.0.1:1005"
    first = await detector.masters()
    watch = asyncio.ensure_future(detector.superseded(first.addresses[0], first.version))
    election.fall(9)
    election.stand("http://127.0.0.1:1010", 10)
    await asyncio.wait({watch}, timeout=0.2)
    assert not watch.done()
    election.fall(5)
    await asyncio.wait_for(watch, 10)
    assert await leader(detector) == "http://127.0.0.1:1010"


async def test_masters_that_register_later_are_waited_for(election: Election, detector: ZooKeeperDetector) -> None:
    waiting = asyncio.ensure_future(leader(detector))
    await asyncio.wait({waiting}, timeout=0.5)
    election.stand("http://127.0.0.1:1001", 1)
    assert await asyncio.wait_for(waiting, 5) == "http://127.0.0.1:1001"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        (None, b"", "no Mesos master has registered there"),
        ("somebody_elses", b"", "no Mesos master has registered below"),
        ("info_{:010}", b"\x0a\x05", "written in protobuf, as by Mesos before 0.24"),
        ("json.info_{:010}", b"\xff{", "holds no Mesos master's JSON"),
        ("json.info_{:010}", b"{}", "holds no Mesos master's JSON"),
        ("json.info_{:010}", b'{"address":{"port":0}}', "names no host and port"),
    ],
)
async def test_what_is_no_leader_is_told(
    election: Election,
    detector: ZooKeeperDetector,
    monkeypatch: pytest.MonkeyPatch,
    name: str | None,
    data: bytes,
    why: str,
) -> None:
    monkeypatch.setattr(detector_module, "PATIENCE_S", 1.0)
    if name is not None:
        election.stand("http://127.0.0.1:1", 1, data, name)
    with pytest.raises(UnavailableError, match=why):
        await detector.masters()
    if name is not None:
        election.fall(1, name)
    election.stand("http://127.0.0.1:1002", 2)
    monkeypatch.setattr(detector_module, "PATIENCE_S", 10.0)
    assert await leader(detector) == "http://127.0.0.1:1002"


async def test_masters_with_tls_are_known_by_name(election: Election, zookeeper_url: str) -> None:
    election.stand("http://127.0.0.1:1001", 1)
    detector = ZooKeeperDetector(zookeeper_url, Access(zookeeper_https=True))
    assert await leader(detector) == "https://localhost:1001"
    await detector.close()


async def test_a_path_that_is_open_to_some_only(
    election: Election, zookeeper_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # at which kazoo would write what it sends
    monkeypatch.setattr(detector_module, "PATIENCE_S", 2.0)
    election.stand("http://127.0.0.1:1001", 1)
    election.client.set_acls(election.path, [make_digest_acl("mesos", "s3cret", all=True)])
    for auth in (None, "mesos:wrong"):
        stranger = ZooKeeperDetector(zookeeper_url, Access(zookeeper_auth=auth))
        with pytest.raises(UnavailableError, match=r"mesos\.zookeeper_auth_file") as caught:
            await stranger.masters()
        assert "wrong" not in str(caught.value)
        await stranger.close()
    known = ZooKeeperDetector(zookeeper_url, Access(zookeeper_auth="mesos:s3cret"))
    assert await leader(known) == "http://127.0.0.1:1001"
    await known.close()
    assert "s3cret" not in caplog.text
    assert "wrong" not in caplog.text


async def test_a_leader_stands_while_zookeeper_is_away(own_zookeeper: ZooKeeperFactory) -> None:
    [server] = own_zookeeper()
    url = zookeeper.url([server], "/mesos")
    election = Election(url)
    election.stand("http://127.0.0.1:1001", 1)
    detector = ZooKeeperDetector(url, Access())
    try:
        assert await leader(detector) == "http://127.0.0.1:1001"
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(1.0)
        assert await leader(detector) == "http://127.0.0.1:1001"
    finally:
        await detector.close()
        election.close()


async def test_a_zookeeper_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector_module, "PATIENCE_S", 0.5)
    detector = ZooKeeperDetector("zk://127.0.0.1:1/mesos", Access())
    with pytest.raises(UnavailableError, match=r"ZooKeeper at 127\.0\.0\.1:1 does not answer"):
        await detector.masters()
    await asyncio.wait_for(detector.close(), 10)


@pytest.mark.parametrize("driver", [MesosDriver, PymesosDriver])
async def test_a_change_of_leader_ends_the_subscription_to_the_old_one(
    cluster: MesosCluster, election: Election, zookeeper_url: str, driver: type[MesosDriver]
) -> None:
    framework = FrameworkSettings("detected", getpass.getuser(), ("detected",), 60.0, "localhost")
    async with fault_proxy(cluster.port) as old, fault_proxy(cluster.port) as new:
        election.stand(old.url, 1)
        driving = Driving(driver([zookeeper_url], framework, FastClock(), SeededChance()))
        operator = MesosOperator([zookeeper_url])
        try:
            framework_id = await driving.subscribed()
            assert len(await operator.hosts()) == 2
            election.stand(new.url, 2)
            election.fall(1)
            assert await driving.disconnected() == "another Mesos master leads now"
            assert await driving.subscribed(2) == framework_id
            assert len(driving.of(Disconnected)) == 1
            async with asyncio.timeout(30):  # it hears of the change by itself
                while "GET_AGENTS" not in new.requests:
                    assert len(await operator.hosts()) == 2
        finally:
            await driving.end()
            await operator.close()
