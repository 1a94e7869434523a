"""Instances with persistent volumes: what is reserved for them, and that they come back to it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from framework.core.offers import Offer, Window
from framework.core.pieces import Reservation
from framework.local.marathon.definition.app import PersistentVolume
from framework.local.marathon.matching.match import Placed, Refused
from framework.local.marathon.records import LocalVolume
from tests.unit.marathon.matching.hosts import (
    NOW,
    app,
    as_reserved,
    disk,
    held,
    instance,
    launched,
    matcher,
    offer,
    place,
    refused,
    resident,
    round_of,
    static,
)


def test_the_first_launch_reserves_all_that_it_takes() -> None:
    of = resident(PersistentVolume(size=100), disk=10.0, ports=1)
    placed = place(of, offer(role="dev"))
    assert placed.reserve
    assert [(one.name, one.thousandths) for one in placed.pieces] == [
        ("cpus", 1000),
        ("mem", 128_000),
        ("disk", 10_000),
        ("ports", 0),
    ]
    assert [(one.name, one.thousandths) for one in placed.executor_pieces] == [("cpus", 50), ("mem", 32_000)]
    assert [(one.name, one.thousandths) for one in placed.disks] == [("disk", 100_000)]
    own = "00000000-0000-4000-8000-000000000001"
    assert placed.volumes == (LocalVolume("data0", own, f"folder_db#data0#{own}"),)


def test_it_takes_of_what_is_not_reserved_alone() -> None:
    of = resident(PersistentVolume(size=100))
    assert refused(of, offer(role="dev", disk_mib=99)) == ("InsufficientDisk",)
    assert refused(of, offer(role="dev", cpus=0.5, reserved=static("dev", cpus=9))) == ("InsufficientCpus",)
    assert refused(resident(PersistentVolume(size=1), role="*"), offer()) == ("UnfulfilledRole",)
    only_reserved = resident(PersistentVolume(size=1), accepted_resource_roles=("dev",))
    assert "UnfulfilledRole" in refused(only_reserved, offer(role="dev"))


def test_it_comes_back_to_its_volumes_and_to_what_is_reserved_for_it() -> None:
    of = resident(PersistentVolume(size=100), ports=1)
    first = place(of, offer(role="dev"))
    there = launched(instance(of), first)
    pieces, volumes = as_reserved(first, there)
    home = offer("1", role="dev", cpus=0, mem_mib=0, ports=(), reserved=pieces, others=volumes)
    found = round_of(offer("2", role="dev", mem_mib=9000), home).place(of, there, ())
    assert isinstance(found, Placed)
    assert found.site.hostname == "host1.example"
    assert not found.reserve
    assert found.ports == first.ports
    assert found.volumes == there.volumes
    assert found.disks == volumes
    labels = ("marathon_task_id", there.id)
    assert all(labels in piece.reservations[0].labels for piece in (*found.pieces, *found.executor_pieces))


def test_nobody_else_gets_what_is_reserved_for_an_instance() -> None:
    of = resident(PersistentVolume(size=100))
    first = place(of, offer(role="dev"))
    pieces, volumes = as_reserved(first, instance(of))
    home = offer(role="dev", cpus=0.1, mem_mib=4096, reserved=pieces, others=volumes)
    assert refused(app(role="dev"), home) == ("InsufficientCpus",)
    other = launched(instance(of, "b"), first)
    assert isinstance(round_of(home).place(of, other, ()), Refused)
    assert matcher().reasons(of, other, (), home, NOW) == ("NoCorrespondingReservationFound",)


def test_it_does_not_come_back_while_something_is_missing() -> None:
    of = resident(PersistentVolume(size=100), ports=1)
    first = place(of, offer(role="dev"))
    there = launched(instance(of), first)
    pieces, volumes = as_reserved(first, there)
    told = matcher().reasons

    def home(**fields: Any) -> Offer:
        return offer(role="dev", cpus=0, mem_mib=0, ports=(), **{"reserved": pieces, "others": volumes, **fields})

    assert told(of, there, (), home(), NOW) == ()
    assert told(of, there, (), home(others=()), NOW) == ("NoCorrespondingReservationFound",)
    assert told(of, there, (), home(window=Window(NOW)), NOW) == ("AgentMaintenance",)
    without_ports = tuple(piece for piece in pieces if piece.name != "ports")
    assert told(of, there, (), home(reserved=without_ports), NOW) == ("InsufficientPorts",)
    assert told(replace(of, mem=4096.0, version="2020-02-02"), there, (), home(), NOW) == ("InsufficientMemory",)


def test_constraints_do_not_keep_it_from_its_volumes() -> None:
    of = resident(PersistentVolume(size=100), constraints=(("hostname", "UNIQUE"),))
    first = place(of, offer(role="dev"))
    there = launched(instance(of), first)
    pieces, volumes = as_reserved(first, there)
    beside = launched(instance(of, "b"), first)
    moved = replace(of, constraints=(("hostname", "UNIQUE"), ("hostname", "IS", "elsewhere")))
    assert matcher().reasons(moved, there, (beside,), offer(role="dev", reserved=pieces, others=volumes), NOW) == ()


def test_a_mesos_executor_that_has_grown_since_takes_of_what_is_free_too() -> None:
    of = resident(PersistentVolume(size=100))
    first = place(of, offer(role="dev"))
    there = launched(instance(of), first)
    pieces, volumes = as_reserved(replace(first, executor_pieces=()), there)
    home = offer(role="dev", cpus=1.0, reserved=pieces, others=volumes)
    found = round_of(home).place(of, there, ())
    assert isinstance(found, Placed)
    assert not any(piece.reservations for piece in found.executor_pieces)


def test_path_volumes_are_parts_of_the_largest_disk_that_fits() -> None:
    disks = (disk("PATH", 500, "/a"), disk("PATH", 900, "/b"), disk("MOUNT", 9000, "/c"))
    placed = place(resident(PersistentVolume(size=400, type="path")), offer(role="dev", others=disks))
    assert [(one.source.root, one.thousandths) for one in placed.disks if one.source] == [("/b", 400_000)]


def test_a_mount_volume_is_the_whole_of_the_smallest_disk_that_fits() -> None:
    disks = (disk("MOUNT", 900, "/a"), disk("MOUNT", 500, "/b"), disk("MOUNT", 100, "/c"))
    placed = place(resident(PersistentVolume(size=400, type="mount")), offer(role="dev", others=disks))
    assert [(one.source.root, one.thousandths) for one in placed.disks if one.source] == [("/b", 500_000)]
    small = resident(PersistentVolume(size=400, type="mount", max_size=450))
    assert refused(small, offer(role="dev", others=disks)) == ("InsufficientDisk",)


@pytest.mark.parametrize(
    ("volume", "root"),
    [
        (PersistentVolume(size=10, type="mount", constraints=(("path", "LIKE", "/ssd.*"),)), "/ssd1"),
        (PersistentVolume(size=10, type="mount", constraints=(("path", "UNLIKE", "/ssd.*"),)), "/hdd1"),
        (PersistentVolume(size=10, type="mount", profile_name="fast"), "/fast"),
    ],
)
def test_volumes_choose_their_disks(volume: PersistentVolume, root: str) -> None:
    disks = (disk("MOUNT", 20, "/hdd1"), disk("MOUNT", 30, "/ssd1"), disk("MOUNT", 10, "/fast", "fast"))
    placed = place(resident(volume), offer(role="dev", others=disks))
    assert [one.source.root for one in placed.disks if one.source] == [root]


def test_two_volumes_do_not_share_a_whole_disk_nor_two_instances() -> None:
    disks = (disk("MOUNT", 20, "/a"), disk("MOUNT", 30, "/b"))
    two = resident(PersistentVolume(size=10, type="mount"), PersistentVolume(size=25, type="mount"))
    placed = place(two, offer(role="dev", others=disks))
    assert [one.source.root for one in placed.disks if one.source] == ["/a", "/b"]
    here = round_of(offer(role="dev", others=disks))
    assert isinstance(here.place(two, instance(two), ()), Placed)
    assert isinstance(here.place(two, instance(two, "b"), ()), Refused)


def test_paths_of_several_parts_have_no_slash_in_the_id() -> None:
    of = resident(PersistentVolume(size=1))
    assert of.container is not None
    mount = replace(of.container.volumes[0], container_path="/var/lib/db")
    of = replace(of, container=replace(of.container, volumes=(mount,)))
    volume = place(of, offer(role="dev")).volumes[0]
    assert volume.container_path == "/var/lib/db"
    assert volume.persistence_id == f"folder_db#_var_lib_db#{volume.uuid}"


def test_what_nobody_wants_any_more_is_found_and_nothing_else() -> None:
    of = resident(PersistentVolume(size=100), ports=1)
    placed = place(of, offer(role="dev"))
    pieces, volumes = as_reserved(placed, instance(of))
    offered = held(
        offer(role="dev", reserved=(*pieces, *static("dev", cpus=1)), others=(*volumes, disk("PATH", 9, "/")))
    )
    assert matcher().leftovers(offered, lambda one: one == instance(of).id) == ((), ())
    destroyed, unreserved = matcher().leftovers(offered, lambda _: False)
    assert destroyed == volumes
    assert unreserved == (*pieces, *(replace(each, volume=None) for each in volumes))


def test_what_another_framework_reserved_is_not_touched() -> None:
    of = resident(PersistentVolume(size=100))
    pieces, volumes = as_reserved(place(of, offer(role="dev")), instance(of))
    others = (
        Reservation(
            "dev",
            True,
            None,
            (("marathon_framework_id", "2"), ("marathon_task_id", "x")),
        ),
    )
    offered = held(
        offer(
            role="dev",
            reserved=tuple(replace(each, reservations=others) for each in pieces),
            others=tuple(replace(each, reservations=others) for each in volumes),
        )
    )
    assert matcher().leftovers(offered, lambda _: None) == ((), ())
    destroyed, _ = matcher().leftovers(offered, lambda _: False)
    assert len(destroyed) == 1, "by an earlier framework of ours"
