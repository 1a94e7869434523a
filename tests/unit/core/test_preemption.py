"""Whose builds make room for whom, and what becomes of both."""

from __future__ import annotations

import pytest

from framework.core.effects import Kill, Launch, Tell
from framework.core.events import CancelAsked, HostsObserved, Subscribed
from framework.core.explain import why_not
from framework.core.ids import FrameworkId, HostId, TenantName
from framework.core.resources import Resources
from framework.core.state import Config, restore
from framework.core.tasks import FailureClass, RequestState, Task
from framework.core.templates import Constraint, Operator
from tests.unit.core.rig import TEAM, Rig

LATE = TenantName("late")
EIGHTH = Resources(450, 900)  # with its Mesos executor an eighth of a host's CPU
CONFIG = Config(preempt_after_s=15.0, starving_after_s=1000.0, hold_idle_s=1000.0)


class Full(Rig):
    """A cluster that the builds of one tenant fill, and a second tenant without any."""

    def __init__(self, hosts: int = 1, config: Config = CONFIG, preemptible: bool = True) -> None:
        super().__init__(hosts, config, Resources(4000, 8192))
        self.tenant(LATE)
        self.builds: list[Task] = []
        self.fill(preemptible=preemptible)

    def fill(self, need: Resources = EIGHTH, *, preemptible: bool = True) -> None:
        fitting = [self.submit(need, preemptible=preemptible) for _ in range(8 * len(self.hosts))]
        self.offer()
        for request in fitting:
            self.now += 0.01
            self.builds.append(self.task(request))
            self.update(self.builds[-1], "TASK_RUNNING")

    def killed(self) -> list[str]:
        return [each.task_id for each in self.effects(Kill)]

    def youngest(self, count: int) -> list[str]:
        return [task.id for task in sorted(self.builds, key=lambda each: -(each.running_at or 0.0))[:count]]


def test_the_youngest_builds_of_the_tenant_above_its_share_make_room_and_are_tried_again_at_no_cost() -> None:
    rig = Full()
    request = rig.submit(Resources(900, 1024), LATE)
    rig.after(14.9)
    assert not rig.killed()
    rig.after(0.2)
    assert rig.killed() == rig.youngest(2)
    kinds = [type(effect) for effect in rig.last]
    assert kinds.index(Tell) < kinds.index(Kill)
    assert [each.task_id for each in rig.effects(Tell)] == rig.killed()
    for tell in rig.effects(Tell):
        assert request.id in tell.text
        assert "tenant late" in tell.text
        assert "0.0% of the cluster against a fair share of 50.0%" in tell.text
    answer = why_not(rig.state, request.id, rig.now)
    assert answer is not None
    assert "room is being made for it on host host-0: 2 builds of other tenants are ending" in answer.summary
    victims = sorted(rig.builds, key=lambda each: each.running_at or 0.0)[-2:]
    rig.after(5.0)
    assert not rig.killed(), "once is enough"
    for victim in victims:
        rig.update(victim, "TASK_KILLED", FailureClass.CANCELLED)
        assert victim.outcome is not None
        assert victim.outcome.result_class is FailureClass.PREEMPTED
        its = rig.state.requests[victim.request_id]
        assert (its.state, its.preemptions, its.losses) == (RequestState.WAITING, 1, 0)
        assert not its.avoid_hosts
    rig.after(5.0)
    rig.offer()
    (launch,) = rig.effects(Launch)
    assert [task.request_id for task in launch.tasks] == [request.id], "not the builds that made room, though they wait"


def test_builds_not_marked_are_never_ended() -> None:
    rig = Full(preemptible=False)
    rig.submit(Resources(1000, 1024), LATE)
    rig.after(60.0)
    assert not rig.killed()


def test_a_tenant_makes_no_room_for_itself_nor_is_it_made_for_one_at_its_share() -> None:
    rig = Full()
    rig.submit(Resources(1000, 1024), TEAM)
    rig.after(60.0)
    assert not rig.killed()


def test_a_tenant_is_never_pushed_below_its_share() -> None:
    rig = Full()
    rig.tenant(TEAM, weight=700)  # due 0.875 of the cluster; each build is 0.1125 of it, and there are eight
    rig.submit(Resources(400, 512), LATE)
    rig.after(60.0)
    assert not rig.killed()
    rig.tenant(TEAM, weight=300)  # due 0.75: with one less it has 0.7875, with two less 0.675
    rig.submit(Resources(500, 512), LATE)
    rig.after(60.0)
    killed = rig.killed()
    rig.after(1.0)  # each shape has its turn
    assert len(killed + rig.killed()) == 1


def test_a_request_is_ended_for_others_a_bounded_number_of_times() -> None:
    rig = Full()
    for task in rig.builds:
        rig.state.requests[task.request_id].preemptions = 3 if task is not rig.builds[0] else 2
    rig.submit(Resources(400, 512), LATE)
    rig.after(16.0)
    assert rig.killed() == [rig.builds[0].id]


def test_one_host_is_chosen_where_the_fewest_builds_are_enough() -> None:
    rig = Full(hosts=2)
    on_one = [task for task in rig.builds if task.host_id == "h1"]
    for task in on_one[:4]:
        rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    big = rig.submit(Resources(1950, 3000), preemptible=True)
    rig.offer("h1")
    rig.update(rig.task(big), "TASK_RUNNING")
    rig.submit(Resources(1000, 1024), LATE)
    rig.after(16.0)
    assert rig.killed() == [rig.task(big).id]


def test_room_is_made_only_where_the_request_may_go() -> None:
    rig = Full(hosts=2)
    only = (Constraint("rack", Operator.IS, "r1"),)
    rig.submit(Resources(400, 512), LATE, constraints=only)
    rig.after(16.0)
    assert [each.host_id for each in rig.effects(Kill)] == [HostId("h1")]


def test_builds_are_ended_for_one_request_a_kept_host_and_for_no_other_at_once() -> None:
    rig = Full(hosts=2)  # of which one may be kept
    for _ in range(4):
        rig.submit(Resources(400, 512), LATE)
    rig.after(16.0)
    assert len(rig.killed()) == 1
    rig.after(2.0)
    assert not rig.killed()


def test_one_that_ends_by_itself_meanwhile_has_ended_so() -> None:
    rig = Full()
    rig.submit(Resources(400, 512), LATE)
    rig.after(16.0)
    victim = rig.state.tasks[rig.effects(Kill)[0].task_id]
    request = rig.state.requests[victim.request_id]
    rig.update(victim, "TASK_FINISHED", FailureClass.PASSED)
    assert request.outcome is not None
    assert request.outcome.result_class is FailureClass.PASSED


@pytest.mark.parametrize("asked", ["before", "after"])
def test_one_that_is_cancelled_meanwhile_is_cancelled(asked: str) -> None:
    rig = Full()
    rig.submit(Resources(400, 512), LATE)
    rig.after(16.0)
    victim = rig.state.tasks[rig.effects(Kill)[0].task_id]
    request = rig.state.requests[victim.request_id]
    cancel = CancelAsked(request.id, "no longer wanted")
    if asked == "before":
        rig.send(cancel)
    rig.update(victim, "TASK_KILLED", FailureClass.CANCELLED)
    if asked == "after":
        rig.send(cancel)
    assert request.outcome is not None
    assert (request.outcome.result_class, request.outcome.message) == (FailureClass.CANCELLED, "no longer wanted")


def test_a_failover_in_between_ends_no_others_and_keeps_the_host_again() -> None:
    rig = Full(hosts=2)
    request = rig.submit(Resources(1000, 1024), LATE)
    rig.after(16.0)
    victims = rig.killed()
    state = rig.state
    rig.state = restore(
        rig.config, state.framework_id, [book.tenant for book in state.tenants.values()],
        list(state.requests.values()), list(state.tasks.values()), rig.now,
    )  # fmt: skip
    rig.send(Subscribed(FrameworkId("f1")), HostsObserved(tuple(rig.hosts.values())))
    assert sorted(rig.killed()) == sorted(victims), "asked again, as the first may not have left"
    rig.after(2.0)
    rig.after(2.0)
    assert not rig.killed()
    assert [earmark.request_id for earmark in rig.state.earmarks.values()] == [request.id]
