"""Hosts and sandboxes, as a real Mesos shows them."""

from __future__ import annotations

import getpass
import json
import os
import socket
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from framework.core.ids import FrameworkId, HostId, TaskId
from framework.core.offers import Window
from framework.edges.mesos import operator as operator_module
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.operator import MesosOperator
from framework.errors import InputError, UnavailableError
from framework.local.cluster import MesosCluster
from tests.fakes.driving import Driving, FastClock, SeededChance, launch, launching
from tests.fakes.fault_proxy import answer, fault_proxy

RACK = [{"name": "rack", "type": "TEXT", "text": {"value": "r1"}}]
BINARY = bytes(range(256)) * 400


class Sandbox:
    """A running task's, filled as a build might."""

    def __init__(self, host_url: str, framework_id: FrameworkId, task_id: TaskId, directory: Path) -> None:
        self.of = (host_url, framework_id, task_id)
        self.directory = directory
        (directory / "artifacts/deep").mkdir(parents=True)
        (directory / "artifacts/binary").write_bytes(BINARY)
        (directory / "artifacts/deep/note.txt").write_text("hello")
        (directory / "artifacts/out").symlink_to("/etc/passwd")
        (directory / "artifacts/circle").symlink_to(directory / "artifacts")
        (directory / os.fsdecode(b"artifacts/\xff")).write_text("named in no encoding")
        os.mkfifo(directory / "artifacts/pipe")


@pytest.fixture
async def operator(cluster: MesosCluster) -> AsyncIterator[MesosOperator]:
    running = MesosOperator([cluster.url])
    yield running
    await running.close()


@pytest.fixture
async def sandbox(cluster: MesosCluster, operator: MesosOperator) -> AsyncIterator[Sandbox]:
    framework = FrameworkSettings("operator", getpass.getuser(), ("operator",), 60.0, "localhost")
    driving = Driving(MesosDriver([cluster.url], framework, FastClock(), SeededChance()))
    try:
        framework_id, offer, task_id = await driving.subscribed(), await driving.offer(), TaskId("r.1")
        driving.driver.accept([offer.id], offer.host_id, launching(launch(task_id, None)))
        await driving.update(task_id, "TASK_RUNNING")
        [directory] = cluster.work_dir.glob(
            f"**/work/slaves/*/frameworks/{framework_id}/executors/{task_id}/runs/latest"
        )
        [url] = [host.url for host in await operator.hosts() if host.id == offer.host_id]
        yield Sandbox(url, framework_id, task_id, directory.resolve())
    finally:
        await driving.end()


async def test_hosts(cluster: MesosCluster, operator: MesosOperator) -> None:
    told = {host["id"]: host for host in cluster.hosts()}
    hosts = await operator.hosts()
    assert {host.id for host in hosts} == set(told)
    for host in hosts:
        raw = told[host.id]
        assert host.hostname == raw["hostname"]
        assert host.total.cpu_millis == round(raw["resources"]["cpus"] * 1000)
        assert host.total.mem_mib == int(raw["resources"]["mem"])
        assert host.attributes == raw["attributes"]
        assert host.active
        actor = raw["pid"].partition("@")[0]
        assert host.url == f"http://127.0.0.1:{cluster.port}/{actor}"


async def test_planned_maintenance_is_told(cluster: MesosCluster, operator: MesosOperator) -> None:
    named, addressed = cluster.hosts()
    windows = [
        window({"hostname": named["hostname"].upper(), "ip": "127.0.0.1"}, 2_000_000_000, 3600),
        window({"hostname": addressed["hostname"], "ip": "127.0.0.1"}, 2_000_000_100, None),
    ]
    schedule(cluster, windows)
    try:
        told = {host.id: host.window for host in await operator.hosts()}
        assert told == {named["id"]: Window(2e9, 3600.0), addressed["id"]: Window(2e9 + 100, None)}
    finally:
        schedule(cluster, [])
    assert {host.window for host in await operator.hosts()} == {None}


def window(machine: dict[str, str], start_at: int, duration_s: int | None) -> dict[str, Any]:
    unavailability = {"start": {"nanoseconds": start_at * 10**9}}
    if duration_s is not None:
        unavailability["duration"] = {"nanoseconds": duration_s * 10**9}
    return {"machine_ids": [machine], "unavailability": unavailability}


def schedule(cluster: MesosCluster, windows: list[dict[str, Any]]) -> None:
    call = {"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {"schedule": {"windows": windows}}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{cluster.url}/api/v1", json.dumps(call).encode(), headers)
    with urllib.request.urlopen(request, timeout=10):
        pass


async def test_a_master_that_is_away_or_follows_is_passed_by(cluster: MesosCluster) -> None:
    location = f"Location: //127.0.0.1:{cluster.port}/api/v1\r\n"
    async with fault_proxy(cluster.port) as proxy:
        proxy.script = lambda _: answer("307 Temporary Redirect", headers=location)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            operator = MesosOperator([f"http://127.0.0.1:{nobody.getsockname()[1]}", proxy.url])
            try:
                assert {host.id for host in await operator.hosts()} == {HostId(h["id"]) for h in cluster.hosts()}
            finally:
                await operator.close()


@pytest.mark.parametrize(
    "reply",
    [
        answer("503 Service Unavailable"),
        answer("200 OK", "<html>"),
        answer("200 OK", "{}"),
        b"garbage\xff" * 300 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_unavailable(cluster: MesosCluster, reply: bytes) -> None:
    async with fault_proxy(cluster.port) as proxy:
        proxy.script = lambda _: reply
        operator = MesosOperator([proxy.url])
        try:
            with pytest.raises(UnavailableError) as caught:
                await operator.hosts()
            assert len(str(caught.value)) < 500
        finally:
            await operator.close()


async def test_hosts_that_a_new_leading_master_has_not_heard_of_are_not_active(cluster: MesosCluster) -> None:
    info = {"hostname": "h", "id": {"value": "S0"}, "resources": [{"name": "cpus", "scalar": {"value": 2}}]}
    answers = {
        "GET_AGENTS": {"get_agents": {"recovered_agents": [info | {"attributes": RACK}]}},
        "GET_MAINTENANCE_SCHEDULE": {"get_maintenance_schedule": {}},
    }
    async with fault_proxy(cluster.port) as proxy:
        proxy.script = lambda call: answer("200 OK", json.dumps(answers[call]))
        operator = MesosOperator([proxy.url])
        try:
            (host,) = await operator.hosts()
        finally:
            await operator.close()
    assert (host.id, host.hostname, host.active, host.attributes) == ("S0", "h", False, {"rack": "r1"})
    assert host.total.cpu_millis == 2000


async def test_a_master_that_is_not_there_is_told_in_plain_words() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        operator = MesosOperator([f"http://127.0.0.1:{nobody.getsockname()[1]}"])
        try:
            with pytest.raises(UnavailableError, match="does not answer GET_AGENTS: Connect call failed"):
                await operator.hosts()
        finally:
            await operator.close()


async def test_an_answer_without_end_is_cut_off(cluster: MesosCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "MAX_ANSWER_BYTES", 100)
    operator = MesosOperator([cluster.url])
    try:
        with pytest.raises(UnavailableError, match="more than 100 bytes"):
            await operator.hosts()
    finally:
        await operator.close()


async def test_a_listing_takes_a_bounded_time(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_module, "LIST_TIMEOUT_S", 0.0)
    operator = MesosOperator(["http://127.0.0.1:1"])
    try:
        with pytest.raises(UnavailableError, match="does not list"):
            await operator.list_files(*sandbox.of, "artifacts")
    finally:
        await operator.close()


def test_no_master() -> None:
    with pytest.raises(InputError):
        MesosOperator(["ftp://m:5050"])


async def test_a_file_is_read_in_parts_and_its_size_told(operator: MesosOperator, sandbox: Sandbox) -> None:
    path = "artifacts/binary"
    assert await operator.read_file(*sandbox.of, path, -1, 0) == (len(BINARY), b"")
    read = b""
    while len(read) < len(BINARY):
        offset, data = await operator.read_file(*sandbox.of, path, len(read), 1 << 20)
        assert (offset, bool(data)) == (len(read), True)
        read += data
    assert read == BINARY
    assert await operator.read_file(*sandbox.of, path, 3, 5) == (3, BINARY[3:8])
    assert await operator.read_file(*sandbox.of, path, len(BINARY) + 9, 5) == (len(BINARY) + 9, b"")


async def test_files_are_listed_by_names_below_the_path(operator: MesosOperator, sandbox: Sandbox) -> None:
    found = await operator.list_files(*sandbox.of, "artifacts")
    assert ("binary", len(BINARY)) in found
    assert ("deep/note.txt", 5) in found
    assert ("\ufffd", 20) in found
    assert not [name for name, _ in found if "pipe" in name], "a FIFO cannot be read without harm"
    assert ("artifacts/deep/note.txt", 5) in await operator.list_files(*sandbox.of, "")


@pytest.mark.parametrize(
    "path",
    ["none", "artifacts/out", "artifacts/deep", "../../../../../../../etc/passwd", "a\0b", "\ud800"],
)
async def test_what_is_no_file_of_the_sandbox(operator: MesosOperator, sandbox: Sandbox, path: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        await operator.read_file(*sandbox.of, path, 0, 100)
    assert str(sandbox.directory) not in str(caught.value)


async def test_sandboxes_and_hosts_that_are_not_there(operator: MesosOperator, sandbox: Sandbox) -> None:
    host_url, framework_id, _ = sandbox.of
    with pytest.raises(FileNotFoundError):
        await operator.list_files(host_url, framework_id, TaskId("none.1"), "")
    with pytest.raises(UnavailableError):
        await operator.list_files(f"{host_url}9", framework_id, TaskId("none.1"), "")
    for url in ("http://127.0.0.1:1/slave(1)", "", "nonsense"):
        with pytest.raises(UnavailableError):
            await operator.read_file(url, *sandbox.of[1:], "stdout", 0, 1)
