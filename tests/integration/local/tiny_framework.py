"""The least of a Mesos framework: launches one task on the first offer that comes, and listens."""

from __future__ import annotations

import base64
import http.client
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Self

PRETENDING = Path(__file__).parents[2] / "fakes" / "pretending_executor.py"
TIMEOUT_S = 60.0


class TinyFramework:
    """One subscription; ``framework_id`` of an earlier one takes its tasks over."""

    def __init__(self, url: str, framework_id: str | None = None, authorization: str | None = None) -> None:
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": authorization} if authorization else {}
        )
        self._address = url.removeprefix("http://")
        self._stream = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        info: dict[str, Any] = {
            "user": "root",
            "name": "tiny",
            "failover_timeout": 600,
            "checkpoint": True,
            "roles": ["tiny"],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "TASK_KILLING_STATE"}],
        }
        call: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if framework_id is not None:
            info["id"] = call["framework_id"] = {"value": framework_id}
        self._stream.request("POST", "/api/v1/scheduler", json.dumps(call), self._headers)
        self._answer = self._stream.getresponse()
        assert self._answer.status == 200, self._answer.read()
        self._stream_id = self._answer.headers["Mesos-Stream-Id"]
        self.framework_id: str = self.wait("SUBSCRIBED")["subscribed"]["framework_id"]["value"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        self._stream.close()

    def launch(
        self, command: str | None = None, *, data: dict[str, Any] | None = None, mem_mib: int = 64, **extra: Any
    ) -> dict[str, Any]:
        """Launches a task whose executor runs ``command``, by default one that pretends; returns the offer used."""
        offer: dict[str, Any] = self.wait("OFFERS")["offers"]["offers"][0]
        allocation = {"allocation_info": {"role": "tiny"}}
        resources = [
            {"name": name, "type": "SCALAR", "scalar": {"value": value}, **allocation}
            for name, value in (("cpus", 0.1), ("mem", float(mem_mib)))
        ]
        name = uuid.uuid4().hex
        executor = {
            "type": "CUSTOM",
            "executor_id": {"value": name},
            "framework_id": {"value": self.framework_id},
            "command": {"value": command or f"exec {sys.executable} {PRETENDING}", **extra},
            "resources": resources,
        }
        task = {
            "name": "task",
            "task_id": {"value": name},
            "agent_id": offer["agent_id"],
            "executor": executor,
            "resources": [{**resources[0], "scalar": {"value": 0.1}}],
            "data": base64.b64encode(json.dumps(data or {}).encode()).decode(),
        }
        launch = {"type": "LAUNCH", "launch": {"task_infos": [task]}}
        self._call("ACCEPT", accept={"offer_ids": [offer["id"]], "operations": [launch]})
        return offer

    def status(self, *states: str) -> dict[str, Any]:
        """The next status with one of these states; every one on the way is acknowledged."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            status: dict[str, Any] = self.wait("UPDATE")["update"]["status"]
            if "uuid" in status:
                names = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
                self._call("ACKNOWLEDGE", acknowledge=names)
            if status["state"] in states:
                return status
            assert status["state"] not in ("TASK_FAILED", "TASK_LOST", "TASK_ERROR", "TASK_DROPPED"), status
        raise TimeoutError(states)

    def message(self, offer: dict[str, Any], task_id: str, text: str) -> None:
        data = base64.b64encode(text.encode()).decode()
        self._call("MESSAGE", message={"agent_id": offer["agent_id"], "executor_id": {"value": task_id}, "data": data})

    def reconcile(self) -> None:
        self._call("RECONCILE", reconcile={"tasks": []})

    def wait(self, kind: str) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            size = self._answer.readline()
            if not size:
                raise ConnectionError("Mesos closed the stream")
            event: dict[str, Any] = json.loads(self._answer.read(int(size)))
            if event["type"] == kind:
                return event
            assert event["type"] != "ERROR", event
        raise TimeoutError(kind)

    def _call(self, kind: str, **body: Any) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_S)
        call = {"framework_id": {"value": self.framework_id}, "type": kind, **body}
        headers = {**self._headers, "Mesos-Stream-Id": self._stream_id}
        connection.request("POST", "/api/v1/scheduler", json.dumps(call), headers)
        answer = connection.getresponse()
        words = answer.read()
        connection.close()
        assert answer.status == 202, words
