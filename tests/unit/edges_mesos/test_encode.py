from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from framework.core.effects import Acknowledge, Decline, Kill, Reconcile
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId
from framework.core.resources import Resources
from framework.edges.mesos.encode import CallEncoder, FrameworkSettings, subscribe
from framework.edges.mesos.purse import Piece, Purse
from framework.ports import MesosExecutor, TaskLaunch

encoder = CallEncoder(FrameworkId("F-0"), "butlery")
S1 = HostId("S1")
anything = st.text(st.characters())  # surrogates too
words = st.text(st.characters(exclude_categories=["Cs"]))


def read(call: bytes) -> Any:
    return json.loads(call)


def test_subscribe_anew_and_again() -> None:
    settings = FrameworkSettings("butlery", "root", "jenkins", 604800.0, "h")
    info = {
        "user": "root",
        "name": "butlery",
        "roles": ["jenkins"],
        "failover_timeout": 604800.0,
        "checkpoint": True,
        "hostname": "h",
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
    }
    assert read(subscribe(settings, None)) == {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
    settings = FrameworkSettings("butlery", "root", "jenkins", 604800.0, "h", "http://h:8080", "p")
    info |= {"webui_url": "http://h:8080", "principal": "p", "id": {"value": "F-0"}}
    assert read(subscribe(settings, FrameworkId("F-0"))) == {
        "type": "SUBSCRIBE",
        "framework_id": {"value": "F-0"},
        "subscribe": {"framework_info": info},
    }


def test_accept() -> None:
    launch = TaskLaunch(
        TaskId("r.1"),
        "name",
        Resources(250, 768, 10),
        MesosExecutor("r.1", "name", Resources(50, 32), "run me", ("http://x/a.pyz",), {"A": "b"}),
        data=b"\x00secret",
        labels={"tenant": "t"},
    )
    allocated = {"allocation_info": {"role": "butlery"}}

    def amount(name: str, value: float) -> dict[str, object]:
        return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **allocated}

    task = {
        "name": "name",
        "task_id": {"value": "r.1"},
        "agent_id": {"value": "S1"},
        "resources": [amount("cpus", 0.25), amount("mem", 768.0), amount("disk", 10.0)],
        "executor": {
            "type": "CUSTOM",
            "executor_id": {"value": "r.1"},
            "framework_id": {"value": "F-0"},
            "name": "name",
            "resources": [amount("cpus", 0.05), amount("mem", 32.0)],
            "command": {
                "value": "run me",
                "uris": [{"value": "http://x/a.pyz"}],
                "environment": {"variables": [{"name": "A", "value": "b", "type": "VALUE"}]},
            },
        },
        "data": base64.b64encode(b"\x00secret").decode(),
        "labels": {"labels": [{"key": "tenant", "value": "t"}]},
    }
    assert read(encoder.accept([OfferId("O1"), OfferId("O2")], S1, [launch], None)) == {
        "framework_id": {"value": "F-0"},
        "type": "ACCEPT",
        "accept": {
            "offer_ids": [{"value": "O1"}, {"value": "O2"}],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}],
            "filters": {"refuse_seconds": 0.0},
        },
    }


def test_reserved_resources_are_named_as_they_were_offered() -> None:
    reservation = b'{"principal":"p"}'
    purse: Purse = {"cpus": [Piece(300, "butlery", Raw(reservation)), Piece(1000)], "mem": [Piece(64_000)], "disk": []}
    tasks = [
        TaskLaunch(TaskId(f"r.{n}"), "n", Resources(200, 16), MesosExecutor(f"r.{n}", "n", Resources(50, 16), "c"))
        for n in (1, 2)
    ]
    call = read(encoder.accept([OfferId("O")], S1, tasks, purse))
    infos = call["accept"]["operations"][0]["launch"]["task_infos"]
    drawn = [
        (resource["scalar"]["value"], resource.get("role", "*"), resource.get("reservation"))
        for info in infos
        for part in (info["resources"], info["executor"]["resources"])
        for resource in part
        if resource["name"] == "cpus"
    ]
    reserved = ("butlery", {"principal": "p"})
    assert drawn == [(0.2, *reserved), (0.05, *reserved), (0.05, *reserved), (0.15, "*", None), (0.05, "*", None)]
    assert purse["cpus"][0].amount == 300, "the caller's is left as it was"


@given(anything, anything, st.dictionaries(anything, anything, max_size=3), st.binary(max_size=50), words)
def test_any_text_makes_a_call(name: str, command: str, named: dict[str, str], data: bytes, task_id: str) -> None:
    executor = MesosExecutor(task_id, name, Resources(1, 1), command, (name,), named)
    launch = TaskLaunch(TaskId(task_id), name, Resources(1, 1), executor, data=data, labels=named)
    task = read(encoder.accept([OfferId(task_id)], S1, [launch], None))["accept"]["operations"][0]["launch"][
        "task_infos"
    ][0]
    assert task["task_id"]["value"] == task_id
    assert base64.b64decode(task["data"]) == data
    assert task["executor"]["command"]["value"] == command.encode("utf-8", "replace").decode()


def test_the_other_calls() -> None:
    head = {"framework_id": {"value": "F-0"}}
    task, host = {"task_id": {"value": "r.1"}}, {"agent_id": {"value": "S1"}}
    assert read(encoder.acknowledge(Acknowledge(TaskId("r.1"), S1, b"0123456789abcdef"))) == head | {
        "type": "ACKNOWLEDGE",
        "acknowledge": task | host | {"uuid": base64.b64encode(b"0123456789abcdef").decode()},
    }
    assert read(encoder.decline(Decline((OfferId("O1"),), 5.5))) == head | {
        "type": "DECLINE",
        "decline": {"offer_ids": [{"value": "O1"}], "filters": {"refuse_seconds": 5.5}},
    }
    assert read(encoder.kill(Kill(TaskId("r.1"), S1, 2.5))) == head | {
        "type": "KILL",
        "kill": task | host | {"kill_policy": {"grace_period": {"nanoseconds": 2_500_000_000}}},
    }
    assert read(encoder.reconcile(Reconcile(((TaskId("r.1"), S1),)))) == head | {
        "type": "RECONCILE",
        "reconcile": {"tasks": [task | host]},
    }
    assert read(encoder.reconcile(Reconcile(()))) == head | {"type": "RECONCILE", "reconcile": {"tasks": []}}
    assert read(encoder.message(S1, "r.1", b"\xff")) == head | {
        "type": "MESSAGE",
        "message": {"agent_id": {"value": "S1"}, "executor_id": {"value": "r.1"}, "data": "/w=="},
    }
    assert read(encoder.revive(())) == head | {"type": "REVIVE", "revive": {"roles": []}}
