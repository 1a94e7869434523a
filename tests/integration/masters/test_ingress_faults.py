"""What keeps the ingress from starting is told by the setting that is at fault."""

from __future__ import annotations

import datetime
import errno
import logging
import socket
from pathlib import Path

import aiohttp
import pytest
import trustme

from framework.errors import InputError
from framework.local.cluster import free_port
from masters.ingress import ingress as whole
from masters.ingress import maps
from masters.ingress.routes import ROUTES_MAP
from tests.fakes.placed_masters import PlacedMasters
from tests.integration.masters.ingress_parts import ingress_of, until, until_mapped


async def test_an_agents_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"agent_ports: 127\.0\.0\.1:{port} is taken by .* \(pid \d+\)"):
            async with ingress_of(tmp_path, PlacedMasters(), agent_ports=(port, port)):
                pass


async def test_a_service_that_is_started_with_other_ports_takes_haproxy_over_with_those_that_are_free(
    tmp_path: Path,
) -> None:
    marathon = PlacedMasters()
    marathon.put_at("off", wanted="off")
    ports = (24_320, 24_325)
    async with ingress_of(tmp_path, marathon, keep=True, agent_ports=ports):
        await until_mapped(tmp_path, {"off.localhost": "off"})
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"http_port: 127\.0\.0\.1:{taken} is taken by"):
            async with ingress_of(tmp_path, marathon, keep=True, agent_ports=ports, http_port=taken):
                pass
    async with ingress_of(tmp_path, marathon, agent_ports=ports, http_port=taken) as ingress:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{taken}/") as answer:
            assert answer.status == 404
        assert ingress.url.endswith(f":{taken}")


async def test_routes_follow_though_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marathon = PlacedMasters()
    marathon.put_at("one", wanted="off")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with ingress_of(tmp_path, marathon):
        await until_mapped(tmp_path, {"one.localhost": "one"})
        with monkeypatch.context() as patch:
            patch.setattr(maps, "write_whole", full)
            marathon.put_at("two", wanted="off")
            await until_mapped(tmp_path, {"one.localhost": "one", "two.localhost": "two"})
        await until(lambda: "two.localhost" in (tmp_path / ROUTES_MAP).read_text())


async def test_a_haproxy_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "haproxy-2.2"
    old.write_text('#!/bin/sh\n[ "$1" = -v ] && echo "HAProxy version 2.2.9-2+deb11u6" && exit 0\nexit 1\n')
    old.chmod(0o755)
    with pytest.raises(InputError, match=r"is HAProxy 2\.2; 2\.6 or later is needed"):
        async with ingress_of(tmp_path / "ingress", PlacedMasters(), haproxy=str(old)):
            pass


async def test_a_certificate_that_has_ended_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(whole, "TEND_EVERY_S", 0.1)
    directory = tmp_path / "all of them"
    directory.mkdir()
    now = datetime.datetime.now(datetime.UTC)
    for name, days in (("ended", -1), ("ends soon", 3), ("good", 90)):
        issued = trustme.CA().issue_cert(f"{name[:4]}.localhost", not_after=now + datetime.timedelta(days=days))
        pem = directory / f"{name}.pem"
        pem.touch(0o600)
        pem.write_bytes(issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes())
    with caplog.at_level(logging.WARNING):
        async with ingress_of(
            tmp_path / "ingress", PlacedMasters(), https_port=free_port(), certificate=str(directory)
        ):
            await until(lambda: len(_told(caplog)) == 2)
    assert _told(caplog) == {"a certificate has ended; clients refuse it", "a certificate ends soon"}


def _told(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.getMessage() for record in caplog.records if "certificate" in record.getMessage()}
