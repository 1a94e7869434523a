"""The parts of services that need no executor: what is asked of Docker, checks, probes, output, documents."""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from agents.executor import linux, service_container, service_files
from agents.executor.docker_parameters import ParameterError, apply, size_bytes
from agents.executor.health import Health, check_status, is_well
from agents.executor.limits import Wanted
from agents.executor.probes import Network, Probe
from agents.executor.rotated import Rotated
from agents.executor.watch import Watch
from agents.service_spec import ServiceCheck, ServiceHost, ServiceMount, ServicePort, ServiceSpec
from agents.spec import HostPolicy
from tests.unit.agents.conftest import until


def test_a_spec_survives_its_way() -> None:
    spec = ServiceSpec(
        "t", 100, 64, "true", image="x", ports=[ServicePort(80, 31000)], mounts=[ServiceMount("a", "b", content="x")],
        health=[ServiceCheck("tcp", 80)], check=ServiceCheck("command", command=["true"]), host=HostPolicy(log_mib=3),
        env={"PASSWORD": "hush"},
    )  # fmt: skip
    read = ServiceSpec.from_json(spec.to_json())
    assert read == spec
    assert read != ServiceSpec("t", 100, 64)
    assert read.host == ServiceHost(log_mib=3)
    assert "hush" not in repr(read)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"kind": "service", "version": 99}', b'{"kind": "service", "version": 1, "odd": 1}']
)
def test_what_is_no_spec(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^ServiceSpec: "):
        ServiceSpec.from_json(data)


def described(spec: ServiceSpec, sandbox: Path = Path("/sandbox")) -> dict[str, Any]:
    return service_container.describe(spec, Wanted(64, 500, 0, 0, 1500), str(sandbox), {"/run/s": "/secrets/0"})


def test_a_container_as_the_engine_is_told_of_it() -> None:
    spec = ServiceSpec(
        "t", 500, 64, "run", image="x:1", env={"A": "b", "MARATHON_APP_ID": "/team/web"}, network="ours", user="app",
        ports=[ServicePort(80, 31000), ServicePort(53, 31001, "udp,tcp")],
        mounts=[
            ServiceMount("/data", "/var/data", read_only=True),
            ServiceMount("vol", "/vol", driver="rexray", driver_options={"size": "5"}),
            ServiceMount("", "/run/s", content="eA=="),
            ServiceMount("kept", "kept"),
        ],
        parameters=[["env", "A=c"], ["memory-swap", "-1"], ["net-alias", "web"], ["log-opt", "tag=x"], ["p", "81:81"]],
    )  # fmt: skip
    made = described(spec)
    host = made["HostConfig"]
    assert (made["Entrypoint"], made["Cmd"], made["User"]) == (["/bin/sh", "-c"], ["run"], "app")
    assert made["Env"] == ["MESOS_SANDBOX=/mnt/mesos/sandbox", "A=b", "MARATHON_APP_ID=/team/web", "A=c"]
    assert (host["Memory"], host["MemorySwap"], host["CpuShares"], host["CpuQuota"]) == (64 << 20, -1, 512, 150000)
    assert host["Binds"] == [
        "/sandbox:/mnt/mesos/sandbox:rw",
        "/data:/var/data:ro",
        "/secrets/0:/run/s:ro",
        "/sandbox/kept:/mnt/mesos/sandbox/kept:rw",
    ]
    (volume,) = host["Mounts"]
    assert volume["VolumeOptions"] == {"DriverConfig": {"Name": "rexray", "Options": {"size": "5"}}}
    assert host["PortBindings"] == {
        "80/tcp": [{"HostPort": "31000"}],
        "53/udp": [{"HostPort": "31001"}],
        "53/tcp": [{"HostPort": "31001"}],
        "81/tcp": [{"HostPort": "81", "HostIp": ""}],
    }
    assert made["NetworkingConfig"]["EndpointsConfig"] == {"ours": {"Aliases": ["web.team", "web"]}}
    assert host["LogConfig"] == {"Type": "none", "Config": {"tag": "x"}}


def test_arguments_are_the_entry_points() -> None:
    made = described(ServiceSpec("t", 500, 64, argv=["-v"], image="x"))
    assert (made.get("Entrypoint"), made["Cmd"]) == (None, ["-v"])


def test_a_mount_is_a_line_of_csv() -> None:
    made: dict[str, Any] = {"HostConfig": {}}
    options = 'volume-opt=type=nfs,volume-opt=device=:/srv,"volume-opt=o=addr=10.0.0.1,rw"'
    volume = f"src=home,target=/home,volume-driver=local,{options},volume-nocopy=1,volume-label=a=b"
    apply(made, [["mount", f"type=volume,{volume}"], ["mount", "type=tmpfs,dst=/tmp,tmpfs-size=1m,tmpfs-mode=1777"]])
    assert made["HostConfig"]["Mounts"] == [
        {
            "Type": "volume",
            "Source": "home",
            "Target": "/home",
            "VolumeOptions": {
                "DriverConfig": {
                    "Name": "local",
                    "Options": {"type": "nfs", "device": ":/srv", "o": "addr=10.0.0.1,rw"},
                },
                "NoCopy": True,
                "Labels": {"a": "b"},
            },
        },
        {"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o1777}},
    ]


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (["frobnicate", "1"], "parameter 'frobnicate' of docker run is not known"),
        (["restart", "always"], "parameter 'restart' of docker run is the executor's own to decide"),
        (["ulimit", "nofile=many"], "parameter 'ulimit' of docker run: invalid literal"),
        (["privileged", "maybe"], "parameter 'privileged' of docker run: 'maybe' is neither"),
        (["shm-size", "big"], "parameter 'shm-size' of docker run: "),
        (["mount", "type=bind,odd=1"], "parameter 'mount' of docker run: 'odd' of a mount"),
        (["mount", '"type=bind'], "parameter 'mount' of docker run: unexpected end of data in a mount"),
    ],
)
def test_parameters_that_cannot_be(parameter: list[str], message: str) -> None:
    with pytest.raises(ParameterError, match="^" + message):
        apply({"HostConfig": {"NetworkMode": "host"}}, [parameter])


@pytest.mark.parametrize(("text", "size"), [("64", 64), ("1k", 1024), ("1.5M", 3 << 19), ("2gb", 2 << 30), ("-1", -1)])
def test_sizes(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    ("image", "user"),
    [("web", "hub"), ("team/web:1", "hub"), ("docker.io/team/web", "hub"), ("reg.example:5000/web", "ours")],
)
def test_who_one_is_to_a_registry(image: str, user: str) -> None:
    auths = {
        "https://index.docker.io/v1/": {"auth": base64.b64encode(b"hub:a:b").decode()},
        "reg.example:5000": {"username": "ours", "password": "p"},
    }
    for config in ({"auths": auths}, auths):
        told = service_container.registry_auth(json.dumps(config), image)
        assert told is not None
        assert json.loads(base64.urlsafe_b64decode(told))["username"] == user
    assert service_container.registry_auth(json.dumps(auths), "other.example/web") is None
    with pytest.raises(ValueError, match=r"not a config\.json of Docker") as caught:
        service_container.registry_auth('{"auths": {"other.example": {"auth": "secret%"}}}', "other.example/web")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("app", (7, 8)),
        ("7", (7, 8)),
        ("app:9", (7, 9)),
        ("55", (55, 0)),
        ("55:66", (55, 66)),
        ("nosuch", (0, 0)),
        ("odd", (0, 0)),
    ],
)
def test_who_a_containers_user_is(user: str, ids: tuple[int, int]) -> None:
    passwd = b"root:x:0:0::/:/bin/sh\nodd:x:y:z\n\xff\n\napp:x:7:8::/:\n"
    assert service_container.user_inside(user, passwd) == ids


def test_containers_of_the_dead_are_orphans() -> None:
    pid, started, namespace = service_container.owner().split(" ")
    assert not service_container.is_orphan(f"{pid} {started} {namespace}")
    assert service_container.is_orphan(f"{pid} 1{started} {namespace}")
    assert service_container.is_orphan(f"4194305 1 {namespace}")
    assert not service_container.is_orphan("4194305 1 pid:[1]")  # of another machine, as far as can be told
    assert not service_container.is_orphan("")


def test_volumes_and_secrets_in_the_sandbox(tmp_path: Path) -> None:
    host, sandbox = tmp_path / "host", tmp_path / "sandbox"
    host.mkdir()
    (sandbox / "volume-1").mkdir(parents=True)
    uid, gid = os.geteuid(), os.getegid()
    mounts = [
        ServiceMount(str(host), "/deep/down"),
        ServiceMount("volume-1", "data/it"),
        ServiceMount("", "key", content=base64.b64encode(b"hush").decode()),
    ]
    name = "butlery-test-parts"
    secrets = service_files.write_secrets(name, mounts, uid, gid)
    service_files.link(str(sandbox), mounts, secrets, uid, gid)
    assert (sandbox / "deep/down").resolve() == host
    assert (sandbox / "data/it").resolve() == sandbox / "volume-1"
    assert (sandbox / "key").read_text() == "hush"
    assert not (sandbox / "key").resolve().is_relative_to(sandbox)
    service_files.remove(name)
    assert not (sandbox / "key").exists()


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (ServiceMount("/etc", "../up"), "outside the sandbox"),
        (ServiceMount("/no/such", "x"), "is not there"),
        (ServiceMount("vol", "x", driver="local"), "takes a Docker image"),
    ],
)
def test_mounts_that_cannot_be(tmp_path: Path, mount: ServiceMount, message: str) -> None:
    with pytest.raises(service_files.MountError, match=message):
        service_files.link(str(tmp_path), [mount], {}, 0, 0)


def test_secrets_are_put_into_nobody_elses_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = tmp_path / "services"
    planted.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: planted.stat().st_uid + 1)
    monkeypatch.setattr(service_files, "secrets_dir", lambda name: str(planted / name))
    with pytest.raises(service_files.MountError, match="is somebody else's"):
        service_files.write_secrets("butlery-s1", [ServiceMount("", "s", content="aHVzaA==")], 0, 0)
    assert not list(planted.iterdir())


def test_output_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    file = Rotated(str(path), fd, 2000)
    for number in range(100):
        file.write(b"%099d\n" % number)
    os.close(fd)
    kept = (tmp_path / "stdout.1").read_bytes() + path.read_bytes()
    assert kept == b"".join(b"%099d\n" % number for number in range(100 - len(kept) // 100, 100))
    assert 1000 <= len(kept) <= 2000


def test_output_goes_nowhere_that_the_service_has_put_a_link_to(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    file = Rotated(str(path), fd, 20)
    replace = os.replace

    def replace_and_plant(source: str, target: str) -> None:
        replace(source, target)
        path.symlink_to(tmp_path / "elsewhere")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "replace", replace_and_plant)
        file.write(b"eleven byte")
    file.write(b"x" * 10)
    os.close(fd)
    assert not (tmp_path / "elsewhere").exists()
    assert path.read_bytes() == b"x" * 10


class Bench:
    """One health check of a command, under a clock that stands still."""

    def __init__(self, **wanted: Any) -> None:
        self.now = 0.0
        self.said: list[tuple[bool, str, bool]] = []
        self.runs: list[Callable[[int | None, str], None]] = []
        self.cancelled = 0
        given = {"delay_s": 15, "interval_s": 60, "timeout_s": 20, "grace_s": 300, "max_failures": 3}
        check = ServiceCheck("command", command=["true"], **{**given, **wanted})
        self.health = Health(check, Watch(select.poll()), self._run, None, self._told, lambda: self.now)

    def _run(self, command: list[str], done: Callable[[int | None, str], None]) -> Callable[[], None]:
        assert command == ["true"]
        self.runs.append(done)

        def cancel() -> None:
            self.cancelled += 1

        return cancel

    def _told(self, well: bool, reason: str, enough: bool) -> None:
        self.said.append((well, reason, enough))

    def look(self, code: int | None) -> None:
        self.now += self.health.patience_s(self.now)
        self.health.tend(self.now)
        self.runs[-1](code, "why")


def test_the_first_look_is_after_the_delay() -> None:
    bench = Bench()
    assert bench.health.patience_s(0.0) == 15
    bench.health.tend(14.9)
    assert not bench.runs
    bench.look(0)
    assert bench.now == 15
    assert bench.said == [(True, "", False)]
    assert bench.health.patience_s(bench.now) == 60


def test_only_changes_for_the_better_are_told_and_every_failure() -> None:
    bench = Bench()
    for code in (0, 0, 1, 1, 0, 0):
        bench.look(code)
    assert bench.said == [(True, "", False), (False, "why", False), (False, "why", False), (True, "", False)]


def test_failures_within_the_grace_do_not_count_before_the_first_success() -> None:
    bench = Bench(max_failures=1)
    for _ in range(5):
        bench.look(1)
    assert (bench.said, bench.now) == ([], 15 + 4 * 60)
    bench.look(1)
    assert bench.said == [(False, "why", True)]
    early = Bench(max_failures=1)
    early.look(0)
    early.look(1)
    assert early.said == [(True, "", False), (False, "why", True)]


def test_none_of_0_is_enough() -> None:
    bench = Bench(max_failures=0, grace_s=0)
    for _ in range(10):
        bench.look(1)
    assert not any(enough for _, _, enough in bench.said)


def test_a_look_that_takes_too_long_is_a_failure() -> None:
    bench = Bench(grace_s=0)
    bench.health.tend(15.0)
    bench.now = 35.0
    bench.health.tend(35.0)
    assert bench.said == [(False, "timed out after 20 s", False)]
    assert bench.cancelled == 1
    bench.health.stop()
    assert bench.health.patience_s(35.0) == float("inf")


def test_results_as_mesos_has_them() -> None:
    assert check_status("command", 3) == {"type": "COMMAND", "command": {"exit_code": 3}}
    assert check_status("https", None) == {"type": "HTTP", "http": {}}
    assert check_status("tcp", 0) == {"type": "TCP", "tcp": {"succeeded": False}}
    assert [is_well("http", status) for status in (199, 200, 399, 400)] == [False, True, True, False]


class Server:
    """Gives each connection the next answer."""

    def __init__(self, answers: list[bytes], context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self.asked: list[str] = []
        self._context = context
        self._thread = threading.Thread(target=self._serve, args=(answers,))
        self._thread.start()

    def _serve(self, answers: list[bytes]) -> None:
        for answer in answers:
            made, _ = self._listener.accept()
            made.settimeout(10)
            if self._context is not None:
                made = self._context.wrap_socket(made, server_side=True)
            with made:
                self.asked.append(made.recv(4096).decode("latin-1").split("\r\n")[0])
                made.sendall(answer.replace(b"PORT", b"%d" % self.port))

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()


Look = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def look() -> Iterator[Look]:
    """Serves answers and probes once."""
    servers: list[Server] = []

    def probe(
        kind: str,
        *answers: bytes,
        path: str = "/",
        ipv6: bool = False,
        network: Network | None = None,
        **wanted: Any,
    ) -> tuple[int, str, list[str]]:
        servers.append(Server(list(answers), host="::1" if ipv6 else "127.0.0.1", **wanted))
        poll = select.poll()
        watch = Watch(poll)
        said: list[tuple[int, str]] = []
        one = Probe(watch, kind, servers[-1].port, path, ipv6, network, lambda *what: said.append(what))
        one.start()

        def turn() -> bool:
            for fd, _ in poll.poll(20):
                watch.read(fd)
            return bool(said)

        until(turn, "a result")
        return (*said[0], servers[-1].asked)

    yield probe
    for server in servers:
        server.close()


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "Content-Length: 0", "\r\n"]).encode()


def test_http(look: Look) -> None:
    assert look("http", head("200 OK"), path="/up?x=1") == (200, "", ["GET /up?x=1 HTTP/1.1"])
    assert look("http", head("100 Continue") + head("503 No"))[:2] == (503, "")
    assert look("http", head("204 None"), ipv6=True)[:2] == (204, "")


def test_a_network_that_may_not_be_entered_is_asked_from_outside(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, family: int) -> socket.socket:
        raise PermissionError(1, f"{pid} {family:d}")

    monkeypatch.setattr(linux, "socket_beside", refuse)
    assert look("http", head("200 OK"), network=Network(1, ("127.0.0.1", "::1")))[0] == 200
    assert look("http", head("200 OK"), network=Network(1, ("127.0.0.1", "::1")), ipv6=True)[0] == 200
    said: list[str] = []
    Probe(
        Watch(select.poll()), "tcp", 9, "/", True, Network(1, ("127.0.0.1",)), lambda _, why: said.append(why)
    ).start()
    assert said == [f"cannot connect: 1 {socket.AF_INET6:d}"]


def test_redirects_are_followed_on_this_host(look: Look) -> None:
    answers = head("302 F", "Location: b"), head("301 F", "Location: http://127.0.0.1:PORT/c#x"), head("200 O")
    found = look("http", *answers, path="/a/x")
    assert found == (200, "", ["GET /a/x HTTP/1.1", "GET /a/b HTTP/1.1", "GET /c HTTP/1.1"])
    assert look("http", head("302 F", "Location: https://elsewhere.example/"))[:2] == (302, "")
    assert look("http", *[head("302 F", "Location: /")] * 11)[:2] == (0, "more than 10 redirects")


def test_what_is_no_answer(look: Look) -> None:
    assert look("http", b"SSH-2.0-x\r\n\r\n")[:2] == (0, "not an HTTP answer")
    assert look("http", b"")[:2] == (0, "the connection was closed before an answer")
    assert look("http", b"x" * 70_000)[:2] == (0, "the head of the answer is too long")


def test_https_of_an_unknown_authority(look: Look) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("elsewhere.example").configure_cert(context)
    assert look("https", head("200 OK"), context=context)[:2] == (200, "")
    status, reason, _ = look("https", b"plain")
    assert status == 0
    assert reason.startswith("TLS: ")


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    poll = select.poll()
    watch = Watch(poll)
    said: list[tuple[int, str]] = []
    Probe(watch, "tcp", port, "/", False, None, lambda *what: said.append(what)).start()
    while not said:
        for fd, _ in poll.poll(1000):
            watch.read(fd)
    assert said == [(0, f"cannot connect to port {port}: Connection refused")]
