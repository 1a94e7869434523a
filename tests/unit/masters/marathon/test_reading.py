"""Marathon's JSON as our records."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from masters.marathon.reading import Queue, master_of, reasons
from masters.names import LABEL_POLICY, LABEL_STATE
from masters.records import MasterState, ObservedMaster, Policy
from tests.unit.masters.marathon.samples import app, app_id

VERSION = "2026-11-21T12:00:00.000Z"


def observed(**fields: Any) -> ObservedMaster:
    found = master_of({**app("payments"), "version": VERSION, **fields})
    assert found is not None
    return found


def task(**fields: Any) -> dict[str, Any]:
    return {
        "id": "t1",
        "host": "h1.example",
        "state": "TASK_RUNNING",
        "ports": [31001, 31002],
        "startedAt": "2026-11-21T12:00:00.500Z",
        "version": VERSION,
        "ipAddresses": [{"ipAddress": "10.0.0.7", "protocol": "IPv4"}],
        **fields,
    }


def test_a_master_with_all_that_is_told_of_it() -> None:
    healthy = {"alive": True, "consecutiveFailures": 0, "firstSuccess": "2026-11-21T12:00:42.500Z"}
    found = observed(
        tasks=[task(healthCheckResults=[healthy])],
        deployments=[{"id": "d1"}],
        lastTaskFailure={"message": "boom", "timestamp": "1970-01-01T00:00:09.000Z", "state": "TASK_FAILED"},
        tasksRunning=1,
    )
    assert (found.tenant, found.app_id, found.version) == ("payments", app_id("payments"), VERSION)
    assert found.policy.host == "payments.localhost"
    assert (found.wanted, found.state) == ("on", MasterState.ON)
    assert found.deployments == ("d1",)
    assert found.last_failure == ("boom", 9.0)
    (running,) = found.tasks
    assert (running.address, running.host, running.ports) == ("10.0.0.7", "h1.example", (31001, 31002))
    assert running.healthy_at is not None
    assert running.started_at is not None
    assert running.healthy_at - running.started_at == 42.0
    assert found.document.keys() == app("payments").keys() | {"version"}


def test_an_ended_task_that_its_reservation_is_told_with_is_none() -> None:
    assert observed(tasks=[task(state="TASK_KILLED")]).tasks == ()
    assert len(observed(tasks=[task(state="TASK_FAILED"), task(state="TASK_KILLING")]).tasks) == 1


@pytest.mark.parametrize(
    ("results", "healthy"),
    [
        (None, None),
        ([], None),
        ([None], None),
        ([{"alive": False, "consecutiveFailures": 0}], None),
        ([{"alive": False, "consecutiveFailures": 2}], False),
        ([{"alive": False, "consecutiveFailures": 0, "firstSuccess": VERSION}], False),
        ([{"alive": True, "firstSuccess": VERSION}], True),
        ([{"alive": True}, {"alive": False, "consecutiveFailures": 1}], False),
        ([{"alive": True}, {"alive": False}], None),
    ],
)
def test_what_health_checks_say(results: Any, healthy: bool | None) -> None:
    assert observed(tasks=[task(healthCheckResults=results)]).tasks[0].healthy is healthy


def test_a_task_that_has_just_been_launched_or_has_ended_says_little() -> None:
    (found,) = observed(tasks=[{"id": "t1", "host": "h1", "ipAddresses": [], "ports": None}]).tasks
    assert (found.address, found.ports, found.started_at, found.healthy) == ("h1", (), None, None)


@pytest.mark.parametrize(
    ("instances", "label", "wanted"),
    [
        (1, "on", "on"),
        (1, "asleep", "on"),
        (0, "asleep", "asleep"),
        (0, "off", "off"),
        (0, "on", "off"),
        (0, None, "off"),
    ],
)
def test_how_many_instances_there_are_to_be_counts(instances: int, label: str | None, wanted: str) -> None:
    labels = app("payments")["labels"]
    labels.pop(LABEL_STATE)
    assert observed(instances=instances, labels=labels | ({LABEL_STATE: label} if label else {})).wanted == wanted


@pytest.mark.parametrize("label", ["", "{]", '{"idle_s": "soon"}', "[]"])
def test_a_policy_that_somebody_broke_by_hand_is_none(label: str) -> None:
    assert observed(labels={**app("payments")["labels"], LABEL_POLICY: label}).policy == Policy()


def test_another_app_in_the_group_is_no_master() -> None:
    assert master_of({"id": "/butlery/masters/s01/else", "version": VERSION, "labels": {}}) is None


@pytest.mark.parametrize("fields", [{"version": None}, {"instances": "many"}, {"tasks": [{}]}, {"labels": []}])
def test_what_is_no_app_is_told(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        observed(**fields)


def test_why_an_instance_waits_is_told_in_words() -> None:
    summary = {
        "processedOffersCount": 6,
        "rejectSummaryLastOffers": [
            {"reason": "InsufficientCpus", "declined": 2, "processed": 3},
            {"reason": "SomethingNew", "declined": 1, "processed": 1},
            {"reason": "InsufficientPorts", "declined": 0, "processed": 1},
        ],
    }
    queue = msgspec.convert(
        {
            "queue": [
                {"app": {"id": "/a"}, "processedOffersSummary": summary},
                {"app": {"id": "/b"}, "delay": {"timeLeftSeconds": 12, "overdue": False}},
                {"pod": {"id": "/c"}},
            ]
        },
        Queue,
    ).queue
    assert reasons(queue, "/a") == [
        "on 2 of 3 offered hosts too few CPUs are free",
        "on 1 of 1 offered hosts SomethingNew",
    ]
    assert reasons(queue, "/b") == [
        "it failed before, and is tried again in 12 s",
        "no host has been offered for it yet",
    ]
    assert reasons(queue, "/c") == []
