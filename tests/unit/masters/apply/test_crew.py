"""Threads that do one thing with many masters."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import NamedTuple

import pytest

from framework.errors import ButleryError, UnavailableError
from masters.apply.crew import Crew
from masters.errors import CredentialsError, MarathonError
from masters.records import Outcome
from tests.fakes.applying import Silent


class Item(NamedTuple):
    tenant: str


ITEMS = [Item(f"team-{number}") for number in range(20)]


def test_so_many_at_once_and_no_more() -> None:
    lock, now, most = threading.Lock(), 0, 0
    together = threading.Barrier(4)

    def do(_: Item) -> tuple[Outcome, str]:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(20)
        with lock:
            now -= 1
        return Outcome.DONE, ""

    assert {done.outcome for done in Crew(4).run(ITEMS, do, Silent())} == {Outcome.DONE}
    assert most == 4


def test_failures_that_are_too_many_stop_it() -> None:
    done = Crew(1, max_failures=3).run(ITEMS, lambda _: (Outcome.TAKEN_BACK, "bad"), Silent())
    assert [one.outcome for one in done[:4]] == [Outcome.TAKEN_BACK] * 3 + [Outcome.SKIPPED]
    assert done[-1].message == "not tried, after 3 failures"


@pytest.mark.parametrize("error", [CredentialsError("no"), UnavailableError("no"), MarathonError("not this one")])
def test_who_does_nothing_for_us_is_asked_once(error: ButleryError) -> None:
    def do(_: Item) -> tuple[Outcome, str]:
        raise error

    done = Crew(1).run(ITEMS, do, Silent())
    others = Outcome.FAILED if str(error) == "not this one" else Outcome.SKIPPED
    assert [one.outcome for one in done] == [Outcome.FAILED] + [others] * (len(ITEMS) - 1)


def test_a_fault_of_the_program_is_not_swallowed() -> None:
    def do(item: Item) -> tuple[Outcome, str]:
        raise KeyError(item.tenant)

    with pytest.raises(KeyError):
        Crew(2).run(ITEMS, do, Silent())


def test_nothing_more_is_begun_once_it_is_left_to_itself() -> None:
    begun: list[str] = []
    thread: list[threading.Thread] = []
    left = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(143)

    def do(item: Item) -> tuple[Outcome, str]:
        begun.append(item.tenant)
        thread.append(threading.current_thread())
        os.kill(os.getpid(), signal.SIGTERM)
        assert left.wait(20)
        return Outcome.DONE, ""

    before = signal.signal(signal.SIGTERM, end)
    try:
        with pytest.raises(SystemExit):
            Crew(1).run(ITEMS, do, Silent())
    finally:
        signal.signal(signal.SIGTERM, before)
        left.set()
    thread[0].join(20)
    assert begun == ["team-0"]
