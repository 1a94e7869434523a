"""Nodes made and removed beside the loop, whatever their master does meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from framework.core.effects import RemoveNode
from framework.core.events import NodeFailed, NodeReady
from framework.core.ids import node_of
from framework.errors import DeposedError, UnavailableError
from framework.jenkins_ports import AgentAccess, MasterError
from framework.runtime.jenkins.keeper import TELL_TRIES
from tests.fakes.clockwork import eventually, quiet
from tests.fakes.master_edge import record_of
from tests.unit.runtime.jenkins.rig import BLOG, CALLS_AT_ONCE, DOWN, PAYMENTS, Rig, stop, task_of


async def test_a_node_is_made_and_its_secret_kept_until_it_is_forgotten(rig: Rig) -> None:
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)
    assert rig.events == [NodeReady(effect.task_id)]
    made = rig.masters.of(PAYMENTS)[effect.node]
    assert (made.labels, made.exclusive) == ("maven jdk", True)
    assert made.description == f"butlery: agent of task {effect.task_id}"
    access = rig.keeper.access(effect.task_id)
    assert access == AgentAccess(record_of(PAYMENTS).url, effect.node, f"secret of {effect.node}", "jar-of-2.463")
    assert "secret of" not in repr(access)
    rig.keeper.forget(effect.task_id)
    assert rig.keeper.access(effect.task_id) is None


async def test_a_node_for_builds_without_a_label_takes_any(rig: Rig) -> None:
    effect = rig.prepare(1, label="")
    await eventually(lambda: rig.events)
    assert not rig.masters.of(PAYMENTS)[effect.node].exclusive


async def test_what_is_asked_before_it_runs_is_done_then() -> None:
    rig = Rig()
    effect = rig.prepare(1)
    rig.know(PAYMENTS)
    assert rig.masters.asked == []
    running = asyncio.create_task(rig.keeper.run())
    await eventually(lambda: rig.events)
    await stop(running)
    assert rig.events == [NodeReady(effect.task_id)]


async def test_calls_to_one_master_are_bounded_and_another_does_not_wait_for_them(rig: Rig) -> None:
    rig.masters.held = asyncio.Event()
    for number in range(10):
        rig.prepare(number)
    await quiet(5)
    assert rig.masters.most_at_once == CALLS_AT_ONCE
    rig.prepare(100, BLOG)
    await eventually(lambda: rig.masters.at_once == CALLS_AT_ONCE + 1)
    rig.masters.held.set()
    await eventually(lambda: len(rig.of(NodeReady)) == 11)


async def test_a_master_that_is_away_turns_its_requests_away_and_is_tried_by_one_call(rig: Rig) -> None:
    rig.masters.fail(PAYMENTS, DOWN)
    for number in range(6):
        rig.prepare(number)
    await eventually(lambda: len(rig.failed()) == 6)
    assert all(0 < one.retry_after_s <= 1 and "connection refused" in one.reason for one in rig.failed())
    asked = len(rig.masters.asked)
    assert asked <= CALLS_AT_ONCE
    rig.prepare(7)
    assert len(rig.failed()) == 7
    assert len(rig.masters.asked) == asked, "left alone while it is away"
    rig.clock.advance(1.1)
    rig.masters.held = asyncio.Event()
    for number in range(20, 26):
        rig.prepare(number)
    await quiet(5)
    assert len(rig.masters.asked) == asked + 1, "one finds out"
    rig.masters.fail(PAYMENTS, None)
    rig.masters.held.set()
    await eventually(lambda: len(rig.of(NodeReady)) == 6)


async def test_pauses_grow_with_failures_and_end_with_the_first_answer(rig: Rig) -> None:
    rig.masters.fail(PAYMENTS, DOWN)
    pauses: list[float] = []
    for number in range(8):
        rig.prepare(number)
        await eventually(lambda: len(rig.failed()) == number + 1)  # noqa: B023
        pauses.append(rig.failed()[-1].retry_after_s)
        rig.clock.advance(pauses[-1] + 0.1)
    assert pauses[0] <= 1
    assert 15 <= pauses[-1] <= 30
    rig.masters.fail(PAYMENTS, None)
    rig.prepare(50)
    await eventually(lambda: rig.of(NodeReady))
    rig.masters.fail(PAYMENTS, DOWN)
    rig.prepare(51)
    await eventually(lambda: len(rig.failed()) == 9)
    assert rig.failed()[-1].retry_after_s <= 1


async def test_a_clock_that_is_set_back_keeps_no_master_away(rig: Rig) -> None:
    rig.masters.fail(PAYMENTS, DOWN)
    rig.prepare(1)
    await eventually(lambda: rig.failed())
    rig.masters.fail(PAYMENTS, None)
    rig.clock.set_back(3600)
    rig.prepare(2)
    await eventually(lambda: rig.of(NodeReady))


async def test_a_master_that_tells_itself_anew_is_asked_at_once(rig: Rig) -> None:
    rig.masters.fail(PAYMENTS, MasterError("refused", "it does not know our API token (HTTP 401)"))
    rig.prepare(1)
    await eventually(lambda: rig.failed())
    assert rig.failed()[0].retry_after_s > 4
    assert rig.troubles.notices(lambda _: False), "told of whether anything waits or not"
    rig.masters.fail(PAYMENTS, None)
    rig.know(PAYMENTS, session="s2")
    rig.prepare(2)
    await eventually(lambda: rig.of(NodeReady))
    assert rig.troubles.notices(lambda _: True) == []


async def test_a_node_made_by_hand_is_told_as_such_and_holds_nobody_up(rig: Rig) -> None:
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)
    node = rig.masters.of(PAYMENTS).pop(effect.node)
    rig.masters.of(PAYMENTS)[effect.node] = type(node)(effect.node, "", "made by Jane", "/", exclusive=False)
    rig.prepare(1)
    await eventually(lambda: rig.failed())
    (failed,) = rig.failed()
    assert (failed.name_taken, failed.retry_after_s) == (True, 0.0)


async def test_no_master_no_node_but_soon_again(rig: Rig) -> None:
    rig.keeper.know(PAYMENTS, None)
    rig.prepare(1)
    (failed,) = rig.failed()
    assert "has not told yet" in failed.reason
    assert failed.retry_after_s > 0
    rig.remove(2)
    await quiet(5)
    assert rig.masters.asked == []


async def test_the_reason_is_told_once_before_the_node_goes(rig: Rig) -> None:
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)
    rig.remove(1, reason="out of memory")
    await eventually(lambda: effect.node not in rig.masters.of(PAYMENTS))
    assert rig.masters.told == [(effect.node, "out of memory", False)]
    assert [what for what, _, _ in rig.masters.asked] == ["jar", "create", "tell", "remove"]
    assert rig.keeper.access(effect.task_id) is None


async def test_a_removal_waits_for_its_master_to_come_back(rig: Rig) -> None:
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)
    rig.masters.fail(PAYMENTS, DOWN)
    rig.remove(1, reason="lost")
    await eventually(lambda: rig.masters.count("tell") == 1)
    await quiet(5)
    rig.masters.fail(PAYMENTS, None)
    assert effect.node in rig.masters.of(PAYMENTS)
    rig.clock.advance(1.1)
    await eventually(lambda: effect.node not in rig.masters.of(PAYMENTS))
    assert rig.masters.told == [(effect.node, "lost", False)]


async def test_a_removal_overtakes_the_making_of_its_node(rig: Rig) -> None:
    rig.masters.held = asyncio.Event()
    for number in range(CALLS_AT_ONCE + 1):
        rig.prepare(number)
    last = node_of(task_of(CALLS_AT_ONCE))
    rig.remove(CALLS_AT_ONCE)
    rig.remove(0)  # whose node is being made
    rig.masters.held.set()
    await eventually(lambda: rig.masters.count("remove") == 2)
    await quiet(5)
    assert ("create", record_of(PAYMENTS).url, last) not in rig.masters.asked
    assert {event.task_id for event in rig.of(NodeReady)} == {task_of(1), task_of(2), task_of(3)}
    assert node_of(task_of(0)) not in rig.masters.of(PAYMENTS)
    assert rig.of(NodeFailed) == []


async def test_a_node_that_is_wanted_again_before_it_was_removed_stays(rig: Rig) -> None:
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)
    rig.masters.held = asyncio.Event()
    for number in range(10, 10 + CALLS_AT_ONCE):
        rig.prepare(number)
    await quiet(5)
    rig.remove(1)
    rig.prepare(1)
    rig.masters.held.set()
    await eventually(lambda: len(rig.of(NodeReady)) == CALLS_AT_ONCE + 2)
    assert rig.masters.count("remove") == 0
    assert effect.node in rig.masters.of(PAYMENTS)


async def test_a_master_that_does_not_want_to_be_told_why_still_loses_the_node(rig: Rig) -> None:
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)

    async def refuses(*_: object, **__: object) -> None:
        raise MasterError("refused", "its user may not do that (HTTP 403)")

    rig.masters.tell = refuses  # type: ignore[method-assign]
    rig.remove(1, reason="lost")
    await eventually(lambda: effect.node not in rig.masters.of(PAYMENTS))


async def test_a_removal_that_is_asked_for_while_its_node_cannot_be_cordoned_is_not_lost(rig: Rig) -> None:
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)
    rig.masters.held = asyncio.Event()
    rig.keeper.remove(RemoveNode(PAYMENTS, effect.node, "idle", cordon=True))
    await eventually(lambda: rig.masters.count("cordon") == 1)
    rig.remove(1)
    rig.masters.fail(PAYMENTS, DOWN)
    rig.masters.held.set()
    await quiet(5)
    rig.masters.fail(PAYMENTS, None)
    rig.clock.advance(1.1)
    await eventually(lambda: effect.node not in rig.masters.of(PAYMENTS))


async def test_a_master_whose_page_for_reasons_is_broken_loses_its_nodes_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise MasterError("full", "it cannot answer now (HTTP 500, POST butlery/tell)")

    monkeypatch.setattr(rig.masters, "tell", broken)
    effect = rig.prepare(1)
    await eventually(lambda: rig.events)
    rig.remove(1, reason="lost")
    for _ in range(TELL_TRIES):
        await quiet(5)
        rig.clock.advance(31.0)
    await eventually(lambda: effect.node not in rig.masters.of(PAYMENTS))


class Seat:
    """Whether we lead, as it is asked; None: nobody knows."""

    def __init__(self) -> None:
        self.leads: bool | None = True
        self.asked = 0

    async def confirm(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.leads is None:
            raise UnavailableError("no connection to ZooKeeper")
        if not self.leads:
            raise DeposedError("another leads")


async def test_nodes_are_removed_only_while_we_lead_for_certain() -> None:
    seat = Seat()
    rig = Rig(seat.confirm)
    rig.know(PAYMENTS)
    running = asyncio.create_task(rig.keeper.run())
    for number in (1, 2, 3):
        rig.prepare(number)
    await eventually(lambda: len(rig.of(NodeReady)) == 3)
    assert seat.asked == 0, "to make a node does no harm"
    seat.leads = None
    rig.remove(1)
    rig.remove(2)
    await eventually(lambda: seat.asked)
    await quiet(5)
    assert seat.asked == 1, "once for both"
    assert len(rig.masters.of(PAYMENTS)) == 3
    rig.prepare(4)
    await eventually(lambda: len(rig.of(NodeReady)) == 4)
    seat.leads = True
    rig.clock.advance(1)
    await eventually(lambda: len(rig.masters.of(PAYMENTS)) == 2)
    seat.leads = False
    rig.remove(3)
    with pytest.raises(ExceptionGroup) as caught:
        await running
    assert caught.group_contains(DeposedError)
    assert len(rig.masters.of(PAYMENTS)) == 2
