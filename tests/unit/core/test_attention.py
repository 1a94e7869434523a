"""What a round need not look at again."""

from __future__ import annotations

from framework.core.attention import Attention
from framework.core.ids import HostId, TenantName
from framework.core.placement import Candidate, Placer, Shape
from framework.core.resources import Resources

TEAM = TenantName("team")


def looked(attention: Attention, room: Resources, shapes: list[Shape], *, others: bool) -> None:
    placer = Placer([Candidate(HostId("h"), room, {})], attention.least)
    for shape in shapes:
        placer.place(shape)
    attention.looked(placer, others=others)


def test_what_fits_on_no_host_is_known_until_all_is_forgotten() -> None:
    attention = Attention()
    small, big = Shape(100, 100, 0), Shape(500, 500, 0)
    for shape in (small, big):
        attention.waits(TEAM, shape)
    looked(attention, Resources(300, 300), [big], others=False)
    assert attention.hopeless(big) and attention.hopeless(Shape(500, 600, 0))
    assert not attention.hopeless(small)
    attention.forget([small, big])
    assert not attention.hopeless(big)


def test_a_host_that_has_more_is_hopeless_only_for_what_was_tried_on_it() -> None:
    attention = Attention()
    wide, tall, both = Shape(500, 100, 0), Shape(100, 500, 0), Shape(500, 500, 0)
    for shape in (wide, tall):
        attention.waits(TEAM, shape)
    looked(attention, Resources(300, 300), [wide, tall], others=False)
    looked(attention, Resources(300, 600), [wide], others=True)
    assert attention.hopeless(wide) and attention.hopeless(both)
    assert not attention.hopeless(tall)


def test_a_host_used_up_is_hopeless_for_all_that_waits() -> None:
    attention = Attention()
    small = Shape(100, 100, 0)
    attention.waits(TEAM, small)
    looked(attention, Resources(150, 150), [small], others=False)
    assert attention.hopeless(small)
    assert not attention.hopeless(Shape(50, 100, 0))
