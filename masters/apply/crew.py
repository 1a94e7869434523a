"""Threads that do one thing with many masters, so many at once, until they are done or told to stop."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from framework.errors import ButleryError, Fault, UnavailableError
from masters.apply.report import Report
from masters.errors import CredentialsError
from masters.records import Done, Outcome


class OfTenant(Protocol):
    """A change, or a master."""

    @property
    def tenant(self) -> str: ...


Item = TypeVar("Item", bound=OfTenant)


class Crew:
    """``interrupt`` and ``stop`` may be called from a signal handler."""

    def __init__(self, parallel: int, max_failures: int | None = None) -> None:
        """``max_failures``: with so many nothing more is begun; None: however many."""
        self.parallel = parallel
        self._max_failures = max_failures
        self._failures = 0
        self._lock = threading.Lock()
        self._stopped_for: str | None = None
        self.interrupted = False

    def interrupt(self) -> None:
        """As ``stop``, asked for by the operator."""
        self.interrupted = True
        self.stop("stopped before its turn")

    def stop(self, why: str) -> None:
        """What is under way is finished, nothing more is begun."""
        self._stopped_for = self._stopped_for or why

    @property
    def stopping(self) -> bool:
        return self._stopped_for is not None

    def run(self, items: Sequence[Item], do: Callable[[Item], tuple[Outcome, str]], report: Report) -> list[Done]:
        """What came of each, in their order. ``do`` returns outcome and message, or raises ButleryError.

        Where an outside service stays away, or knows us no more, those that wait for their turn are skipped.
        """
        waiting = deque(items)
        done: dict[str, Done] = {}
        faults: list[Exception] = []  # of the program

        def take() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 raised where it can be told of, once the others have ended
                faults.append(error)
                self.stop("not tried, for a fault of the program")

        def work() -> None:
            while not self.stopping:
                try:
                    item = waiting.popleft()
                except IndexError:
                    return
                report.begun(item.tenant)
                done[item.tenant] = ended = self._done(item, do)
                report.ended(ended)

        # As daemons, so that a second Ctrl-C waits for none of them.
        count = min(self.parallel, len(items))
        threads = [threading.Thread(target=take, name=f"crew-{number}", daemon=True) for number in range(count)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self.stop("left to itself")
            raise
        if faults:
            raise faults[0]
        for item in waiting:
            done[item.tenant] = ended = Done(item.tenant, Outcome.SKIPPED, self._stopped_for or "")
            report.ended(ended)
        return [done[item.tenant] for item in items]

    def _done(self, item: Item, do: Callable[[Item], tuple[Outcome, str]]) -> Done:
        begun = time.monotonic()
        try:
            outcome, message = do(item)
        except ButleryError as error:
            outcome, message = Outcome.FAILED, _words(error)
            if isinstance(error, UnavailableError | CredentialsError):
                self.stop(f"not tried, since for {item.tenant}: {message}")
        if not outcome.well:
            with self._lock:
                self._failures += 1
                if self._failures == self._max_failures:
                    self.stop(f"not tried, after {self._failures} failures")
        return Done(item.tenant, outcome, message, time.monotonic() - begun)


def _words(error: ButleryError) -> str:
    """With each fault that it has, on one line."""
    faults: Sequence[Fault] = getattr(error, "faults", ())
    told = "; ".join(f"{fault.where}: {fault.message}" if fault.where else fault.message for fault in faults)
    return f"{error}: {told}" if told and told not in str(error) else str(error)
