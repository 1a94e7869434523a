"""The small parts, each by itself: deadlines, queues, breakers, placement, outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.core import events as ev
from framework.core.breakers import Breakers
from framework.core.deadlines import Deadlines
from framework.core.effects import Report
from framework.core.ids import HostId, OfferId, RequestId, TaskId
from framework.core.ordering import TenantQueue
from framework.core.outcomes import never_started, outcome_of, result_follows
from framework.core.placement import NO_BOUND, Candidate, Placer, Shape
from framework.core.resources import Resources
from framework.core.rules import rules_of
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, TaskState
from framework.core.templates import Template
from tests.unit.core.rig import SMALL, T0, TEAM, Rig


def shape(cpu_millis: int, mem_mib: int = 0, image: str | None = None, avoid: str = "", **attributes: str) -> Shape:
    request = Request(RequestId("r"), TEAM, "job", Template(SMALL, attributes=attributes), T0)
    request.avoid_hosts = [HostId(avoid)] if avoid else []
    return Shape(cpu_millis, mem_mib, 0, image=image, rules=rules_of(request, None))


def is_barred(shape: Shape, host_id: str, os: str) -> bool:
    rules = shape.rules
    return rules is not None and (host_id in rules.avoid_hosts or dict(rules.attributes).get("os", os) != os)


def test_deadlines_move_drop_and_come_due_in_order() -> None:
    deadlines = Deadlines()
    for key, when in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("a", 0.5), ("d", 9.0)):
        deadlines.set("k", key, when)
    deadlines.drop("k", "c")
    deadlines.drop("k", "never")
    assert deadlines.next() == 0.5
    assert list(deadlines.due(3.0)) == [("k", "a"), ("k", "b")]
    assert (deadlines.next(), len(deadlines), deadlines.has("k", "d")) == (9.0, 1, True)
    assert list(deadlines.due(8.9)) == []


def test_deadlines_can_all_be_moved() -> None:
    deadlines = Deadlines()
    deadlines.set("k", "a", 3.0)
    deadlines.set("k", "b", 5.0)
    deadlines.move(-2.0)
    assert deadlines.next() == 1.0
    assert list(deadlines.due(2.9)) == [("k", "a")]
    assert list(deadlines.due(3.0)) == [("k", "b")]


def test_deadlines_forget_what_was_dropped() -> None:
    deadlines = Deadlines()
    for nth in range(10_000):
        deadlines.set("k", str(nth), float(nth))
        deadlines.set("k", "one", float(-nth))
    for nth in range(10_000):
        deadlines.drop("k", str(nth))
    assert len(deadlines) == 1
    assert len(deadlines._heap) <= 64 + 2


def test_a_queue_goes_by_rank_within_a_shape() -> None:
    queue = TenantQueue()
    small, large = shape(1), shape(2)
    for name, its, rank in (
        ("a", small, (0, 3.0)),
        ("b", small, (-1, 9.0)),
        ("c", large, (0, 1.0)),
        ("d", small, (0, 3.0)),
    ):
        queue.add(RequestId(name), its, rank)
    assert sorted(queue.heads()) == [((-1, 9.0), "b", small), ((0, 1.0), "c", large)]
    assert [queue.ahead_of(RequestId(name)) for name in "bcad"] == [0, 1, 2, 3]
    queue.remove(RequestId("b"))
    assert queue.head(small) == ((0, 3.0), "a")
    assert queue.goes_before(RequestId("c"), RequestId("a"))
    assert not queue.goes_before(RequestId("a"), RequestId("gone"))
    queue.remove(RequestId("c"))
    assert queue.head(large) is None
    assert (len(queue), "d" in queue, set(queue)) == (2, True, {"a", "d"})


def test_a_request_that_comes_back_in_another_shape_is_not_also_in_the_old_one() -> None:
    queue = TenantQueue()
    old, new = shape(1), shape(1, avoid="h0")
    for name, rank in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        queue.add(RequestId(name), old, (0, rank))
    queue.remove(RequestId("b"))
    queue.add(RequestId("b"), new, (0, 2.0))
    queue.remove(RequestId("a"))
    assert queue.head(old) == ((0, 3.0), "c")
    assert queue.head(new) == ((0, 2.0), "b")


def test_a_queue_stays_small_however_often_its_requests_come_and_go() -> None:
    queue = TenantQueue()
    queue.add(RequestId("first"), shape(1), (0, 0.0))
    for _ in range(1000):
        queue.add(RequestId("again"), shape(1), (0, 1.0))
        queue.remove(RequestId("again"))
    assert len(queue._groups[shape(1)].heap) <= 16


def test_a_breaker_opens_probes_and_closes() -> None:
    breakers = Breakers(failures=2, open_s=60.0, max_open_s=100.0)
    one, two, straggler = TaskId("1"), TaskId("2"), TaskId("9")
    assert breakers.failed("i", one, "no such image", 0.0) is None
    assert breakers.allows("i", 0.0)
    assert breakers.failed("i", two, "no such image", 0.0) == 60.0
    assert breakers.failed("i", straggler, "no such image", 1.0) is None, "one outage opens it once"
    assert (breakers.allows("i", 59.0), breakers.open(59.0)) == (False, {"i": 1.0})
    assert breakers.allows("i", 60.0)
    breakers.launched("i", one)
    assert not breakers.allows("i", 60.0), "one probe at a time"
    breakers.probe_ended("i", straggler)
    assert not breakers.allows("i", 60.0)
    breakers.probe_ended("i", one)
    assert breakers.allows("i", 60.0)
    breakers.launched("i", two)
    assert breakers.failed("i", two, "still not", 70.0) == 170.0, "doubled, to the longest"
    assert breakers.last_message("i") == "still not"
    assert breakers.works("i")
    assert breakers.allows("i", 71.0)
    assert (len(breakers), breakers.works("i"), breakers.last_message("i")) == (0, False, "")


def test_breakers_of_images_nobody_wants_are_forgotten() -> None:
    breakers = Breakers(failures=1, open_s=60.0, max_open_s=100.0)
    breakers.failed("i", TaskId("1"), "", 0.0)
    breakers.forget_idle(1000.0, {"i"})
    assert len(breakers) == 1
    breakers.forget_idle(150.0, set())
    assert len(breakers) == 1
    breakers.forget_idle(161.0, set())
    assert len(breakers) == 0


def test_an_image_that_cannot_be_had_holds_up_its_builds_and_no_others() -> None:
    rig = Rig(hosts=1)
    bad, ended = [rig.launched(image="bad:1") for _ in range(4)], []
    for request, task in bad:
        rig.update(task, "TASK_FAILED", FailureClass.IMAGE)
        ended.append(request.state)
    assert set(ended) == {RequestState.WAITING}
    assert rig.state.breakers.open(rig.now) == {"bad:1": 60.0}
    good = rig.submit(image="good:1")
    rig.offer()
    assert rig.task(good)
    rig.after(60.0)
    rig.offer()
    probing = [request for request, _ in bad if rig.state.live_task(request)]
    assert len(probing) == 1
    rig.update(rig.task(probing[0]), "TASK_RUNNING")
    rig.offer()
    assert all(rig.state.live_task(request) for request, _ in bad)
    for request, _ in bad:
        rig.update(rig.task(request), "TASK_FAILED", FailureClass.IMAGE)
    assert [report for report in rig.effects(Report) if "not tried" in report.message] == []


def test_placement_takes_the_first_host_that_has_room_and_what_is_asked() -> None:
    candidates = [
        Candidate(HostId("h0"), Resources(1000, 1000), {"os": "linux"}),
        Candidate(HostId("h1"), Resources(2000, 2000), {"os": "bsd"}),
    ]
    placer = Placer(candidates, NO_BOUND)
    assert placer.place(shape(600, 100)) == 0
    assert placer.place(shape(600, 100)) == 1
    assert placer.place(shape(100, 100, os="bsd")) == 1
    assert placer.place(shape(100, 100, avoid="h0")) == 1
    assert placer.place(shape(100, 100, os="plan9")) is None
    assert placer.place(shape(5000, 1)) is None
    assert placer.place(shape(6000, 1)) is None
    assert placer.place(shape(400, 1)) == 0


AMOUNTS = st.integers(0, 20)
SHAPES = st.lists(
    st.builds(
        lambda cpu, mem, os, avoid: shape(cpu, mem, avoid=avoid, **({"os": os} if os else {})),
        AMOUNTS,
        AMOUNTS,
        st.sampled_from(["", "", "linux"]),
        st.sampled_from(["", "", "h0", "h1"]),
    ),
    max_size=40,
)
FREE = st.lists(st.tuples(AMOUNTS, AMOUNTS, st.sampled_from(["linux", "bsd"])), max_size=8)


@given(FREE, SHAPES)
def test_placement_agrees_with_trying_every_host(free: list[tuple[int, int, str]], shapes: list[Shape]) -> None:
    candidates = [Candidate(HostId(f"h{i}"), Resources(cpu, mem), {"os": os}) for i, (cpu, mem, os) in enumerate(free)]
    least = (min((s.cpu_millis for s in shapes), default=0), min((s.mem_mib for s in shapes), default=0), 0)
    placer = Placer(candidates, least)
    left = [[cpu, mem] for cpu, mem, _ in free]
    for each in shapes:
        expected = None
        for i, (_, _, os) in enumerate(free):
            barred = is_barred(each, f"h{i}", os)
            if left[i][0] >= each.cpu_millis and left[i][1] >= each.mem_mib and not barred:
                expected = i
                left[i][0] -= each.cpu_millis
                left[i][1] -= each.mem_mib
                break
        assert placer.place(each) == expected


@given(FREE, SHAPES)
def test_packing_all_at_once_gives_out_no_more_than_there_is(
    free: list[tuple[int, int, str]], shapes: list[Shape]
) -> None:
    candidates = [Candidate(HostId(f"h{i}"), Resources(cpu, mem), {"os": os}) for i, (cpu, mem, os) in enumerate(free)]
    indices = Placer(candidates, NO_BOUND).place_all(shapes)
    if indices is None:
        return
    assert len(indices) == len(shapes)
    for i, (cpu, mem, os) in enumerate(free):
        here = [each for each, index in zip(shapes, indices, strict=True) if index == i]
        assert sum(each.cpu_millis for each in here) <= cpu
        assert sum(each.mem_mib for each in here) <= mem
        assert not any(is_barred(each, f"h{i}", os) for each in here)


def a_task(kill_class: FailureClass | None = None) -> Task:
    return Task(
        TaskId("r1.1"), RequestId("r1"), TEAM, HostId("h0"), "host-0", [OfferId("o1")], SMALL, TaskState.RUNNING,
        T0, T0, kill_class=kill_class, kill_reason="because",
    )  # fmt: skip


OOM_MESSAGE = "Memory limit exceeded: Requested: 320MB Maximum Used: 321MB\n\nMEMORY STATISTICS"
C = FailureClass


@pytest.mark.parametrize(
    ("state", "reason", "message", "result", "kill_class", "expected"),
    [
        ("TASK_FINISHED", "", "", C.PASSED, None, C.PASSED),
        ("TASK_FAILED", "", "", C.OOM, None, C.OOM),
        ("TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", OOM_MESSAGE, None, None, C.OOM),
        ("TASK_FAILED", "REASON_CONTAINER_LIMITATION_DISK", "", None, None, C.DISK),
        ("TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "", None, None, C.INFRASTRUCTURE),
        ("TASK_LOST", "", "", None, None, C.INFRASTRUCTURE),
        ("TASK_FINISHED", "", "", None, None, C.PASSED),
        ("TASK_KILLED", "", "", C.CANCELLED, C.CANCELLED, C.CANCELLED),
        ("TASK_KILLED", "", "", C.CANCELLED, C.TIMEOUT, C.TIMEOUT),
        ("TASK_KILLED", "", "", None, C.TIMEOUT, C.TIMEOUT),
        ("TASK_GONE", "", "", None, C.CANCELLED, C.CANCELLED),
        ("TASK_FAILED", "", "", C.FAILED, C.CANCELLED, C.FAILED),
        ("TASK_FINISHED", "", "", C.PASSED, C.TIMEOUT, C.PASSED),
    ],
)
def test_what_a_final_status_means(
    state: str, reason: str, message: str, result: C | None, kill_class: C | None, expected: C
) -> None:
    outcome = Outcome(result) if result else None
    update = ev.TaskUpdate(TaskId("r1.1"), state, HostId("h0"), reason=reason, message=message, outcome=outcome)
    found = outcome_of(update, a_task(kill_class))
    assert found.result_class is expected
    if message == OOM_MESSAGE:
        assert (found.limit_mem_mib, found.peak_mem_mib) == (320, 321.0)


@pytest.mark.parametrize(
    ("state", "reason", "not_started", "follows"),
    [
        ("TASK_DROPPED", "REASON_INVALID_OFFERS", True, False),
        ("TASK_ERROR", "REASON_TASK_INVALID", True, False),
        ("TASK_LOST", "", True, False),
        ("TASK_GONE", "REASON_RECONCILIATION", True, False),
        ("TASK_GONE", "REASON_SLAVE_REMOVED", False, False),
        ("TASK_FAILED", "REASON_EXECUTOR_TERMINATED", False, False),
        ("TASK_FAILED", "REASON_RECONCILIATION", False, True),
        ("TASK_RUNNING", "REASON_RECONCILIATION", False, False),
    ],
)
def test_what_an_update_without_a_result_means(state: str, reason: str, not_started: bool, follows: bool) -> None:
    update = ev.TaskUpdate(TaskId("r1.1"), state, HostId("h0"), reason=reason)
    assert (never_started(update), result_follows(update)) == (not_started, follows)


def test_resources_add_compare_and_name_what_lacks() -> None:
    need, have = Resources(2, 3, 4), Resources(2, 2, 5)
    assert need + have == Resources(4, 5, 9)
    assert need - have == Resources(0, 1, -1)
    assert not need.fits_in(have)
    assert need.lacking_in(have) == ("mem_mib",)
    assert Resources(1, 30).dominant_share(Resources(10, 100)) == 0.3
