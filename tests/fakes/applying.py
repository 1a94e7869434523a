"""A directory of tenants, applied with everything outside in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from masters.apply.crew import Crew
from masters.apply.patience import Pace
from masters.apply.preparing import Prepared, prepare
from masters.apply.running import run
from masters.records import Done
from masters.spec.files import read_tenants
from tests.fakes.masters import FakeEdges, FakeMarathon, FakeScheduler

PACE = Pace(deployments_s=0.001, first_look_s=0.02, look_s=0.01, retry_base_s=0.001, retry_cap_s=0.01, outage_s=5)
PLAIN: dict[str, Any] = {"image": "jenkins:1", "volume": {"host_path": "/srv/jenkins/{tenant}", "shared": True}}


class Silent:
    """Implements ``Report`` for those who look at the results alone."""

    def begun(self, tenant: str) -> None: ...

    def waiting(self, tenant: str, why: str) -> None: ...

    def ended(self, done: Done) -> None: ...

    def said(self, line: str) -> None: ...


@dataclass
class Bench:
    """Tenants' YAML in ``folder``, and what it is applied to."""

    folder: Path
    edges: FakeEdges
    environ: dict[str, str] = field(default_factory=dict)
    pace: Pace = PACE

    @property
    def marathon(self) -> FakeMarathon:
        return self.edges.fake_marathon

    @property
    def scheduler(self) -> FakeScheduler:
        return self.edges.fake_scheduler

    def write(self, name: str, **fields: Any) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump({**PLAIN, **fields}))

    def remove(self, name: str) -> None:
        (self.folder / f"{name}.yaml").unlink()

    def plan(self, *only: str) -> Prepared:
        return prepare(self.edges, read_tenants(self.folder, "localhost"), self.environ, only or None)

    def apply(self, *only: str, crew: Crew | None = None) -> dict[str, Done]:
        prepared = self.plan(*only)
        done = run(self.edges, prepared, crew or Crew(8), Silent(), self.pace)
        return {one.tenant: one for one in done}

    def app(self, tenant: str) -> Any:
        return self.marathon.masters()[tenant].document
