from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from framework.core.resources import Resources
from framework.edges.mesos.purse import Piece, Purse, draw, is_plain, merged, purse_of, total
from framework.edges.mesos.wire import Resource, Scalar

amounts = st.builds(Resources, st.integers(0, 64_000), st.integers(0, 100_000), st.integers(0, 100_000))
pieces = st.lists(st.builds(Piece, st.integers(1, 10_000_000), st.sampled_from(["*", "butlery"])), max_size=4)
purses = st.fixed_dictionaries({"cpus": pieces, "mem": pieces, "disk": pieces})


def read(**fields: object) -> Resource:
    """As it comes from the wire."""
    raw = {"type": "SCALAR", "scalar": {"value": 1.0}, "role": "*", "allocation_info": {"role": "b"}} | fields
    return msgspec.json.decode(msgspec.json.encode(raw), type=Resource)


def scalar(name: str, value: float, role: str = "*") -> Resource:
    return Resource(name, Scalar(value), role)


def test_entries_of_one_name_are_summed() -> None:
    offered = [scalar("cpus", 1.5), scalar("cpus", 0.1, "butlery"), scalar("cpus", 0.2), scalar("mem", 1024)]
    assert total(offered) == Resources(1800, 1024, 0)


def test_parts_of_a_mib_are_not_promised() -> None:
    assert total([scalar("mem", 99.999), scalar("disk", 0.5)]) == Resources(0, 99, 0)


def test_what_is_not_ours_to_use_is_left_out() -> None:
    volume = read(name="disk", disk={"persistence": {"id": "v"}})
    revocable = read(name="cpus", revocable={})
    assert total([volume, revocable, Resource("ports"), scalar("gpus", 2), scalar("cpus", 1)]) == Resources(1000)
    assert purse_of([volume, revocable, Resource("ports"), scalar("gpus", 2)]) == {"cpus": [], "mem": [], "disk": []}


def test_plain_is_what_nobody_reserved() -> None:
    assert is_plain([scalar("cpus", 1), Resource("ports")])
    assert not is_plain([scalar("cpus", 1), scalar("mem", 1, "butlery")])
    assert not is_plain([read(name="cpus", reservation={})])
    assert is_plain([read(name="cpus")])


def test_a_reservation_is_kept_as_it_came() -> None:
    purse = purse_of([read(name="cpus", role="butlery", reservation={"principal": "p"})])
    assert [(piece.amount, piece.role, bytes(piece.reservation or b"")) for piece in purse["cpus"]] == [
        (1000, "butlery", b'{"principal":"p"}')
    ]


def test_reserved_pieces_go_first() -> None:
    purse = purse_of([scalar("cpus", 1), scalar("cpus", 0.5, "butlery"), scalar("mem", 64)])
    taken = draw(purse, Resources(700, 32, 0))
    assert [(name, piece.amount, piece.role) for name, piece in taken] == [
        ("cpus", 500, "butlery"),
        ("cpus", 200, "*"),
        ("mem", 32_000, "*"),
    ]
    assert draw(purse, Resources(800)) == [("cpus", Piece(800))]
    assert purse["cpus"] == []


@given(purses, st.lists(amounts, max_size=5))
def test_no_piece_is_drawn_twice(purse: Purse, wanted: list[Resources]) -> None:
    offered = {
        (name, role): sum(piece.amount for piece in held if piece.role == role)
        for name, held in purse.items()
        for role in ("*", "butlery")
    }
    taken: dict[tuple[str, str], int] = {}
    left = merged([purse])
    for amount in wanted:
        drawn = draw(left, amount)
        assert {name: sum(piece.amount for n, piece in drawn if n == name) for name in ("cpus", "mem", "disk")} == {
            "cpus": amount.cpu_millis,
            "mem": amount.mem_mib * 1000,
            "disk": amount.disk_mib * 1000,
        }
        for name, piece in drawn:
            taken[name, piece.role] = taken.get((name, piece.role), 0) + piece.amount
    for name in ("cpus", "mem", "disk"):
        assert taken.get((name, "butlery"), 0) <= offered[name, "butlery"]
        if taken.get((name, "*"), 0) > offered[name, "*"]:  # over-drawn, but only when nothing was left
            assert not left[name]
