"""A sink that may not be there yet, as its disk is full: opened when it can be, while the spool keeps what comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from framework.errors import ButleryError, UnavailableError
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord
from framework.telemetry_ports import (
    Batch,
    BuildPage,
    BuildQuery,
    Rejected,
    RunsQuery,
    SampleQuery,
    Sink,
    StatsAnswer,
    StatsQuery,
)


class LateSink:
    """``framework.telemetry_ports.Sink`` in place of another, which ``opening`` makes or raises why it cannot yet."""

    kinds = frozenset(Kind)
    shared = False

    def __init__(self, name: str, opening: Callable[[], Sink]) -> None:
        """Raises what ``opening`` does, but for errors that may pass."""
        self.name = name
        self._opening = opening
        self._opened: Sink | None = None
        self._trouble = ""
        self._lock = threading.Lock()
        try:
            self._sink()
        except UnavailableError as error:
            self._trouble = str(error)

    def _sink(self) -> Sink:
        """Raises UnavailableError where it is not there."""
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = self._opening()
                except ButleryError as error:
                    if not error.retryable and not self._trouble:
                        raise
                    self._trouble = str(error)
                    raise UnavailableError(str(error)) from error
                self._trouble = ""
            return self._opened

    def take(self, batches: Sequence[Batch]) -> list[Rejected]:
        return self._sink().take(batches)

    def tend(self, now: float) -> None:
        self._sink().tend(now)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()

    @property
    def notices(self) -> list[str]:
        if self._opened is None:
            return [self._trouble] if self._trouble else []
        return self._opened.notices

    def builds(self, query: BuildQuery) -> BuildPage:
        return self._sink().builds(query)

    def build(self, build_id: str) -> BuildRecord | None:
        return self._sink().build(build_id)

    def changes(self, build_id: str) -> list[ChangeRecord]:
        return self._sink().changes(build_id)

    def stats(self, query: StatsQuery) -> StatsAnswer:
        return self._sink().stats(query)

    def runs(self, query: RunsQuery) -> list[BuildRecord]:
        return self._sink().runs(query)

    def samples(self, query: SampleQuery) -> list[SampleRecord]:
        return self._sink().samples(query)
