"""A real ZooKeeper of this machine, one server or an ensemble, each a child process on 127.0.0.1.

For tests and benchmarks; ``butlery local`` keeps its state in SQLite. The jars and Java are Debian's packages
``libzookeeper-java``, ``libslf4j-java`` and ``default-jre-headless`` (``.ci/packages test``).
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.local.cluster import end_process, free_port
from framework.local.logs import open_log, tail
from framework.local.processes import ProcessId

JARS = (Path("/usr/share/java/zookeeper.jar"), Path("/usr/share/java/slf4j-simple.jar"))
"""The first one names all the others it needs; the second one has it log to standard error."""
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 5.0
TICK_MS = 500
"""ZooKeeper grants sessions of 2 to 20 ticks: here 1 to 10 s."""
HEAP_MIB = 256


class ZooKeeperServer:
    """One server; its data stay in ``directory`` when it is stopped. Not for use from several threads."""

    def __init__(
        self,
        directory: Path,
        *,
        tick_ms: int = TICK_MS,
        heap_mib: int = HEAP_MIB,
        number: int = 1,
        peers: Sequence[str] = (),
    ) -> None:
        """``number`` and ``peers`` (lines of zoo.cfg) are for those of an ensemble. Raises InputError without Java."""
        missing = [str(jar) for jar in JARS if not jar.exists()] + ([] if shutil.which("java") else ["java"])
        if missing:
            install = "apt-get install --no-install-recommends libzookeeper-java libslf4j-java default-jre-headless"
            raise InputError([Fault("zookeeper", f"missing: {', '.join(missing)}; run as root: {install}")])
        self.directory = directory
        self.port = free_port()
        self.log = directory / "zookeeper.log"
        self._heap_mib = heap_mib
        self._pid_file = directory / "zookeeper.pid"
        self._process: subprocess.Popen[bytes] | None = None
        data = directory / "data"
        data.mkdir(parents=True)
        (data / "myid").write_text(f"{number}\n")
        lines = [
            f"dataDir={data}",
            f"tickTime={tick_ms}",
            "initLimit=20",
            "syncLimit=10",
            "clientPortAddress=127.0.0.1",
            f"clientPort={self.port}",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
            "standaloneEnabled=true",
            *peers,
        ]
        (directory / "zoo.cfg").write_text("\n".join(lines) + "\n")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server, on the port it always has; ``wait_ready`` tells when it serves."""
        end_process(self._pid_file)
        with open_log(self.log) as log:
            self._process = subprocess.Popen(
                [
                    "java",
                    f"-Xmx{self._heap_mib}m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",  # it lives for a test; compiling it well would cost more than it brings
                    "-Djava.net.preferIPv4Stack=true",
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-cp",
                    ":".join(map(str, JARS)),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    "zoo.cfg",
                ],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        identity = ProcessId.of(self._process.pid)
        if identity is not None:
            identity.save(self._pid_file)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Waits until it serves clients. Raises UnavailableError with its last words where it ends or does not."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise UnavailableError(f"ZooKeeper ended: {tail(self.log)} (see {self.log})")
            if self.serving():
                return
            time.sleep(0.05)
        raise UnavailableError(f"ZooKeeper does not serve after {timeout_s:g} s: {tail(self.log)} (see {self.log})")

    def serving(self) -> bool:
        try:
            return "\nMode: " in self.command("srvr")
        except OSError:
            return False

    def command(self, word: str) -> str:
        """The answer to a four-letter word, such as ``mntr``. Raises OSError."""
        with socket.create_connection(("127.0.0.1", self.port), COMMAND_TIMEOUT_S) as connection:
            connection.sendall(word.encode())
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts).decode(errors="replace")

    def written(self) -> int:
        """How many transactions there were since its epoch began: the lower half of the last one's id."""
        zxid = next(line for line in self.command("srvr").splitlines() if line.startswith("Zxid:"))
        return int(zxid.partition(":")[2].strip(), 16) & 0xFFFFFFFF

    def stop(self) -> None:
        self.resume()
        self._end(signal.SIGTERM)

    def kill9(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stops it as a machine does that hangs: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Ends it where it runs, starts it on its data and its port, and waits until it serves."""
        self.stop()
        self.start()
        self.wait_ready()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
        self._process = None
        self._pid_file.unlink(missing_ok=True)


def ensemble(directory: Path, count: int = 3, tick_ms: int = TICK_MS) -> list[ZooKeeperServer]:
    """Servers that replicate each other, not started yet; most of them must run for any to serve."""
    taken: set[int] = set()
    while len(taken) < 2 * count:
        taken.add(free_port())
    ports = sorted(taken)
    peers = [
        f"server.{number}=127.0.0.1:{ports[2 * number - 2]}:{ports[2 * number - 1]}" for number in range(1, count + 1)
    ]
    return [
        ZooKeeperServer(directory / str(number), tick_ms=tick_ms, number=number, peers=peers)
        for number in range(1, count + 1)
    ]


def start(servers: Sequence[ZooKeeperServer]) -> None:
    """Starts all and waits until each serves; where one does not, ends them again and raises its error."""
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
    except ButleryError:
        stop(servers)
        raise


def stop(servers: Sequence[ZooKeeperServer]) -> None:
    for server in servers:
        server.stop()


def url(servers: Sequence[ZooKeeperServer], chroot: str) -> str:
    """``zk://HOST:PORT,.../chroot``; ``chroot`` begins with a slash."""
    return f"zk://{','.join(server.address for server in servers)}{chroot}"
