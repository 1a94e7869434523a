"""``butlery tenants serve`` as a program, with the service itself left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from framework.cli.program import run
from framework.local.status import Paths
from tests.fakes.applying import Bench
from tests.fakes.masters import FakeEdges


def test_the_service_logs_as_the_settings_of_its_cluster_say(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @contextmanager
    def opened(*_: Any) -> Iterator[FakeEdges]:
        yield bench.edges

    config = Paths(tmp_path / "cluster").config
    config.parent.mkdir(parents=True)
    config.write_text("log: {level: debug, format: json}\n")
    told: list[tuple[str, str]] = []
    monkeypatch.setattr("masters.edges.open_edges", opened)
    monkeypatch.setattr("framework.log.configure", lambda *given: told.append(given))
    monkeypatch.setattr("masters.service.run", lambda edges: 0)
    assert run(["tenants", "serve", "--dir", str(tmp_path / "cluster")]) == 0
    assert told[-1] == ("debug", "json")
