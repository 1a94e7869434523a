from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from framework.core.effects import AcceptInverse, Acknowledge, Decline, DeclineInverse, Kill, Reconcile
from framework.core.events import OperationUpdate
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId
from framework.core.pieces import Piece, Reservation
from framework.core.resources import Resources
from framework.edges.mesos.accept import Accepting
from framework.edges.mesos.encode import CAPABILITIES, CallEncoder, FrameworkSettings, subscribe
from framework.edges.mesos.purse import Purse
from framework.edges.mesos.resources import Held
from framework.edges.mesos.wire import Value
from framework.mesos_ports import LaunchTasks, MesosExecutor, TaskLaunch, Uri

encoder = CallEncoder(FrameworkId("F-0"))
S1 = HostId("S1")
anything = st.text(st.characters())  # surrogates too
words = st.text(st.characters(exclude_categories=["Cs"]))


def read(call: bytes) -> Any:
    return json.loads(call)


def accept(offer_ids: Sequence[OfferId], launch: TaskLaunch) -> Any:
    def making(framework: Value) -> Accepting:
        return Accepting(framework, S1, "butlery")

    return read(encoder.accept(offer_ids, [LaunchTasks((launch,))], 2.5, making)[0])


def test_subscribe_anew_and_again() -> None:
    settings = FrameworkSettings("butlery", "root", ("jenkins",), 604800.0, "h")
    info = {
        "user": "root",
        "name": "butlery",
        "roles": ["jenkins", "late"],
        "failover_timeout": 604800.0,
        "checkpoint": True,
        "hostname": "h",
        "capabilities": [{"type": each} for each in CAPABILITIES],
    }
    roles = ("jenkins", "late")
    assert read(subscribe(settings, None, roles, ())) == {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
    settings = FrameworkSettings("butlery", "root", ("jenkins",), 604800.0, "h", "http://h:8080", "p")
    info |= {"webui_url": "http://h:8080", "principal": "p", "id": {"value": "F-0"}}
    quiet = {"framework_info": info, "suppressed_roles": ["late"]}
    assert read(subscribe(settings, FrameworkId("F-0"), roles, {"late", "gone"})) == {
        "type": "SUBSCRIBE",
        "framework_id": {"value": "F-0"},
        "subscribe": quiet,
    }
    assert read(encoder.update_framework(settings, roles, {"late"})) == {
        "type": "UPDATE_FRAMEWORK",
        "framework_id": {"value": "F-0"},
        "update_framework": quiet,
    }


def test_accept() -> None:
    launch = TaskLaunch(
        TaskId("r.1"),
        "name",
        Resources(250, 768, 10),
        MesosExecutor("r.1", "name", Resources(50, 32), "run me", ("http://x/a.pyz",), {"A": "b"}, 1.5),
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
            "shutdown_grace_period": {"nanoseconds": 1_500_000_000},
        },
        "data": base64.b64encode(b"\x00secret").decode(),
        "labels": {"labels": [{"key": "tenant", "value": "t"}]},
    }
    assert accept([OfferId("O1"), OfferId("O2")], launch) == {
        "framework_id": {"value": "F-0"},
        "type": "ACCEPT",
        "accept": {
            "offer_ids": [{"value": "O1"}, {"value": "O2"}],
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [task]}}],
            "filters": {"refuse_seconds": 2.5},
        },
    }


@given(anything, anything, st.dictionaries(anything, anything, max_size=3), st.binary(max_size=50), words)
def test_any_text_makes_a_call(name: str, command: str, named: dict[str, str], data: bytes, task_id: str) -> None:
    executor = MesosExecutor(task_id, name, Resources(1, 1), command, (name,), named)
    launch = TaskLaunch(TaskId(task_id), name, Resources(1, 1), executor, data=data, labels=named)
    task = accept([OfferId(task_id)], launch)["accept"]["operations"][0]["launch"]["task_infos"][0]
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
    assert read(encoder.suppress(["a"])) == head | {"type": "SUPPRESS", "suppress": {"roles": ["a"]}}
    assert read(encoder.bare("TEARDOWN")) == head | {"type": "TEARDOWN"}
    assert read(encoder.accept_inverse(AcceptInverse((OfferId("I"),)))) == head | {
        "type": "ACCEPT_INVERSE_OFFERS",
        "accept_inverse_offers": {"inverse_offer_ids": [{"value": "I"}], "filters": {"refuse_seconds": 0.0}},
    }
    assert read(encoder.decline_inverse(DeclineInverse((OfferId("I"),), 9.0))) == head | {
        "type": "DECLINE_INVERSE_OFFERS",
        "decline_inverse_offers": {"inverse_offer_ids": [{"value": "I"}], "filters": {"refuse_seconds": 9.0}},
    }
    assert read(encoder.shutdown(S1, "e")) == head | {
        "type": "SHUTDOWN",
        "shutdown": {"executor_id": {"value": "e"}, "agent_id": {"value": "S1"}},
    }
    assert read(encoder.request([Resources(500)])) == head | {
        "type": "REQUEST",
        "request": {"requests": [{"resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}}]}]},
    }
    assert read(encoder.reconcile_operations([("op", S1)])) == head | {
        "type": "RECONCILE_OPERATIONS",
        "reconcile_operations": {"operations": [{"operation_id": {"value": "op"}, **host}]},
    }
    update = OperationUpdate("op", "OPERATION_FINISHED", S1, "rp", uuid=b"0123456789abcdef")
    assert read(encoder.acknowledge_operation(update)) == head | {
        "type": "ACKNOWLEDGE_OPERATION_STATUS",
        "acknowledge_operation_status": {
            "uuid": base64.b64encode(b"0123456789abcdef").decode(),
            "operation_id": {"value": "op"},
            "agent_id": {"value": "S1"},
            "resource_provider_id": {"value": "rp"},
        },
    }


def test_uris_say_what_is_done_with_them_where_it_is_not_mesos_own_way() -> None:
    uris = ("http://x/a", Uri("http://x/b"), Uri("http://x/\ud800", False, True, True, "bin/c"))
    launch = TaskLaunch(TaskId("t"), "t", Resources(1), MesosExecutor("e", "e", Resources(), "run", uris))
    task = accept([OfferId("O1")], launch)["accept"]["operations"][0]["launch"]["task_infos"][0]
    assert task["executor"]["command"]["uris"] == [
        {"value": "http://x/a"},
        {"value": "http://x/b"},
        {"value": "http://x/?", "executable": True, "extract": False, "cache": True, "output_file": "bin/c"},
    ]


def test_a_mesos_executor_takes_exact_pieces_beside_its_amounts() -> None:
    own = Piece("cpus", 50, reservations=(Reservation("butlery"),))
    executor = MesosExecutor("e", "e", Resources(mem_mib=32), "run", pieces=(own,))
    task = TaskLaunch(TaskId("t"), "t", Resources(), executor, pieces=(Piece("cpus", 100),))
    held = Held(Resources(150, 32), Resources(50), (), (Piece("cpus", 100), own, Piece("mem", 32_000)))

    def making(framework: Value) -> Accepting:
        return Accepting(framework, S1, "butlery", Purse([held], "butlery"))

    told = read(encoder.accept([OfferId("O1")], [LaunchTasks((task,))], 0.0, making)[0])
    info = told["accept"]["operations"][0]["launch"]["task_infos"][0]
    assert [(each["name"], each["scalar"]["value"]) for each in info["executor"]["resources"]] == [
        ("mem", 32.0),
        ("cpus", 0.05),
    ]
    assert info["executor"]["resources"][1]["reservations"] == [{"type": "DYNAMIC", "role": "butlery"}]
