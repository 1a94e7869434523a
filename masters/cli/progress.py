"""How far a command is with many masters: moving lines on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from framework.cli import exits
from framework.cli.output import one_line, print_json, print_line, say, seconds
from masters.records import Done, Outcome

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from masters.apply.crew import Crew
    from masters.apply.report import Report

EVERY_S = 5.0
"""Between two lines where there is no terminal."""
MOST_SHOWN = 8
"""Masters under way that a terminal shows one by one."""
ROW_CHARS = 100
LAST_WORDS_S = 1.0
"""At the end, for a thread that is just writing a line."""


class _Told:
    """What both ways of showing count. Called from many threads."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._lock = threading.Lock()
        self._under_way: dict[str, str] = {}
        self._outcomes: Counter[Outcome] = Counter()

    def begun(self, tenant: str) -> None:
        with self._lock:
            self._under_way[tenant] = ""
            self._changed()

    def waiting(self, tenant: str, why: str) -> None:
        with self._lock:
            self._under_way[tenant] = why
            self._changed()

    def ended(self, done: Done) -> None:
        with self._lock:
            self._under_way.pop(done.tenant, None)
            self._outcomes[done.outcome] += 1
            if not done.outcome.well and done.outcome is not Outcome.SKIPPED:
                self._say(ending(done))
            self._changed()

    def said(self, line: str) -> None:
        with self._lock:
            self._say(line)

    def close(self) -> None:
        """From now on whoever was left to itself waits here until the process ends, and says nothing into its end."""
        self._lock.acquire(timeout=LAST_WORDS_S)

    def _changed(self) -> None: ...

    def _say(self, line: str) -> None:
        say(one_line(line))

    def _state(self) -> str:
        ended = sum(self._outcomes.values())
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._outcomes.items()))
        return f"{ended} of {self._total}" + (f" ({told})" if told else "")


class Lines(_Told):
    """For a file or a pipe."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._next = time.monotonic() + EVERY_S

    def _changed(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        why = next((f"; {tenant}: {why}" for tenant, why in self._under_way.items() if why), "")
        self._say(f"{self._state()}, {len(self._under_way)} under way{why}")


class Moving(_Told):
    """For a terminal."""

    def __init__(self, total: int, bars: Bars) -> None:
        super().__init__(total)
        self._bars = bars
        self._all = bars.add_task("", total=total)
        self._rows: dict[str, Any] = {}

    def _changed(self) -> None:
        self._bars.update(self._all, completed=sum(self._outcomes.values()), description=self._state())
        for tenant in [tenant for tenant in self._rows if tenant not in self._under_way]:
            self._bars.remove_task(self._rows.pop(tenant))
        for tenant, why in self._under_way.items():
            if tenant in self._rows:
                self._bars.update(self._rows[tenant], description=_row(tenant, why))
            elif len(self._rows) < MOST_SHOWN:
                self._rows[tenant] = self._bars.add_task(_row(tenant, why), total=None)

    def _say(self, line: str) -> None:
        from rich.text import Text

        self._bars.console.print(Text(one_line(line)), soft_wrap=True)


def _row(tenant: str, why: str) -> str:
    from rich.markup import escape

    return escape(one_line(f"{tenant}: {why}" if why else tenant)[:ROW_CHARS])


@contextmanager
def progress(total: int, quiet: bool) -> Iterator[Report]:
    """On standard error; ``quiet``: of what is wrong alone."""
    if quiet or not total or not sys.stderr.isatty():
        with closing(_Told(total) if quiet else Lines(total)) as told:
            yield told
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars, closing(Moving(total, bars)) as told:
        yield told


@contextmanager
def stopping(crew: Crew) -> Iterator[None]:
    """Ctrl-C lets what is under way come to its end; a second one, or SIGTERM, leaves it to itself: Marathon goes on

    with the deployments that it has, and the next ``apply`` waits for them.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            raise SystemExit(128 + number)  # whoever sends it waits for no deployment
        if crew.interrupted:
            raise KeyboardInterrupt
        crew.interrupt()
        say("stopping once what is under way is done; Ctrl-C again leaves it to itself")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def carried_out(crew: Crew, total: int, as_json: bool, work: Callable[[Report], list[Done]]) -> int:
    """Does ``work`` on ``total`` masters and tells what came of each; the exit code."""
    with progress(total, as_json) as report, stopping(crew):
        done = work(report)
    code = tell(done, as_json)
    return exits.INTERRUPTED if crew.interrupted else code


def ending(done: Done) -> str:
    """``payments: failed after 12.1s: image nosuch:1 cannot be had``."""
    took = f" after {seconds(done.took_s)}" if done.took_s >= 1 else ""
    return f"{done.tenant}: {done.outcome}{took}" + (f": {done.message}" if done.message else "")


def results(done: Sequence[Done]) -> list[dict[str, Any]]:
    return [
        {"tenant": one.tenant, "outcome": one.outcome, "message": one.message, "took_s": round(one.took_s, 3)}
        for one in done
    ]


def tell(done: Sequence[Done], as_json: bool, **more: Any) -> int:
    """What came of all, and the exit code; ``more`` goes into the JSON."""
    outcomes = Counter(one.outcome for one in done)
    if as_json:
        print_json({**more, "results": results(done), "outcomes": {str(name): n for name, n in outcomes.items()}})
    else:
        for one in done:
            if one.outcome.well and one.message:
                print_line(one_line(ending(one)))
        skipped = [one for one in done if one.outcome is Outcome.SKIPPED]
        reasons = Counter(one.message for one in skipped)
        for reason, count in reasons.items():
            names = ", ".join(one.tenant for one in skipped if one.message == reason)
            print_line(one_line(f"skipped {count}: {reason}: {names}"))
        if done:
            print_line(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    return exits.OK if all(outcome.well for outcome in outcomes) else exits.FAILED
