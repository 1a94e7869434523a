"""Which host an instance goes to, and what it takes there."""

from __future__ import annotations

from msgspec.structs import replace

from framework.core.offers import Window
from framework.core.resources import Resources
from framework.local.marathon.definition.app import ExecutorResources, VersionInfo
from framework.local.marathon.matching.match import Placed, Refused
from framework.local.marathon.records import Condition, Instance
from tests.unit.marathon.matching.hosts import (
    NEW,
    NOW,
    app,
    held,
    instance,
    launched,
    matcher,
    offer,
    place,
    refused,
    round_of,
    static,
)


def test_an_instance_takes_what_its_app_asks_for_and_its_mesos_executor_comes_on_top() -> None:
    placed = place(app(cpus=0.5, mem=100.5, disk=10, ports=2), offer(cpus=0.55, mem_mib=133, disk_mib=10))
    assert placed.resources == Resources(500, 101, 10, 0, 2)
    assert placed.site.hostname == "host1.example"
    assert placed.role == "*"
    assert placed.offer_ids == ("offer-1",)
    assert not placed.pieces
    assert not placed.volumes
    assert refused(app(cpus=0.5), offer(cpus=0.549)) == ("InsufficientCpus",)


def test_an_app_may_say_what_its_mesos_executor_takes() -> None:
    of = app(cpus=4.0, executor_resources=ExecutorResources(cpus=0, mem=0, disk=0))
    assert isinstance(place(of, offer(cpus=4.0)), Placed)


def test_all_offers_of_a_host_are_used_together() -> None:
    both = held(offer("1", cpus=1.0), replace(offer("1", cpus=1.0), id="offer-more", port_ranges=()))
    found = matcher().make_round([both], NOW).place(app(cpus=1.5), instance(app()), ())
    assert isinstance(found, Placed)
    assert found.offer_ids == ("offer-1", "offer-more")


def test_what_was_placed_is_gone_for_those_that_come_later() -> None:
    of = app(cpus=1.0, mem=100.0, ports=1)
    here = round_of(offer(cpus=2.1, ports=((31000, 31001),)))
    first, second, third = (here.place(of, instance(of, name), ()) for name in "abc")
    assert isinstance(first, Placed)
    assert isinstance(second, Placed)
    assert {*first.ports, *second.ports} == {31000, 31001}
    assert isinstance(third, Refused)


def test_every_lack_is_told_in_the_order_of_the_funnel() -> None:
    reasons = refused(
        app(cpus=8.0, mem=9999.0, disk=99_999.0, gpus=1, ports=200, constraints=(("hostname", "IS", "elsewhere"),)),
        offer(window=Window(NOW - 1)),
    )
    assert reasons == (
        "UnfulfilledConstraint",
        "AgentMaintenance",
        "InsufficientCpus",
        "InsufficientMemory",
        "InsufficientDisk",
        "InsufficientGpus",
        "InsufficientPorts",
    )


def test_an_offer_of_another_role_is_of_no_use() -> None:
    assert refused(app(role="dev"), offer(role="*")) == ("UnfulfilledRole",)
    assert place(app(role="dev"), offer("1"), offer("2", role="dev")).role == "dev"


def test_what_is_reserved_for_the_role_goes_first_and_is_told_piece_by_piece() -> None:
    placed = place(app(role="dev"), offer(role="dev", cpus=1.0, reserved=static("dev", cpus=0.6, mem_mib=4096)))
    taken = [(piece.name, piece.thousandths, bool(piece.reservations)) for piece in placed.pieces]
    assert taken == [("cpus", 600, True), ("mem", 128_000, True), ("cpus", 400, False)]
    more = [(piece.name, piece.thousandths, bool(piece.reservations)) for piece in placed.executor_pieces]
    assert more == [("mem", 32_000, True), ("cpus", 50, False)]


def test_accepted_roles_choose_between_what_is_reserved_and_what_is_not() -> None:
    offered = offer(role="dev", cpus=1.0, reserved=static("dev", cpus=8.0, mem_mib=9999))
    free = app(role="dev", cpus=2.0, accepted_resource_roles=("*",))
    assert refused(free, offered) == ("InsufficientCpus",)
    reserved = app(role="dev", cpus=2.0, accepted_resource_roles=("dev",))
    assert all(piece.reservations for piece in place(reserved, offered).pieces)
    nothing_reserved = offer(role="dev")
    assert refused(reserved, nothing_reserved) == ("UnfulfilledRole", "InsufficientCpus", "InsufficientMemory")
    assert refused(app(role="dev", cpus=2.0), offered, default_accepted_roles=("*",)) == ("InsufficientCpus",)


def test_hosts_with_gpus_are_left_to_apps_that_ask_for_some() -> None:
    assert refused(app(), offer(gpus=1)) == ("DeclinedScarceResources",)
    assert place(app(gpus=1), offer(gpus=1)).resources.gpus == 1
    taking = app(labels={"GPU_SCHEDULING_BEHAVIOR": "unrestricted"})
    assert place(taking, offer(gpus=1))
    assert place(taking, offer("1", gpus=1, cpus=64), offer("2")).site.hostname == "host2.example"


def test_a_host_in_maintenance_gets_nothing_new() -> None:
    soon = Window(NOW + 50, 100.0)
    assert place(app(), offer(window=soon))
    assert refused(app(), offer(window=soon), now=NOW + 50) == ("AgentMaintenance",)
    assert place(app(), offer(window=soon), now=NOW + 151)


def test_a_region_is_a_field_like_others() -> None:
    east, west = offer("1", at_region="east", at_zone="a"), offer("2", at_region="west", at_zone="a")
    assert place(app(constraints=(("@region", "IS", "west"),)), east, west).site.hostname == "host2.example"
    assert refused(app(constraints=(("@region", "IS", "west"),)), offer()) == ("UnfulfilledConstraint",)


def test_the_host_with_the_least_room_is_filled_first() -> None:
    of = app(cpus=1.0)
    here = round_of(offer("1", mem_mib=3000), offer("2", mem_mib=2000, cpus=4.0), offer("3", mem_mib=2000, cpus=2.0))
    sites = [here.place(of, instance(of, str(nth)), ()) for nth in range(4)]
    names = [one.site.hostname[:5] for one in sites if isinstance(one, Placed)]
    assert names == ["host3", "host2", "host2", "host2"]


def test_unique_holds_over_what_runs_and_what_the_round_placed() -> None:
    of = app(constraints=(("hostname", "UNIQUE"),))
    here = round_of(*[offer(str(nth)) for nth in range(3)])
    siblings = [launched(instance(of, "old"), place(of, offer("0")))]
    for name in "ab":
        found = here.place(of, instance(of, name), siblings)
        assert isinstance(found, Placed)
        siblings.append(launched(instance(of, name), found))
    assert {one.site.hostname for one in siblings if one.site} == {f"host{nth}.example" for nth in range(3)}
    assert isinstance(here.place(of, instance(of, "c"), siblings), Refused)


def test_group_by_spreads_evenly() -> None:
    of = app(cpus=0.1, constraints=(("rack", "GROUP_BY", "3"),))
    here = round_of(*[offer(str(nth), rack=f"rack{nth % 3}", mem_mib=4096 - nth) for nth in range(6)])
    siblings: list[Instance] = []
    for nth in range(9):
        found = here.place(of, instance(of, str(nth)), siblings)
        assert isinstance(found, Placed)
        siblings.append(launched(instance(of, str(nth)), found))
    racks = [one.site.attributes["rack"] for one in siblings if one.site]
    assert sorted(racks) == ["rack0"] * 3 + ["rack1"] * 3 + ["rack2"] * 3


def test_group_by_without_a_number_spreads_over_what_is_offered_too() -> None:
    of = app(cpus=0.1, constraints=(("rack", "GROUP_BY"),))
    here = round_of(*[offer(str(nth), rack=f"rack{nth % 3}", mem_mib=4096 - nth) for nth in range(6)], offer("none"))
    siblings: list[Instance] = []
    for nth in range(7):
        found = here.place(of, instance(of, str(nth)), siblings)
        assert isinstance(found, Placed)
        siblings.append(launched(instance(of, str(nth)), found))
    racks = [one.site.attributes["rack"] for one in siblings if one.site]
    assert sorted(map(racks.count, set(racks))) == [2, 2, 3]


def test_max_per_and_cluster_and_several_constraints_at_once() -> None:
    of = app(constraints=(("rack", "CLUSTER"), ("hostname", "MAX_PER", "1"), ("os", "UNLIKE", "win.*")))
    offers = [
        offer("1", rack="a", os="linux", mem_mib=2048),
        offer("2", rack="b", os="linux"),
        offer("3", rack="a", os="linux"),
        offer("4", rack="a", os="windows"),
    ]
    here = round_of(*offers)
    siblings: list[Instance] = []
    for name, expected in (("a", "host1.example"), ("b", "host3.example")):
        found = here.place(of, instance(of, name), siblings)
        assert isinstance(found, Placed)
        assert found.site.hostname == expected
        siblings.append(launched(instance(of, name), found))
    assert isinstance(here.place(of, instance(of, "c"), siblings), Refused)
    for each in (offers[1], offers[3]):
        assert matcher().reasons(of, instance(of, "c"), siblings, each, NOW) == ("UnfulfilledConstraint",)


def test_instances_of_an_older_configuration_or_that_ended_do_not_count() -> None:
    old = app(constraints=(("hostname", "UNIQUE"),))
    there = launched(instance(old, "old"), place(old, offer()))
    new = replace(old, version=NEW, version_info=VersionInfo(last_scaling_at=NEW, last_config_change_at=NEW))
    scaled = replace(old, version=NEW)
    assert place(new, offer(), siblings=(there,))
    assert refused(scaled, offer(), siblings=(there,)) == ("UnfulfilledConstraint",)
    assert place(scaled, offer(), siblings=(replace(there, condition=Condition.FAILED),))
    ended_but_kept = replace(there, condition=Condition.FINISHED, reserved=True)
    assert refused(scaled, offer(), siblings=(ended_but_kept,)) == ("UnfulfilledConstraint",)


def test_a_constraint_that_cannot_be_used_bars_every_host() -> None:
    assert refused(app(constraints=(("hostname", "LIKE", "(?=x)"),)), offer()) == ("UnfulfilledConstraint",)


def test_two_thousand_apps_find_their_hosts_and_those_that_cannot_are_not_looked_at_twice() -> None:
    here = round_of(*[offer(str(nth), cpus=16.0, mem_mib=60_000) for nth in range(317)])
    apps = [app(f"/app{nth}", cpus=0.5, mem=1000.0 + nth % 50, ports=0) for nth in range(2000)]
    assert all(isinstance(here.place(of, instance(of), ()), Placed) for of in apps)
    large = app("/large", cpus=17.0)
    assert all(isinstance(here.place(large, instance(large, str(nth)), ()), Refused) for nth in range(1000))


def test_values_that_marathon_does_not_mind_do_no_harm() -> None:
    assert place(app(constraints=(("hostname", "UNIQUE", "x"), ("hostname", "GROUP_BY", "0"))), offer())
