"""Services with an image: the executor under a Mesos agent that is a fake, and a real Docker engine."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.executor import processes
from agents.pack import command
from agents.service_spec import ServiceCheck, ServiceHost, ServiceMount, ServicePort, ServiceSpec
from framework.local.cluster import free_port
from tests.fakes.image_registry import ImageRegistry
from tests.fakes.odd_agent import TIMEOUT_S, OddAgent
from tests.integration.agents.conftest import DockerDaemon, read, until

pytestmark = pytest.mark.root

SERVE = "mkdir -p /www; echo here > /www/index.html; exec httpd -f -p 80 -h /www"


class Launched:
    """One executor with its service, and the fake agent that it reports to."""

    def __init__(self, pyz: Path, sandbox: Path, daemon: DockerDaemon, shell: str | None, **wanted: Any) -> None:
        self.agent = OddAgent()
        self.sandbox = sandbox
        self.task_id = "web.instance-" + secrets.token_hex(4)
        sandbox.mkdir()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command(str(pyz), service=True)],
            env={
                "MESOS_AGENT_ENDPOINT": f"127.0.0.1:{self.agent.port}",
                "MESOS_FRAMEWORK_ID": "framework-1",
                "MESOS_EXECUTOR_ID": self.task_id,
                "MESOS_SANDBOX": str(sandbox),
                "MESOS_CHECKPOINT": "1",
                "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
            },
            start_new_session=True,
        )
        host = ServiceHost(docker_socket=daemon.socket, log_mib=1)
        given: dict[str, Any] = {"cpu_millis": 500, "mem_mib": 64, "image": daemon.image, "host": host, **wanted}
        spec = ServiceSpec(self.task_id, shell=shell, **{"grace_s": 1.0, **given})
        data = base64.b64encode(spec.to_json()).decode()
        self.agent.next("SUBSCRIBE")
        self.agent.send({"type": "LAUNCH", "launch": {"task": {"task_id": {"value": self.task_id}, "data": data}}})
        assert self.agent.state()["state"] == "TASK_STARTING"

    def running(self) -> dict[str, Any]:
        status = self.agent.state()
        assert status["state"] == "TASK_RUNNING", status
        return status

    def failed(self) -> str:
        status = self.agent.state()
        while status["state"] == "TASK_RUNNING":
            status = self.agent.state()
        assert status["state"] == "TASK_FAILED", status
        message: str = status["message"]
        return message

    def kill(self) -> dict[str, Any]:
        self.agent.send({"type": "KILL", "kill": {"task_id": {"value": self.task_id}}})
        while (status := self.agent.state())["state"] == "TASK_RUNNING":
            pass
        assert status["state"] == "TASK_KILLED", status
        return status

    def out(self) -> str:
        return read(self.sandbox / "stdout")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # its guard, whose end is the driver's
        self.process.wait(TIMEOUT_S)
        self.agent.close()


class Services:
    def __init__(self, pyz: Path, directory: Path, daemon: DockerDaemon) -> None:
        self.daemon = daemon
        self._pyz = pyz
        self._directory = directory
        self._made: list[Launched] = []

    def __call__(self, shell: str | None = None, **wanted: Any) -> Launched:
        self._made.append(Launched(self._pyz, self._directory / secrets.token_hex(4), self.daemon, shell, **wanted))
        return self._made[-1]

    def close(self) -> None:
        for one in self._made:
            one.close()
        until(lambda: self.daemon.names() == [], "the containers to go")

    def docker(self, *arguments: str) -> str:
        made = subprocess.run(
            ["docker", "-H", "unix://" + self.daemon.socket, *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return made.stdout

    def inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.docker("inspect", *self.daemon.names()))[0]
        return found


@pytest.fixture
def services(pyz: Path, open_dir: Path, docker_daemon: DockerDaemon) -> Iterator[Services]:
    made = Services(pyz, open_dir, docker_daemon)
    yield made
    made.close()


@pytest.fixture
def network(services: Services) -> Iterator[str]:
    name = "butlery-test-" + secrets.token_hex(3)
    services.docker("network", "create", name)
    yield name
    for container in services.daemon.names():
        services.docker("rm", "-f", container)
    services.docker("network", "rm", name)


def test_it_runs_and_is_killed(services: Services) -> None:
    one = services("trap 'echo bye; exit 3' TERM; echo up; echo bad >&2; while :; do sleep 0.1; done")
    one.running()
    until(lambda: "up" in one.out() and "bad" in read(one.sandbox / "stderr"), "its output")
    assert one.kill()["message"] == "Container exited with status 3"
    assert one.process.wait(TIMEOUT_S) == 0
    assert one.out() == "up\nbye\n"
    assert services.daemon.names() == []


def test_its_end_is_told(services: Services) -> None:
    one = services(argv=["sh", "-c", "echo $FOO; pwd; exit 7"], env={"FOO": "bar"}, parameters=[["w", "/tmp"]])
    assert one.failed() == "Container exited with status 7"
    assert one.out() == "bar\n/tmp\n"


def test_over_its_memory(services: Services) -> None:
    one = services("dd if=/dev/zero of=/dev/null bs=200M count=1")
    status = one.agent.state()
    while status["state"] == "TASK_RUNNING":
        status = one.agent.state()
    assert status["message"] == "out of memory: peak 64 MiB, limit 64 MiB"
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"


def test_what_it_is_made_of(services: Services, open_dir: Path) -> None:
    shared = open_dir / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    small = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=1777"}
    mounted = "type=volume,source=butlery-mounted,target=/mounted,volume-opt=type=tmpfs,volume-opt=device=tmpfs"
    one = services(
        "cat /run/secret; touch /small/x /mounted/x; touch /host-etc/butlery || echo read-only;"
        "echo of > /shared/proof; echo kept > /kept/file; id -u; exec sleep 600",
        cpu_limit_millis=1500,
        mem_limit_mib=128,
        parameters=[
            ["env", "MORE=yes"],
            ["ulimit", "nofile=100:200"],
            ["hostname", "deep-thought"],
            ["cap-add", "NET_ADMIN"],
            ["shm-size", "32m"],
            ["add-host", "other:10.0.0.1"],
            ["user", "1234"],
            ["mount", f'{mounted},volume-driver=local,"volume-opt=o={small["o"]}"'],
        ],
        mounts=[
            ServiceMount("", "/run/secret", content=base64.b64encode(b"hush\n").decode()),
            ServiceMount(str(shared), "/shared"),
            ServiceMount("butlery-kept", "/kept", driver="local"),
            ServiceMount("butlery-small", "/small", driver="local", driver_options=small),
            ServiceMount("/etc", "/host-etc", read_only=True),
        ],
        user="0",
    )
    one.running()
    until(lambda: "1234" in one.out(), "its output")
    assert "read-only\n" in one.out()
    assert (shared / "proof").read_text() == "of\n"
    made = services.inspect()
    host = made["HostConfig"]
    assert (host["Memory"], host["CpuQuota"], host["ShmSize"], host["CapAdd"]) == (
        128 << 20, 150000, 32 << 20, ["NET_ADMIN"],
    )  # fmt: skip
    assert made["Config"]["Hostname"] == "deep-thought"
    assert "MORE=yes" in made["Config"]["Env"]
    one.kill()
    one.process.wait(TIMEOUT_S)
    made_volumes = json.loads(services.docker("volume", "inspect", "butlery-small", "butlery-mounted"))
    assert [volume["Options"] for volume in made_volumes] == [small, small]
    services.docker("volume", "rm", "butlery-kept", "butlery-small", "butlery-mounted")
    assert not Path("/run/butlery/services", f"butlery-s{one.process.pid}").exists()


def test_its_user_has_the_sandbox(services: Services) -> None:
    one = services("cd $MESOS_SANDBOX && echo of > mine; id -u; exec sleep 600", user="1234")
    one.running()
    until(lambda: "1234" in one.out(), "its output")
    assert (one.sandbox / "mine").stat().st_uid == 1234
    one.kill()


def test_a_user_that_only_the_image_knows_has_sandbox_and_secrets(services: Services, open_dir: Path) -> None:
    root = open_dir / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text("root:x:0:0::/:\napp:x:4321:4322::/:\n")
    (root / "bin").mkdir()
    shutil.copy("/bin/busybox", root / "bin" / "sh")
    image = "butlery-test-user:1"
    services.docker("import", "-c", "USER app", shutil.make_archive(str(root), "tar", root), image)
    secret = ServiceMount("", "/run/secret", content=base64.b64encode(b"hush\n").decode())
    one = services("cd $MESOS_SANDBOX && >mine; read word </run/secret; echo $word", image=image, mounts=[secret])
    assert [one.running()["state"], one.agent.state()["state"]] == ["TASK_RUNNING", "TASK_FINISHED"]
    assert one.out() == "hush\n"
    assert ((one.sandbox / "mine").stat().st_uid, (one.sandbox / "mine").stat().st_gid) == (4321, 4322)


def test_what_cannot_be_described(services: Services) -> None:
    assert services("true", parameters=[["nosuch", "x"]]).failed() == "parameter 'nosuch' of docker run is not known"
    assert "is the executor's own" in services("true", parameters=[["name", "x"]]).failed()


def test_an_image_that_does_not_exist(services: Services) -> None:
    one = services("true", image="127.0.0.1:9/no/such:1")
    assert one.failed().startswith("image 127.0.0.1:9/no/such:1 cannot be had: ")


def test_an_image_of_a_registry_that_asks_who_one_is(services: Services) -> None:
    registry = ImageRegistry("team", "hush")
    auths = {registry.image.partition("/")[0]: {"auth": base64.b64encode(b"team:hush").decode()}}
    config = json.dumps({"auths": auths})
    try:
        message = services("true", image=registry.image).failed()
        assert message.startswith(f"image {registry.image} cannot be had: ")
        pulls = []
        for force in (False, False, True):
            one = services("echo $FROM", image=registry.image, registry_config=config, force_pull=force)
            assert [one.running()["state"], one.agent.state()["state"]] == ["TASK_RUNNING", "TASK_FINISHED"]
            assert one.out() == "registry\n"
            assert "hush" not in read(one.sandbox / "stderr")
            pulls.append(registry.pulls)
        assert 0 < pulls[0] == pulls[1] < pulls[2]
    finally:
        registry.close()


def test_no_engine(services: Services) -> None:
    message = services("true", host=ServiceHost(docker_socket="/nonexistent")).failed()
    assert message.startswith(f"image {services.daemon.image} takes a Docker engine: /nonexistent")


def test_networks_ports_names_and_health(services: Services, network: str) -> None:
    port = free_port()
    check = ServiceCheck("http", 80, grace_s=60, interval_s=0.2, delay_s=0)
    server = services(
        SERVE,
        network=network,
        ports=[ServicePort(80, port)],
        health=[check],
        check=ServiceCheck("command", command=["exit 4"], interval_s=1, delay_s=0),
        env={"MARATHON_APP_ID": "/team/web"},
    )
    running = server.running()
    assert running["check_status"] == {"type": "COMMAND", "command": {}}
    (address,) = running["container_status"]["network_infos"][0]["ip_addresses"]
    told: dict[str, Any] = {}
    while not ("healthy" in told and told["check_status"]["command"]):
        told = server.running()
    assert told["healthy"] is True
    assert told["check_status"] == {"type": "COMMAND", "command": {"exit_code": 4}}
    assert told["container_status"]["network_infos"][0]["ip_addresses"] == [address]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        assert answer.read() == b"here\n"
    client = services("wget -q -O - http://web.team/ && exec sleep 600", network=network)
    client.running()
    until(lambda: client.out() == "here\n", "the other's page")
    client.kill()
    server.kill()


@pytest.mark.parametrize("wanted", [{"user": "1234"}, {"parameters": [["user", "1234"]]}])
def test_a_command_that_checks_is_the_containers_users(services: Services, wanted: dict[str, Any]) -> None:
    check = ServiceCheck("command", command=["test $(id -u) = 1234"], grace_s=0, interval_s=0.2, delay_s=0)
    one = services("exec sleep 600", health=[check], **wanted)
    one.running()
    assert one.running()["healthy"] is True
    one.kill()


@pytest.mark.parametrize("wanted", [{"tty": True}, {"parameters": [["tty", "true"]]}])
def test_a_terminal(services: Services, wanted: dict[str, Any]) -> None:
    one = services("test -t 1 && echo terminal", **wanted)
    assert [one.running()["state"], one.agent.state()["state"]] == ["TASK_RUNNING", "TASK_FINISHED"]
    assert one.out() == "terminal\n"


def test_a_chatty_one_keeps_the_newest(services: Services) -> None:
    one = services(
        "i=0; while [ $i -lt 60 ]; do dd if=/dev/zero bs=64k count=1 2>/dev/null; i=$((i+1)); done; echo end"
    )
    assert [one.running()["state"], one.agent.state()["state"]] == ["TASK_RUNNING", "TASK_FINISHED"]
    assert one.out().endswith("end\n")
    assert sum((one.sandbox / name).stat().st_size for name in ("stdout", "stdout.1")) <= 1 << 19


@pytest.mark.parametrize("victims", ["guard", "driver", "both"])
def test_a_killed_executors_container_is_gone(services: Services, victims: str) -> None:
    one = services("exec sleep 600")
    one.running()
    guard = one.process.pid
    (driver,) = processes.children(guard)
    os.kill(driver, signal.SIGSTOP)  # so that neither sees the other's end before its own
    if victims != "driver":
        os.kill(guard, signal.SIGKILL)
    if victims != "guard":
        os.kill(driver, signal.SIGKILL)
    else:
        os.kill(driver, signal.SIGCONT)
    one.process.wait(TIMEOUT_S)
    if victims == "both":
        until(lambda: processes.state(driver) == "", "the driver's end")
        assert len(services.daemon.names()) == 1
        other = services("exec sleep 600")  # whose executor sweeps
        other.running()
        assert len(services.daemon.names()) == 1
        other.kill()
    until(lambda: services.daemon.names() == [], "the container to go")


def test_a_tcp_check_reaches_what_listens_inside_alone(services: Services, network: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        check = ServiceCheck("tcp", port, grace_s=0, interval_s=0.2, delay_s=0, max_failures=2)
        one = services("exec sleep 600", network=network, health=[check])
        one.running()
        assert one.running()["healthy"] is False
        assert one.running()["healthy"] is False
        while (status := one.agent.state())["state"] != "TASK_KILLED":
            pass
        assert status["healthy"] is False


def test_what_a_killed_guard_and_driver_leave_is_ended_by_the_next_service(services: Services) -> None:
    secret = ServiceMount("", "key", content=base64.b64encode(b"hush").decode())
    one = services("(setsid setsid sleep 600 & echo $! > pid); exec sleep 600", image=None, mounts=[secret])
    one.running()
    until(lambda: read(one.sandbox / "pid") != "", "the hidden one")
    guard = one.process.pid
    below = processes.descendants(guard)
    os.kill(below[0], signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    os.kill(below[0], signal.SIGKILL)
    one.process.wait(TIMEOUT_S)
    other = services("exec sleep 600", image=None, mounts=[secret])
    other.running()
    until(lambda: not processes.living(below), "their end")
    until(lambda: not (one.sandbox / "key").exists(), "the end of the secret's file")
    other.kill()


class CutProxy:
    """Between executor and engine: what is open can be cut, and new connections refused for a while."""

    def __init__(self, path: Path, engine: str) -> None:
        self.path = str(path)
        self.refusing = False
        self._engine = engine
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        for one in self._open:
            with contextlib.suppress(OSError):  # one that has ended by itself
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()
        for one in self._open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                made, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                made.close()
                continue
            other = socket.socket(socket.AF_UNIX)
            other.connect(self._engine)
            self._open += [made, other]
            for source, target in ((made, other), (other, made)):
                thread = threading.Thread(target=self._pass_on, args=(source, target))
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_an_engine_that_comes_back_with_its_containers(services: Services, open_dir: Path) -> None:
    proxy = CutProxy(open_dir / "engine.sock", services.daemon.socket)
    try:
        one = services("trap 'echo bye; exit 3' TERM; while :; do echo more; sleep 0.1; done",
                       host=ServiceHost(docker_socket=proxy.path))  # fmt: skip
        one.running()
        until(lambda: "more" in one.out(), "its output")
        proxy.refusing = True
        proxy.cut()
        before = one.out()
        proxy.refusing = False
        until(lambda: one.out() != before, "more of its output")
        assert one.kill()["message"] == "Container exited with status 3"
        assert one.out().endswith("bye\n")
    finally:
        proxy.close()
