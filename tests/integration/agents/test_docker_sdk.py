"""The executor's own client of a Docker engine, held against Docker's client for Python."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator

import docker as sdk
import pytest
from docker.errors import APIError

from agents.executor import docker_body
from agents.executor.docker_engine import Engine, EngineError
from tests.integration.agents.conftest import TEST_UIDS, DockerDaemon, Executor

pytestmark = pytest.mark.root

FRAME_HEAD_BYTES = 8
MIB = 1 << 20


@pytest.fixture
def client(docker_daemon: DockerDaemon) -> Iterator[sdk.DockerClient]:
    with contextlib.closing(sdk.DockerClient(f"unix://{docker_daemon.socket}", version="auto", timeout=30)) as found:
        yield found


@pytest.fixture
def engine(docker_daemon: DockerDaemon) -> Engine:
    return Engine(docker_daemon.socket)


def test_both_read_the_same(client: sdk.DockerClient, engine: Engine, docker_daemon: DockerDaemon) -> None:
    assert engine.ping(5.0) == client.version()["ApiVersion"]
    path = f"/images/{urllib.parse.quote(docker_daemon.image)}/json"
    assert engine.call("GET", path) == client.images.get(docker_daemon.image).attrs


def test_refusals_have_the_same_status_and_words(
    client: sdk.DockerClient, engine: Engine, docker_daemon: DockerDaemon
) -> None:
    idle = client.api.create_container(docker_daemon.image, "true")["Id"]
    try:
        for container in ("no-such-container", idle):  # 404, and 409 of what does not run
            with pytest.raises(APIError) as theirs:
                client.api.kill(container)
            with pytest.raises(EngineError) as ours:
                engine.call("POST", f"/containers/{container}/kill")
            assert ours.value.status == theirs.value.status_code
            assert str(ours.value) == theirs.value.explanation
    finally:
        assert docker_body.remove(engine, idle)
    assert client.api.containers(all=True) == []


def test_output_comes_in_the_frames_that_docker_tells_of(
    client: sdk.DockerClient, engine: Engine, docker_daemon: DockerDaemon
) -> None:
    command = ["/bin/sh", "-c", "echo out; echo err >&2; sleep 0.2; echo late"]
    container = client.api.create_container(docker_daemon.image, command, network_disabled=True)["Id"]
    try:
        attached, raw = engine.attach(container)
        with attached:
            attached.settimeout(30)
            client.api.start(container)
            while data := attached.recv(65536):
                raw += data
        assert client.api.wait(container, timeout=30)["StatusCode"] == 0
        assert _of_stream(raw, 1) == client.api.logs(container, stdout=True, stderr=False) == b"out\nlate\n"
        assert _of_stream(raw, 2) == client.api.logs(container, stdout=False, stderr=True) == b"err\n"
    finally:
        docker_body.remove(engine, container)


def _of_stream(raw: bytes, stream: int) -> bytes:
    """What frames of a stream hold: its number, three zero bytes, the length in big-endian, and so many bytes."""
    shown = b""
    while raw:
        size = int.from_bytes(raw[4:FRAME_HEAD_BYTES], "big")
        shown += raw[FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + size] if raw[0] == stream else b""
        raw = raw[FRAME_HEAD_BYTES + size :]
    return shown


def test_a_build_is_held_as_docker_understands_it(
    client: sdk.DockerClient, docker: Executor, docker_daemon: DockerDaemon
) -> None:
    running = docker.start("echo up; sleep 600", image=docker_daemon.image, cpu_millis=250, mem_mib=80)
    running.wait_for_log("up\n")
    (container,) = client.containers.list()
    host = container.attrs["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["CpuShares"]) == (80 * MIB, 80 * MIB, 256)
    assert (host["PidsLimit"], host["NetworkMode"]) == (docker.policy.pids, docker.policy.docker_network)
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], None, False)
    assert "no-new-privileges" in host["SecurityOpt"]
    user, _, group = container.attrs["Config"]["User"].partition(":")
    first, _, last = TEST_UIDS.partition("-")
    assert int(first) <= int(user) == int(group) <= int(last)
    assert {mount["Source"].startswith(str(running.sandbox)) for mount in container.attrs["Mounts"]} == {True}
    with pytest.raises(APIError, match="does not support reading"):  # no second, unbounded copy of the output
        container.logs()
    running.process.terminate()
    running.finish()
    assert client.containers.list(all=True) == []
