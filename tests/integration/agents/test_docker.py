"""What only a Docker engine gives."""

from __future__ import annotations

import subprocess
import time

import pytest

from agents.spec import VolumeSpec
from tests.integration.agents.conftest import DockerDaemon, Executor, until

pytestmark = pytest.mark.root

SHOWN = "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.CpuShares}} {{.PidsLimit}} {{.NetworkMode}}{{end}}"


def test_a_build_in_an_image(docker: Executor, docker_daemon: DockerDaemon) -> None:
    ended = docker.run("echo in; [ ! -e /usr ] && echo not the host; id -u", image=docker_daemon.image)
    assert ended.result.result_class == "passed", ended
    assert ended.result.isolation == "docker"
    assert ended.log.startswith("in\nnot the host\n300")
    assert docker_daemon.names() == []


def test_usage_is_told(docker: Executor, docker_daemon: DockerDaemon) -> None:
    ended = docker.run(
        "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 0.5", image=docker_daemon.image, timeout_s=50.0
    )
    assert ended.result.result_class == "passed", ended
    assert ended.result.cpu_s is not None
    assert ended.result.cpu_s > 0.02
    assert ended.result.peak_mem_mib is not None
    assert 0 < ended.result.peak_mem_mib < 64


def test_an_image_that_no_registry_has(docker: Executor) -> None:
    ended = docker.run("true", image="127.0.0.1:9/no/such:1")
    assert ended.result.result_class == "image", ended
    assert "127.0.0.1:9/no/such:1" in ended.result.message


def test_limits_are_the_engines(docker: Executor, docker_daemon: DockerDaemon) -> None:
    running = docker.start("echo up; sleep 600", image=docker_daemon.image, cpu_millis=2000)
    running.wait_for_log("up\n")
    (name,) = docker_daemon.names()
    told = subprocess.run(
        ["docker", "-H", "unix://" + docker_daemon.socket, "inspect", "-f", SHOWN, name],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert told.stdout.split() == [str(64 << 20), str(64 << 20), "2048", "60", "host"]
    running.process.terminate()
    assert running.finish().result.result_class == "cancelled"


def test_the_hosts_own_tools_without_an_image(docker: Executor) -> None:
    ended = docker.run("git --version; python3 -c 'print(40 + 2)'; touch /usr/x 2>&1; touch /tmp/x && ls /tmp")
    assert ended.result.result_class == "passed", ended
    lines = ended.log.splitlines()
    assert lines[0].startswith("git version")
    assert lines[1] == "42"
    assert "Read-only" in lines[2]
    assert lines[3] == "x"


def test_a_build_is_cancelled_while_its_image_is_fetched(docker: Executor) -> None:
    # An address of TEST-NET-1 (RFC 5737), which answers nobody: the engine waits.
    running = docker.start("true", image="192.0.2.1/team/image:1")
    until(lambda: (running.sandbox / "build.log").exists(), "the build's start")
    time.sleep(0.2)
    running.process.terminate()
    assert running.finish().result.result_class in ("cancelled", "image")


def test_volumes_and_a_user_of_the_image(docker: Executor, docker_daemon: DockerDaemon) -> None:
    cache, shown = docker.directory / "cache", docker.directory / "shown"
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    shown.mkdir()
    (shown / "file").write_text("of the host")
    ended = docker.run(
        "id -u; id -g; cat /shown/file Jenkinsfile; touch made $HOME/made cache/kept\ntouch /shown/x 2>&- || echo no",
        image=docker_daemon.image,
        user="1234:56",
        files={"Jenkinsfile": "given"},
        volumes=[VolumeSpec(str(cache), "cache"), VolumeSpec(str(shown), "/shown", read_only=True)],
    )
    assert ended.result.result_class == "passed", ended
    assert ended.log == "1234\n56\nof the hostgivenno\n"
    assert (cache / "kept").stat().st_uid == 1234
    assert not (ended.sandbox / "workspace").exists()


def test_no_build_runs_as_root_of_its_image(docker: Executor, docker_daemon: DockerDaemon) -> None:
    for user in ("0", "root", "nobody-knows"):
        ended = docker.run("id -u", image=docker_daemon.image, user=user)
        assert ended.result.result_class == "image", ended
        assert "is root, as whom no build runs" in ended.result.message


def test_a_volume_that_the_host_has_not(docker: Executor, docker_daemon: DockerDaemon) -> None:
    ended = docker.run("true", image=docker_daemon.image, volumes=[VolumeSpec("/no/such/place", "/cache")])
    assert ended.result.result_class == "infrastructure", ended
    assert "/no/such/place" in ended.result.message


def test_what_its_image_starts(docker: Executor, docker_daemon: DockerDaemon) -> None:
    command = ["docker", "-H", "unix://" + docker_daemon.socket, "build", "-q", "-t", "butlery-test-starts:1", "-"]
    dockerfile = f'FROM {docker_daemon.image}\nENTRYPOINT ["/bin/echo", "started by"]\nCMD ["its image"]\n'
    subprocess.run(command, input=dockerfile, text=True, check=True, capture_output=True, timeout=60)
    ended = docker.run("", image="butlery-test-starts:1")
    assert (ended.result.result_class, ended.log) == ("passed", "started by its image\n"), ended
