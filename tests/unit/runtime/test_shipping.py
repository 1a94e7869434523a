from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from framework.edges.spool import FileSpool
from framework.errors import UnavailableError
from framework.runtime.telemetry.shipping import (
    GATHER_S,
    MAX_RECORDS,
    OPERATOR_S,
    RETRY_CAP_S,
    STOP_S,
    TEND_S,
    Shipper,
)
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch, BusyError, OperatorError, Rejected
from tests.fakes.clockwork import ManualClock, eventually
from tests.fakes.driving import SeededChance
from tests.unit.spool.helpers import ALL, MIB, builds, changes, ids_of


class Sink:
    """A consumer that fails as it is told to."""

    name = "sink"
    kinds = ALL

    def __init__(self) -> None:
        self.calls: list[list[tuple[bool, list[str]]]] = []
        self.failing: Callable[[Sequence[Batch]], list[Rejected]] = lambda batches: []
        self.tended: list[float] = []
        self.untended: Exception | None = None

    def take(self, batches: Sequence[Batch]) -> list[Rejected]:
        self.calls.append([(batch.again, ids_of(batch)) for batch in batches])
        return self.failing(batches)

    def tend(self, now: float) -> None:
        self.tended.append(now)
        if self.untended is not None:
            raise self.untended

    def close(self) -> None: ...


class Rig:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.spool = FileSpool(directory, {"sink": ALL}, 64 * MIB, self.clock)
        self.sink = Sink()
        self.shipper = Shipper(self.spool, self.sink, self.clock, SeededChance())

    def fail(self, error: Exception) -> None:
        def failing(_: Sequence[Batch]) -> list[Rejected]:
            raise error

        self.sink.failing = failing

    def mend(self) -> None:
        self.sink.failing = lambda batches: []

    def trouble(self) -> str:
        return self.shipper.health().trouble


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.spool.close()


def test_what_is_spooled_is_taken_once_and_gathered(rig: Rig) -> None:
    rig.spool.append([builds("a"), changes("a.1")], 1.0)
    rig.spool.append([builds("b")], 2.0)
    assert rig.shipper.turn() == GATHER_S
    assert rig.shipper.turn() == GATHER_S
    assert rig.sink.calls == [[(False, ["a", "b"]), (False, ["a.1"])]]
    health = rig.shipper.health()
    assert (health.taken, health.depth.records, health.trouble, health.behind_s) == (3, 0, "", 0.0)


def test_health_tells_how_far_behind_it_is(rig: Rig) -> None:
    rig.spool.append([builds("a")], 1.0)
    rig.clock.advance(7)
    assert rig.shipper.health().behind_s == 7


def test_a_service_that_is_away_is_tried_again_ever_more_seldom(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig.spool.append([builds("a")], 1.0)
    rig.fail(UnavailableError("Elasticsearch does not answer"))
    pauses = [rig.shipper.turn() for _ in range(12)]
    assert 0.25 <= pauses[0] <= 0.5
    assert RETRY_CAP_S / 2 <= pauses[-1] <= RETRY_CAP_S
    assert rig.trouble() == "Elasticsearch does not answer"
    assert [calls[0][0] for calls in rig.sink.calls] == [False] + [True] * 11
    rig.mend()
    assert rig.shipper.turn() == GATHER_S
    assert rig.trouble() == ""
    assert [record.message for record in caplog.records] == ["records are not taken now", "records are taken again"]


def test_one_failure_alone_is_not_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.spool.append([builds("a")], 1.0)
    rig.fail(UnavailableError("away"))
    rig.shipper.turn()
    rig.mend()
    rig.shipper.turn()
    assert caplog.records == []


def test_what_an_operator_must_mend_is_tried_at_a_slow_pace(rig: Rig) -> None:
    rig.spool.append([builds("a")], 1.0)
    rig.fail(OperatorError("the password is wrong"))
    assert all(OPERATOR_S / 2 <= rig.shipper.turn() <= OPERATOR_S for _ in range(3))
    assert rig.trouble() == "the password is wrong"


def test_a_fault_of_ours_is_logged_once_and_tried_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.spool.append([builds("a")], 1.0)
    rig.fail(KeyError("x"))
    assert all(OPERATOR_S / 2 <= rig.shipper.turn() <= OPERATOR_S for _ in range(3))
    assert rig.trouble() == "a fault in butlery itself (KeyError), see its log"
    assert len([record for record in caplog.records if record.exc_info]) == 1
    rig.mend()
    rig.shipper.turn()
    assert rig.sink.calls[-1] == [(True, ["a"])]


def test_who_is_busy_gets_less_and_later_more_again(rig: Rig) -> None:
    ids = [f"{number}" for number in range(100)]
    rig.spool.append([builds(*ids[:60]), changes(*ids[60:])], 1.0)

    def failing(batches: Sequence[Batch]) -> list[Rejected]:
        if sum(batch.count for batch in batches) > 30:
            raise BusyError("too much", retry_after_s=12.0)
        return []

    rig.sink.failing = failing
    assert rig.shipper.turn() == 12.0
    assert rig.shipper.turn() == 12.0
    while rig.shipper.health().depth.records:
        assert rig.shipper.turn() >= 0
    taken = [each for call in rig.sink.calls for _, some in call for each in some if sum(len(x[1]) for x in call) <= 30]
    assert taken == ids
    assert rig.shipper.health().taken == 100
    rig.mend()
    for number in range(40):
        rig.spool.append([builds(*(f"{number}-{each}" for each in range(200)))], 2.0)
    while rig.shipper.health().depth.records:
        rig.shipper.turn()
    assert max(sum(len(some) for _, some in call) for call in rig.sink.calls) > 1000


def test_no_more_than_so_many_are_taken_at_once(rig: Rig) -> None:
    rig.spool.append([builds(*(f"{number}" for number in range(MAX_RECORDS + 1)))], 1.0)
    assert rig.shipper.turn() == 0.0
    assert rig.shipper.health().depth.records == MAX_RECORDS + 1  # until all that was read is taken
    assert rig.shipper.turn() == GATHER_S
    assert [sum(len(some) for _, some in call) for call in rig.sink.calls] == [MAX_RECORDS, 1]


def test_refused_records_go_aside_and_the_others_on(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.spool.append([builds("a", "b")], 1.0)
    rig.sink.failing = lambda batches: [Rejected(Kind.BUILDS, "b", "its field is no number", b"{}")]
    rig.shipper.turn()
    assert (rig.shipper.health().taken, rig.spool.rejected) == (1, 1)
    assert [record.message for record in caplog.records] == ["records are refused and kept aside"]


def test_it_tends_now_and_then_whatever_becomes_of_that(rig: Rig) -> None:
    begun = rig.clock.now()
    rig.shipper.turn()
    rig.shipper.turn()
    rig.clock.advance(TEND_S)
    rig.shipper.turn()
    rig.clock.set_back(3600)
    rig.shipper.turn()
    assert rig.sink.tended == [begun, begun + TEND_S, begun + TEND_S - 3600]


def test_records_are_taken_where_it_cannot_be_tended(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.sink.untended = OperatorError("may not roll over")
    rig.spool.append([builds("a")], 1.0)
    rig.shipper.turn()
    health = rig.shipper.health()
    assert (health.taken, health.trouble) == (1, "may not roll over")
    rig.shipper.turn()
    assert len(rig.sink.tended) == 1
    rig.clock.advance(OPERATOR_S)
    rig.shipper.turn()
    assert [record.message for record in caplog.records] == ["what is due now and then cannot be done"]
    rig.sink.untended = UnavailableError("away")
    rig.clock.advance(OPERATOR_S)
    rig.shipper.turn()
    rig.clock.advance(RETRY_CAP_S)
    rig.sink.untended = None
    rig.shipper.turn()
    assert (len(rig.sink.tended), rig.trouble()) == (4, "")


async def test_its_thread_takes_what_comes_and_stops(rig: Rig) -> None:
    rig.shipper.start()
    rig.spool.append([builds("a")], 1.0)
    await eventually(lambda: rig.shipper.health().taken == 1)
    assert rig.shipper.stop()
    assert rig.shipper.cpu_s > 0


def test_a_consumer_that_does_not_come_back_is_left_behind(rig: Rig) -> None:
    inside, over = threading.Event(), threading.Event()

    def failing(_: Sequence[Batch]) -> list[Rejected]:
        inside.set()
        over.wait(30)
        return []

    rig.sink.failing = failing
    rig.spool.append([builds("a")], 1.0)
    rig.shipper.start()
    assert inside.wait(10)
    assert not rig.shipper.stop(0.05)
    over.set()
    assert rig.shipper.stop(STOP_S)
