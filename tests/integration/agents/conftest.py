"""Real builds: the packed executor, run the way a Mesos agent would, in every isolation this machine has."""

from __future__ import annotations

import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from agents.executor import cgroup_v1
from agents.pack import build_pyz
from agents.spec import BuildResult, BuildSpec, HostPolicy

PYTHON = "/usr/bin/python3"
RUN_TIMEOUT_S = 90.0
GONE_TIMEOUT_S = 5.0
OTHER_USER = 1500
NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false")
KERNEL = "mesos" if "memory" in cgroup_v1.own_groups() else "cgroup2"
"""The isolation that holds builds with the kernel's groups: cgroup v1's below those of Mesos, or version 2's."""
TEST_UIDS = "300000-300999"  # not those of builds that run on this machine beside the tests


@dataclass
class Finished:
    """A build that has ended: its result, its sandbox and what stood in its log."""

    result: BuildResult
    sandbox: Path
    log: str
    stderr: str


@dataclass
class Running:
    """A build under way in a process of its own."""

    process: subprocess.Popen[str]
    sandbox: Path
    marker: str

    def wait_for_log(self, text: str) -> None:
        until(lambda: text in read(self.sandbox / "build.log"), f"{text!r} in the log")

    def finish(self) -> Finished:
        out, err = self.process.communicate(timeout=RUN_TIMEOUT_S)
        result = BuildResult.from_json(out.splitlines()[-1].encode())
        return Finished(result, self.sandbox, read(self.sandbox / "build.log"), err)


@dataclass
class Executor:
    """Starts builds. ``box``: the cgroups to start them in, as Mesos' isolators would. ``user``: who runs them."""

    pyz: Path
    directory: Path
    policy: HostPolicy
    box: dict[str, str] = field(default_factory=dict)
    user: int = 0
    spawned: list[Running] = field(default_factory=list)

    def start(self, command: str, **wanted: object) -> Running:
        sandbox = self.directory / secrets.token_hex(4)
        sandbox.mkdir()
        marker = "butlery-test-" + secrets.token_hex(8)
        spec = BuildSpec(
            task_id="task-1",
            job="job",
            command=command,
            **{
                "tenant": "acme",
                "cpu_millis": 500,
                "mem_mib": 64,
                "timeout_s": 60.0,
                "grace_s": 2.0,
                "host": self.policy,
                **wanted,
            },  # type: ignore[arg-type]
        )
        spec.env = {**spec.env, "BUTLERY_MARKER": marker}
        path = sandbox / "spec.json"
        path.write_bytes(json.dumps(asdict(spec)).encode())
        if self.user:
            os.chown(sandbox, self.user, self.user)
        process = subprocess.Popen(
            [PYTHON, "-S", "-E", str(self.pyz), "--run", str(path), "--sandbox", str(sandbox)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=self.enter,
        )
        running = Running(process, sandbox, marker)
        self.spawned.append(running)
        return running

    def run(self, command: str, **wanted: object) -> Finished:
        running = self.start(command, **wanted)
        finished = running.finish()
        assert_nothing_left(running.marker)
        return finished

    def enter(self) -> None:
        """Puts the calling process where builds are to be started: among ``box``, as ``user``."""
        for path in self.box.values():
            Path(path, "cgroup.procs").write_text("0")
        if self.user:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.02)


def processes_marked(marker: str) -> list[int]:
    """Processes with the marker in their environment: a build's, wherever they have hidden."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def assert_nothing_left(marker: str) -> None:
    until(lambda: not processes_marked(marker), "the end of the build's processes", GONE_TIMEOUT_S)


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="butlery-pyz-"))
    directory.chmod(0o755)
    yield build_pyz(directory)
    shutil.rmtree(directory)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user may pass through, which pytest's own are not."""
    directory = Path(tempfile.mkdtemp(prefix="butlery-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def mesos_box() -> Iterator[dict[str, str]]:
    """Groups like those Mesos' cgroups/mem and cgroups/cpu isolators put an executor in: 192 MiB, executor included.

    None where the kernel runs cgroup v2, of which Mesos makes nothing.
    """
    name = "mesos/" + secrets.token_hex(8)
    own = cgroup_v1.own_groups()
    made = {controller: f"{own[controller]}/{name}" for controller in ("memory", "cpu", "cpuacct") if KERNEL == "mesos"}
    for path in made.values():
        Path(path).mkdir(parents=True)
    if made:
        Path(made["memory"], "memory.limit_in_bytes").write_text(str(192 << 20))
    yield made
    for path in made.values():
        until(functools.partial(_removed, Path(path)), f"{path} to be empty", 10.0)
        _removed(Path(path).parent)


def _removed(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _stop(executor: Executor) -> None:
    for running in executor.spawned:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(RUN_TIMEOUT_S)
        for stream in (running.process.stdout, running.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def watchdog(pyz: Path, open_dir: Path) -> Iterator[Executor]:
    executor = Executor(pyz, open_dir, HostPolicy(isolation="watchdog", uids=TEST_UIDS, pids=60, log_mib=1))
    yield executor
    _stop(executor)


@pytest.fixture
def unprivileged(pyz: Path, open_dir: Path) -> Iterator[Executor]:
    """As a user who is not root and shares the user id with all its builds."""
    policy = HostPolicy(isolation="auto", docker_socket="/nonexistent", pids=60, log_mib=1)
    executor = Executor(pyz, open_dir, policy, user=OTHER_USER)
    yield executor
    _stop(executor)


@pytest.fixture
def grouped(pyz: Path, open_dir: Path, mesos_box: dict[str, str]) -> Iterator[Executor]:
    """In a group of the kernel's, which ``auto`` must find: below one like Mesos' or, with version 2, of its own."""
    policy = HostPolicy(isolation="auto", docker_socket="/nonexistent", uids=TEST_UIDS, pids=60, log_mib=1)
    executor = Executor(pyz, open_dir, policy, box=mesos_box)
    yield executor
    _stop(executor)


@dataclass
class DockerDaemon:
    socket: str
    image: str

    def names(self) -> list[str]:
        listed = subprocess.run(
            ["docker", "-H", "unix://" + self.socket, "ps", "-a", "--format", "{{.Names}}"],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return listed.stdout.split()


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[DockerDaemon]:
    """A Docker engine of the tests' own, with an image made of this host's static busybox."""
    directory = Path(tempfile.mkdtemp(prefix="butlery-docker-"))
    socket = str(directory / "docker.sock")
    dirs = [f"--{kind}-root={directory / kind}" for kind in ("data", "exec")]
    log = (directory / "log").open("wb")
    daemon = subprocess.Popen(
        ["dockerd", *dirs, f"--pidfile={directory / 'pid'}", f"--host=unix://{socket}", *NO_NETWORK],
        stdout=log,
        stderr=log,
    )
    docker = ["docker", "-H", "unix://" + socket]

    def answers() -> bool:
        assert daemon.poll() is None, read(directory / "log")
        return subprocess.run([*docker, "version"], capture_output=True, timeout=30).returncode == 0

    until(answers, "the Docker engine", 60.0)
    root = directory / "busybox"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for name in ("sh", "sleep", "id", "cat", "echo", "yes", "touch", "dd", "setsid", "mkdir", "httpd", "wget"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "tmp").mkdir(mode=0o1777)
    tar = subprocess.run(["tar", "-C", str(root), "-c", "."], check=True, capture_output=True).stdout
    image = "butlery-test-busybox:1"
    subprocess.run([*docker, "import", "-", image], input=tar, check=True, capture_output=True, timeout=60)
    yield DockerDaemon(socket, image)
    daemon.terminate()
    daemon.wait(30)
    log.close()
    for line in read(Path("/proc/self/mounts")).splitlines():
        if line.split()[1].startswith(str(directory)):  # the network namespace that the engine keeps mounted
            subprocess.run(["umount", line.split()[1]], check=True, timeout=30)
    shutil.rmtree(directory)


@pytest.fixture
def docker(pyz: Path, open_dir: Path, docker_daemon: DockerDaemon) -> Iterator[Executor]:
    policy = HostPolicy(isolation="auto", docker_socket=docker_daemon.socket, uids=TEST_UIDS, pids=60, log_mib=1)
    executor = Executor(pyz, open_dir, policy)
    yield executor
    _stop(executor)


@pytest.fixture(params=["watchdog", "unprivileged", "grouped", "docker"])
def executor(request: pytest.FixtureRequest) -> Executor:
    """Each way of holding a build that there is on this machine."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Executor)
    return found
