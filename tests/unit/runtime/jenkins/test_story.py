"""What one master tells, in order: repeats, gaps, other sessions, clocks, shares."""

from __future__ import annotations

import pytest

from framework.jenkins_ports import DemandRecord, RateLimitedError
from framework.runtime.jenkins.story import Share, Story


def record(seq: int, session: str = "s1", event: str = "alive") -> DemandRecord:
    return DemandRecord(event, session, seq)  # type: ignore[arg-type] # one of the literals


def taken(story: Story, *records: DemandRecord, now: float = 1.0) -> tuple[list[tuple[str, int]], bool]:
    """Which of them are new, and whether something was missed; they count as taken."""
    sifted = story.sift(records)
    story.went_on(sifted, now)
    return [(one.session, one.seq) for one in sifted.records], sifted.missed


def test_repeats_are_dropped_and_gaps_are_noticed() -> None:
    story = Story()
    assert taken(story, record(1, event="ready"), record(2)) == ([("s1", 1), ("s1", 2)], True)
    assert taken(story, record(1, event="ready"), record(2), record(3)) == ([("s1", 3)], False)
    assert taken(story, record(3), record(2)) == ([], False)
    assert taken(story, record(7)) == ([("s1", 7)], True)
    assert taken(story, record(8, event="ready")) == ([("s1", 8)], True)


def test_what_was_not_taken_comes_again() -> None:
    story = Story()
    assert len(story.sift([record(1), record(2)]).records) == 2
    assert len(story.sift([record(1), record(2)]).records) == 2


def test_an_earlier_process_of_the_master_is_not_heard_again() -> None:
    story = Story()
    taken(story, record(5))
    assert taken(story, record(1, "s2", "ready"), record(2, "s2")) == ([("s2", 1), ("s2", 2)], True)
    assert taken(story, record(6), record(7), record(3, "s2")) == ([("s2", 3)], True)
    assert taken(story, record(900, "s1", "ready")) == ([], True)


def test_which_process_a_master_is_only_the_master_itself_says() -> None:
    """Whoever has the tenant's token may tell a story, such as a copy of the master's home that runs elsewhere."""
    story = Story()
    taken(story, record(5))
    taken(story, record(1, "copy"), now=10.0)
    story.seen("s1", asked_at=9.0)  # which may have ended since
    assert taken(story, record(6)) == ([], True)
    story.seen("s1", asked_at=11.0)
    assert taken(story, record(7)) == ([("s1", 7)], True)
    assert taken(story, record(2, "copy"), record(8)) == ([("s1", 8)], True)
    story.seen("s1", asked_at=12.0)
    story.seen("never told", asked_at=13.0)
    assert taken(story, record(9)) == ([("s1", 9)], False)


def test_a_story_that_nobody_heard_the_beginning_of_is_taken() -> None:
    assert taken(Story(), record(4711), record(4712)) == ([("s1", 4711), ("s1", 4712)], True)


@pytest.mark.parametrize("off_s", [-3600.0, 0.0, 3600.0])
def test_a_masters_clock_may_be_wrong(off_s: float) -> None:
    """Records that waited 20 s while the scheduler was away."""
    story, now = Story(), 1_000_000.0

    def sent(at: float) -> DemandRecord:
        return DemandRecord("alive", "s1", 1, sent_ms=round((at + off_s) * 1000))

    story.arrived([sent(now - 0.01)], now)
    story.arrived([sent(now + 10)], now + 30)
    assert story.happened_at(sent(now + 10).sent_ms, now + 30) == pytest.approx(now + 10, abs=0.05)
    assert story.happened_at(0, now + 30) == now + 30
    for _ in range(3):  # it is set: once the old times are forgotten, the new ones hold
        now += 400.0
        story.arrived([DemandRecord("alive", sent_ms=round((now - 500) * 1000))], now)
    assert story.happened_at(round((now - 500) * 1000), now) == pytest.approx(now, abs=0.05)


def test_a_storm_is_held_to_its_share() -> None:
    share = Share(100.0, now=0.0)
    share.take(1500, now=0.0)  # on credit: what comes together is taken together
    with pytest.raises(RateLimitedError) as refused:
        share.take(1, now=1.0)
    assert refused.value.retry_after_s == pytest.approx(4.01)
    share.take(500, now=1.0 + refused.value.retry_after_s)
    for second in range(100, 200):
        share.take(100, now=float(second))
    with pytest.raises(RateLimitedError):
        for _ in range(20):
            share.take(100, now=200.0)
