from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from framework.core.offers import drawn
from framework.core.pieces import Piece, Reservation, ReservedUse, Volume
from framework.core.resources import Resources
from framework.edges.mesos.purse import Purse
from framework.edges.mesos.resources import Held, in_thousandths

OURS = (Reservation("butlery"),)
NAMES = ("cpus", "mem", "disk", "gpus")
amounts = st.builds(Resources, st.integers(0, 6_000), st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 2))
uses = st.sampled_from(list(ReservedUse))
pieces = st.lists(
    st.builds(
        Piece,
        st.sampled_from(NAMES),
        st.integers(1, 10_000_000),
        reservations=st.sampled_from([(), OURS, (Reservation("butlery", labels=(("a", "b"),)),)]),
    ),
    max_size=8,
)


def held(*pieces: Piece) -> Held:
    return Held(Resources(), Resources(), (), pieces)


def told(taken: list[Piece]) -> list[tuple[str, int, bool]]:
    return [(piece.name, piece.thousandths, bool(piece.reservations)) for piece in taken]


def test_each_use_of_what_is_reserved() -> None:
    offered = held(Piece("cpus", 500, reservations=OURS), Piece("cpus", 1000), Piece("mem", 64_000))

    def draw(use: ReservedUse, cpu_millis: int) -> list[tuple[str, int, bool]]:
        return told(Purse([offered], "butlery").draw(Resources(cpu_millis), use))

    assert draw(ReservedUse.LAST, 1200) == [("cpus", 1000, False), ("cpus", 200, True)]
    assert draw(ReservedUse.FIRST, 1200) == [("cpus", 500, True), ("cpus", 700, False)]
    assert draw(ReservedUse.ONLY, 500) == [("cpus", 500, True)]
    assert draw(ReservedUse.NEVER, 1000) == [("cpus", 1000, False)]


def test_what_is_lacking_is_named_so_that_mesos_refuses_it() -> None:
    offered = held(Piece("cpus", 500, reservations=OURS), Piece("cpus", 1000))
    assert told(Purse([offered], "butlery").draw(Resources(600), ReservedUse.ONLY)) == [
        ("cpus", 500, True),
        ("cpus", 100, True),
    ]
    assert told(Purse([offered], "butlery").draw(Resources(1100), ReservedUse.NEVER)) == [
        ("cpus", 1000, False),
        ("cpus", 100, False),
    ]


def test_several_offers_are_one_purse() -> None:
    purse = Purse([held(Piece("cpus", 500)), held(Piece("cpus", 300, reservations=OURS))])
    assert told(purse.draw(Resources(600))) == [("cpus", 500, False), ("cpus", 100, True)]
    assert told(purse.draw(Resources(200))) == [("cpus", 200, True)]


def test_ports_are_taken_wherever_they_are() -> None:
    ports = Piece("ports", ranges=((31000, 31005), (31010, 31010)))
    reserved = Piece("ports", ranges=((32000, 32001),), reservations=OURS)
    purse = Purse([held(ports, reserved)])
    assert purse.draw(Resources(), ReservedUse.NEVER, (31002, 31001, 31010, 32000)) == [
        Piece("ports", ranges=((31001, 31002), (31010, 31010))),
        Piece("ports", ranges=((32000, 32000),), reservations=OURS),
    ]
    assert purse.draw(Resources(), ReservedUse.LAST, (31002,)) == [Piece("ports", ranges=((31002, 31002),))]
    assert not purse.spend(Piece("ports", ranges=((31001, 31001),)))
    assert purse.spend(Piece("ports", ranges=((31003, 31005), (31000, 31000))))


def test_what_is_spent_and_gained_counts() -> None:
    purse = Purse([held(Piece("disk", 100_000))])
    assert purse.spend(Piece("disk", 60_000))
    purse.gain(Piece("disk", 60_000, reservations=OURS))
    assert told(purse.draw(Resources(disk_mib=50))) == [("disk", 40_000, False), ("disk", 10_000, True)]
    assert not purse.spend(Piece("disk", 60_000, reservations=OURS))
    purse.gain(Piece("disk", 9_000, volume=Volume("v", "data")))
    assert not purse.spend(Piece("disk", 1))


@given(pieces, st.lists(st.tuples(amounts, uses), max_size=5))
def test_no_piece_is_drawn_twice(offered: list[Piece], wanted: list[tuple[Resources, ReservedUse]]) -> None:
    purse = Purse([held(*offered)], "butlery")
    taken: list[Piece] = []
    lacking = False
    for amount, use in wanted:
        trial = purse.copy()
        got = purse.draw(amount, use)
        assert {name: sum(piece.thousandths for piece in got if piece.name == name) for name in NAMES} == dict(
            in_thousandths(amount)
        )
        enough = all(trial.spend(piece) for piece in got)
        lacking = lacking or not enough
        taken += got
    for name in NAMES:
        for reserved in (False, True):
            drawn_of = sum(
                each.thousandths for each in taken if each.name == name and bool(each.reservations) is reserved
            )
            there = sum(
                each.thousandths for each in offered if each.name == name and bool(each.reservations) is reserved
            )
            assert drawn_of <= there or lacking


@given(amounts, amounts, st.lists(st.tuples(amounts, uses), max_size=5))
def test_the_core_reckons_as_the_purse_draws(
    free: Resources, reserved: Resources, wanted: list[tuple[Resources, ReservedUse]]
) -> None:
    offered = [Piece(name, amount) for name, amount in in_thousandths(free)]
    offered += [Piece(name, amount, reservations=OURS) for name, amount in in_thousandths(reserved)]
    purse = Purse([held(*offered)], "butlery")
    for amount, use in wanted:
        left = drawn(free, reserved, amount, use)
        trial = purse.copy()
        got = purse.draw(amount, use)
        fits = all(min(amount for _, amount in in_thousandths(pool)) >= 0 for pool in left)
        assert fits == all(trial.spend(piece) for piece in got)
        if not fits:
            return
        free, reserved = left
        for pool, is_reserved in ((free, False), (reserved, True)):
            there = trial.copy()
            for name, thousandths in in_thousandths(pool):
                reservations = OURS if is_reserved else ()
                assert there.spend(Piece(name, thousandths, reservations=reservations))
                assert not there.spend(Piece(name, 1, reservations=reservations))
