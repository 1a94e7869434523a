"""The service of a Mesos executor, from its launch to its final update, in Mesos' own words.

One process watches over it: the driver's own, which becomes the child of a guard first (``agents.executor.guard``).
States, messages and what a kill means are those of Mesos' command executor (src/launcher/executor.cpp of Mesos 1.11).
"""

from __future__ import annotations

import select
import time

from agents.executor import guard, slot
from agents.executor.journal import log
from agents.executor.service_process import ProcessService, StartError
from agents.executor.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from agents.executor.health import Health, Looking
    from agents.executor.service_docker import DockerService
    from agents.service_spec import ServiceSpec

    Tell = Callable[[str, str, str, dict[str, Any]], None]
    """Takes a task's id, state and message, and more fields of its TaskStatus."""

HEALTH = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED"
CHECK = "REASON_TASK_CHECK_STATUS_UPDATED"
KILL_TIMEOUT_S = 10.0  # between two attempts at killing what does not die


class Service:
    """One service. ``killing``: the framework knows TASK_KILLING."""

    def __init__(self, spec: ServiceSpec, sandbox: str, poll: select.poll, tell: Tell, killing: bool) -> None:
        self.task_id = spec.task_id
        self.ended = False  # its final update has been made
        self._spec = spec
        self._watch = Watch(poll)
        self._tell = tell
        self._cleared = False  # nothing of it is left
        self._killing = killing
        self._killed = False
        self._sick = False  # killed for its health
        self._kill_at_s = float("inf")
        self._kept: dict[str, Any] = {}  # what every update repeats
        self._well: list[bool | None] = [None] * len(spec.health)
        self._health: list[Health] = []
        self._check: Looking | None = None
        self._checked: int | None = None
        if spec.check is not None:
            from agents.executor.health import check_status

            self._kept["check_status"] = check_status(spec.check.kind, None)
        tell(self.task_id, "TASK_STARTING", "", self._kept)
        docker_socket = spec.host.docker_socket if spec.image is not None else None
        self._slot = slot.take_service(docker_socket, sandbox, spec.mem_limit_mib is not None)
        self._shelter = guard.shelter(self._slot)
        self._body: ProcessService | DockerService = self._made_body()

    def start(self) -> None:
        try:
            self._body.start()
        except StartError as error:
            self._fail(str(error))

    def read(self, fd: int) -> None:
        self._watch.read(fd)

    def patience_s(self, now_s: float) -> float:
        waits = [self._body.patience_s(now_s), self._kill_at_s - now_s]
        waits += [one.patience_s(now_s) for one in self._health]
        if self._check is not None:
            waits.append(self._check.patience_s(now_s))
        return min(waits)

    def tend(self, now_s: float) -> None:
        """``now_s`` of time.monotonic."""
        if self.ended:
            return
        self._body.tend(now_s)
        if now_s >= self._kill_at_s and not self.ended:
            self._kill_at_s = now_s + KILL_TIMEOUT_S
            self._body.kill()
        if not self.ended:
            for one in self._health:
                one.tend(now_s)
        if self._check is not None and not self.ended:
            self._check.tend(now_s)

    def kill(self, grace_s: float | None) -> None:
        """TERM, and KILL after ``grace_s`` (None: the service's own); a shorter one may come later."""
        if self.ended:
            return
        grace_s = self._spec.grace_s if grace_s is None else grace_s
        kill_at_s = time.monotonic() + max(0.0, grace_s)
        if not self._killed:
            self._killed = True
            self._stop_checks()
            if self._killing:
                self._tell(self.task_id, "TASK_KILLING", "", self._told())
            self._body.terminate()
        self._kill_at_s = min(self._kill_at_s, kill_at_s)

    def leave(self, code: int) -> None:
        """This executor ends, and what of the service there still is; its guard clears up what this cannot."""
        self._stop_checks()
        if self._cleared or self._body.clear():
            self._shelter.leave(code)

    def _made_body(self) -> ProcessService | DockerService:
        if self._spec.image is None:
            return ProcessService(self._spec, self._slot, self._watch, self._on_run, self._on_end)
        from agents.executor.service_docker import DockerService

        return DockerService(self._spec, self._slot, self._watch, self._on_run, self._on_end)

    def _on_run(self) -> None:
        body = self._body
        if body.addresses:
            addresses = [{"ip_address": one} for one in body.addresses]
            self._kept["container_status"] = {"network_infos": [{"ip_addresses": addresses}]}
        self._tell(self.task_id, "TASK_RUNNING", "", self._told())
        if self._killed:
            return
        if self._spec.health or self._spec.check is not None:
            from functools import partial

            from agents.executor.health import Health, Looking

            commands, network = body.run_check, body.network
            for index, check in enumerate(self._spec.health):
                told = partial(self._take_health, index)
                self._health.append(Health(check, self._watch, commands, network, told))
            if self._spec.check is not None:
                self._check = Looking(self._spec.check, self._watch, commands, network, self._take_check)

    def _on_end(self) -> None:
        body = self._body
        state = "TASK_KILLED" if self._killed else "TASK_FINISHED" if body.passed else "TASK_FAILED"
        self._end(state, body.message, {"reason": body.reason} if body.reason else {})

    def _fail(self, message: str) -> None:
        self._end("TASK_KILLED" if self._killed else "TASK_FAILED", message, {})

    def _end(self, state: str, message: str, more: dict[str, Any]) -> None:
        self._stop_checks()
        self._cleared = self._body.clear()
        if not self._cleared:
            log("%s: something of it is left" % self.task_id)
        if self._sick:
            more["healthy"] = False
        self.ended = True
        self._kill_at_s = float("inf")
        kept = {name: value for name, value in self._kept.items() if name != "healthy"}
        self._tell(self.task_id, state, message, {**kept, **more})

    def _stop_checks(self) -> None:
        for one in self._health:
            one.stop()
        if self._check is not None:
            self._check.stop()
        self._health, self._check = [], None

    def _told(self) -> dict[str, Any]:
        return dict(self._kept)

    def _take_health(self, index: int, well: bool, reason: str, enough: bool) -> None:
        if self._killed:
            return
        self._well[index] = well
        if not well or all(self._well):
            self._kept["healthy"] = well
            self._tell(self.task_id, "TASK_RUNNING", reason, {**self._kept, "reason": HEALTH})
        if enough:
            log("%s: is killed for its health: %s" % (self.task_id, reason))
            self._sick = True
            self.kill(None)

    def _take_check(self, number: int | None, reason: str) -> None:
        from agents.executor.health import check_status

        del reason
        check = self._spec.check
        assert check is not None  # noqa: S101 - it is what is made
        if check.kind == "tcp":
            number = number or 0
        status = check_status(check.kind, number)
        if status != self._kept["check_status"] and not self._killed:
            self._kept["check_status"] = status
            self._tell(self.task_id, "TASK_RUNNING", "", {**self._kept, "reason": CHECK})
