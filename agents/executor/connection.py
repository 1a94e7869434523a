"""The conversation with the Mesos agent: one connection that events come by, one that updates go by."""

from __future__ import annotations

import json
import select
import time

from agents.executor.journal import log
from agents.executor.updates import Backoff, Updates, duration_s
from agents.executor.wire import Records, Response, WireError, connect, request

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

CONNECT_TIMEOUT_S = 5.0
SUBSCRIBE_TIMEOUT_S = 60.0  # for the answer to SUBSCRIBE: a busy agent is slow, a recovering one answers 503 at once
FIRST_BACKOFF_S = 0.05
UPDATES_A_WRITE = 64  # their answers, of about 100 bytes each, must find room while we still write


class NoAgentError(Exception):
    """The environment does not name a Mesos agent."""


class MesosAgent:
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


class Connection:
    """Kept up by ``tend``, which is to be called often; ``read`` gives the events. Made anew whenever it is lost."""

    def __init__(self, agent: MesosAgent, updates: Updates, poll: select.poll) -> None:
        self.subscribed = False
        self.ever_subscribed = False
        self.lost_at_s: float | None = None  # since when there is none
        self.capabilities: set[str] = set()  # of the framework
        self._agent = agent
        self._updates = updates
        self._poll = poll
        self._events: socket.socket | None = None
        self._stream = Response()
        self._records = Records()
        self._calls: socket.socket | None = None
        self._answer = Response()
        self._backoff = Backoff(FIRST_BACKOFF_S, agent.backoff_max_s)
        self._connect_at_s = self._subscribe_by_s = time.monotonic()

    def tend(self, now_s: float) -> None:
        """Connects and sends the updates that are due. ``now_s`` of time.monotonic."""
        if self._events is None:
            if now_s >= self._connect_at_s:
                self._connect()
        elif self.subscribed:
            self._send(now_s)
        elif now_s > self._subscribe_by_s:
            self._lose("no answer to SUBSCRIBE within %g s" % SUBSCRIBE_TIMEOUT_S)

    def patience_s(self, now_s: float) -> float:
        """How long ``tend`` may be left alone for the sake of the connection."""
        return self._connect_at_s - now_s if self._events is None else SUBSCRIBE_TIMEOUT_S

    def read(self, fd: int) -> list[dict[str, Any]]:
        """The events that have come by ``fd``, but for SUBSCRIBED; none where it is not ours."""
        if self._events is not None and fd == self._events.fileno():
            try:
                return self._take_in(self._events.recv(65536))
            except BlockingIOError:
                return []
            except (WireError, OSError) as error:
                self._lose("lost the Mesos agent: %s" % error)
        elif self._calls is not None and fd == self._calls.fileno():
            self._read_answers(self._calls)
        return []

    def _connect(self) -> None:
        agent = self._agent
        try:
            made = connect(agent.address, CONNECT_TIMEOUT_S)
            subscribe = {
                "unacknowledged_tasks": self._updates.tasks(),
                "unacknowledged_updates": self._updates.hand_over(),
            }
            made.sendall(self._call("SUBSCRIBE", "subscribe", subscribe))
        except (WireError, OSError) as error:
            self._retry("cannot subscribe: %s" % error)
            return
        made.setblocking(False)
        self._events, self._stream, self._records = made, Response(), Records()
        self._subscribe_by_s = time.monotonic() + SUBSCRIBE_TIMEOUT_S
        self._poll.register(made, select.POLLIN)

    def _call(self, kind: str, field: str, body: dict[str, Any]) -> bytes:
        agent = self._agent
        call = {
            "type": kind,
            "executor_id": {"value": agent.executor_id},
            "framework_id": {"value": agent.framework_id},
            field: body,
        }
        return request("POST", agent.path, agent.headers, json.dumps(call).encode())

    def _retry(self, why: str) -> None:
        now_s = time.monotonic()
        if self.lost_at_s is None:
            self.lost_at_s = now_s
            log(why)
        self._connect_at_s = now_s + self._backoff.next_s()

    def _lose(self, why: str) -> None:
        if self._events is not None:
            self._poll.unregister(self._events)
            self._events.close()
            self._events = None
        self._drop_calls()
        self.subscribed = False
        self._retry(why)

    def _drop_calls(self) -> None:
        if self._calls is not None:
            self._poll.unregister(self._calls)
            self._calls.close()
            self._calls = None

    def _take_in(self, data: bytes) -> list[dict[str, Any]]:
        if not data:
            raise WireError("the connection was closed")
        self._stream.feed(data)
        if self._stream.status not in (0, 200):
            raise WireError("SUBSCRIBE: HTTP status %d" % self._stream.status)
        found = []
        for event in self._records.feed(self._stream.take()):
            if event.get("type") == "SUBSCRIBED":
                self.subscribed = self.ever_subscribed = True
                self.capabilities = _capabilities(event)
                self.lost_at_s = None
                self._backoff.reset()
            else:
                found.append(event)
        return found

    def _send(self, now_s: float) -> None:
        """All that is due in as few writes as may be: where a host starts many builds at once, these are the cost."""
        due = self._updates.due(now_s)
        for start in range(0, len(due), UPDATES_A_WRITE):
            calls = [self._call("UPDATE", "update", update) for update in due[start : start + UPDATES_A_WRITE]]
            try:
                if self._calls is None:
                    self._calls = connect(self._agent.address, CONNECT_TIMEOUT_S)
                    self._answer = Response()
                    self._poll.register(self._calls, select.POLLIN)
                self._calls.sendall(b"".join(calls))
            except (WireError, OSError) as error:
                log("UPDATE: %s" % error)
                self._drop_calls()
                return

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
        except (WireError, OSError) as error:
            log("the connection for updates: %s" % error)
            self._drop_calls()


def _capabilities(subscribed: dict[str, Any]) -> set[str]:
    framework = subscribed.get("subscribed", {}).get("framework_info", {})
    return {str(one.get("type")) for one in framework.get("capabilities", [])}
