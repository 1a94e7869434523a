"""The v1 executor API: tasks are taken, their running and their end are reported until Mesos has them.

The Mesos agent may go and come back meanwhile. Where the framework checkpoints, builds go on for as long as
MESOS_RECOVERY_TIMEOUT; else, and after that, this executor is an orphan: it kills its builds and exits.

It serves one build agent, and leaves when that has ended; or, as ``agents.shared.SHARED_EXECUTOR_ID``, any number at
once, and leaves when there has been none for a while.
"""

from __future__ import annotations

import json
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

LAUNCH_TIMEOUT_S = 300.0  # subscribed, and no task: whoever wanted one has changed their mind
IDLE_TIMEOUT_S = 60.0  # a shared executor without a build
FINAL_TIMEOUT_S = 60.0  # for the acknowledgement of the final update, beyond MESOS_RECOVERY_TIMEOUT
CLEAR_TIMEOUT_S = 90.0  # for the runners to remove the workspaces when all is reported
SHUTDOWN_MARGIN_S = 1.0  # of MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD, for the final updates to get through
TICK_S = 0.5


class Driver:
    """One executor's life between its Mesos agent and its builds. ``run`` it once."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._agent = MesosAgent(environment)
        self._shared = is_shared(self._agent.executor_id)
        self._updates = Updates(self._agent.executor_id)
        self._poll = select.poll()
        self._connection = Connection(self._agent, self._updates, self._poll)
        self._builds: Builds | None = None
        self._pretended: Pretended | None = None
        self._live: set[str] = set()  # tasks whose final update has not been made
        self._served = False  # there has been a task
        self._idle_since_s = time.monotonic()
        self._closing = False  # no more is waited for than running builds' ends, within _give_up_at_s
        self._give_up_at_s = 0.0
        self._signalled = ""

    def run(self) -> int:
        """The exit code: 0 when the end of every task has been reported, or none was given."""
        import signal

        log_into(self._agent.sandbox)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._connection.tend(time.monotonic())
        if not self._shared:
            self._make_ready()  # its task will be a build, and takes a moment yet
        while not self._done(time.monotonic()):
            now_s = time.monotonic()
            self._connection.tend(now_s)
            for fd, _ in self._poll.poll(self._patience_s(now_s) * 1000):
                for event in self._connection.read(fd):
                    self._take(event)
                if self._builds is not None:
                    self._builds.read(fd)
            self._tend(time.monotonic())
        code = 0 if not self._live and self._updates.all_acknowledged() else 1
        if self._builds is not None and not self._builds.abandon(CLEAR_TIMEOUT_S):
            log("a guard is still clearing up")
        log("exits with code %d" % code)
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
        waits = [TICK_S, self._connection.patience_s(now_s)]
        if self._builds is not None:
            waits.append(self._builds.patience_s)
        if self._pretended is not None:
            waits.append(self._pretended.patience_s(now_s))
        return max(0.001, min(waits))

    def _tend(self, now_s: float) -> None:
        if self._builds is not None:
            self._builds.tend(now_s)
        if self._pretended is not None:
            self._pretended.tend(now_s)
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

    def _report(self, task_id: str, state: str, message: str, data: bytes) -> None:
        if state != "TASK_RUNNING":
            log("%s: %s: %s" % (task_id, state, message))
            self._live.discard(task_id)
            self._idle_since_s = time.monotonic()
        self._updates.add(task_id, state, message, data)

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
            self._tell(event["message"]["data"])
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
        pretend_until = _pretend_until([data for _, data in given])
        if refused:
            from agents.spec import BuildResult

            for task_id in task_ids:
                self._report(task_id, "TASK_FAILED", refused, BuildResult("infrastructure", refused).to_json())
        elif pretend_until:
            if self._pretended is None:
                from agents.executor.pretending import Pretended

                self._pretended = Pretended(self._report)
            self._pretended.launch(task_ids, pretend_until)
        else:
            self._make_ready().launch(given)

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
        if self._builds is not None:
            self._builds.kill(task_id, grace_s)

    def _tell(self, data: str) -> None:
        """A message of the scheduler's, ``{"tell": {"task_id": ..., "text": ...}}``; all else is not for us."""
        from binascii import a2b_base64

        told = json.loads(a2b_base64(data))["tell"]
        if self._builds is not None:
            self._builds.tell(str(told["task_id"]), str(told["text"]))

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


def _decoded(text: str) -> bytes:
    """The bytes of ``text`` in base64; none where it is not, which is then no description of a build."""
    from binascii import a2b_base64

    try:
        return a2b_base64(text)
    except ValueError:
        return b""


def _pretend_until(given: list[bytes]) -> str:
    """The file that an agent's tasks only wait for, or empty; read without the weight of ``agents.spec``."""
    for data in given:
        try:
            raw = json.loads(data)
        except ValueError:
            continue
        path = raw.get("pretend_until") if isinstance(raw, dict) else None
        if isinstance(path, str) and path:
            return path
    return ""
