#!/usr/bin/env python3
"""A Mesos executor that only pretends to build: standard library only, told in ``TaskInfo.data`` what each task does.

The data is a JSON object: ``run_s`` (seconds between RUNNING and the end; null: until killed), ``state`` (how it ends,
TASK_FINISHED by default), ``result`` (text that goes up as the final status' data) and ``write`` (a file and what is
put into it; the result is then what was in it before, if it was there). A framework message ends every task at once,
with what it says as the result, and is sent back. It ends with its last task, and lives through a restart of its Mesos
agent for as long as that asks (MESOS_RECOVERY_TIMEOUT).
"""

import base64
import http.client
import json
import os
import queue
import re
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ADDRESS = os.environ["MESOS_AGENT_ENDPOINT"]
PATH = f"/{os.environ['MESOS_SLAVE_PID'].split('@')[0]}/api/v1/executor"
IDS = {
    "executor_id": {"value": os.environ["MESOS_EXECUTOR_ID"]},
    "framework_id": {"value": os.environ["MESOS_FRAMEWORK_ID"]},
}
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "secs": 1.0, "mins": 60.0, "hrs": 3600.0, "days": 86400.0, "weeks": 604800}


def seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9.]+)([a-z]+)", text)
    return float(match.group(1)) * UNITS[match.group(2)] if match else 60.0


Json = dict[str, Any]


class Executor:
    def __init__(self) -> None:
        self.tasks: dict[str, Json] = {}  # not acknowledged yet
        self.updates: dict[str, Json] = {}  # uuid -> update, not acknowledged yet
        self.outgoing: queue.Queue[Json] = queue.Queue(1000)
        self.ends: dict[str, threading.Event] = {}  # of the tasks that are not over
        self.finals: set[str] = set()  # uuids of the last updates, not acknowledged yet
        self.killed: set[str] = set()
        self.told: str | None = None

    def run(self) -> None:
        threading.Thread(target=self.send, daemon=True).start()
        last_seen = time.monotonic()
        patience_s = seconds(os.environ.get("MESOS_RECOVERY_TIMEOUT", "15mins"))
        while time.monotonic() - last_seen < patience_s:
            try:
                for event in self.subscribe():
                    last_seen = time.monotonic()
                    self.handle(event)
            except (OSError, http.client.HTTPException, ValueError):
                if os.environ.get("MESOS_CHECKPOINT") != "1":
                    break
            time.sleep(0.2)
        sys.exit("lost its Mesos agent")

    def subscribe(self) -> Iterator[Json]:
        connection = http.client.HTTPConnection(ADDRESS, timeout=120)
        subscribe = {
            "unacknowledged_tasks": list(self.tasks.values()),
            "unacknowledged_updates": list(self.updates.values()),
        }
        connection.request("POST", PATH, json.dumps(dict(IDS, type="SUBSCRIBE", subscribe=subscribe)), HEADERS)
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"SUBSCRIBE: {answer.status}")
        while True:
            size = answer.readline()
            if not size:
                return
            yield json.loads(answer.read(int(size)))

    def handle(self, event: Json) -> None:
        kind = event["type"]
        if kind == "LAUNCH":
            self.launch([event["launch"]["task"]])
        elif kind == "LAUNCH_GROUP":
            self.launch(event["launch_group"]["task_group"]["tasks"])
        elif kind == "KILL":
            name = event["kill"]["task_id"]["value"]
            self.killed.add(name)
            if name in self.ends:
                self.ends[name].set()
        elif kind == "ACKNOWLEDGED":
            self.tasks.pop(event["acknowledged"]["task_id"]["value"], None)
            self.updates.pop(event["acknowledged"]["uuid"], None)
            self.finals.discard(event["acknowledged"]["uuid"])
            if not self.ends and not self.finals:
                os._exit(0)
        elif kind == "MESSAGE":
            self.outgoing.put({"type": "MESSAGE", "message": {"data": event["message"]["data"]}})
            self.told = base64.b64decode(event["message"]["data"]).decode()
            for end in list(self.ends.values()):
                end.set()
        elif kind == "SHUTDOWN":
            os._exit(0)

    def launch(self, tasks: list[Json]) -> None:
        for task in tasks:
            self.tasks[task["task_id"]["value"]] = task
            self.ends[task["task_id"]["value"]] = threading.Event()
        for task in tasks:
            threading.Thread(target=self.pretend, args=(task,), daemon=True).start()

    def pretend(self, task: Json) -> None:
        what = json.loads(base64.b64decode(task.get("data", "")) or b"{}")
        name = task["task_id"]["value"]
        self.update(task, "TASK_RUNNING")
        result = what.get("result")
        if "write" in what:
            path, text = what["write"]
            result = Path(path).read_text() if Path(path).exists() else result
            Path(path).write_text(text)
        self.ends[name].wait(what.get("run_s", 0.0))
        state = "TASK_KILLED" if name in self.killed else what.get("state", "TASK_FINISHED")
        self.update(task, state, self.told or result, final=True)

    def update(self, task: Json, state: str, data: str | None = None, final: bool = False) -> None:
        identity = base64.b64encode(uuid.uuid4().bytes).decode()
        status: Json = {
            "task_id": task["task_id"],
            "state": state,
            "uuid": identity,
            "source": "SOURCE_EXECUTOR",
            "timestamp": time.time(),
        }
        if data is not None:
            status["data"] = base64.b64encode(data.encode()).decode()
        if final:
            self.finals.add(identity)
            del self.ends[task["task_id"]["value"]]
        self.updates[identity] = {"status": status}
        self.outgoing.put({"type": "UPDATE", "update": {"status": status}})

    def send(self) -> None:
        while True:
            call = self.outgoing.get()
            try:
                connection = http.client.HTTPConnection(ADDRESS, timeout=10)
                connection.request("POST", PATH, json.dumps(dict(IDS, **call)), HEADERS)
                answer = connection.getresponse()
                if answer.status != 202:
                    sys.stderr.write(f"{call['type']}: {answer.status} {answer.read()!r}\n")
                connection.close()
            except (OSError, http.client.HTTPException) as error:  # sent again by the next SUBSCRIBE
                sys.stderr.write(f"{call['type']}: {error}\n")


HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

if __name__ == "__main__":
    Executor().run()
