"""Much of something, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def pieces(things: Iterable[T], most: int) -> Iterator[list[T]]:
    iterator = iter(things)
    while piece := list(islice(iterator, most)):
        yield piece
