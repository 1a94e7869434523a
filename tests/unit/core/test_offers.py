"""What becomes of offers: used, held until a stated time, or declined; and when Mesos is asked for more or for none."""

from __future__ import annotations

import pytest

from framework.core import events as ev
from framework.core.effects import Decline, Launch, Report, Revive, Suppress
from framework.core.ids import FrameworkId, HostId, OfferId, TenantName
from framework.core.offers import Host, Offer, OfferBook
from framework.core.resources import Resources
from framework.core.state import Config
from framework.core.tasks import Quota
from framework.core.templates import Neighbour
from tests.unit.core.rig import TEAM, Rig

BIG = Resources(3900, 8000)
OTHERS = TenantName("others")


def offer(name: str, host: str, cpu_millis: int = 1000) -> Offer:
    return Offer(OfferId(name), HostId(host), host, Resources(cpu_millis, 1024))


def test_the_book_sums_up_a_hosts_offers_and_lets_each_go_once() -> None:
    book = OfferBook()
    for each in (offer("a", "h0"), offer("b", "h0", 500), offer("b", "h0", 500), offer("c", "h1")):
        book.add(each, 10.0)
    assert (len(book), book.available(HostId("h0")).cpu_millis) == (3, 1500)
    assert book.rescind(OfferId("a")) is None
    assert book.available(HostId("h0")) == Resources(500, 1024)
    assert book.rescind(OfferId("a")) is None
    assert book.take(HostId("h0")) == ("b",)
    assert book.take(HostId("h0")) == ()
    assert book.rescind(OfferId("c")) == "h1"
    assert (len(book), list(book), book.of(HostId("h1"))) == (0, [], [])


def test_all_offers_of_a_host_are_used_in_one_accept() -> None:
    rig = Rig(hosts=1)
    rig.offer("h0", resources=Resources(300, 4096))
    rig.offer("h0", resources=Resources(300, 4096))
    rig.submit()
    (launch,) = rig.effects(Launch)
    assert len(launch.offer_ids) == 2


@pytest.mark.parametrize("hold_idle_s", [0.0, 5.0])
def test_what_nobody_wants_is_held_for_a_while_then_declined_and_mesos_asked_for_none(hold_idle_s: float) -> None:
    rig = Rig(config=Config(hold_idle_s=hold_idle_s))
    request = rig.submit()
    rig.offer("h0")
    assert rig.task(request)
    offered = rig.offer("h1") if hold_idle_s else []
    rig.after(hold_idle_s)
    declined = [offer_id for call in rig.effects(Decline) for offer_id in call.offer_ids]
    assert declined == offered
    rig.after(hold_idle_s)
    assert rig.state.suppressed
    assert len(rig.state.offers) == 0
    late = rig.offer("h0")
    assert rig.effects(Decline) == [Decline(tuple(late), rig.config.refuse_s)]


def test_a_mesos_that_offers_though_it_should_not_is_told_again() -> None:
    rig = Rig()
    rig.after(rig.config.hold_idle_s)
    assert rig.effects(Suppress)
    rig.send(ev.Disconnected("lost"))
    rig.send(ev.Subscribed(FrameworkId("f1")))
    offered = rig.offer("h0")
    assert rig.effects(Decline) == [Decline(tuple(offered), rig.config.refuse_s)]
    assert rig.effects(Suppress)


def test_an_offer_that_is_due_to_go_back_serves_who_came_at_that_moment() -> None:
    rig = Rig(hosts=1)
    rig.submit(Resources(100_000, 1))
    rig.offer("h0")
    rig.now += rig.config.hold_idle_s
    request = rig.submit()
    assert rig.task(request)


def test_demand_after_suppress_revives_at_most_so_often() -> None:
    rig = Rig()
    rig.after(rig.config.hold_idle_s)
    assert len(rig.effects(Suppress)) == 1
    rig.submit()
    assert (len(rig.effects(Revive)), rig.state.suppressed) == (1, False)
    rig.offer()
    rig.after(rig.config.hold_idle_s)
    assert rig.effects(Suppress)
    rig.state.revived_at = rig.now
    rig.submit()
    assert not rig.effects(Revive)
    rig.after(rig.config.revive_every_s)
    assert rig.effects(Revive)


def test_fresh_demand_brings_back_what_was_declined() -> None:
    rig = Rig(hosts=1)
    rig.submit(Resources(100_000, 1))
    rig.offer()
    rig.after(rig.config.hold_idle_s)
    assert rig.effects(Decline)
    assert not rig.effects(Revive)
    rig.submit()
    assert rig.effects(Revive)


def test_a_rescinded_offer_is_not_used_and_a_lost_connection_voids_all() -> None:
    rig = Rig()
    first, _ = rig.offer()
    rig.send(ev.OfferRescinded(first))
    rig.send(ev.OfferRescinded(first))
    rig.send(ev.Disconnected("reset"))
    request = rig.submit()
    assert not rig.effects(Launch)
    rig.send(ev.Subscribed(FrameworkId("f1")))
    assert not rig.effects(Launch)
    rig.offer("h0")
    assert rig.task(request).host_id == "h0"


def test_a_host_is_kept_for_a_request_that_waits_too_long_until_it_goes() -> None:
    rig = Rig(hosts=1)
    _, running = rig.running(need=Resources(2000, 4096))
    big = rig.submit(BIG)
    rig.offer()
    rig.after(rig.config.starving_after_s + 1)
    assert "kept" in rig.effects(Report)[0].message
    small = rig.submit()
    rig.offer()
    assert not rig.effects(Launch)
    for _ in range(3):
        rig.after(rig.config.hold_starving_s)
        assert [earmark.request_id for earmark in rig.state.earmarks.values()] == [big.id]
        assert not rig.effects(Launch)
    rig.update(running, "TASK_FINISHED")
    rig.offer()
    assert rig.task(big).host_id == "h0"
    assert big.id not in {earmark.request_id for earmark in rig.state.earmarks.values()}
    assert rig.state.live_task(small) is None


def test_one_for_which_no_host_can_be_kept_does_not_hold_up_others() -> None:
    rig = Rig(hosts=2)
    rig.tenant(OTHERS)
    for rack in ("r0", "r1"):
        rig.running(need=Resources(2000, 4096), attributes={"rack": rack})
    partnerless = rig.submit(tenant=OTHERS, neighbours=(Neighbour({"app": "db"}, near=True),))  # of the first in turn
    big = rig.submit(BIG)
    rig.offer()
    rig.after(rig.config.starving_after_s + 1)
    assert [earmark.request_id for earmark in rig.state.earmarks.values()] == [big.id]
    rig.send(ev.CancelAsked(big.id, ""))
    again_at = rig.state.deadlines.next()
    assert partnerless.id in rig.state.attention.unkept
    assert again_at is not None
    assert rig.now < again_at
    rig.send(ev.CancelAsked(partnerless.id, ""))
    assert not rig.state.attention.unkept


def test_a_host_is_kept_no_longer_where_its_request_may_not_go_any_more() -> None:
    rig = Rig(hosts=1)
    rig.running(need=Resources(1000, 1024))
    _, partner = rig.running(need=Resources(2000, 4096), labels={"app": "db"})
    near = rig.submit(Resources(2000, 4096), neighbours=(Neighbour({"app": "db"}, near=True),))
    rig.offer()
    rig.after(rig.config.starving_after_s + 1)
    assert [earmark.request_id for earmark in rig.state.earmarks.values()] == [near.id]
    small = rig.submit()
    rig.offer()
    assert rig.state.live_task(small) is None
    rig.update(partner, "TASK_FINISHED")
    assert not rig.state.earmarks
    assert rig.task(small)


def test_one_for_which_no_host_could_be_kept_is_looked_at_when_one_comes_free() -> None:
    rig = Rig(hosts=1)
    rig.tenant(OTHERS)
    rig.running(need=Resources(2000, 4096))
    first = rig.submit(BIG)
    rig.offer()
    rig.after(rig.config.starving_after_s + 1)
    second = rig.submit(BIG, tenant=OTHERS)
    rig.after(rig.config.starving_after_s + 1)
    assert [earmark.request_id for earmark in rig.state.earmarks.values()] == [first.id]
    rig.send(ev.CancelAsked(first.id, ""))
    assert [earmark.request_id for earmark in rig.state.earmarks.values()] == [second.id]


def test_what_was_kept_serves_others_at_once_when_its_request_is_cancelled_or_goes_elsewhere() -> None:
    for how in ("cancelled", "elsewhere"):
        rig = Rig(hosts=2)
        rig.running(need=Resources(2000, 4096), attributes={"rack": "r0"})
        _, other = rig.running(need=Resources(2500, 4096), attributes={"rack": "r1"})
        big = rig.submit(BIG)
        rig.offer()
        rig.after(rig.config.starving_after_s + 1)
        assert list(rig.state.earmarks) == ["h0"]
        rig.offer("h0")
        small = rig.submit(attributes={"rack": "r0"})
        assert rig.state.live_task(small) is None
        if how == "cancelled":
            rig.send(ev.CancelAsked(big.id, ""))
        else:
            rig.update(other, "TASK_FINISHED")
            rig.offer("h1")
            assert rig.task(big).host_id == "h1"
        assert rig.task(small).host_id == "h0"


@pytest.mark.parametrize("event", ["gone", "inactive", "lost"])
def test_a_host_that_goes_away_is_kept_no_longer(event: str) -> None:
    rig = Rig(hosts=1)
    rig.running(need=Resources(2000, 4096))
    rig.submit(BIG)
    rig.offer()
    rig.after(rig.config.starving_after_s + 1)
    assert rig.state.earmarks
    host = rig.hosts[HostId("h0")]
    inactive = Host(host.id, host.hostname, host.total, host.attributes, active=False)
    events: dict[str, ev.Event] = {
        "gone": ev.HostsObserved(()),
        "inactive": ev.HostsObserved((inactive,)),
        "lost": ev.HostLost(host.id),
    }
    rig.send(events[event])
    if event != "lost":
        assert not rig.state.earmarks
    assert not rig.state.offers.available(host.id).cpu_millis or event != "lost"


@pytest.mark.parametrize("quota", [Quota(cpu_millis=3000), Quota(mem_mib=3000)])
def test_a_request_that_waits_too_long_for_its_quota_is_not_overtaken_for_ever(quota: Quota) -> None:
    rig = Rig(hosts=1)
    rig.tenant(TEAM, quota=quota)
    tasks = [rig.running()[1] for _ in range(2)]
    big = rig.submit(Resources(2500, 2500))
    first = rig.submit(Resources(100, 100))
    rig.offer()
    assert rig.task(first)
    rig.now += rig.config.starving_after_s + 1
    second = rig.submit(Resources(100, 100))
    rig.offer()
    assert rig.state.live_task(second) is None
    for task in (*tasks, rig.task(first)):
        rig.update(task, "TASK_FINISHED")
    rig.offer()
    assert rig.task(big)
    assert rig.task(second)


def test_a_request_over_a_lowered_quota_holds_up_nobody() -> None:
    rig = Rig(hosts=1)
    rig.submit(Resources(2000, 100))
    rig.tenant(TEAM, quota=Quota(cpu_millis=1000))
    rig.now += 2 * rig.config.starving_after_s
    small = rig.submit()
    rig.offer()
    assert rig.task(small)


def test_requests_of_one_moment_that_differ_only_in_image_have_an_order() -> None:
    rig = Rig(hosts=1)
    requests = [rig.request(image=image) for image in (None, "maven:3", "node:20")]
    for request in requests:
        request.submitted_at = rig.now
    rig.send(*(ev.Submitted(request) for request in reversed(requests)))
    rig.submit(Resources(100_000, 1))  # else all go, in no order
    rig.offer()
    (launch,) = rig.effects(Launch)
    assert [task.request_id for task in launch.tasks] == [request.id for request in requests]


def test_where_all_find_room_they_are_packed_on_the_fewest_hosts() -> None:
    rig = Rig(hosts=4, total=Resources(8000, 8000))
    for need in [Resources(1350, 2568)] * 6 + [Resources(2550, 1368)] * 6:  # three of a kind leave half a host unused
        rig.submit(need)
    rig.offer()
    assert sorted(len(launch.tasks) for launch in rig.effects(Launch)) == [4, 4, 4]


def test_shared_fairly_by_weight() -> None:
    rig = Rig(hosts=1, total=Resources(8000, 100_000))
    rig.tenant(TEAM, weight=100)
    heavy = type(TEAM)("heavy")
    rig.tenant(heavy, weight=300)
    for _ in range(20):
        rig.submit(Resources(950, 100))
        rig.submit(Resources(950, 100), heavy)
    rig.offer()
    counts = {name: rig.state.tenants[name].builds for name in (TEAM, heavy)}
    assert counts == {TEAM: 2, heavy: 6}


def test_priority_then_age_within_a_tenant() -> None:
    rig = Rig(hosts=1, total=Resources(1100, 8192))
    old, _, urgent = rig.submit(), rig.submit(), rig.submit(priority=1)
    rig.offer()
    assert [task.request_id for task in rig.effects(Launch)[0].tasks] == [urgent.id, old.id]
