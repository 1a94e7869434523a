"""Host ports: exact, random, mapped, and none."""

from __future__ import annotations

import pytest

from framework.core.pieces import Piece, Reservation
from framework.local.marathon.definition.app import Container, Network, NetworkMode, PortDefinition, PortMapping
from framework.local.marathon.matching.ports import Ranges, chosen, less, runs, suffice, without
from tests.unit.marathon.matching.hosts import Steady, app, offer, place, refused

BRIDGE = (Network(mode=NetworkMode.BRIDGE),)


def mapped(*host_ports: int | None) -> Container:
    mappings = tuple(PortMapping(container_port=80, host_port=port, service_port=10_000) for port in host_ports)
    return Container(type="DOCKER", volumes=(), port_mappings=mappings)


def required(*ports: int) -> tuple[PortDefinition, ...]:
    return tuple(PortDefinition(port=port) for port in ports)


def test_ports_are_taken_in_a_row_from_a_random_one_on() -> None:
    ranges = ((31000, 31003), (32000, 32003))
    assert chosen(ranges, (0, 0, 0), Steady(0.0)) == (31000, 31001, 31002)
    assert chosen(ranges, (0, 0, 0), Steady(0.25)) == (31002, 31003, 32000)
    assert chosen(ranges, (0, 0, 0), Steady(0.99)) == (32003, 31000, 31001)
    assert chosen(ranges, (0, 0), Steady(1.0)) == (32003, 31000)


def test_required_ports_are_exact_and_in_their_order() -> None:
    of = app(require_ports=True, port_definitions=required(31005, 31001))
    assert place(of, offer()).ports == (31005, 31001)
    assert refused(of, offer(ports=((31001, 31004),))) == ("InsufficientPorts",)
    assert refused(of, offer(ports=())) == ("InsufficientPorts",)


def test_ports_that_are_not_required_are_any() -> None:
    of = app(require_ports=False, port_definitions=required(80, 443))
    assert place(of, offer(), chance=Steady(0.5)).ports == (31050, 31051)
    assert refused(of, offer(ports=((31001, 31001),))) == ("InsufficientPorts",)


def test_mappings_have_fixed_ports_any_and_none() -> None:
    of = app(networks=BRIDGE, container=mapped(None, 0, 31001, 0))
    assert place(of, offer(ports=((31000, 31002),))).ports == (0, 31000, 31001, 31002)
    assert place(of, offer(ports=((31000, 31002),))).resources.ports == 3
    assert refused(of, offer(ports=((31000, 31001),))) == ("InsufficientPorts",)
    assert refused(of, offer(ports=((32000, 32009),))) == ("InsufficientPorts",)
    assert place(app(networks=BRIDGE, container=mapped(None)), offer(ports=())).ports == (0,)


def test_an_app_without_ports_gets_none() -> None:
    assert place(app(port_definitions=None, networks=BRIDGE), offer(ports=())).ports == ()
    assert place(app(port_definitions=()), offer(ports=())).ports == ()


def test_one_port_for_tcp_and_udp_is_taken_once() -> None:
    placed = place(app(networks=BRIDGE, container=mapped(31001, 31001)), offer(ports=((31001, 31001),)))
    assert placed.ports == (31001, 31001)
    assert placed.resources.ports == 1


def test_ports_that_are_reserved_for_the_role_are_used_too() -> None:
    reserved = (Piece("ports", ranges=((25000, 25001),), reservations=(Reservation("dev", False),)),)
    offered = offer(role="dev", ports=((31000, 31000),), reserved=reserved)
    placed = place(app(role="dev", ports=3), offered)
    assert sorted(placed.ports) == [25000, 25001, 31000]
    by_reservation = {bool(piece.reservations): piece.ranges for piece in placed.pieces if piece.name == "ports"}
    assert by_reservation == {True: ((25000, 25001),), False: ((31000, 31000),)}
    free = app(role="dev", ports=2, accepted_resource_roles=("*",))
    assert refused(free, offered) == ("InsufficientPorts",)


@pytest.mark.parametrize(
    ("ranges", "ports", "left"),
    [
        (((1, 9),), (5,), [(1, 4), (6, 9)]),
        (((1, 9),), (1, 9), [(2, 8)]),
        (((1, 1), (3, 3)), (1,), [(3, 3)]),
        (((1, 9),), (10,), [(1, 9)]),
    ],
)
def test_what_is_left_of_ranges(ranges: Ranges, ports: tuple[int, ...], left: list[tuple[int, int]]) -> None:
    assert without(ranges, ports) == left


def test_ranges_less_others_and_runs_of_ports() -> None:
    assert less(((1, 9), (20, 29)), ((5, 6), (25, 40))) == [(1, 4), (7, 9), (20, 24)]
    assert runs((7, 5, 6, 9, 9)) == ((5, 7), (9, 9))
    assert suffice((), (None, None))
    assert not suffice(((1, 2),), (0, 0, 0))
