"""Which sums are kept, and which of them, with which builds one by one, make up a span of time. Pure.

A month by tenant is days, and the builds of its two days that are not whole. Jobs are many against the builds that
each has in a day, so theirs are summed up over five days; a month's five single days are then read build by build.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from typing import NamedTuple

from framework.telemetry.asking import DAY_MS
from framework.telemetry_ports import Dimension

HOUR_MS = 3_600_000


class Cube(Enum):
    """Sums of one length of span: its number in the file, the length, and whether tenants, jobs, and labels with

    templates are told apart.
    """

    JOBS_5D = (1, 5 * DAY_MS, True, True, True)
    TENANTS_5D = (2, 5 * DAY_MS, True, False, True)
    TENANTS_1D = (3, DAY_MS, True, False, True)
    LABELS_1D = (4, DAY_MS, False, False, True)
    LABELS_1H = (5, HOUR_MS, False, False, True)
    ALL_1D = (6, DAY_MS, False, False, False)
    ALL_1H = (7, HOUR_MS, False, False, False)

    def __init__(self, number: int, length_ms: int, tenants: bool, jobs: bool, labels: bool) -> None:
        self.number = number
        self.length_ms = length_ms
        self.tenants = tenants
        self.jobs = jobs
        self.labels = labels


class Piece(NamedTuple):
    """Spans ``first`` to before ``end`` of a cube; without one the builds that ended in those milliseconds."""

    cube: Cube | None
    first: int
    end: int


def pieces(since_ms: int, until_ms: int, dimensions: Collection[Dimension]) -> list[Piece]:
    """What makes up ``[since_ms, until_ms)`` where these dimensions are told apart or held to one value."""
    return _cover(since_ms, until_ms, _cubes(dimensions))


def _cubes(dimensions: Collection[Dimension]) -> Sequence[Cube]:
    """The longest first."""
    day, hour = Dimension.DAY in dimensions, Dimension.HOUR in dimensions
    if Dimension.JOB in dimensions:
        return () if day or hour else (Cube.JOBS_5D,)
    if Dimension.TENANT in dimensions:
        if hour:
            return ()
        return (Cube.TENANTS_1D,) if day else (Cube.TENANTS_5D, Cube.TENANTS_1D)
    labels = Dimension.LABEL in dimensions or Dimension.TEMPLATE in dimensions
    by_day, by_hour = (Cube.LABELS_1D, Cube.LABELS_1H) if labels else (Cube.ALL_1D, Cube.ALL_1H)
    return (by_hour,) if hour else (by_day, by_hour)


def _cover(since_ms: int, until_ms: int, cubes: Sequence[Cube]) -> list[Piece]:
    if since_ms >= until_ms:
        return []
    if not cubes:
        return [Piece(None, since_ms, until_ms)]
    length_ms = cubes[0].length_ms
    first, end = -(-since_ms // length_ms), until_ms // length_ms
    if first >= end:
        return _cover(since_ms, until_ms, cubes[1:])
    before = _cover(since_ms, first * length_ms, cubes[1:])
    return [*before, Piece(cubes[0], first, end), *_cover(end * length_ms, until_ms, cubes[1:])]
