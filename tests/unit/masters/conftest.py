"""Masters with everything outside in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.applying import Bench
from tests.fakes.masters import fake_edges


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    folder = tmp_path / "tenants"
    folder.mkdir()
    made = Bench(folder, fake_edges(tmp_path, deployment_timeout_s=1))
    try:
        yield made
    finally:
        made.edges.ledger.close()
