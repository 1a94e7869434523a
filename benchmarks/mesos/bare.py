"""The shortest program that launches and acknowledges: no state, no fair share, no retries. Told on standard input.

It does what the other program's tasks need and not a step more: fills every offer, acknowledges every update, and sends
calls without waiting for the answer to the one before.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from typing import Any

import msgspec

from agents import pack
from agents.shared import SHARED_EXECUTOR_ID
from agents.spec import BuildSpec
from benchmarks.mesos.plan import ENDED, Plan, Progress, read_plan


class Loop:
    """One framework."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._progress = Progress(plan.tasks)
        self._ids = deque(f"{generation}.{n}" for generation in (0, 1) for n in range(plan.tasks))
        self._hosts: set[str] = set()
        self._gone: set[str] = set()  # tasks
        self._framework: dict[str, Any] = {}
        self._lost = 0
        self._ended = 0
        self._data = [self._build(path) for path in (plan.first_file, plan.second_file)]

    def _build(self, path: str) -> str:
        plan = self._plan
        spec = BuildSpec("", "bench", "pretend", "true", plan.cpu_millis, plan.mem_mib, pretend_until=path)
        return base64.b64encode(spec.to_json()).decode()

    async def run(self) -> None:
        plan = self._plan
        address = plan.url.removeprefix("http://")
        host, port = address.split(":")
        stream, subscribe = await asyncio.open_connection(host, int(port), limit=1 << 26)
        answers, self._calls = await asyncio.open_connection(host, int(port))
        self._head = f"POST /api/v1/scheduler HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        info = {
            "user": "root",
            "name": plan.name,
            "roles": [plan.role],
            "failover_timeout": 60.0,
            "checkpoint": True,
            "capabilities": [{"type": "MULTI_ROLE"}],
        }
        self._send(subscribe, {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}})
        while (line := await stream.readline()).strip():
            if line.lower().startswith(b"mesos-stream-id"):
                self._head += line.decode()
        reading = asyncio.create_task(self._read_answers(answers))
        try:
            async for event in _events(stream):
                self._on_event(event)
                if self._ended == 2 * plan.tasks:
                    break
        finally:
            reading.cancel()
        self._call("TEARDOWN")
        await self._calls.drain()
        await asyncio.sleep(1.0)  # for Mesos to take it
        self._progress.end(self._lost)

    async def _read_answers(self, answers: asyncio.StreamReader) -> None:
        while await answers.read(1 << 16):
            pass

    def _on_event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "SUBSCRIBED":
            self._framework = event["subscribed"]["framework_id"]
            self._progress.subscribed()
        elif kind == "OFFERS":
            for offer in event["offers"]["offers"]:
                self._use(offer)
        elif kind == "UPDATE":
            self._on_update(event["update"]["status"])

    def _use(self, offer: dict[str, Any]) -> None:
        plan = self._plan
        have = {r["name"]: r["scalar"]["value"] for r in offer["resources"] if "scalar" in r}
        first = offer["agent_id"]["value"] not in self._hosts  # takes the Mesos executor's own resources too
        cpus = round(have.get("cpus", 0) * 1000) - first * plan.overhead_cpu_millis
        mem = round(have.get("mem", 0)) - first * plan.overhead_mem_mib
        room = max(0, min(cpus // plan.cpu_millis, mem // plan.mem_mib))
        tasks = [self._task(self._ids.popleft(), offer["agent_id"]) for _ in range(min(room, len(self._ids)))]
        if tasks:
            self._hosts.add(offer["agent_id"]["value"])
            operations = [{"type": "LAUNCH", "launch": {"task_infos": tasks}}]
            self._call("ACCEPT", accept={"offer_ids": [offer["id"]], "operations": operations})
        else:
            self._call("DECLINE", decline={"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 1.0}})

    def _task(self, task_id: str, host_id: dict[str, str]) -> dict[str, Any]:
        plan = self._plan
        return {
            "name": "pretend",
            "task_id": {"value": task_id},
            "agent_id": host_id,
            "resources": self._scalars(plan.cpu_millis, plan.mem_mib),
            "executor": {
                "type": "CUSTOM",
                "executor_id": {"value": SHARED_EXECUTOR_ID},
                "framework_id": self._framework,
                "name": "shared",
                "resources": self._scalars(plan.overhead_cpu_millis, plan.overhead_mem_mib),
                "command": {"value": pack.command(plan.executor, plan.python)},
            },
            "data": self._data[int(task_id[0])],
        }

    def _scalars(self, cpu_millis: int, mem_mib: int) -> list[dict[str, Any]]:
        amounts = (("cpus", cpu_millis / 1000), ("mem", float(mem_mib)))
        return [
            {"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": self._plan.role}}
            for name, value in amounts
        ]

    def _on_update(self, status: dict[str, Any]) -> None:
        task_id, state = status["task_id"]["value"], status["state"]
        if "uuid" in status:
            known = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
            self._call("ACKNOWLEDGE", acknowledge=known)
        generation, number = (int(part) for part in task_id.split(".")[:2])
        self._progress.updated(generation, number, task_id, state)
        if state in ENDED and task_id not in self._gone:
            self._gone.add(task_id)
            if state == "TASK_FINISHED":
                self._ended += 1
            else:  # as where a busy machine starts a Mesos executor too late; another goes in its place
                self._lost += 1
                self._ids.appendleft(f"{task_id}.again")

    def _call(self, kind: str, **body: object) -> None:
        self._send(self._calls, {"type": kind, "framework_id": self._framework, **body})

    def _send(self, to: asyncio.StreamWriter, call: dict[str, Any]) -> None:
        body = msgspec.json.encode(call)
        to.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def _events(stream: asyncio.StreamReader) -> Any:
    """Records of the chunked answer, each in one chunk or in several."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    buffer = b""
    while size := int(await stream.readline(), 16):
        buffer += await stream.readexactly(size)
        await stream.readexactly(2)
        while (end := buffer.find(b"\n")) >= 0 and len(buffer) >= end + 1 + int(buffer[:end]):
            last = end + 1 + int(buffer[:end])
            yield decode(buffer[end + 1 : last])
            buffer = buffer[last:]


if __name__ == "__main__":
    asyncio.run(Loop(read_plan()).run())
