"""The edge against a small Marathon that answers as a test says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from masters.marathon import MarathonEdge
from tests.fakes.odd_marathon import OddMarathon, odd_marathon
from tests.unit.masters.marathon.samples import edge_to


@pytest.fixture
def marathon() -> Iterator[OddMarathon]:
    with odd_marathon() as marathon:
        yield marathon


@pytest.fixture
def edge(marathon: OddMarathon) -> MarathonEdge:
    return edge_to(marathon.url)
