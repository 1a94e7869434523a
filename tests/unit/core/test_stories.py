"""What people are told of builds."""

from __future__ import annotations

from typing import Any

import pytest

from framework.core.ids import RequestId
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.resources import Resources
from framework.core.stories import Stage, ending, stage, waited_s
from framework.core.tasks import SPARES, FailureClass, Outcome, Request, RequestState
from framework.core.templates import Template
from tests.unit.core.rig import TEAM


def request(state: RequestState = RequestState.RUNNING, **side: Any) -> Request:
    made = JenkinsSide(QueueItem(7, 1), "payments", "job/payments/", "maven", "maven", 100.0)
    for name, value in side.items():
        setattr(made, name, value)
    template = Template(Resources(500, 512), image="maven:3.9", timeout_s=600.0, name="maven", version="v1")
    return Request(RequestId("r1"), TEAM, "payments", template, 100.0, state=state, jenkins=made)


@pytest.mark.parametrize(
    ("state", "side", "expected"),
    [
        (RequestState.WAITING, {}, Stage.WAITING),
        (RequestState.PREPARING, {}, Stage.PREPARING),
        (RequestState.LAUNCHING, {}, Stage.STARTING),
        (RequestState.RUNNING, {}, Stage.CONNECTING),
        (RequestState.RUNNING, {"online_at": 101.5}, Stage.ONLINE),
        (RequestState.RUNNING, {"online_at": 101.5, "accepted_at": 102.0}, Stage.BUILDING),
        (RequestState.RUNNING, {"online_at": 101.5, "builds": 2}, Stage.IDLE),
        (RequestState.ENDING, {}, Stage.ENDING),
        (RequestState.ENDED, {}, Stage.ENDED),
    ],
)
def test_every_stage(state: RequestState, side: dict[str, Any], expected: Stage) -> None:
    assert stage(request(state, **side)) is expected


def test_a_job_that_runs_builds() -> None:
    job = Request(RequestId("r2"), TEAM, "job", Template(Resources(1, 1)), 100.0, state=RequestState.RUNNING)
    assert stage(job) is Stage.BUILDING
    job.running_at = 103.0
    assert waited_s(job) == 3.0
    job.running_at = 40.0  # the clock was set back
    assert waited_s(job) == 0.0


def test_a_spare_builds_nothing() -> None:
    spare = Request(RequestId("r3"), SPARES, "spare of maven", Template(Resources(1, 1)), 100.0)
    assert stage(spare) is Stage.WAITING
    spare.state = RequestState.RUNNING
    assert stage(spare) is Stage.READY


def test_the_wait_is_from_the_queue_until_the_agent_is_online() -> None:
    assert waited_s(request()) is None
    assert waited_s(request(online_at=101.5)) == 1.5
    assert waited_s(request(online_at=99.0)) == 0.0


def test_memory_is_told_with_its_figures_and_where_to_ask_for_more() -> None:
    outcome = Outcome(FailureClass.OOM, "killed", peak_mem_mib=511.6, limit_mem_mib=512)
    assert ending(request(), outcome, "h1") == (
        "oom: it needed more memory than it has, which is 512 MiB, with a peak of 512 MiB; "
        "ask for more, of template maven"
    )
    assert ending(request(), Outcome(FailureClass.OOM)) == (
        "oom: it needed more memory than it has; ask for more, of template maven"
    )


@pytest.mark.parametrize(
    ("what", "side", "expected"),
    [
        (FailureClass.IMAGE, {}, "image: the image maven:3.9 could not be had: said so"),
        (FailureClass.CONNECT, {}, "connect: the agent was not online in time: said so (on host h1)"),
        (
            FailureClass.CONNECT,
            {"online_at": 1.0},
            "connect: the agent was away from its master too long: said so (on host h1)",
        ),
        (FailureClass.INFRASTRUCTURE, {}, "infrastructure: lost by none of its own doing: said so (on host h1)"),
        (FailureClass.TIMEOUT, {}, "timeout: said so; template maven gives a build 600 s"),
        (FailureClass.FAILED, {}, "failed: the agent ended before it was online: said so (on host h1)"),
        (FailureClass.FAILED, {"online_at": 1.0}, "failed: the agent ended by itself: said so (on host h1)"),
        (FailureClass.PREEMPTED, {}, "preempted: said so"),
    ],
)
def test_each_end_says_what_happened(what: FailureClass, side: dict[str, Any], expected: str) -> None:
    assert ending(request(**side), Outcome(what, "said so"), "h1") == expected


def test_every_class_has_words() -> None:
    for what in FailureClass:
        assert ending(request(), Outcome(what)).startswith(f"{what.value}: ")
