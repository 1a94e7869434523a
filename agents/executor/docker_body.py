"""A build's command as a Docker container."""

from __future__ import annotations

import contextlib
import os
import zlib

from agents.executor import cgroup_v1, cgroup_v2, processes
from agents.executor.docker_engine import Engine, EngineError
from agents.executor.limits import MIB, Usage, cpu_shares, oom_verdict
from agents.executor.probes import Network
from agents.executor.process_body import StartError
from agents.executor.wire import WireError
from agents.executor.workspace import SCRIPT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from agents.executor.limits import Limits, Verdict, Wanted
    from agents.executor.watch import Watch
    from agents.executor.worker import Worker
    from agents.executor.workspace import Place

INSIDE = "/butlery"  # the sandbox in the container
PULL_TIMEOUT_S = 900.0
EXIT_TIMEOUT_S = 10.0
MAX_WAITING_BYTES = 8 * 1024 * 1024  # of output; what a container that is being killed can have left is about 1 MiB
HOST_IMAGE = "butlery/host"
_HOST_DIRS = ("usr", "etc", "opt")
_LINKED_DIRS = ("bin", "lib", "lib32", "lib64", "libx32")  # links into /usr on most systems of today
_EMPTY_DIRS = ("sbin", "tmp", "var/tmp", "run", "root")  # sbin: the engine puts its init there, so it is not the host's


class ImageError(Exception):
    """The image could not be had."""


class DockerBody:
    """A container called ``name``, made by ``start`` and removed by ``close``."""

    interval_s = 0.05  # the container's groups, and what they tell, are gone as soon as it ends

    def __init__(
        self, socket_path: str, name: str, wanted: Wanted, place: Place, interrupted: Callable[[], bool]
    ) -> None:
        self.fd = -1
        self.exit_code: int | None = None
        self.signal: int | None = None
        self._engine = Engine(socket_path, self._take_output)
        self._starting = Engine(socket_path, interrupted)  # start may be given up; clearing up may not
        self._socket_path = socket_path
        self._name = name
        self._image = ""
        self._binds: list[str] = []
        self._network: Network | None = None
        self._worker: Worker | None = None
        self._wanted = wanted
        self._place = place
        self._socket: socket.socket | None = None
        self._raw = b""
        self._pid = 0
        self._limits: Limits | None = None
        self._usage = Usage(None, None)
        self._hindsight: Verdict | None = None

    def provide(self, image: str | None) -> None:
        """Has the image at hand. Raises ImageError, WireError, wire.Interrupted."""
        try:
            if image is None:
                self._image = self._host_image()
                self._binds += ["/%s:/%s:ro" % (name, name) for name in _bound_dirs()]
            else:
                self._image = image
                self._fetch(image)
        except EngineError as error:
            raise ImageError("image %s: %s" % (image, error)) from error

    def start(
        self,
        command: list[str],
        environment: dict[str, str],
        network: str,
        files: list[tuple[str, str]],
        mounts: list[dict[str, Any]],
        user: str | None,
    ) -> None:
        """After ``provide``. ``files``: to be read, each with its path inside; ``mounts``: as the engine has them.

        ``user``: of the image; it gets what is the build's. Raises ImageError, StartError, WireError, wire.Interrupted.
        """
        sandbox = self._place.sandbox
        binds = self._binds + ["%s/%s:%s/%s" % (sandbox, name, INSIDE, name) for name in ("workspace", "home")]
        binds.append("%s/%s:%s/%s:ro" % (sandbox, SCRIPT, INSIDE, SCRIPT))
        binds.append("%s/home/tmp:/tmp" % sandbox)  # gone with the build, and counted as its disk
        binds += ["%s:%s:ro" % pair for pair in files]
        if user is None:
            uid = os.getuid() if self._place.uid is None else self._place.uid
            shown = "%d:%d" % (uid, os.getgid() if self._place.uid is None else uid)
        else:
            shown = "%s:%s" % (user, user) if user.isdigit() else user
        wanted = container(self._wanted, self._image, command, environment, shown, binds, mounts, network)
        try:
            self._starting.call("POST", "/containers/create?name=" + self._name, wanted)
            if user is not None:
                self._hand_over(shown, [path for path, _ in files])
            self._socket, self._raw = self._starting.attach(self._name)
            self._socket.setblocking(False)
            self.fd = self._socket.fileno()
            self._starting.call("POST", "/containers/%s/start" % self._name)
            found = self._starting.call("GET", "/containers/%s/json" % self._name)
        except EngineError as error:
            raise StartError("Docker: %s" % error) from error
        self._pid = found["State"]["Pid"]
        if network != "host":
            networks = found["NetworkSettings"].get("Networks") or {}
            self._network = Network(self._pid, tuple(one["IPAddress"] for one in networks.values()))
        self._limits = self._find_limits()

    def read(self) -> bytes | None:
        assert self._socket is not None  # noqa: S101 - read before start
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self._raw += data
        shown = []
        while len(self._raw) >= 8:  # stream number, three zero bytes, length of the frame in big-endian
            size = int.from_bytes(self._raw[4:8], "big")
            if len(self._raw) < 8 + size:
                break
            shown.append(self._raw[8 : 8 + size])
            self._raw = self._raw[8 + size :]
        return b"".join(shown) if data else b"".join(shown) or None

    def ended(self) -> bool:
        if self.exit_code is not None or self.signal is not None:
            return True
        if self._pid and processes.state(self._pid) not in ("", "Z", "X"):
            return False
        self._look_at_end()
        return True

    def living(self) -> list[int]:
        # The processes of a container end with its first one: the kernel kills what is left in the pid namespace.
        if not self._pid or processes.state(self._pid) in ("", "Z", "X"):
            return []
        return [self._pid, *processes.living(processes.descendants(self._pid))]

    def network(self) -> Network | None:
        return self._network

    def run_check(
        self, watch: Watch, command: list[str], done: Callable[[int | None, str], None]
    ) -> Callable[[], None]:
        """Runs a command in the container; ``done`` gets its exit code. Returns what ends it without ``done``."""
        from agents.executor.docker_check import ExecCheck
        from agents.executor.worker import Worker

        if self._worker is None:
            self._worker = Worker(watch)
        made = ExecCheck(Engine(self._socket_path), self._name, ["/bin/sh", "-c", *command], done)
        self._worker.do(made.work)
        return made.cancel

    def check(self, now_s: float) -> Verdict | None:
        if self._limits is None:
            return None
        verdict = self._limits.check(now_s)
        usage = self._limits.usage()
        if usage.peak_mem_mib is not None:
            self._usage = usage
        self._hindsight = verdict or self._limits.hindsight() or self._hindsight
        if verdict is not None and verdict[0] == "oom":
            self._usage.peak_mem_mib = float(self._wanted.mem_mib)  # the last look may have been before the last page
        return verdict

    def hindsight(self) -> Verdict | None:
        return self._hindsight

    def usage(self) -> Usage:
        return self._usage

    def terminate(self) -> None:
        processes.signal_all(processes.descendants(self._pid), processes.SIGTERM)

    def kill(self) -> bool:
        try:
            self._engine.call("POST", "/containers/%s/kill" % self._name, timeout_s=EXIT_TIMEOUT_S)
        except EngineError as error:
            if error.status not in (404, 409):  # no such container, or it does not run
                return False
        except WireError:
            processes.signal_all(self.living(), processes.SIGKILL)
        return not self.living()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        remove(self._engine, self._name)

    def _take_output(self) -> bool:
        """To be called while the engine is waited for: it holds a container for running until its output is read."""
        with contextlib.suppress(OSError):
            while self._socket is not None and len(self._raw) < MAX_WAITING_BYTES:
                data = self._socket.recv(65536)
                if not data:
                    break
                self._raw += data
        return False

    def _look_at_end(self) -> None:
        try:
            status = self._engine.call(
                "POST", "/containers/%s/wait?condition=not-running" % self._name, timeout_s=EXIT_TIMEOUT_S
            )
            code = int(status["StatusCode"])
            found = self._engine.call("GET", "/containers/%s/json" % self._name)["State"]
        except (EngineError, WireError, KeyError, TypeError, ValueError) as error:
            self.exit_code = -1
            self._hindsight = "infrastructure", "the Docker engine lost the container: %s" % error
            return
        if 128 < code <= 128 + 64:  # as a shell and Docker's init tell of a signal
            self.signal = code - 128
        else:
            self.exit_code = code
        if found.get("OOMKilled"):
            self._usage.peak_mem_mib = float(self._wanted.mem_mib)
            self._hindsight = oom_verdict(self._usage.peak_mem_mib, self._wanted.mem_mib)

    def _find_limits(self) -> Limits | None:
        """The container's own groups, which tell more, and sooner, than the engine's API does."""
        try:
            dirs = cgroup_v1.groups_of(self._pid)
            if "memory" in dirs:
                return cgroup_v1.CgroupV1(self._wanted, dirs)
            group = cgroup_v2.group_of(self._pid)
        except OSError:
            return None
        return cgroup_v2.CgroupV2(self._wanted, group) if group else None

    def _hand_over(self, user: str, secrets: list[str]) -> None:
        """Makes what is the build's that user's, of whom only the image may know."""
        from agents.executor.service_container import user_inside

        try:
            passwd = self._starting.read_file(self._name, "/etc/passwd")
        except EngineError as error:
            if error.status != 404:
                raise
            passwd = b""
        uid, gid = user_inside(user, passwd)
        if uid == 0:
            raise ImageError("image %s: its user %s is root, as whom no build runs" % (self._image, user))
        for root in self._place.measured():
            os.chown(root, uid, gid)
            for directory, below, names in os.walk(root):
                for name in below + names:
                    os.lchown(os.path.join(directory, name), uid, gid)
        os.chmod(os.path.join(self._place.sandbox, SCRIPT), 0o555)  # noqa: S103 - in a sandbox that is closed to others
        for path in secrets:
            os.chown(path, uid, gid)

    def _fetch(self, image: str) -> None:
        from urllib.parse import quote

        try:
            self._starting.call("GET", "/images/%s/json" % quote(image))
        except EngineError as error:
            if error.status != 404:
                raise
            name, tag = split_image(image)
            path = "/images/create?fromImage=%s&tag=%s" % (quote(name, safe=""), quote(tag, safe=""))
            self._starting.pull(path, None, PULL_TIMEOUT_S)

    def _host_image(self) -> str:
        tar = _empty_root()
        tag = "%08x" % zlib.crc32(tar)
        image = "%s:%s" % (HOST_IMAGE, tag)
        try:
            self._starting.call("GET", "/images/%s/json" % image)
        except EngineError as error:
            if error.status != 404:
                raise
            path = "/images/create?fromSrc=-&repo=%s&tag=%s" % (HOST_IMAGE.replace("/", "%2F"), tag)
            self._starting.pull(path, tar, PULL_TIMEOUT_S)
        return image


def container(
    wanted: Wanted,
    image: str,
    command: list[str],
    environment: dict[str, str],
    user: str,
    binds: list[str],
    mounts: list[dict[str, Any]],
    network: str,
) -> dict[str, Any]:
    """The engine's description of a build's container. Without a ``command`` it starts what its image does."""
    host: dict[str, Any] = {
        "Binds": binds,
        "Mounts": mounts,
        "Init": True,
        "Memory": wanted.mem_mib * MIB,
        "MemorySwap": wanted.mem_mib * MIB,  # memory and swap together: no swap
        "CpuShares": cpu_shares(wanted.cpu_millis),
        "PidsLimit": wanted.pids,
        "NetworkMode": network,
        "LogConfig": {"Type": "none"},
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": ["ALL"],
        "OomScoreAdj": 500,
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
    }
    if wanted.gpus:
        host["DeviceRequests"] = [{"Count": wanted.gpus, "Capabilities": [["gpu"]]}]  # as of docker run --gpus N
    made: dict[str, Any] = {
        "Image": image,
        "Env": ["%s=%s" % item for item in environment.items()],
        "User": user,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": host,
    }
    if command:
        made.update({"Entrypoint": command, "Cmd": [], "WorkingDir": INSIDE + "/workspace"})
    return made


def remove(engine: Engine, name: str) -> bool:
    """Removes the container, running or not; True when it is gone."""
    try:
        engine.call("DELETE", "/containers/%s?force=1&v=1" % name)
    except EngineError as error:
        return error.status == 404
    except WireError:
        return False
    return True


def split_image(image: str) -> tuple[str, str]:
    """Name and tag or digest, ``latest`` where there is none; a colon before a slash is a port's."""
    name, at, digest = image.partition("@")
    if at:
        return name, digest
    name, colon, tag = image.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (image, "latest")


def _bound_dirs() -> list[str]:
    return [name for name in _HOST_DIRS + _LINKED_DIRS if os.path.isdir("/" + name) and not os.path.islink("/" + name)]


def _empty_root() -> bytes:
    """A tar archive of a root with nothing but the host's links and mount points in it, the same on every call."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in _LINKED_DIRS:
            if os.path.islink("/" + name):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink("/" + name)
                tar.addfile(entry)
        for name in _EMPTY_DIRS:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            tar.addfile(entry)
    return buffer.getvalue()
