"""Hosts that Mesos wants back: who is told when, who is ended, and what becomes of windows that change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from framework.core.effects import AcceptInverse, DeclineInverse, Kill, Launch, Tell
from framework.core.events import (
    HostsObserved,
    InverseOfferRescinded,
    InverseOffersReceived,
    OffersReceived,
    Subscribed,
)
from framework.core.explain import why_not
from framework.core.ids import FrameworkId, HostId, OfferId
from framework.core.offers import InverseOffer, Offer, Window
from framework.core.resources import Resources
from framework.core.state import Config, restore
from framework.core.tasks import FailureClass, RequestState, Task
from tests.unit.core.rig import SMALL, Rig

WARN_S, SLACK_S, GRACE_S = 600.0, 60.0, 10.0
H0 = HostId("h0")
LONG: dict[str, Any] = {"timeout_s": 100_000.0, "grace_s": GRACE_S}
SOURCES = ["the list of hosts", "an offer", "an inverse offer"]


class Planned(Rig):
    """One build on the first of two hosts."""

    def __init__(self) -> None:
        super().__init__(2, Config(maintenance_warn_s=WARN_S, timeout_slack_s=SLACK_S))
        self.asked = 0

    def observe(self, window: Window | None) -> None:
        self._offers_tell(window)
        self.send(HostsObserved(tuple(self.hosts.values())))

    def _offers_tell(self, window: Window | None) -> None:
        self.hosts[H0] = msgspec.structs.replace(self.hosts[H0], window=window)

    def ask_back(self, window: Window) -> OfferId:
        self.asked += 1
        offer_id = OfferId(f"i{self.asked}")
        self.send(InverseOffersReceived((InverseOffer(offer_id, H0, window),)))
        return offer_id

    def plan(self, window: Window, source: str) -> None:
        self._offers_tell(window)
        if source == "the list of hosts":
            self.observe(window)
        elif source == "an offer":
            self.send(
                OffersReceived((Offer(OfferId(f"o{self.now}"), H0, "host-0", Resources(100, 100), window=window),))
            )
        else:
            self.ask_back(window)

    def until(self, moment: float, source: str, window: Window) -> None:
        """Time goes by; Mesos repeats what offers say while it stands."""
        while self.now < moment:
            self.plan(window, source)
            assert not self.effects(Kill)
            assert not self.effects(Tell)
            self.after(min(40.0, moment - self.now))

    def on_h0(self, **template: Any) -> Task:
        request = self.submit(**{**LONG, **template})
        self.offer("h0")
        task = self.task(request)
        self.update(task, "TASK_RUNNING")
        return task


@pytest.mark.parametrize("source", SOURCES)
def test_a_build_is_told_and_then_ended_in_time_and_tried_again_elsewhere_at_no_cost(source: str) -> None:
    rig = Planned()
    task = rig.on_h0()
    window = Window(rig.now + 1000.0)
    rig.plan(window, source)
    assert not rig.effects(Tell)
    rig.until(window.start_at - WARN_S, source, window)
    (tell,) = rig.effects(Tell)
    assert "host host-0 goes into maintenance in 600 s" in tell.text
    assert "ended in 530 s unless it is done" in tell.text
    rig.until(window.start_at - GRACE_S - SLACK_S, source, window)
    assert [each.task_id for each in rig.effects(Kill)] == [task.id]
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    request = rig.state.requests[task.request_id]
    assert task.outcome is not None
    assert task.outcome.result_class is FailureClass.INFRASTRUCTURE
    assert "host host-0 goes into maintenance in 70 s" in task.outcome.message
    assert (request.state, request.losses) == (RequestState.WAITING, 0)
    rig.after(2.0)
    rig.plan(window, source)
    rig.offer("h0")
    assert not rig.effects(Launch), "not where it would have to end again"
    answer = why_not(rig.state, request.id, rig.now)
    assert answer is not None
    assert answer.turned_away["maintenance"] == 1
    rig.offer("h1")
    assert [each.host_id for each in rig.effects(Launch)] == [HostId("h1")]


def test_a_build_whose_time_is_over_before_is_told_and_left() -> None:
    rig = Planned()
    rig.on_h0(timeout_s=800.0)
    rig.observe(Window(rig.now + 1000.0))
    rig.after(400.0)
    (tell,) = rig.effects(Tell)
    assert "this build's time is over before that" in tell.text
    for _ in range(8):
        rig.after(50.0)
        assert not rig.effects(Kill)


def test_a_window_that_has_begun_ends_builds_at_once_and_one_that_is_over_ends_none() -> None:
    rig = Planned()
    task = rig.on_h0()
    rig.observe(Window(rig.now - 100.0, 50.0))
    assert not rig.effects(Kill)
    rig.observe(Window(rig.now - 100.0, 500.0))
    assert [type(each) for each in rig.last if isinstance(each, Tell | Kill)] == [Tell, Kill]
    assert rig.effects(Kill)[0].task_id == task.id


def test_after_its_end_the_host_serves_again() -> None:
    rig = Planned()
    rig.observe(Window(rig.now + 100.0, 50.0))
    rig.submit(SMALL, **LONG)
    rig.offer("h0")
    assert not rig.effects(Launch)
    rig.after(150.0)
    assert rig.effects(Launch)


def test_a_window_that_moves_is_told_anew_and_one_called_off_is_told_too() -> None:
    rig = Planned()
    rig.on_h0()
    rig.observe(Window(rig.now + 500.0))
    assert len(rig.effects(Tell)) == 1
    rig.observe(Window(rig.now + 550.0))
    assert "in 550 s" in rig.effects(Tell)[0].text
    rig.observe(None)
    assert "called off or over; this build goes on" in rig.effects(Tell)[0].text
    rig.after(600.0)
    assert not rig.effects(Kill)


def test_an_inverse_offer_is_accepted_where_the_host_is_left_in_time_and_else_declined() -> None:
    rig = Planned()
    first = rig.ask_back(Window(rig.now + 5.0))
    assert rig.effects(AcceptInverse) == [AcceptInverse((first,))], "nothing of ours is there"
    rig = Planned()
    task = rig.on_h0()
    late = rig.ask_back(Window(rig.now + GRACE_S - 1.0))
    assert rig.effects(DeclineInverse) == [DeclineInverse((late,), rig.config.refuse_s)]
    assert rig.effects(Kill)
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    again = rig.ask_back(Window(rig.now + GRACE_S - 1.0))
    assert rig.effects(AcceptInverse) == [AcceptInverse((again,))]


def test_an_inverse_offer_counts_until_it_is_rescinded_or_no_longer_repeated() -> None:
    rig = Planned()
    rig.on_h0()
    rescinded = rig.ask_back(Window(rig.now + 300.0))
    assert rig.effects(Tell)
    rig.send(InverseOfferRescinded(rescinded))
    assert "called off" in rig.effects(Tell)[0].text
    rig.ask_back(Window(rig.now + 300.0))
    rig.after(60.0)
    assert "called off" in rig.effects(Tell)[0].text
    rig.after(300.0)
    assert not rig.effects(Kill)


def test_a_failover_in_the_middle() -> None:
    rig = Planned()
    task = rig.on_h0()
    window = Window(rig.now + 500.0)
    rig.observe(window)
    before = rig.state
    rig.state = restore(
        rig.config, before.framework_id, [book.tenant for book in before.tenants.values()],
        list(before.requests.values()), list(before.tasks.values()), rig.now,
    )  # fmt: skip
    rig.send(Subscribed(FrameworkId("f1")))
    rig.send(HostsObserved(tuple(rig.hosts.values())))
    rig.after(430.0)
    assert [each.task_id for each in rig.effects(Kill)] == [task.id]


def test_one_that_is_still_launching_is_looked_at_when_it_runs() -> None:
    rig = Planned()
    request = rig.submit(SMALL, **LONG)
    rig.offer("h0")
    rig.observe(Window(rig.now + 300.0))
    assert not rig.effects(Tell), "no Mesos executor could write it down yet"
    rig.update(rig.task(request), "TASK_RUNNING")
    assert len(rig.effects(Tell)) == 1
