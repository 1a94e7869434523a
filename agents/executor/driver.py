"""The v1 executor API: one task is taken, its running and its end are reported until Mesos has them.

The Mesos agent may go and come back meanwhile. Where the framework checkpoints, the build goes on for as long as
MESOS_RECOVERY_TIMEOUT; else, and after that, this executor is an orphan: it kills its build and exits.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

from agents.executor.updates import Backoff, Updates, duration_s
from agents.executor.wire import Records, Response, WireError, connect, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from agents.executor.guard import Build
    from agents.spec import BuildResult, BuildSpec

CONNECT_TIMEOUT_S = 5.0
SUBSCRIBE_TIMEOUT_S = 15.0  # for the answer to SUBSCRIBE; a recovering agent answers 503 at once
LAUNCH_TIMEOUT_S = 300.0  # subscribed, and no task: whoever wanted one has changed their mind
FINAL_TIMEOUT_S = 60.0  # for the acknowledgement of the final update, beyond MESOS_RECOVERY_TIMEOUT
CLEAR_TIMEOUT_S = 90.0  # for the runner to remove the workspace when all is reported
SHUTDOWN_MARGIN_S = 1.0  # of MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD, for the final update to get through
FIRST_BACKOFF_S = 0.05
TICK_S = 0.5

STATES = {"passed": "TASK_FINISHED", "cancelled": "TASK_KILLED"}  # all other classes: TASK_FAILED


class NoAgentError(Exception):
    """The environment does not name a Mesos agent."""


def log(text: str) -> None:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    sys.stderr.write("%s.%03dZ butlery-executor[%d]: %s\n" % (stamp, now % 1 * 1000, os.getpid(), text))
    sys.stderr.flush()


class Agent:
    """What the Mesos agent's environment says. Raises NoAgentError."""

    def __init__(self, environment: dict[str, str]) -> None:
        try:
            host, _, port = environment["MESOS_AGENT_ENDPOINT"].rpartition(":")
            self.address = (host, int(port))
            self.framework_id = environment["MESOS_FRAMEWORK_ID"]
            self.executor_id = environment["MESOS_EXECUTOR_ID"]
            self.sandbox = environment.get("MESOS_SANDBOX") or environment["MESOS_DIRECTORY"]
        except (KeyError, ValueError) as error:
            raise NoAgentError("the environment is not that of a Mesos agent: %s" % error) from error
        # Several agents of one process are told apart by their process id alone: slave(7)@127.0.0.1:5051.
        process = environment.get("MESOS_SLAVE_PID", "slave(1)@").partition("@")[0]
        self.path = "/%s/api/v1/executor" % process
        self.checkpoint = environment.get("MESOS_CHECKPOINT") == "1"
        self.recovery_timeout_s = duration_s(environment.get("MESOS_RECOVERY_TIMEOUT", ""), 900.0)
        self.backoff_max_s = duration_s(environment.get("MESOS_SUBSCRIPTION_BACKOFF_MAX", ""), 2.0)
        self.shutdown_grace_s = duration_s(environment.get("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", ""), 5.0)
        self.headers = {
            "Host": environment["MESOS_AGENT_ENDPOINT"],
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        token = environment.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN")
        if token:
            self.headers["Authorization"] = "Bearer " + token


class Driver:
    """One executor's conversation with its Mesos agent. ``run`` it once."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._agent = Agent(environment)
        self._updates = Updates(self._agent.executor_id)
        self._task: dict[str, Any] | None = None
        self._spec: BuildSpec | None = None
        self._build: Build | None = None
        self._report = b""
        self._ended = False  # the final update exists
        self._closing = False  # no more is waited for than a running build's end, within _give_up_at_s
        self._events: socket.socket | None = None
        self._subscribed = False
        self._stream = Response()
        self._records = Records()
        self._calls: socket.socket | None = None
        self._answer = Response()
        self._backoff = Backoff(FIRST_BACKOFF_S, self._agent.backoff_max_s)
        now_s = time.monotonic()
        self._connect_at_s = now_s
        self._subscribe_by_s = now_s
        self._lost_at_s: float | None = None
        self._give_up_at_s = now_s + LAUNCH_TIMEOUT_S
        self._poll = select.poll()

    def run(self) -> int:
        """The exit code: 0 when the end of the task has been reported, or none was given."""
        import signal

        _log_into(self._agent.sandbox)
        signal.signal(signal.SIGTERM, lambda *_: self._shut_down("SIGTERM"))
        signal.signal(signal.SIGINT, lambda *_: self._shut_down("SIGINT"))
        while not self._done():
            now_s = time.monotonic()
            if self._events is None and now_s >= self._connect_at_s:
                self._connect()
            self._resend(now_s)
            for fd, _ in self._poll.poll(self._patience_s(now_s) * 1000):
                self._read(fd)
            self._check_timers(time.monotonic())
        code = 0 if self._updates.all_acknowledged() and (self._ended or self._task is None) else 1
        return self._leave(code)

    def _leave(self, code: int) -> int:
        if self._build is not None:
            self._build.abandon()
            if not self._build.wait_for_guard(CLEAR_TIMEOUT_S):
                log("the guard is still clearing up")
        log("exits with code %d" % code)
        return code

    def _done(self) -> bool:
        if self._ended and self._updates.all_acknowledged():
            return True
        late = time.monotonic() > self._give_up_at_s
        if self._closing:
            return late or not self._subscribed or self._task is None
        return self._ended and late

    def _patience_s(self, now_s: float) -> float:
        waits = [TICK_S]
        if self._events is None:
            waits.append(self._connect_at_s - now_s)
        return max(0.001, min(waits))

    # The connection

    def _connect(self) -> None:
        agent = self._agent
        try:
            made = connect(agent.address, CONNECT_TIMEOUT_S)
            body = {
                "type": "SUBSCRIBE",
                "executor_id": {"value": agent.executor_id},
                "framework_id": {"value": agent.framework_id},
                "subscribe": {
                    "unacknowledged_tasks": [self._task] if self._task and not self._updates.any_acknowledged else [],
                    "unacknowledged_updates": self._updates.hand_over(),
                },
            }
            made.sendall(request("POST", agent.path, agent.headers, json.dumps(body).encode()))
        except (WireError, OSError) as error:
            self._retry("cannot subscribe: %s" % error)
            return
        made.setblocking(False)
        self._events, self._stream, self._records = made, Response(), Records()
        self._subscribe_by_s = time.monotonic() + SUBSCRIBE_TIMEOUT_S
        self._poll.register(made, select.POLLIN)
        # Needed as soon as a task comes, which takes a moment yet.
        import agents.executor.guard
        import agents.executor.runner  # noqa: F401

    def _retry(self, why: str) -> None:
        now_s = time.monotonic()
        if self._lost_at_s is None:
            self._lost_at_s = now_s
            log(why)
        self._connect_at_s = now_s + self._backoff.next_s()

    def _lose(self, why: str) -> None:
        if self._events is not None:
            self._poll.unregister(self._events)
            self._events.close()
            self._events = None
        self._drop_calls()
        was_subscribed, self._subscribed = self._subscribed, False
        self._retry(why)
        if was_subscribed and not self._agent.checkpoint:
            self._shut_down("the Mesos agent is gone, and this framework does not checkpoint")

    def _drop_calls(self) -> None:
        if self._calls is not None:
            self._poll.unregister(self._calls)
            self._calls.close()
            self._calls = None

    def _read(self, fd: int) -> None:
        if self._events is not None and fd == self._events.fileno():
            self._read_events(self._events)
        elif self._calls is not None and fd == self._calls.fileno():
            self._read_answers(self._calls)
        elif self._build is not None and fd == self._build.report_fd:
            self._read_report(self._build)

    def _read_events(self, events: socket.socket) -> None:
        try:
            self._take_in(events.recv(65536))
        except BlockingIOError:
            return
        except (WireError, OSError) as error:
            self._lose("lost the Mesos agent: %s" % error)

    def _take_in(self, data: bytes) -> None:
        if not data:
            raise WireError("the connection was closed")
        self._stream.feed(data)
        if self._stream.status not in (0, 200):
            raise WireError("SUBSCRIBE: HTTP status %d" % self._stream.status)
        for event in self._records.feed(self._stream.take()):
            try:
                self._handle(event)
            except (KeyError, TypeError, ValueError) as error:
                log("event %.80r is not understood: %r" % (event.get("type"), error))

    def _read_answers(self, calls: socket.socket) -> None:
        try:
            data = calls.recv(65536)
            if not data:
                self._drop_calls()
                return
            while data:
                self._answer.feed(data)
                if not self._answer.complete:
                    return
                if self._answer.status != 202:
                    text = self._answer.take().decode("utf-8", "replace")
                    log("UPDATE: HTTP status %d: %.300s" % (self._answer.status, text))
                data, self._answer = self._answer.rest, Response()
        except BlockingIOError:
            return
        except (WireError, OSError) as error:
            log("the connection for updates: %s" % error)
            self._drop_calls()

    # Updates

    def _resend(self, now_s: float) -> None:
        if not self._subscribed:
            return
        for update in self._updates.due(now_s):
            call = {
                "type": "UPDATE",
                "executor_id": {"value": self._agent.executor_id},
                "framework_id": {"value": self._agent.framework_id},
                "update": update,
            }
            try:
                if self._calls is None:
                    self._calls = connect(self._agent.address, CONNECT_TIMEOUT_S)
                    self._answer = Response()
                    self._poll.register(self._calls, select.POLLIN)
                self._calls.sendall(request("POST", self._agent.path, self._agent.headers, json.dumps(call).encode()))
            except (WireError, OSError) as error:
                log("UPDATE: %s" % error)
                self._drop_calls()
                return

    def _finish(self, result: BuildResult) -> None:
        if self._ended or self._task is None:
            return
        self._ended = True
        final_s = self._agent.recovery_timeout_s if self._agent.checkpoint else 0.0
        self._give_up_at_s = time.monotonic() + final_s + FINAL_TIMEOUT_S
        state = STATES.get(result.result_class, "TASK_FAILED")
        log("%s: %s: %s" % (state, result.result_class, result.message))
        self._updates.add(self._task["task_id"]["value"], state, result.message, result.to_json())

    # Events

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "SUBSCRIBED":
            self._subscribed = True
            self._lost_at_s = None
            self._backoff.reset()
        elif kind == "LAUNCH":
            self._launch(event["launch"]["task"])
        elif kind == "ACKNOWLEDGED":
            self._updates.acknowledge(event["acknowledged"]["uuid"])
        elif kind == "KILL":
            self._kill(event["kill"])
        elif kind == "SHUTDOWN":
            self._shut_down("SHUTDOWN")
        elif kind == "ERROR":
            log("ERROR: %.300s" % event.get("error", {}).get("message", ""))
            self._shut_down("the Mesos agent reported an error")
        elif kind not in ("HEARTBEAT", "MESSAGE"):
            log("unknown event %.80r" % kind)

    def _launch(self, task: dict[str, Any]) -> None:
        from binascii import a2b_base64

        from agents.executor import guard
        from agents.spec import BuildResult, BuildSpec

        if self._task is not None:
            log("a second task, %.200r: refused" % task.get("task_id"))
            refusal = BuildResult("infrastructure", "this executor already has a task")
            self._updates.add(task["task_id"]["value"], "TASK_FAILED", refusal.message, refusal.to_json())
            return
        self._task = task
        try:
            self._spec = BuildSpec.from_json(a2b_base64(task.get("data", "")))
            self._build = guard.start(self._spec, self._agent.sandbox)
        except (ValueError, TypeError, OSError) as error:
            self._finish(BuildResult("infrastructure", "the task cannot be run: %s" % error))
            return
        self._poll.register(self._build.report_fd, select.POLLIN)

    def _kill(self, kill: dict[str, Any]) -> None:
        if self._task is None or self._spec is None or kill["task_id"] != self._task["task_id"]:
            log("KILL for a task that is not here")
            return
        grace = kill.get("kill_policy", {}).get("grace_period", {}).get("nanoseconds")
        grace_s = self._spec.grace_s if grace is None else int(grace) / 1e9
        log("KILL, grace %g s" % grace_s)
        if self._build is not None:
            self._build.kill(grace_s)

    def _read_report(self, build: Build) -> None:
        from agents.spec import BuildResult

        data = os.read(build.report_fd, 65536)
        if not data:
            self._poll.unregister(build.report_fd)
            if not self._ended:
                build.wait_for_guard(CLEAR_TIMEOUT_S)
                self._finish(BuildResult("infrastructure", "the build's runner was killed"))
            return
        *lines, self._report = (self._report + data).split(b"\n")
        for line in lines:
            told = json.loads(line)
            if "started" in told and self._task is not None:
                self._updates.add(self._task["task_id"]["value"], "TASK_RUNNING", "", b"")
            elif "result" in told:
                self._finish(BuildResult(**told["result"]))

    def _shut_down(self, why: str) -> None:
        """Ends the build; what is not reported within the Mesos agent's patience is not reported at all."""
        if self._closing:
            return
        log("shuts down: %s" % why)
        self._closing = True
        self._give_up_at_s = time.monotonic() + self._agent.shutdown_grace_s
        if self._build is not None and self._spec is not None and self._subscribed:
            grace_s = max(0.0, self._agent.shutdown_grace_s - 2 * SHUTDOWN_MARGIN_S)
            self._build.kill(min(grace_s, self._spec.grace_s))

    def _check_timers(self, now_s: float) -> None:
        if self._events is not None and not self._subscribed and now_s > self._subscribe_by_s:
            self._lose("no answer to SUBSCRIBE within %g s" % SUBSCRIBE_TIMEOUT_S)
        if self._lost_at_s is not None and now_s - self._lost_at_s > self._agent.recovery_timeout_s:
            self._shut_down("the Mesos agent did not come back in %g s" % self._agent.recovery_timeout_s)
        if self._task is None and now_s > self._give_up_at_s:
            self._shut_down("no task within %g s" % LAUNCH_TIMEOUT_S)


def _log_into(sandbox: str) -> None:
    """Sends this process' own output to the sandbox, where a containerizer has not seen to it already."""
    for fd, name in ((1, "stdout"), (2, "stderr")):
        path = os.path.join(sandbox, name)
        try:
            if not os.path.exists(path) or not os.path.samestat(os.fstat(fd), os.stat(path)):
                made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
                os.dup2(made, fd)
                os.close(made)
        except OSError as error:
            log("no %s in the sandbox: %s" % (name, error))
