"""When something must be looked at again, without a timer for each."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

Key = tuple[str, str]


class Deadlines:
    """At most one time a key; moved or dropped at will. Memory stays within a small multiple of the live keys."""

    def __init__(self) -> None:
        self._when: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def set(self, kind: str, key: str, when: float) -> None:
        if self._when.get((kind, key)) == when:
            return
        self._when[kind, key] = when
        heapq.heappush(self._heap, (when, (kind, key)))
        if len(self._heap) > 64 + 2 * len(self._when):
            self._forget_stale()

    def drop(self, kind: str, key: str) -> None:
        if self._when.pop((kind, key), None) is not None and len(self._heap) > 64 + 2 * len(self._when):
            self._forget_stale()

    def has(self, kind: str, key: str) -> bool:
        return (kind, key) in self._when

    def next(self) -> float | None:
        """The earliest time, seconds since the epoch; None where there is none."""
        heap = self._heap
        while heap and self._when.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def move(self, by_s: float) -> None:
        """All of them."""
        self._when = {key: when + by_s for key, when in self._when.items()}
        self._forget_stale()

    def due(self, now: float) -> Iterator[Key]:
        """Takes out every key whose time has come, one after the other, the earliest first and each once.

        What is done for one may drop or move others.
        """
        taken: set[Key] = set()
        again: list[tuple[float, Key]] = []
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[1]
            del self._when[key]
            if key in taken:
                again.append((when, key))
                continue
            taken.add(key)
            yield key
        for when, (kind, key_of_kind) in again:
            self.set(kind, key_of_kind, when)

    def _forget_stale(self) -> None:
        self._heap = [(at, each) for each, at in self._when.items()]
        heapq.heapify(self._heap)

    def __len__(self) -> int:
        return len(self._when)
