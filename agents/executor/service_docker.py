"""A service as a Docker container: whatever waits for the engine does so in threads, and its end comes by itself."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from urllib.parse import quote

from agents.executor import service_container, service_files
from agents.executor.docker_body import PULL_TIMEOUT_S, remove, split_image
from agents.executor.docker_check import ExecCheck
from agents.executor.docker_engine import Engine, EngineError
from agents.executor.docker_parameters import ParameterError
from agents.executor.journal import log
from agents.executor.limits import oom_verdict
from agents.executor.probes import Network
from agents.executor.rotated import Rotated
from agents.executor.service_process import StartError, wanted_of
from agents.executor.wire import Interrupted, Response, WireError
from agents.executor.worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from agents.executor.slot import Slot
    from agents.executor.watch import Watch
    from agents.service_spec import ServiceSpec

PING_TIMEOUT_S = 5.0
REMOVE_TIMEOUT_S = 10.0
ENGINE_AWAY_S = 60.0  # an engine that restarts may keep its containers; one that is gone for longer has lost them
ENGINE_PAUSE_S = 0.5
MAX_WAITING_BYTES = 1024 * 1024  # of output in frames that are not complete


class DockerService:
    """The container. As ``service_process.ProcessService``, but it runs only some time after ``start``."""

    def __init__(
        self,
        spec: ServiceSpec,
        slot: Slot,
        watch: Watch,
        on_run: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.message = ""
        self.reason = ""
        self.passed = False
        self.addresses: tuple[str, ...] = ()
        self.network: Network | None = None
        self._spec = spec
        self._image = spec.image or ""
        self._name = slot.name
        self._sandbox = slot.sandbox
        self._watch = watch
        self._on_run = on_run
        self._on_end = on_end
        self._wanted = wanted_of(spec)
        self._engine = Engine(slot.docker_socket)
        self._starting = Engine(slot.docker_socket, lambda: self._stopped)  # a start may be given up
        self._worker = Worker(watch)
        self._stopped = False  # it is to end, or has
        self._running = False
        self._ended = False
        self._asked = False  # for a container, which there may thus be
        self._stop_signal = "SIGTERM"
        limit = spec.host.log_mib << 19  # half of it, in bytes
        self._files = {
            1: Rotated(os.path.join(slot.sandbox, "stdout"), 1, limit),
            2: Rotated(os.path.join(slot.sandbox, "stderr"), 2, limit),
        }
        self._secrets: dict[str, str] = {}
        self._terminal = False
        self._output: socket.socket | None = None
        self._raw = b""
        self._waiting: tuple[socket.socket, Response] | None = None

    def start(self) -> None:
        """Raises StartError where the container cannot even be described; other failures are an early end."""
        spec = self._spec
        try:
            self._secrets = service_files.write_secrets(self._name, spec.mounts, os.geteuid(), os.getegid())
            described = service_container.describe(spec, self._wanted, self._sandbox, self._secrets)
            auth = self._auth()
        except (service_files.MountError, ParameterError, ValueError, OSError) as error:
            raise StartError(str(error)) from error
        self._worker.do(lambda: self._begin(described, auth))

    def patience_s(self, now_s: float) -> float:
        """It needs no tending."""
        del now_s
        return float("inf")

    def tend(self, now_s: float) -> None:
        """Nothing: what happens comes by descriptors."""

    def terminate(self) -> None:
        """Asks it to end, as its image wants to be asked."""
        self._stopped = True
        if self._running:
            self._signal(self._stop_signal)

    def kill(self) -> None:
        self._stopped = True
        if self._running:
            self._signal("SIGKILL")

    def clear(self) -> bool:
        """Takes away the container, whatever its state; True when it is gone."""
        self._stopped = self._ended = True
        self._read_output()
        for made in (self._output, self._waiting[0] if self._waiting else None):
            if made is not None:
                self._watch.drop(made.fileno())
                made.close()
        self._output = self._waiting = None
        service_files.remove(self._name)
        deadline_s = time.monotonic() + REMOVE_TIMEOUT_S
        while self._asked and not remove(self._engine, self._name):
            if time.monotonic() > deadline_s:
                return False
            time.sleep(ENGINE_PAUSE_S)
        return True

    def run_check(self, command: list[str], done: Callable[[int | None, str], None]) -> Callable[[], None]:
        """Runs a command in the container; ``done`` gets its exit code. Returns what ends it without ``done``."""
        argv = ["/bin/sh", "-c", command[0]] if len(command) == 1 else command
        state = ExecCheck(self._engine, self._name, argv, done)
        self._worker.do(state.work)
        return state.cancel

    def _auth(self) -> str | None:
        config = self._spec.registry_config
        if config is None:
            for name in (".docker/config.json", ".dockercfg"):  # fetched with the app's files
                path = os.path.join(self._sandbox, name)
                if os.path.isfile(path):
                    with open(path, encoding="utf-8") as file:
                        config = file.read(1 << 20)
                    break
        return None if config is None else service_container.registry_auth(config, self._image)

    def _begin(self, described: dict[str, Any], auth: str | None) -> Callable[[], None]:
        """In a thread: everything up to the running container; what is to be told of it."""
        path = "/containers/%s" % self._name
        try:
            self._starting.ping(PING_TIMEOUT_S)
        except (EngineError, WireError) as error:
            return partial(self._failed, "image %s takes a Docker engine: %s" % (self._image, error))
        except Interrupted:
            return partial(self._failed, "killed before it was started")
        try:
            self._sweep()
            try:
                self._fetch(auth)
            except EngineError as error:
                return partial(self._failed, "image %s cannot be had: %s" % (self._image, error))
            self._asked = True
            self._starting.call("POST", "/containers/create?name=" + self._name, described)
            self._hand_over()
            output, raw = self._starting.attach(self._name)
            waiting = self._starting.wait_exit(self._name)
            self._starting.call("POST", path + "/start")
            found = self._starting.call("GET", path + "/json")
        except (EngineError, WireError, OSError) as error:
            return partial(self._failed, "Docker: %s" % error)
        except Interrupted:
            return partial(self._failed, "killed before it was started")
        return partial(self._began, output, raw, waiting, found)

    def _sweep(self) -> None:
        """Removes containers whose executor and its guard were both killed before they could."""
        filters = quote(json.dumps({"label": [service_container.LABEL]}))
        for one in self._starting.call("GET", "/containers/json?all=1&filters=" + filters):
            if service_container.is_orphan(one["Labels"][service_container.LABEL]):
                log("removes the container %s that another left behind" % one["Id"][:12])
                remove(self._starting, one["Id"])

    def _fetch(self, auth: str | None) -> None:
        if not self._spec.force_pull:
            try:
                self._starting.call("GET", "/images/%s/json" % quote(self._image))
            except EngineError as error:
                if error.status != 404:
                    raise
            else:
                return
        name, tag = split_image(self._image)
        path = "/images/create?fromImage=%s&tag=%s" % (quote(name, safe=""), quote(tag, safe=""))
        self._starting.pull(path, None, PULL_TIMEOUT_S, auth)

    def _hand_over(self) -> None:
        """Makes sandbox, persistent volumes and secrets those of the container's user, whom only its image may know."""
        user = self._starting.call("GET", "/containers/%s/json" % self._name)["Config"]["User"]
        if user in ("", "0", "root") or os.geteuid() != 0:
            return
        try:
            passwd = self._starting.read_file(self._name, "/etc/passwd")
        except EngineError as error:
            if error.status != 404:
                raise
            passwd = b""
        uid, gid = service_container.user_inside(user, passwd)
        service_files.own_sandbox(self._sandbox, uid, gid)
        for path in self._secrets.values():
            os.chown(path, uid, gid)
        for mount in self._spec.mounts:
            if mount.source and mount.driver is None and not os.path.isabs(mount.source) and not mount.read_only:
                service_files.own(os.path.join(self._sandbox, mount.source), uid, gid)

    def _began(
        self, output: socket.socket, raw: bytes, waiting: tuple[socket.socket, Response], found: dict[str, Any]
    ) -> None:
        """On the loop's thread: it runs."""
        if self._ended:
            return  # and was cleared away meanwhile
        self._stop_signal = found["Config"].get("StopSignal") or "SIGTERM"
        self._terminal = found["Config"]["Tty"]  # a parameter may ask for one too
        networks = found["NetworkSettings"].get("Networks") or {}
        told = [one.get(key) for one in networks.values() for key in ("IPAddress", "GlobalIPv6Address")]
        self.addresses = tuple(one for one in told if one)
        if found["HostConfig"]["NetworkMode"] != "host" and found["State"]["Pid"]:
            self.network = Network(found["State"]["Pid"], self.addresses)
        self._running = True
        self._listen(output, raw, waiting)
        if not self._ended:
            self._on_run()
            if self._stopped:
                self._signal(self._stop_signal)

    def _listen(self, output: socket.socket, raw: bytes, waiting: tuple[socket.socket, Response]) -> None:
        if self._output is not None:  # of an engine that is gone, but this has not been read from it yet
            self._watch.drop(self._output.fileno())
            self._output.close()
        output.setblocking(False)
        waiting[0].setblocking(False)
        self._output, self._raw, self._waiting = output, b"", waiting
        self._take_output(raw)
        self._watch.add(output.fileno(), self._read_some)
        self._watch.add(waiting[0].fileno(), self._read_exit)

    def _failed(self, message: str) -> None:
        if not self._ended:
            self._ended = True
            self.message = message
            self._on_end()

    def _signal(self, name: str) -> None:
        def work() -> Callable[[], None]:
            try:
                self._engine.call("POST", "/containers/%s/kill?signal=%s" % (self._name, name))
            except (EngineError, WireError) as error:
                if not isinstance(error, EngineError) or error.status not in (404, 409):  # it does not run any more
                    return partial(log, "%s: the engine: %s" % (name, error))
            return _nothing

        self._worker.do(work)

    def _read_some(self) -> None:
        assert self._output is not None  # noqa: S101 - it is what is watched
        try:
            data = self._output.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take_output(data)
        else:
            self._watch.drop(self._output.fileno())
            self._output.close()
            self._output = None

    def _read_output(self) -> None:
        """What there still is when it has ended."""
        deadline_s = time.monotonic() + 1.0
        while self._output is not None and time.monotonic() < deadline_s:
            try:
                data = self._output.recv(65536)
            except OSError:
                return
            if not data:
                return
            self._take_output(data)

    def _take_output(self, data: bytes) -> None:
        if self._terminal:
            self._files[1].write(data)
            return
        self._raw += data
        while len(self._raw) >= 8:  # stream number, three zero bytes, length of the frame in big-endian
            size = int.from_bytes(self._raw[4:8], "big")
            if len(self._raw) < 8 + size and len(self._raw) < MAX_WAITING_BYTES:
                break
            self._files[2 if self._raw[0] == 2 else 1].write(self._raw[8 : 8 + size])
            self._raw = self._raw[8 + size :]

    def _read_exit(self) -> None:
        assert self._waiting is not None  # noqa: S101 - it is what is watched
        made, response = self._waiting
        try:
            data = made.recv(65536)
            if data:
                response.feed(data)
        except BlockingIOError:
            return
        except (OSError, WireError):
            data = b""
        if data and not response.complete:
            return
        self._watch.drop(made.fileno())
        made.close()
        self._waiting = None
        self._worker.do(self._look_at_end)  # also where the engine has hung up: it may come back with its containers

    def _look_at_end(self) -> Callable[[], None]:
        """In a thread: how it ended, or that it runs on under an engine that was restarted."""
        deadline_s = time.monotonic() + ENGINE_AWAY_S
        while True:
            try:
                found = self._engine.call("GET", "/containers/%s/json" % self._name)
                if not found["State"]["Running"]:
                    return partial(self._take_end, found)
                waiting = self._engine.wait_exit(self._name)
                output, raw = self._engine.attach(self._name)
                return partial(self._listen, output, raw, waiting)
            except (EngineError, WireError, KeyError) as error:
                if time.monotonic() > deadline_s or (isinstance(error, EngineError) and error.status == 404):
                    return partial(self._failed, "the Docker engine lost the container: %s" % error)
            time.sleep(ENGINE_PAUSE_S)

    def _take_end(self, found: dict[str, Any]) -> None:
        state = found["State"]
        code = int(state["ExitCode"])
        self.passed = code == 0
        self.message = "Container exited with status %d" % code
        if state.get("OOMKilled") and code:
            self.reason = "REASON_CONTAINER_LIMITATION_MEMORY"
            limit_mib = found["HostConfig"]["Memory"] >> 20
            self.message = oom_verdict(float(limit_mib), limit_mib)[1]
        elif state.get("Error"):
            self.message += ": %.300s" % state["Error"]
        if not self._ended:
            self._ended = True
            self._on_end()


def _nothing() -> None:
    """For work of which nothing is to be told."""
