"""The ingress with a real HAProxy: where requests go, and what becomes of them while masters move."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import trustme

from framework.errors import InputError
from framework.local.cluster import free_port
from masters.ingress.config import CHECK_SOCKET
from masters.ingress.haproxy import of_places
from masters.ingress.places import Places
from masters.ingress.runtime import Runtime
from masters.records import Policy
from tests.fakes.keep_alive_clients import keep_alive_clients
from tests.fakes.placed_masters import PlacedMasters, Pretender
from tests.integration.masters.ingress_parts import get, ingress_of, port_of, until, until_answered, until_mapped


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as found:
        yield found


@pytest.fixture
async def one() -> AsyncIterator[Pretender]:
    found = await Pretender("one").start()
    yield found
    await found.stop()


@pytest.fixture
async def two() -> AsyncIterator[Pretender]:
    found = await Pretender("two").start()
    yield found
    await found.stop()


async def test_host_names_and_paths_lead_to_their_masters_and_everything_else_to_one_page(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender, two: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    marathon.put_at("two", [two.port], policy=Policy(path="/two"))
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_answered(session, ingress, "one.localhost", "one GET / 0")
        for host in ("ONE.localhost", "one.localhost.", "one.localhost:8080"):
            assert await get(session, ingress, host, "/a?b=c") == (200, "one GET /a?b=c 0")
        assert await get(session, ingress, "127.0.0.1", "/two") == (200, "two GET /two 0")
        assert await get(session, ingress, "any.example", "/two/x%2Fy") == (200, "two GET /two/x%2Fy 0")
        missing = await get(session, ingress, "unknown.localhost")
        assert missing[0] == 404
        for host, path in (("127.0.0.1", "/"), ("three.localhost", "/"), ("x", "/twos"), ("x", "/one"), ("x", "//two")):
            assert await get(session, ingress, host, path) == missing
        marathon.remove("two")
        await until_mapped(tmp_path, {"one.localhost": "one"})
        assert await get(session, ingress, "127.0.0.1", "/two") == missing


async def test_a_connection_that_stays_open_never_leads_one_tenants_request_to_another(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender, two: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    marathon.put_at("two", [two.port])
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_answered(session, ingress, "two.localhost", "two")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as single:
            for number in range(60):
                name = ("one", "two")[number * 7 % 3 % 2]
                method = ("GET", "POST")[number % 2]
                assert (await get(single, ingress, f"{name}.localhost", method=method))[1].startswith(f"{name} ")


async def test_what_a_master_is_told_of_the_client_cannot_be_made_up(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_answered(session, ingress, "one.localhost", "one")
        false = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher", "X-Butlery-Tenant": "two"}
        await get(session, ingress, "one.localhost", headers=false)
        told = one.headers[-1]
        assert told["X-Forwarded-For"] == "127.0.0.1"
        assert told["X-Forwarded-Proto"] == "http"
        assert told["X-Forwarded-Host"] == "one.localhost"
        assert told["X-Butlery-Tenant"] == "one"


async def test_a_request_wakes_a_master_and_reaches_it_with_its_body(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", wanted="asleep")
    marathon.put_at("two", wanted="off")
    async with ingress_of(tmp_path, marathon, hold_s=20.0) as ingress:
        await until_mapped(tmp_path, {"one.localhost": "one", "two.localhost": "two"})
        with Places(tmp_path).short(CHECK_SOCKET) as path:
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as verifying:
                assert (await get(verifying, ingress, "one.localhost"))[0] == 503
        assert marathon.scaled == []
        body = os.urandom(300_000)
        waiting = [
            asyncio.create_task(get(session, ingress, "one.localhost", f"/{number}", method="POST", data=body))
            for number in range(5)
        ]
        await until(lambda: marathon.scaled and ingress.held("one") == 5)
        assert await get(session, ingress, "two.localhost") == (
            503,
            "It is switched off. Its operator can switch it on.",
        )
        key = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "bm90IGRyYXduIGF0IGFsbA=="}
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", **key}
        assert (await get(session, ingress, "one.localhost", headers=upgrade))[0] == 503
        marathon.put_at("one", [one.port])
        assert sorted(await asyncio.gather(*waiting)) == [(200, f"one POST /{number} 300000") for number in range(5)]
        assert [found for found in one.bodies if found] == [body] * 5
        assert marathon.scaled == [("one", 1, "on")]
        await until_answered(session, ingress, "one.localhost", "one GET")


async def test_a_webhook_whose_sender_went_away_still_arrives(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", wanted="asleep")
    async with ingress_of(tmp_path, marathon, hold_s=1.0) as ingress:
        await until_mapped(tmp_path, {"one.localhost": "one"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await get(session, ingress, "one.localhost", "/github-webhook/", method="POST", data=b"pushed")
        await until(lambda: marathon.scaled)
        await asyncio.sleep(1.0)  # longer than a request is held
        marathon.put_at("one", [one.port])
        await until(lambda: b"pushed" in one.bodies)


async def test_requests_that_cannot_be_held_are_told_when_to_come_again(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", wanted="on")
    async with ingress_of(tmp_path, marathon, hold_s=2.0, held_requests=20) as ingress:
        await until_mapped(tmp_path, {"one.localhost": "one"})
        answers = await asyncio.gather(*(get(session, ingress, "one.localhost") for _ in range(5)))
        assert [status for status, _ in answers] == [503] * 5
        assert len([text for _, text in answers if "too many" in text]) == 3  # a tenth of 20 were held


async def test_requests_reach_a_master_that_moves_though_marathon_has_not_told(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_answered(session, ingress, "one.localhost", "one")
        await one.stop()
        waiting = [
            asyncio.create_task(get(session, ingress, "one.localhost", method=method, data=body))
            for method, body in (("GET", None), ("POST", b"x" * 100_000), ("POST", b"x" * 100_000))
        ]
        await until(lambda: ingress.held("one") >= 3)  # one more where its route was just being verified
        other = await Pretender("elsewhere").start()
        try:
            marathon.put_at("one", [other.port])
            for status, text in await asyncio.gather(*waiting):
                assert (status, text.split()[0]) == (200, "elsewhere")
        finally:
            await other.stop()


async def test_requests_reach_a_master_that_answers_though_marathon_does_not_call_it_healthy(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port], healthy=False)
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_answered(session, ingress, "one.localhost", "one")


async def test_websockets_and_agents_by_tcp(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender, two: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port, one.port], policy=Policy(host="one.localhost", agents=True))
    marathon.put_at("two", [two.port, two.port], policy=Policy(host="two.localhost", agents=True))
    ports = (free_range := 24_310, free_range + 5)
    async with ingress_of(tmp_path, marathon, agent_ports=ports) as ingress:
        await until_answered(session, ingress, "one.localhost", "one")
        async with session.ws_connect(ingress.url + "/wsagents/", headers={"Host": "one.localhost"}) as agent:
            await agent.send_str("hello")
            assert await agent.receive_str(timeout=5) == "one hello"
            other = await Pretender("moved").start()
            marathon.put_at("one", [other.port, other.port])
            await until_answered(session, ingress, "one.localhost", "moved")
            await agent.send_str("still here")  # what was begun is left alone
            assert await agent.receive_str(timeout=5) == "one still here"
        for name, by in (("one", "moved"), ("two", "two")):
            port = str(ingress.state().routes[name].agents).rpartition(":")[2]
            async with session.get(f"http://127.0.0.1:{port}/tcp") as answer:
                assert (await answer.text()).startswith(f"{by} GET /tcp")
        free = next(
            port
            for port in range(ports[0], ports[1] + 1)
            if not any(str(route.agents).endswith(f":{port}") for route in ingress.state().routes.values())
        )
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{free}/")
        await other.stop()


async def test_haproxy_that_is_killed_is_back_with_its_routes(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_answered(session, ingress, "one.localhost", "one")
        for times in (1, 2):  # its master process, then the one that serves
            master = ingress.state().haproxy_pid
            others = of_places(Places(tmp_path)) - {master}
            victim = master if times == 1 else others.pop()
            assert victim is not None
            os.kill(victim, signal.SIGKILL)
            await until(lambda: ingress.state().haproxy_restarts == times and ingress.state().haproxy_pid is not None)  # noqa: B023
            await until_answered(session, ingress, "one.localhost", "one")


async def test_a_service_that_is_killed_leaves_haproxy_serving_and_the_next_one_takes_it_over(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender, two: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    async with ingress_of(tmp_path, marathon, keep=True) as ingress:
        await until_answered(session, ingress, "one.localhost", "one")
        pid, url = ingress.state().haproxy_pid, ingress
        marathon.put_at("two", wanted="asleep")
        await until_mapped(tmp_path, {"one.localhost": "one", "two.localhost": "two"})
    assert (await get(session, url, "one.localhost"))[1].startswith("one")
    waiting = asyncio.create_task(get(session, url, "two.localhost", method="POST", data=b"not lost"))
    await asyncio.sleep(0.2)  # it finds no service
    marathon.down = True
    async with ingress_of(tmp_path, marathon) as ingress:
        assert ingress.state().haproxy_pid == pid
        assert (await get(session, ingress, "one.localhost"))[1].startswith("one")
        marathon.down = False
        await until(lambda: marathon.scaled)
        marathon.put_at("two", [two.port])
        assert await waiting == (200, "two POST / 8")


async def test_each_route_is_verified_and_what_others_did_to_the_maps_is_mended(
    tmp_path: Path, session: aiohttp.ClientSession, one: Pretender, two: Pretender
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    marathon.put_at("two", [two.port], policy=Policy(host="two.localhost", real=False))
    async with ingress_of(tmp_path, marathon) as ingress:
        await until(lambda: (route := ingress.state().routes.get("one")) is not None and route.verified_at)
        assert ingress.state().routes["two"].verified_at is None
        await ingress.count_uses()
        assert ingress.last_use("one") is None  # a verification is no use
        wrong = {"one.localhost": f"one|127.0.0.1|{two.port}", "two.localhost": f"two|127.0.0.1|{two.port}"}
        runtime = Runtime(Places(tmp_path))  # somebody else who has the socket
        await runtime.change("routes.map", await runtime.entries("routes.map"), wrong)
        assert (await get(session, ingress, "one.localhost"))[1].startswith("two")
        one.session = "anew"
        marathon.put_at("one", [one.port], policy=Policy(host="one.localhost"))  # another task at the same place
        await until_answered(session, ingress, "one.localhost", "one")
        await ingress.count_uses()
        used_at = ingress.last_use("one")
        assert used_at is not None
        await asyncio.sleep(0.1)  # HAProxy counts in ms
        assert (await get(session, ingress, "one.localhost"))[0] == 200
        await ingress.count_uses()
        assert (ingress.last_use("one") or 0) > used_at + 0.05


async def test_clients_with_open_connections_notice_nothing_while_other_masters_move(tmp_path: Path) -> None:
    marathon = PlacedMasters()
    names = [f"m{number}" for number in range(20)]
    masters = {name: await Pretender(name).start() for name in names}
    for name, pretender in masters.items():
        marathon.put_at(name, [pretender.port])
    async with ingress_of(tmp_path, marathon) as ingress:
        await until_mapped(tmp_path, {f"{name}.localhost": name for name in names})
        port = int(ingress.url.rpartition(":")[2])
        async with keep_alive_clients("127.0.0.1", port, [f"{name}.localhost" for name in names] * 10) as seen:
            for name in names[:8]:  # each ends, and is elsewhere a moment later
                await masters[name].stop()
                masters[name] = await Pretender(name).start()
                marathon.put_at(name, [masters[name].port])
                await asyncio.sleep(0.05)
            before = seen.good.copy()
            await until(lambda: all(seen.good[f"{name}.localhost"] > before[f"{name}.localhost"] for name in names))
        assert {host for host in seen.bad if int(host[1:].partition(".")[0]) >= 8} == set()
    for pretender in masters.values():
        await pretender.stop()


async def test_tls(tmp_path: Path, session: aiohttp.ClientSession, one: Pretender) -> None:
    authority, other = trustme.CA(organization_unit_name="first"), trustme.CA(organization_unit_name="second")
    certificate = tmp_path / "ingress.pem"
    _write_certificate(certificate, authority)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    marathon = PlacedMasters()
    marathon.put_at("one", [one.port])
    directory = tmp_path / "ingress"
    async with ingress_of(directory, marathon, https_port=free_port(), certificate=str(certificate)) as ingress:
        await until_mapped(directory, {"one.localhost": "one"})
        plain = f"http://127.0.0.1:{port_of(Places(directory))}/a?b=c"
        async with session.get(plain, headers={"Host": "one.localhost"}, allow_redirects=False) as answer:
            port = ingress.url.rpartition(":")[2]
            assert (answer.status, answer.headers["Location"]) == (308, f"https://one.localhost:{port}/a?b=c")
        more = {"ssl": trusted, "server_hostname": "one.localhost"}
        assert await get(session, ingress, "one.localhost", "/a", **more) == (200, "one GET /a 0")
        assert one.headers[-1]["X-Forwarded-Proto"] == "https"
        assert (await get(session, ingress, "two.localhost", "/a", **more))[0] == 404
        await until(lambda: ingress.state().routes["one"].verified_at)
        other.configure_trust(trusted)
        _write_certificate(certificate, other)
        pid = ingress.state().haproxy_pid
        deadline = time.monotonic() + 20
        while await _issuer(port, trusted) != "second":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert ingress.state().haproxy_pid == pid
        assert await get(session, ingress, "one.localhost", "/b", **more) == (200, "one GET /b 0")
        certificate.write_text("no certificate")
    with pytest.raises(InputError, match="does not take it"):
        async with ingress_of(directory, marathon, https_port=free_port(), certificate=str(certificate)):
            pass
    certificate.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        async with ingress_of(directory, marathon, https_port=free_port(), certificate=str(certificate)):
            pass


def _write_certificate(path: Path, authority: trustme.CA) -> None:
    issued = authority.issue_cert("one.localhost", "two.localhost")
    pem = issued.private_key_pem.bytes() + b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    path.touch(0o600)
    path.write_bytes(pem)


async def _issuer(port: str, trusted: ssl.SSLContext) -> str:
    """Of the certificate that is served now."""
    _, writer = await asyncio.open_connection("127.0.0.1", int(port), ssl=trusted, server_hostname="one.localhost")
    found = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return str(dict(pair[0] for pair in found["issuer"])["organizationalUnitName"])
