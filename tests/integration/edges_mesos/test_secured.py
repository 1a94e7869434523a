"""A Mesos that asks who we are, behind a proxy that speaks TLS for it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import resource
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from framework.core.ids import FrameworkId
from framework.edges.mesos.access import Access, basic, tls_context
from framework.edges.mesos.driver import NOT_MESOS_PATIENCE, MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.operator import MesosOperator
from framework.errors import InputError, MesosRefusedError, UnavailableError
from framework.local.cluster import MesosCluster
from tests.fakes.driving import Driving, FastClock, SeededChance, launch, launching
from tests.fakes.fault_proxy import FaultProxy, answer, fault_proxy
from tests.integration.conftest import ClusterFactory

HURRIED = 0.001
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def cluster(mesos_cluster: ClusterFactory) -> MesosCluster:
    return mesos_cluster(2, secured=True)


def server_tls(cert: trustme.LeafCert, clients_of: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(context)
    if clients_of is not None:
        clients_of.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def authorization(cluster: MesosCluster) -> str:
    assert cluster.credentials is not None
    return cluster.credentials.scheduler.authorization()


def driver(url: str, access: Access, clock: FastClock | None = None) -> MesosDriver:
    told = FrameworkSettings("secured", getpass.getuser(), ("secured",), 60.0, "localhost", principal="butlery")
    return MesosDriver([url], told, clock or FastClock(), SeededChance(), access=access)


@contextlib.asynccontextmanager
async def driven(url: str, access: Access, clock: FastClock | None = None) -> AsyncIterator[Driving]:
    driving = Driving(driver(url, access, clock))
    try:
        yield driving
    finally:
        if clock is not None:
            clock.scale = 1.0
        await driving.end()


@pytest.fixture
async def proxy(cluster: MesosCluster, ca: trustme.CA) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(cluster.port, tls=server_tls(ca.issue_cert("127.0.0.1"))) as running:
        yield running


async def test_builds_run_over_tls_with_a_secret(cluster: MesosCluster, proxy: FaultProxy, ca_file: Path) -> None:
    access = Access(authorization(cluster), tls_context(ca_file, None, None))
    async with driven(proxy.url, access) as driving:
        offer = await driving.offer()
        driving.driver.accept([offer.id], offer.host_id, launching(launch("secured.1")))
        await driving.update("secured.1", "TASK_FINISHED")
    operator = MesosOperator([proxy.url], access)
    try:
        hosts = await operator.hosts()
        assert len(hosts) == 2
        assert all(host.url.startswith("https://") for host in hosts)
    finally:
        await operator.close()


async def test_hosts_and_sandboxes_are_shown_to_whom_mesos_knows(cluster: MesosCluster) -> None:
    access = Access(authorization(cluster))
    operator, stranger = MesosOperator([cluster.url], access), MesosOperator([cluster.url])
    try:
        async with driven(cluster.url, access) as driving:
            framework_id, offer = await driving.subscribed(), await driving.offer()
            driving.driver.accept([offer.id], offer.host_id, launching(launch("shown.1", None)))
            await driving.update("shown.1", "TASK_RUNNING")
            [url] = [host.url for host in await operator.hosts() if host.id == offer.host_id]
            assert ("stdout", 0) in await operator.list_files(url, framework_id, "shown.1", "")
            with pytest.raises(UnavailableError, match=r"401.*set mesos\.principal and mesos\.secret_file"):
                await stranger.list_files(url, framework_id, "shown.1", "")
        with pytest.raises(UnavailableError, match=r"401.*set mesos\.principal and mesos\.secret_file"):
            await stranger.hosts()
    finally:
        await operator.close()
        await stranger.close()


@pytest.mark.parametrize(
    ("access", "fix"),
    [
        (Access(), r"\(401\).*set mesos\.principal and mesos\.secret_file"),
        (Access(basic("butlery", "wrong")), r"\(401\).*must be a pair that its credentials file holds"),
    ],
)
async def test_who_may_not_subscribe_is_told_what_to_set(cluster: MesosCluster, access: Access, fix: str) -> None:
    with pytest.raises(MesosRefusedError, match=fix):
        await asyncio.wait_for(driver(cluster.url, access).run(lambda _: None), 30)


async def test_another_principal_than_the_secrets_is_refused(cluster: MesosCluster) -> None:
    assert cluster.credentials is not None
    with pytest.raises(MesosRefusedError, match="principal"):
        await asyncio.wait_for(
            driver(cluster.url, Access(cluster.credentials.operator.authorization())).run(lambda _: None), 30
        )


@contextlib.contextmanager
def turning_away(context: ssl.SSLContext | None) -> Iterator[str]:
    """The URL of a server of a kind that, unlike asyncio's, says why it ends a TLS handshake; or that knows no TLS."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                turn_away(listener.accept()[0])

    def turn_away(client: socket.socket) -> None:
        client.settimeout(5)
        if context is not None:
            client = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        with client, contextlib.suppress(OSError):
            if isinstance(client, ssl.SSLSocket):
                with contextlib.suppress(ssl.SSLError):
                    client.do_handshake()
            else:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


async def refusal(url: str, access: Access) -> str:
    """How the driver ends, where trying on is hopeless."""
    clock = FastClock()
    clock.scale = HURRIED
    running = driver(url, access, clock)
    with pytest.raises(MesosRefusedError) as caught:
        await asyncio.wait_for(running.run(lambda _: None), 30)
    assert len(clock.sleeps) == NOT_MESOS_PATIENCE - 1
    return str(caught.value)


async def test_a_certificate_that_cannot_be_trusted_ends_the_driver(
    cluster: MesosCluster, proxy: FaultProxy, ca: trustme.CA, ca_file: Path
) -> None:
    access = Access(authorization(cluster), tls_context(ca_file, None, None))
    assert "name that CA with mesos.ca_file" in await refusal(proxy.url, Access(authorization(cluster)))
    async with fault_proxy(cluster.port, tls=server_tls(ca.issue_cert("other.example"))) as other:
        assert "its certificate is another host's" in await refusal(other.url, access)
    with turning_away(None) as url:
        assert "it speaks no TLS: write http://" in await refusal(url, access)
    assert all("Authorization" not in head for head in [*proxy.heads, *other.heads])


@pytest.mark.parametrize(("begins", "ends", "words"), [(-2, -1, "has expired"), (1, 2, "is not valid yet")])
async def test_a_certificate_out_of_its_time_is_told_and_waited_for(
    cluster: MesosCluster,
    ca: trustme.CA,
    ca_file: Path,
    begins: int,
    ends: int,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    access, clock, now = (
        Access(authorization(cluster), tls_context(ca_file, None, None)),
        FastClock(),
        datetime.now(UTC),
    )
    clock.scale = HURRIED
    tls = server_tls(ca.issue_cert("127.0.0.1", not_before=now + begins * YEAR, not_after=now + ends * YEAR))
    async with fault_proxy(cluster.port, tls=tls) as proxy, driven(proxy.url, access, clock) as driving:
        await until(lambda: len(clock.sleeps) >= 2 * NOT_MESOS_PATIENCE)
        assert any(words in str(vars(record)) for record in caplog.records)
        ca.issue_cert("127.0.0.1").configure_cert(tls)
        await driving.subscribed()


async def test_a_master_that_asks_for_our_certificate(
    cluster: MesosCluster, ca: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    ours = ca.issue_cert("butlery.example")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    ours.cert_chain_pems[0].write_to_path(cert)
    ours.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    told = authorization(cluster)
    async with fault_proxy(cluster.port, tls=server_tls(ca.issue_cert("127.0.0.1"), clients_of=ca)) as proxy:
        async with driven(proxy.url, Access(told, tls_context(ca_file, cert, key))) as driving:
            await driving.subscribed()
    with turning_away(server_tls(ca.issue_cert("127.0.0.1"), clients_of=ca)) as url:
        assert "it asks for a certificate of ours" in await refusal(url, Access(told, tls_context(ca_file, None, None)))
        trustme.CA().issue_cert("butlery.example").private_key_and_cert_chain_pem.write_to_path(key)
        assert "have mesos.cert_file signed by one" in await refusal(url, Access(told, tls_context(ca_file, key, None)))


async def test_a_redirect_to_where_there_is_no_tls_is_not_followed(
    cluster: MesosCluster, proxy: FaultProxy, ca_file: Path
) -> None:
    access, clock = Access(authorization(cluster), tls_context(ca_file, None, None)), FastClock()
    async with fault_proxy(cluster.port) as plain:
        location = f"Location: {plain.url}/api/v1/scheduler\r\n"
        proxy.script = lambda _: answer("307 Temporary Redirect", headers=location)
        clock.scale = HURRIED
        operator = MesosOperator([proxy.url], access)
        with pytest.raises(UnavailableError, match="no Mesos master with TLS"):
            await operator.hosts()
        await operator.close()
        async with driven(proxy.url, access, clock):
            await until(lambda: proxy.requests.count("SUBSCRIBE") >= 3)
        assert plain.heads == []


async def test_hosts_without_tls_are_not_told_who_we_are(
    cluster: MesosCluster, proxy: FaultProxy, ca_file: Path
) -> None:
    operator = MesosOperator([proxy.url], Access(authorization(cluster), tls_context(ca_file, None, None)))
    async with fault_proxy(cluster.port) as plain:
        [host, *_] = await operator.hosts()
        path = host.url.rpartition("/")[2]
        with pytest.raises(UnavailableError, match="it has no TLS, as the masters have"):
            await operator.list_files(f"{plain.url}/{path}", FrameworkId("f"), "e", "")
        assert all("Authorization" not in head for head in plain.heads)
    await operator.close()


async def test_ipv6(cluster: MesosCluster, ca: trustme.CA, ca_file: Path) -> None:
    access = Access(authorization(cluster), tls_context(ca_file, None, None))
    async with fault_proxy(cluster.port, "::1", server_tls(ca.issue_cert("::1"))) as proxy:
        async with driven(proxy.url, access) as driving:
            await driving.subscribed()
        operator = MesosOperator([proxy.url], access)
        assert len(await operator.hosts()) == 2
        await operator.close()
        assert f"Host: [::1]:{proxy.port}\r\n" in proxy.heads[0]


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 4096), before[1]))
    files = [os.dup(0) for _ in range(1100)]
    yield
    for file in files:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_files")
async def test_more_than_1024_files(cluster: MesosCluster) -> None:
    async with driven(cluster.url, Access(authorization(cluster))) as driving:
        await driving.offer()


def test_files_that_cannot_serve_are_named_all_at_once(ca: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    cert, key, text = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "text"
    ca.issue_cert("a").cert_chain_pems[0].write_to_path(cert)
    ca.issue_cert("b").private_key_pem.write_to_path(key)
    key.chmod(0o600)
    text.write_text("no PEM")
    text.chmod(0o600)
    for files, faults in (
        ((text, cert, key), ["mesos.ca_file", "mesos.key_file"]),
        ((tmp_path / "none", text, None), ["mesos.ca_file", "mesos.cert_file"]),
        ((ca_file, cert, tmp_path / "none"), ["mesos.key_file"]),
        ((ca_file, None, key), ["mesos.key_file"]),
    ):
        with pytest.raises(InputError) as caught:
            tls_context(*files)
        assert [fault.where for fault in caught.value.faults] == faults
    key.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        tls_context(ca_file, cert, key)
    assert tls_context(None, None, None) is None
