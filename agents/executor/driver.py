"""The v1 executor API: tasks are taken, their running and their end are reported until Mesos has them.

The Mesos agent may go and come back meanwhile. Where the framework checkpoints, builds go on for as long as
MESOS_RECOVERY_TIMEOUT; else, and after that, this executor is an orphan: it kills its builds and exits.

It serves one build agent, and leaves when that has ended; or, as ``agents.shared.SHARED_EXECUTOR_ID``, any number at
once, and leaves when there has been none for a while.
"""

from __future__ import annotations

import json
import os
import select
import time

from agents.executor.connection import Connection, MesosAgent
from agents.executor.journal import log, log_into
from agents.executor.updates import Updates
from agents.shared import is_shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agents.executor.builds import Builds
    from agents.executor.pretending import Pretended
    from agents.executor.services import Service

LAUNCH_TIMEOUT_S = 300.0  # subscribed, and no task: whoever wanted one has changed their mind
IDLE_TIMEOUT_S = 60.0  # a shared executor without a build
FINAL_TIMEOUT_S = 60.0  # for the acknowledgement of the final update, beyond MESOS_RECOVERY_TIMEOUT
CLEAR_TIMEOUT_S = 90.0  # for the runners to remove the workspaces when all is reported
SHUTDOWN_MARGIN_S = 1.0  # of MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD, for the final updates to get through
TICK_S = 0.5
QUIET_S = 30.0  # where all that may happen wakes the driver by itself
LIVE = ("TASK_STARTING", "TASK_RUNNING", "TASK_KILLING")


class Driver:
    """One executor's life between its Mesos agent and its builds. ``run`` it once."""

    def __init__(self, environment: dict[str, str], service: bool = False) -> None:
        """``service``: its task is known to be one; told only by its description otherwise."""
        self._agent = MesosAgent(environment)
        self._shared = is_shared(self._agent.executor_id)
        self._updates = Updates(self._agent.executor_id)
        self._poll = select.poll()
        self._connection = Connection(self._agent, self._updates, self._poll)
        self._builds: Builds | None = None
        self._pretended: Pretended | None = None
        self._expects_service = service
        self._service: Service | None = None
        self._live: set[str] = set()  # tasks whose final update has not been made
        self._served = False  # there has been a task
        self._idle_since_s = time.monotonic()
        self._closing = False  # no more is waited for than running builds' ends, within _give_up_at_s
        self._give_up_at_s = 0.0
        self._signalled = ""
        self._wake, self._wake_w = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_w, False)

    def run(self) -> int:
        """The exit code: 0 when the end of every task has been reported, or none was given."""
        import signal

        log_into(self._agent.sandbox)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        self._poll.register(self._wake, select.POLLIN)
        self._connection.tend(time.monotonic())
        if not self._shared and not self._expects_service:
            self._make_ready()  # its task will be a build, and takes a moment yet
        while not self._done(time.monotonic()):
            now_s = time.monotonic()
            self._connection.tend(now_s)
            for fd, _ in self._poll.poll(self._patience_s(now_s) * 1000):
                for event in self._connection.read(fd):
                    self._take(event)
                if fd == self._wake:
                    os.read(self._wake, 4096)
                elif self._service is not None:
                    self._service.read(fd)
                elif self._builds is not None:
                    self._builds.read(fd)
            self._tend(time.monotonic())
        code = 0 if not self._live and self._updates.all_acknowledged() else 1
        if self._builds is not None and not self._builds.abandon(CLEAR_TIMEOUT_S):
            log("a guard is still clearing up")
        log("exits with code %d" % code)
        if self._service is not None:
            self._service.leave(code)
        return code

    def _on_signal(self, number: int, frame: object) -> None:
        del frame
        self._signalled = "signal %d" % number  # heeded at the loop's next round, for it may be amid anything

    def _make_ready(self) -> Builds:
        if self._builds is None:
            from agents.executor.builds import Builds

            self._builds = Builds(self._agent.sandbox, self._shared, self._poll, self._report)
        return self._builds

    def _done(self, now_s: float) -> bool:
        if not self._live and self._updates.all_acknowledged():
            return self._closing or (self._served and not self._shared)
        if self._closing:
            return now_s > self._give_up_at_s or not self._connection.subscribed
        final_s = self._agent.recovery_timeout_s if self._agent.checkpoint else 0.0
        return not self._live and now_s > self._idle_since_s + final_s + FINAL_TIMEOUT_S

    def _patience_s(self, now_s: float) -> float:
        waits = [QUIET_S if self._quiet() else TICK_S, self._connection.patience_s(now_s)]
        if self._builds is not None:
            waits.append(self._builds.patience_s)
        if self._pretended is not None:
            waits.append(self._pretended.patience_s(now_s))
        if self._service is not None:
            waits.append(self._service.patience_s(now_s))
        return max(0.001, min(waits))

    def _quiet(self) -> bool:
        """Whether there is nothing to be done until something comes: thousands of services sit on a host like this."""
        resting = self._connection.subscribed and self._updates.all_acknowledged() and not self._closing
        busy = self._builds is not None and self._service is None
        return resting and bool(self._live) and not busy and not self._signalled

    def _tend(self, now_s: float) -> None:
        if self._builds is not None:
            self._builds.tend(now_s)
        if self._pretended is not None:
            self._pretended.tend(now_s)
        if self._service is not None:
            self._service.tend(now_s)
        lost_at_s = self._connection.lost_at_s
        if self._signalled:
            self._shut_down(self._signalled)
        if lost_at_s is not None and self._connection.ever_subscribed and not self._agent.checkpoint:
            self._shut_down("the Mesos agent is gone, and this framework does not checkpoint")
        elif lost_at_s is not None and now_s - lost_at_s > self._agent.recovery_timeout_s:
            self._shut_down("the Mesos agent did not come back in %g s" % self._agent.recovery_timeout_s)
        if not self._live:
            patience_s = IDLE_TIMEOUT_S if self._served and self._shared else LAUNCH_TIMEOUT_S
            if now_s - self._idle_since_s > patience_s and self._updates.all_acknowledged():
                self._shut_down("no task within %g s" % patience_s)

    def _report(self, task_id: str, state: str, message: str, data: bytes, more: dict[str, Any] | None = None) -> None:
        if state not in LIVE:
            log("%s: %s: %s" % (task_id, state, message))
            self._live.discard(task_id)
            self._idle_since_s = time.monotonic()
        self._updates.add(task_id, state, message, data, more)

    def _tell_service(self, task_id: str, state: str, message: str, more: dict[str, Any]) -> None:
        self._report(task_id, state, message, b"", more)

    def _take(self, event: dict[str, Any]) -> None:
        try:
            self._handle(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log("event %.80r is not understood: %r" % (event.get("type"), error))

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "LAUNCH":
            self._launch([event["launch"]["task"]])
        elif kind == "LAUNCH_GROUP":
            self._launch(event["launch_group"]["task_group"]["tasks"])
        elif kind == "ACKNOWLEDGED":
            self._updates.acknowledge(event["acknowledged"]["uuid"])
        elif kind == "KILL":
            self._kill(event["kill"])
        elif kind == "MESSAGE":
            self._take_message(event["message"]["data"])
        elif kind == "SHUTDOWN":
            self._shut_down("SHUTDOWN")
        elif kind == "ERROR":
            log("ERROR: %.300s" % event.get("error", {}).get("message", ""))
            self._shut_down("the Mesos agent reported an error")
        elif kind != "HEARTBEAT":
            log("unknown event %.80r" % kind)

    def _launch(self, tasks: list[dict[str, Any]]) -> None:
        given = [(str(task["task_id"]["value"]), _decoded(task.get("data", ""))) for task in tasks]
        task_ids = [task_id for task_id, _ in given]
        if not self._live.isdisjoint(task_ids):
            log("launched again: %s" % ", ".join(task_ids))
            return
        refused = self._refusal()
        for task in tasks:
            self._updates.expect(task)
        self._served = True
        self._live.update(task_ids)
        raws = [_object(data) for _, data in given]
        pretend_until = next((raw["pretend_until"] for raw in raws if raw.get("pretend_until")), "")
        if refused:
            from agents.spec import BuildResult

            for task_id in task_ids:
                self._report(task_id, "TASK_FAILED", refused, BuildResult("infrastructure", refused).to_json())
        elif pretend_until:
            self._pretending().launch(task_ids, str(pretend_until))
        elif any(raw.get("kind") == "service" for raw in raws):
            for task_id, raw in zip(task_ids, raws):
                self._launch_service(task_id, raw)
        else:
            self._make_ready().launch(given)

    def _pretending(self) -> Pretended:
        if self._pretended is None:
            from agents.executor.pretending import Pretended

            self._pretended = Pretended(self._report)
        return self._pretended

    def _launch_service(self, task_id: str, raw: dict[str, Any]) -> None:
        if raw.get("pretend"):
            self._pretending().launch_service(task_id, bool(raw.get("health")))
            return
        from agents.service_spec import ServiceSpec

        if self._shared or self._service is not None:
            self._report(task_id, "TASK_FAILED", "a service has a Mesos executor of its own", b"")
            return
        try:
            spec = ServiceSpec.of(raw)
            spec.task_id = task_id
            from agents.executor.services import Service

            killing = "TASK_KILLING_STATE" in self._connection.capabilities
            self._service = Service(spec, self._agent.sandbox, self._poll, self._tell_service, killing)
        except (ValueError, OSError) as error:
            self._report(task_id, "TASK_FAILED", "the service cannot be run: %s" % error, b"")
            return
        self._service.start()

    def _refusal(self) -> str:
        if self._closing:
            return "this executor is being shut down"
        if self._served and not self._shared:
            return "this executor has served its agent"
        return ""

    def _kill(self, kill: dict[str, Any]) -> None:
        task_id = kill["task_id"]["value"]
        if task_id not in self._live:
            log("KILL for a task that is not here")
            return
        grace = kill.get("kill_policy", {}).get("grace_period", {}).get("nanoseconds")
        grace_s = None if grace is None else int(grace) / 1e9
        log("%s: KILL, grace %s s" % (task_id, "its own" if grace_s is None else grace_s))
        if self._pretended is not None and self._pretended.kill(task_id):
            return
        if self._service is not None:
            self._service.kill(grace_s)
        elif self._builds is not None:
            self._builds.kill(task_id, grace_s)

    def _take_message(self, data: str) -> None:
        """A message of the scheduler's (``agents.spec``); all else is not for us."""
        message = _object(_decoded(data))
        if "tell" in message and self._builds is not None:
            self._builds.tell(str(message["tell"]["task_id"]), str(message["tell"]["text"]))
        elif "assign" in message and self._builds is not None:
            self._builds.assign(str(message["assign"]["task_id"]), dict(message["assign"]["spec"]))

    def _shut_down(self, why: str) -> None:
        """Ends all builds; what is not reported within the Mesos agent's patience is not reported at all."""
        if self._closing:
            return
        log("shuts down: %s" % why)
        self._closing = True
        self._give_up_at_s = time.monotonic() + self._agent.shutdown_grace_s
        if self._connection.subscribed:
            if self._builds is not None:
                self._builds.end_all(max(0.0, self._agent.shutdown_grace_s - 2 * SHUTDOWN_MARGIN_S))
            if self._pretended is not None:
                self._pretended.end_all()
            if self._service is not None:
                self._service.kill(max(0.0, self._agent.shutdown_grace_s - 2 * SHUTDOWN_MARGIN_S))


def _decoded(text: str) -> bytes:
    """The bytes of ``text`` in base64; none where it is not, which is then no description of a build."""
    from binascii import a2b_base64

    try:
        return a2b_base64(text)
    except ValueError:
        return b""


def _object(data: bytes) -> dict[str, Any]:
    """The JSON object that ``data`` is, or an empty one; read without the weight of ``agents.spec``."""
    try:
        raw = json.loads(data)
    except ValueError:
        return {}
    return raw if isinstance(raw, dict) else {}
