"""What holds of every round of the Marathon-compatible server's matching, whatever is offered and asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framework.core.constraints import Spread, allows, parse, value_of
from framework.core.offers import Offer
from framework.core.pieces import Piece, Reservation
from framework.core.resources import Resources
from framework.local.marathon.definition.app import (
    App,
    Container,
    Network,
    NetworkMode,
    PersistentVolume,
    PortDefinition,
    PortMapping,
    Volume,
)
from framework.local.marathon.matching.match import Placed, Refused
from framework.local.marathon.records import Instance
from tests.unit.marathon.matching.hosts import (
    NOW,
    OVERHEAD,
    Steady,
    app,
    disk,
    instance,
    launched,
    matcher,
    offer,
    round_of,
    static,
)

HOSTS = 3
CONSTRAINTS = [
    ("hostname", "UNIQUE"),
    ("hostname", "MAX_PER", "2"),
    ("rack", "GROUP_BY"),
    ("rack", "GROUP_BY", "2"),
    ("rack", "CLUSTER"),
    ("rack", "LIKE", "[ab]"),
    ("hostname", "UNLIKE", "host0.*"),
]


@st.composite
def offers(draw: st.DrawFn) -> list[Offer]:
    made = []
    for nth in range(draw(st.integers(1, HOSTS))):
        role = draw(st.sampled_from(["dev"] * 9 + ["*"]))
        reserved: tuple[Piece, ...] = ()
        if role == "dev" and draw(st.booleans()):
            reserved = static("dev", cpus=draw(st.integers(1, 4)), mem_mib=draw(st.integers(1, 600)))
            if draw(st.booleans()):
                reserved += (Piece("ports", ranges=((25000, 25003),), reservations=(Reservation("dev", False),)),)
        first = draw(st.integers(31000, 31005))
        made.append(
            offer(
                str(nth),
                cpus=draw(st.sampled_from([0.5, 2.5, 8.0, 8.0])),
                mem_mib=draw(st.sampled_from([250, 600, 3000, 3000])),
                disk_mib=draw(st.sampled_from([170, 1000, 1000])),
                gpus=draw(st.sampled_from([0, 0, 0, 0, 1])),
                ports=draw(st.sampled_from([(), ((first, first + 20),), ((31000, 31000), (31003, 31019))])),
                role=role,
                reserved=reserved,
                others=tuple(disk("PATH", 200, f"/{each}") for each in range(draw(st.integers(0, 1)))),
                rack=draw(st.sampled_from("abc")),
            )
        )
    return made


@st.composite
def apps(draw: st.DrawFn, name: str) -> App:
    role = draw(st.sampled_from(["dev"] * 9 + ["*"]))
    each = draw(st.sampled_from(CONSTRAINTS))
    fields: dict[str, Any] = {
        "role": role,
        "cpus": draw(st.sampled_from([0.1, 0.25, 0.5])),
        "mem": draw(st.sampled_from([32.0, 100.5, 250.0])),
        "disk": draw(st.sampled_from([0.0, 50.0])),
        "gpus": draw(st.sampled_from([0, 0, 0, 0, 0, 0, 1])),
        "constraints": tuple(draw(st.sampled_from([[], [], [], [each], [each, draw(st.sampled_from(CONSTRAINTS))]]))),
    }
    if role == "dev":
        fields["accepted_resource_roles"] = draw(st.sampled_from([None, None, ("*",), ("dev",), ("*", "dev")]))
    ports = draw(st.lists(st.sampled_from([None, 0, 0, 0, 0, 0, 31003]), max_size=3))
    volumes: tuple[Volume, ...] = ()
    if role == "dev" and draw(st.sampled_from([False, False, True])):
        persistent = PersistentVolume(size=60, type=draw(st.sampled_from(["root", "path"])))
        volumes = (Volume(container_path="data", mode="RW", persistent=persistent),)
    if draw(st.booleans()):
        fields["networks"] = (Network(mode=NetworkMode.BRIDGE),)
        mappings = tuple(PortMapping(container_port=80, host_port=port, service_port=1) for port in ports)
        fields["container"] = Container(type="MESOS", volumes=volumes, port_mappings=mappings)
    else:
        fields["require_ports"] = draw(st.sampled_from([False, False, False, True]))
        fields["port_definitions"] = tuple(PortDefinition(port=port or 31001) for port in ports)
        fields["container"] = Container(type="MESOS", volumes=volumes) if volumes else None
    return app(f"/{name}", **fields)


def _ports(placed: Placed) -> set[int]:
    return {port for port in placed.ports if port}


def _of_pieces(pieces: Sequence[Piece]) -> Counter[tuple[str, tuple[Reservation, ...]]]:
    amounts: Counter[tuple[str, tuple[Reservation, ...]]] = Counter()
    for piece in pieces:
        amounts[piece.name, piece.reservations] += piece.thousandths
    return amounts


def _taken(placed: Placed) -> Resources:
    root_mib = sum(each.thousandths for each in placed.disks if each.source is None) // 1000
    return placed.resources + OVERHEAD + Resources(disk_mib=root_mib)


@given(st.data())
def test_no_more_is_taken_than_is_offered_no_port_twice_and_constraints_hold(data: st.DataObject) -> None:
    offered = data.draw(offers())
    wanted = [data.draw(apps(name)) for name in "xyz"]
    here = round_of(*offered, chance=Steady(data.draw(st.floats(0, 1))))
    by_id = {one.id: one for one in offered}
    running: dict[str, list[Instance]] = {of.id: [] for of in wanted}
    taken: dict[str, list[Placed]] = {one.id: [] for one in offered}
    for nth, of in enumerate(data.draw(st.lists(st.sampled_from(wanted), min_size=12, max_size=30))):
        waiting = instance(of, str(nth))
        siblings = running[of.id]
        found = here.place(of, waiting, list(siblings))
        if isinstance(found, Refused):
            continue
        (offer_id,) = found.offer_ids
        host = by_id[offer_id]
        assert found.role == of.role == host.role
        _constraints_hold(of, host, siblings)
        taken[offer_id].append(found)
        siblings.append(launched(waiting, found))
    for one in offered:
        _within(one, taken[one.id])


def _constraints_hold(of: App, host: Offer, siblings: Sequence[Instance]) -> None:
    for parts in of.constraints:
        constraint = parse(parts)
        values = [
            value_of(constraint.field, one.site.hostname, one.site.attributes)
            for one in siblings
            if one.site is not None
        ]
        value = value_of(constraint.field, host.hostname, host.attributes)
        assert allows(constraint, value, Spread(values))


def _within(host: Offer, all_placed: Sequence[Placed]) -> None:
    total = Resources()
    ports: list[int] = []
    for placed in all_placed:
        total += _taken(placed)
        ports += _ports(placed)
    assert total.fits_in(host.resources)
    assert len(ports) == len(set(ports))
    assert all(any(first <= port <= last for first, last in host.port_ranges) for port in ports)
    there = _of_pieces(host.reserved_pieces)
    there.update(_of_pieces([Piece("disk", each.thousandths, source=each.source) for each in host.pieces]))
    reserved = [
        piece for placed in all_placed for piece in (*placed.pieces, *placed.executor_pieces) if piece.reservations
    ]
    for key, amount in _of_pieces(reserved).items():
        assert amount <= there[key]
    on_disks = sum(each.thousandths for placed in all_placed for each in placed.disks if each.source is not None)
    assert on_disks <= sum(each.thousandths for each in host.pieces)


@given(st.data())
def test_pieces_are_what_the_task_asks_for_to_the_last_thousandth(data: st.DataObject) -> None:
    of = data.draw(apps("x"))
    found = round_of(*data.draw(offers())).place(of, instance(of), ())
    if isinstance(found, Refused) or not found.pieces:
        return
    for pieces, amount in ((found.pieces, found.resources), (found.executor_pieces, OVERHEAD)):
        by_name: Counter[str] = Counter()
        for piece in pieces:
            by_name[piece.name] += piece.thousandths
        told = Resources(by_name["cpus"], by_name["mem"] // 1000, by_name["disk"] // 1000, by_name["gpus"] // 1000)
        assert told == replace(amount, ports=0)
    numbers = {port for piece in found.pieces for first, last in piece.ranges for port in range(first, last + 1)}
    assert numbers == _ports(found)


@given(st.data())
def test_there_is_a_reason_where_and_only_where_no_offer_would_do(data: st.DataObject) -> None:
    offered = data.draw(offers())
    of = data.draw(apps("x"))
    siblings: list[Instance] = []
    there = data.draw(st.sampled_from(offered))
    if data.draw(st.booleans()):
        other = instance(of, "other")
        found = round_of(there).place(of, other, ())
        if isinstance(found, Placed):
            siblings.append(launched(other, found))
    reasons = [matcher().reasons(of, instance(of), siblings, one, NOW) for one in offered]
    found = round_of(*offered).place(of, instance(of), siblings)
    assert isinstance(found, Placed) is any(not each for each in reasons)
