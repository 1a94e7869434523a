"""From what Marathon tells to the entries of HAProxy's maps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from masters.ingress.routes import (
    Endpoint,
    Route,
    assigned_ports,
    commands,
    map_text,
    routes_of,
    serving_task,
    starting_task,
)
from masters.records import ObservedMaster, ObservedTask, Policy

LOCAL = {"127.0.0.1": "127.0.0.1", "10.0.0.7": "10.0.0.7"}


def task(id_: str = "t1", **fields: Any) -> ObservedTask:
    made = ObservedTask(id_, "host-1", "127.0.0.1", (31000, 31001), "TASK_RUNNING", 10.0, True, 12.0)
    return replace(made, **fields)


def master(tenant: str, *tasks: ObservedTask, wanted: Any = "on", checks: bool = True, **policy: Any) -> ObservedMaster:
    document = {"healthChecks": [{"protocol": "MESOS_HTTP"}]} if checks else {}
    kept = Policy(**(policy or {"host": f"{tenant}.example"}))
    return ObservedMaster(tenant, f"/butlery/masters/s00/{tenant}", "v1", document, tasks, (), kept, wanted)


def found(*masters: ObservedMaster, **more: Any) -> dict[str, Route]:
    return dict(routes_of({each.tenant: each for each in masters}, LOCAL, **more).by_tenant)


def test_requests_go_to_the_newest_task_that_was_healthy() -> None:
    old, new = task("old"), task("new", started_at=20.0, address="10.0.0.7")
    assert found(master("a", old, new))["a"].to == Endpoint("10.0.0.7", 31000)
    starting = replace(new, healthy=None, healthy_at=None)
    assert found(master("a", old, starting))["a"].task_id == "old"
    assert found(master("a", starting))["a"].to is None
    assert found(master("a", starting), answered={"new"})["a"].task_id == "new"
    assert found(master("a", old, starting), answered={"new"})["a"].task_id == "old"
    assert found(master("a", starting, checks=False))["a"].to == Endpoint("10.0.0.7", 31000)
    assert serving_task(master("a", replace(old, healthy=False))) == replace(old, healthy=False)
    assert serving_task(master("a", replace(old, state="TASK_KILLING"))) is None
    assert serving_task(master("a", replace(old, ports=()))) is None


def test_a_task_starts_while_none_was_healthy() -> None:
    starting = task("new", healthy=None, healthy_at=None)
    assert starting_task(master("a", starting)) == starting
    assert starting_task(master("a", task("old"), starting)) is None
    assert starting_task(master("a", starting, wanted="asleep")) is None
    assert starting_task(master("a", starting, checks=False)) is None
    assert starting_task(master("a", replace(starting, state="TASK_STAGING"))) is None


def test_requests_are_held_while_nobody_is_there_to_take_them() -> None:
    for wanted in ("asleep", "off"):
        assert found(master("a", task(), wanted=wanted))["a"].value == "a|hold|0"
    assert found(master("a", task()), held=["a"])["a"].value == "a|hold|0"
    assert found(master("a", task(address="unknown")))["a"].value == "a|hold|0"


def test_addresses() -> None:
    routes = routes_of(
        {
            "a": master("a", task(), host="Ci.Example."),
            "b": master("b", task(), path="/b"),
            "c": master("c", task(), host="ci.example", path="/c"),
            "d": master("d", task(), host="ci.example"),
            "e": master("e", task(), host="not a host|x"),
            "f": master("f", task(), path="/two/segments"),
            "g": replace(master("g", task()), policy=Policy()),
        },
        LOCAL,
    )
    assert routes.http_map() == {
        "ci.example": "a|127.0.0.1|31000",
        "/b": "b|127.0.0.1|31000",
        "ci.example/c": "c|127.0.0.1|31000",
    }
    assert [problem.partition(":")[0] for problem in routes.problems] == ["d", "e", "f", "g"]
    assert "ci.example is a's address already" in routes.problems[0]


def test_agents_have_ports_of_their_own_and_keep_them() -> None:
    names = ["a", "b", "c"]
    ports = assigned_ports(names, (50_000, 50_002), {})
    assert sorted(ports.values()) == [50_000, 50_001, 50_002]
    assert assigned_ports(reversed(names), (50_000, 50_002), {}) == ports
    assert assigned_ports(["b", "z"], (50_000, 50_002), ports)["b"] == ports["b"]
    assert len(assigned_ports([*names, "d"], (50_000, 50_002), ports)) == 3
    assert assigned_ports(names, None, {}) == {}
    routes = routes_of({"a": master("a", task(), path="/a", agents=True)}, LOCAL, (50_000, 50_000))
    assert routes.agents_map() == {"50000": "127.0.0.1|31001"}
    full = routes_of({name: master(name, task(), path=f"/{name}", agents=True) for name in "ab"}, LOCAL, (1, 1))
    assert full.problems == ("b: no port of masters.ingress.agent_ports is left for its agents",)


def test_commands_change_only_what_differs() -> None:
    before = [("same", "1"), ("other", "1"), ("gone", "1"), ("twice", "1"), ("twice", "2")]
    after = {"same": "1", "other": "2", "new": "3", "twice": "1"}
    assert commands("m", before, after) == [
        "add map m new 3",
        "set map m other 2",
        "del map m twice",
        "add map m twice 1",
        "del map m gone",
    ]
    assert map_text({"b": "2", "a": "1"}) == "a 1\nb 2\n"
