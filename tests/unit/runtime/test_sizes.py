"""Agents get the size that their job's history says, within bounds, and in doubt what their template gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from framework.catalog.matching import Chosen
from framework.catalog.parts import AgentParts, agent_parts
from framework.core.ids import TenantName
from framework.errors import UnavailableError
from framework.runtime.telemetry import sizes
from framework.runtime.telemetry.sizes import SizeKeeper
from framework.telemetry.records import BuildRecord
from framework.telemetry_ports import BuildPage, BuildQuery
from framework.telemetry_settings import SizingSettings
from tests.fakes.clockwork import ManualClock, eventually
from tests.fakes.driving import SeededChance
from tests.fakes.templates import fixed_templates
from tests.unit.telemetry.past import DAY_MS, NOW_MS, past_build

PAYMENTS = TenantName("payments")
JOB = "payments/nightly"


class Past:
    """A history that has these builds, of whatever is asked."""

    def __init__(self) -> None:
        self.builds_held: list[BuildRecord] = []
        self.asked: list[BuildQuery] = []
        self.away = False
        self.unreadable = ""

    def builds(self, query: BuildQuery) -> BuildPage:
        self.asked.append(query)
        if self.away:
            raise UnavailableError("it is away")
        if query.job == self.unreadable:
            raise ValueError("a record that nobody can read")
        return BuildPage(self.builds_held, None)


class Sizing:
    def __init__(self, **given: Any) -> None:
        self.past = Past()
        self.clock = ManualClock(NOW_MS / 1000)
        self.settings = SizingSettings(apply=True, **given)
        self.keeper = SizeKeeper(self.settings, self.past.builds, self.clock, SeededChance())

    def asks(self, label: str = "maven", job: str = JOB, tenant: TenantName = PAYMENTS) -> tuple[int, int]:
        """CPUs and memory of an agent."""
        found = self.sized(label, job, tenant)
        change, before = found.template.resources - parts(label).template.resources, parts(label).spec
        assert change.cpu_millis == found.spec.cpu_millis - before.cpu_millis
        assert change.mem_mib == found.spec.mem_mib - before.mem_mib
        return found.spec.cpu_millis, found.spec.mem_mib

    def sized(self, label: str = "maven", job: str = JOB, tenant: TenantName = PAYMENTS) -> AgentParts:
        return self.keeper.size(tenant, job, parts(label))

    async def looked(self, count: int = 1) -> None:
        await eventually(lambda: len(self.past.asked) >= count)
        await asyncio.sleep(0)
        await eventually(lambda: bool(self.clock.sleeping_s()))


def parts(label: str) -> AgentParts:
    overrides = {"mem_mib_max": 6000, "cpus_max": 8}
    templates = fixed_templates(
        maven={"cpus": 2, "mem_mib": 4096, "overrides": overrides},
        free={"cpus": 2, "mem_mib": 4096},
        spared={"cpus": 2, "mem_mib": 4096, "spares": 1},
        pool={"cpus": 2, "mem_mib": 4096, "lifetime": "pooled"},
        pair={"cpus": 1, "mem_mib": 1024, "containers": [{"name": "db", "image": "db", "cpus": 1, "mem_mib": 512}]},
    )
    chosen = templates.catalog.match(label, PAYMENTS)
    assert isinstance(chosen, Chosen)
    return agent_parts(chosen, PAYMENTS, label)


def good(count: int = 60, **given: Any) -> list[BuildRecord]:
    """Builds that say 1216 MiB and 500 thousandths of a CPU."""
    return [past_build(n, **{"peak_mem_mib": 1000.0, "used_cpu_ms": 30_000} | given) for n in range(count)]


@pytest.fixture
async def sizing() -> AsyncIterator[Sizing]:
    made = Sizing()
    running = asyncio.create_task(made.keeper.run())
    yield made
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()


async def test_the_first_build_gets_what_its_template_gives_and_the_next_what_the_history_says(sizing: Sizing) -> None:
    sizing.past.builds_held = good()
    assert sizing.asks() == (2000, 4096)
    await sizing.looked()
    [query] = sizing.past.asked
    assert (query.tenant, query.job, query.template) == (PAYMENTS, JOB, "maven")
    found = sizing.sized()
    assert (found.spec.cpu_millis, found.spec.mem_mib) == (500, 1216)
    assert found.template.kind == parts("maven").template.kind
    assert found.template.version.startswith(f"{parts('maven').template.version}~")
    assert found.template.sized is not None
    assert (found.template.sized.job, found.template.sized.cpu_millis, found.template.sized.mem_mib) == (
        JOB,
        2000,
        4096,
    )
    assert sizing.sized(job="another").template == parts("maven").template


async def test_looks_again_as_soon_as_a_job_has_been_built_often_enough(sizing: Sizing) -> None:
    sizing.past.builds_held = good(57)
    sizing.asks()
    await sizing.looked()
    sizing.past.builds_held = good(59)
    for told in ({"result_class": "failed"}, {"peak_mem_mib": 1000.0}, {"peak_mem_mib": 1000.0}):
        assert len(sizing.past.asked) == 1
        sizing.keeper.told(past_build(0, **told))
        await asyncio.sleep(0.01)
    sizing.clock.advance(sizes.TOLD_S + 0.1)
    await sizing.looked(2)
    assert sizing.asks() == (500, 1216)


async def test_stays_within_bounds(sizing: Sizing) -> None:
    sizing.past.builds_held = good(peak_mem_mib=10.0, used_cpu_ms=10)
    sizing.asks()
    await sizing.looked()
    assert sizing.asks() == (500, 1024)  # a quarter
    sizing.past.builds_held = good(peak_mem_mib=9000.0, limit_mem_mib=16_000, used_cpu_ms=600_000)
    sizing.asks("free")
    await sizing.looked(2)
    assert sizing.asks("free") == (4000, 8192)  # twice
    sizing.clock.advance(1000)
    await sizing.looked(3)
    assert sizing.asks() == (4000, 6000)  # the most that the template lets a job have


async def test_what_a_label_names_stays_and_what_serves_anybody(sizing: Sizing) -> None:
    sizing.past.builds_held = good()
    labels = ["maven && mem_mib=3000", "maven && cpus=1", "spared", "pool"]
    for _ in range(2):
        found = [sizing.asks(label, job="j") for label in labels]
        await sizing.looked(3)
    assert found == [(500, 3000), (1000, 1216), (2000, 4096), (2000, 4096)]


async def test_only_the_container_that_builds_is_sized(sizing: Sizing) -> None:
    sizing.past.builds_held = good(peak_mem_mib=500.0)
    sizing.asks("pair")
    await sizing.looked()
    found = sizing.sized("pair")
    before = parts("pair").template.resources
    assert found.spec.mem_mib == 640
    assert found.template.resources.mem_mib == before.mem_mib - 1024 + 640


async def test_after_a_kill_for_memory_the_next_gets_the_templates_size_or_more_at_once(sizing: Sizing) -> None:
    sizing.past.builds_held = good()
    sizing.asks()
    await sizing.looked()
    assert sizing.asks() == (500, 1216)
    sizing.keeper.told(past_build(0, result_class="oom", limit_mem_mib=1216, template_version="v~1"))
    assert sizing.asks() == (500, 4096)
    sizing.keeper.told(past_build(0, result_class="oom", limit_mem_mib=4096))
    assert sizing.asks("free") == (2000, 4096)  # another template's history
    assert sizing.asks() == (500, 6000)
    sizing.clock.advance(sizes.SETTLE_S - 1)  # the history may not have them yet
    assert sizing.asks() == (500, 6000)


async def test_a_scheduler_that_starts_knows_what_was_killed(sizing: Sizing) -> None:
    sizing.past.builds_held = [past_build(n, result_class="oom", limit_mem_mib=2048) for n in range(3)]
    sizing.asks()
    await sizing.looked()
    assert sizing.asks() == (2000, 4096)
    sizing.past.builds_held = [past_build(n, result_class="oom", limit_mem_mib=4096) for n in range(3)]
    sizing.clock.advance(1000)
    await sizing.looked(2)
    assert sizing.asks() == (2000, 6000)


@pytest.mark.parametrize("failed", [{"result": "FAILURE"}, {"result_class": "failed"}, {"result_class": "timeout"}])
async def test_one_that_failed_with_its_own_size_gets_the_templates_for_a_while(
    sizing: Sizing, failed: dict[str, Any]
) -> None:
    """A JVM that takes a part of what it sees fails by itself where that is too little."""
    sizing.past.builds_held = good()
    sizing.asks()
    await sizing.looked()
    sizing.keeper.told(past_build(0, template_version="v", **failed))  # with the template's
    assert sizing.asks() == (500, 1216)
    sizing.keeper.told(past_build(0, template_version="v~1", **failed))
    assert sizing.asks() == (2000, 4096)
    sizing.clock.advance(DAY_MS / 1000 + 1)
    assert sizing.asks() == (500, 1216)
    twice = [past_build(n, template_version="v~1", **failed) for n in range(2)]
    sizing.past.builds_held = [*twice, *good()]
    await sizing.looked(2)
    assert sizing.asks() == (2000, 4096)  # for two days now


async def test_only_tenants_that_are_named_are_served() -> None:
    sizing = Sizing(tenants=["games"])
    sizing.asks()
    sizing.asks(tenant=TenantName("games"))
    running = asyncio.create_task(sizing.keeper.run())
    await sizing.looked()
    running.cancel()
    assert [query.tenant for query in sizing.past.asked] == ["games"]


async def test_a_history_that_is_away_changes_nothing(sizing: Sizing) -> None:
    sizing.past.away = True
    assert sizing.asks() == (2000, 4096)
    await sizing.looked()
    assert sizing.asks() == (2000, 4096)
    sizing.past.away, sizing.past.builds_held = False, good()
    sizing.clock.advance(sizes.BASE_S + 1)
    await sizing.looked(2)
    assert sizing.asks() == (500, 1216)


async def test_only_so_many_jobs_are_remembered(sizing: Sizing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MAX_JOBS", 10)
    for number in range(100):
        sizing.asks(job=f"job-{number}")
    await sizing.looked()
    assert sizing.past.asked[0].job == "job-90"


async def test_very_long_names_are_asked_for_as_they_are_kept(sizing: Sizing) -> None:
    sizing.past.builds_held = good()
    sizing.asks(job="x" * 32_000)
    await sizing.looked()
    assert len(sizing.past.asked[0].job or "") == 256


async def test_a_job_that_cannot_be_looked_at_keeps_no_other_from_its_size(sizing: Sizing) -> None:
    sizing.past.builds_held, sizing.past.unreadable = good(), "unreadable"
    sizing.asks(job="unreadable")
    sizing.asks()
    await sizing.looked()
    sizing.clock.advance(sizes.BASE_S)
    await sizing.looked(2)
    assert (sizing.asks(), sizing.asks(job="unreadable")) == ((500, 1216), (2000, 4096))
