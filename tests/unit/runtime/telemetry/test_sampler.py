"""Samples of the cluster and of tenants, and what builds waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from framework.core import events as ev
from framework.core.ids import TenantName
from framework.core.resources import Resources
from framework.runtime.telemetry import sampler as sampler_module
from framework.runtime.telemetry.sampler import FIRST_S, Sampler
from tests.fakes.clockwork import eventually
from tests.unit.core.rig import SMALL, TEAM
from tests.unit.runtime.telemetry.recording import RecordedRig

OTHER = TenantName("other")
TOO_LARGE = Resources(3990, 1024)


@pytest.fixture
def rig(tmp_path: Path) -> RecordedRig:
    return RecordedRig(tmp_path)


def sampler_of(rig: RecordedRig) -> Sampler:
    assert rig.recorder is not None
    return Sampler(rig.state, rig.recorder, 30.0, rig.clock)


async def test_a_sample_of_the_cluster_and_one_of_each_tenant_with_demand(rig: RecordedRig) -> None:
    rig.tenant(OTHER)
    rig.running()
    rig.submit(TOO_LARGE)
    sampler = sampler_of(rig)
    await sampler.sample()
    cluster, team = (await rig.flushed()).samples()
    assert (cluster.scope, cluster.tenant, team.scope, team.tenant) == ("cluster", "", "tenant", TEAM)
    for each in (cluster, team):
        assert (each.waiting, each.running, each.used_cpu_millis, each.used_mem_mib) == (1, 1, 500, 1024)
        assert sum(each.reasons.values()) == 1
    assert (cluster.hosts, cluster.tenants, cluster.total_cpu_millis, cluster.breakers) == (2, 2, 8000, 0)
    assert (cluster.dominant_share, team.hosts) == (None, None)
    assert team.fair_share == 1.0
    assert (cluster.id, team.id) == (f"{cluster.at_ms}~", f"{cluster.at_ms}~{TEAM}")
    assert sampler.use is not None
    assert [use.tenant.name for use in sampler.use.tenants] == [OTHER, TEAM]
    assert sampler.use.reasons == {TEAM: team.reasons}


async def test_what_a_build_waited_for_most_is_in_its_record(rig: RecordedRig) -> None:
    request = rig.submit(SMALL)
    sampler = sampler_of(rig)
    await sampler.sample()
    rig.send(ev.Disconnected("gone"))
    for _ in range(2):
        rig.now += 30
        await sampler.sample()
    other = rig.submit(SMALL)
    rig.send(*(ev.CancelAsked(each.id, "no") for each in (request, other)))
    builds = {build.id: build.waited_for for build in (await rig.flushed()).builds()}
    assert builds == {request.id: "disconnected", other.id: ""}


async def test_it_samples_as_often_as_it_is_told_and_outlives_its_faults(
    rig: RecordedRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sampler = sampler_of(rig)
    running = asyncio.create_task(sampler.run())
    await eventually(rig.clock.sleeping_s, "its wait")
    assert rig.clock.sleeping_s() == [FIRST_S]
    with monkeypatch.context() as patched:
        patched.setattr(sampler_module, "tenant_uses", lambda _: 1 / 0)
        rig.clock.advance(FIRST_S)
        await eventually(rig.clock.sleeping_s, "its next wait")
    assert sampler.use is None
    assert "telemetry is at fault" in caplog.text
    rig.clock.advance(30)
    await eventually(lambda: sampler.use, "a sample")
    sampler.stop()
    await asyncio.wait_for(running, 20)
