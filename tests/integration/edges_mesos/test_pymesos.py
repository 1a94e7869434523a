"""What pymesos does that a driver must not: each of it tamed, on a real Mesos."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from framework.core.effects import Decline, Reconcile
from framework.core.events import Disconnected, TaskUpdate
from framework.core.ids import FrameworkId, TaskId
from framework.edges.mesos import install_pymesos, pymesos_driver
from framework.edges.mesos.access import Access, basic, tls_context
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.pymesos_driver import PymesosDriver
from framework.errors import InputError, MesosRefusedError
from framework.local.cluster import MesosCluster
from tests.contract.driver_tests import task_name
from tests.fakes.driving import Driving, FastClock, SeededChance, launch, launching
from tests.fakes.fault_proxy import answer, fault_proxy
from tests.integration.conftest import ClusterFactory


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")} - before
    assert not left


def make(url: str, framework_id: FrameworkId | None = None, access: Access | None = None) -> PymesosDriver:
    told = FrameworkSettings(
        "pymesos", getpass.getuser(), ("pymesos",), 60.0, "localhost", principal="butlery" if access else None
    )
    return PymesosDriver([url], told, FastClock(), SeededChance(), framework_id, access=access)


@contextlib.asynccontextmanager
async def driven(
    url: str, framework_id: FrameworkId | None = None, access: Access | None = None
) -> AsyncIterator[Driving]:
    driving = Driving(make(url, framework_id, access))
    try:
        yield driving
    finally:
        await driving.end()


def test_importing_it_leaves_the_interrupt_and_the_log_alone() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pymesos"]:
        del sys.modules[name]
    sys.modules.pop("framework.edges.mesos.pymesos_session", None)
    before = signal.getsignal(signal.SIGINT)
    make("http://127.0.0.1:5050")
    assert "pymesos" in sys.modules
    assert signal.getsignal(signal.SIGINT) is before
    assert not logging.getLogger("pymesos").handlers
    assert not logging.getLogger("pymesos.process").isEnabledFor(logging.ERROR)


def test_what_it_cannot_do_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_pymesos, "installed", lambda: False)
    told = FrameworkSettings("pymesos", "root", ("pymesos",), 60.0, "localhost")
    masters = ["https://10.0.0.1:5050", "http://[::1]:5050"]
    access = Access(zookeeper_https=True, ssl_context=tls_context(None, None, None) or Access().tls)
    with pytest.raises(InputError) as caught:
        pymesos_driver.PymesosDriver(masters, told, FastClock(), SeededChance(), access=access)
    faults = {fault.where: fault.message for fault in caught.value.faults}
    assert sorted(fault.where for fault in caught.value.faults) == [
        "mesos.ca_file",
        "mesos.driver",
        "mesos.url",
        "mesos.url",
        "mesos.zookeeper_scheme",
    ]
    assert "python -m framework.edges.mesos.install_pymesos" in faults["mesos.driver"]
    assert "no TLS" in faults["mesos.ca_file"]


async def test_each_driver_tells_its_own_credentials_alone(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(2, secured=True)
    assert cluster.credentials is not None
    async with driven(cluster.url, access=Access(cluster.credentials.scheduler.authorization())) as driving:
        offer = await driving.offer()
        driving.driver.accept([offer.id], offer.host_id, launching(launch(name := task_name())))
        await driving.update(name, "TASK_FINISHED")
        for access, fix in (
            (Access(), "set mesos.principal and mesos.secret_file"),
            (Access(basic("butlery", "wrong")), "must be a pair"),
        ):
            with pytest.raises(MesosRefusedError, match=rf"\(401\).*{fix}"):
                await asyncio.wait_for(make(cluster.url, access=access).run(lambda _: None), 30)


async def test_a_driver_beyond_descriptor_1024_is_served(cluster: MesosCluster) -> None:
    with contextlib.ExitStack() as held:
        while (number := os.open(os.devnull, os.O_RDONLY)) < 1100:
            held.callback(os.close, number)
        held.callback(os.close, number)
        async with driven(cluster.url) as driving:
            await driving.offer()


async def test_calls_made_before_a_stop_are_sent(cluster: MesosCluster) -> None:
    driving, name = Driving(make(cluster.url)), task_name()
    framework_id, offer = await driving.subscribed(), await driving.offer()
    for _ in range(200):
        driving.driver.revive()
    driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
    await driving.driver.stop()
    await asyncio.wait_for(driving.running, 30)
    async with driven(cluster.url, framework_id) as again:
        await again.subscribed()
        again.driver.reconcile(Reconcile(((TaskId(name), offer.host_id),)))
        await again.update(name, "TASK_STAGING", "TASK_STARTING", "TASK_RUNNING")


async def test_no_answer_leads_to_a_teardown(cluster: MesosCluster) -> None:
    async with fault_proxy(cluster.port) as proxy:
        async with driven(proxy.url) as driving:
            offer, name = await driving.offer(), task_name()
            driving.driver.accept([offer.id], offer.host_id, launching(launch(name, None)))
            await driving.update(name, "TASK_RUNNING")
            replies = iter(["503 Service Unavailable", "307 Temporary Redirect", "301 Moved", "400 Bad Request"] * 2)
            proxy.script = lambda seen: answer(next(replies, "404 Not Found")) if seen in ("KILL", "DECLINE") else None
            for _ in range(3):
                losses = len(driving.of(Disconnected)) + 1
                driving.driver.decline(Decline((offer.id,), 0.0))
                await driving.disconnected(losses)
                await driving.subscribed(losses + 1)
            proxy.script = lambda _: None
            driving.driver.reconcile(Reconcile(()))
            await driving.update(name, "TASK_RUNNING", suits=lambda update: not update.uuid)
            assert "TEARDOWN" not in proxy.requests
        assert proxy.requests.count("TEARDOWN") == 1


async def test_a_stop_while_a_call_is_not_answered_is_not_waited_for_in_vain(cluster: MesosCluster) -> None:
    async with fault_proxy(cluster.port) as proxy:
        driving = Driving(make(proxy.url))
        framework_id = await driving.subscribed()
        proxy.stall()
        driving.driver.revive()
        await driving.driver.stop()
        await asyncio.wait_for(driving.running, 20)
    async with driven(cluster.url, framework_id) as again:
        await again.subscribed()


async def test_a_stop_before_it_is_subscribed(cluster: MesosCluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        driving = Driving(make(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        peer, _ = await asyncio.to_thread(silent.accept)
        with peer:
            await driving.driver.stop()
            await asyncio.wait_for(driving.running, 20)
        assert not driving.events


async def test_updates_in_a_burst_come_in_order_and_are_acknowledged(cluster: MesosCluster) -> None:
    """More than are held between pymesos' thread and ours."""
    async with fault_proxy(cluster.port) as proxy, driven(proxy.url) as driving:
        await driving.subscribed()
        for number in range(3000):
            body = b'{"type":"UPDATE","update":{"status":{"task_id":{"value":"t%d"},"state":"TASK_RUNNING"}}}' % number
            proxy.inject(b"%d\n%b" % (len(body), body))
        await driving.update("t2999", "TASK_RUNNING")
        assert [update.task_id for update in driving.of(TaskUpdate)] == [f"t{number}" for number in range(3000)]
