"""Builds as they come by in a company: drawn, so that a number always gives the same build."""

from __future__ import annotations

import random
from collections.abc import Iterator

from framework.core.stories import Stage
from framework.telemetry.figures import figures
from framework.telemetry.records import RECORD_VERSION, BuildRecord, ChangeRecord

TENANTS = 2000
JOBS = 20
"""Of each tenant."""
LABELS = (
    "maven",
    "maven-large",
    "gradle",
    "node",
    "python",
    "go",
    "docker",
    "android",
    "ios",
    "gpu",
    "integration",
    "",
)
HOSTS = 317
CLASSES = ("passed",) * 88 + ("failed",) * 8 + ("oom", "timeout", "cancelled", "infrastructure")
STAGES = (Stage.WAITING, Stage.PREPARING, Stage.STARTING, Stage.CONNECTING, Stage.BUILDING)
CHANGES = len(STAGES) + 1
"""Of each build: these, and that it ended."""


def build_id(number: int) -> str:
    return f"{number:016d}"


def drawn(number: int, ended_at_ms: int) -> BuildRecord:
    """The few large tenants have most of the builds."""
    chance = random.Random(number)
    tenant = int(TENANTS * chance.random() ** 3)
    job = int(JOBS * chance.random() ** 2)
    label = LABELS[(tenant + job % 3) % len(LABELS)]  # of which a tenant uses three
    result_class = CLASSES[int(chance.random() * len(CLASSES))]
    wait_ms = int(1500 + chance.expovariate(1 / 8000))
    run_ms = int(10_000 + chance.expovariate(1 / 240_000))
    started = ended_at_ms - run_ms
    connected = started - 40
    mem_mib = (512, 1024, 2048, 4096, 8192)[job % 5]
    used_cpu_ms, peak_mem_mib = int(run_ms * chance.random()), round(mem_mib * chance.random(), 1)
    return BuildRecord(
        id=build_id(number),
        at_ms=ended_at_ms,
        v=RECORD_VERSION,
        tenant=f"team-{tenant:04d}",
        job=f"product-{tenant:04d}/service-{job:02d}",
        source="jenkins",
        result_class=result_class,
        attempts=1,
        asked_cpu_millis=1000,
        asked_mem_mib=mem_mib,
        asked_disk_mib=4096,
        queued_at_ms=connected - wait_ms,
        ended_at_ms=ended_at_ms,
        queue_item=number,
        label=label,
        template=label or "maven",
        template_version="3f2a9c11",
        host=f"host-{int(chance.random() * HOSTS):03d}",
        image="registry.example.com/build/maven:3.9",
        used_cpu_ms=used_cpu_ms,
        peak_mem_mib=peak_mem_mib,
        claimed_at_ms=connected - wait_ms + 20,
        launched_at_ms=connected - wait_ms + 60,
        running_at_ms=connected - 900,
        connected_at_ms=connected,
        started_at_ms=started,
        wait_ms=wait_ms,
        **figures(1000, mem_mib, peak_mem_mib, run_ms),
        result="SUCCESS" if result_class == "passed" else "FAILURE",
        message="" if result_class == "passed" else "script returned exit code 1",
        build_url=f"job/product-{tenant:04d}/job/service-{job:02d}/{number}/",
        isolation="docker",
        cost_micros=run_ms * mem_mib // 1000,
        currency="EUR",
        price="on-demand",
    )


def changes_of(build: BuildRecord) -> Iterator[ChangeRecord]:
    times = (build.queued_at_ms, build.claimed_at_ms, build.launched_at_ms, build.running_at_ms, build.started_at_ms)
    for stage, at_ms in zip(STAGES, times, strict=True):
        yield _change(build, stage, at_ms or build.queued_at_ms)
    yield _change(build, Stage.ENDED, build.at_ms, build.result_class, build.message)


def _change(build: BuildRecord, stage: Stage, at_ms: int, result_class: str = "", message: str = "") -> ChangeRecord:
    return ChangeRecord(
        id=f"{build.id}.1.{stage}",
        at_ms=at_ms,
        v=RECORD_VERSION,
        build=build.id,
        tenant=build.tenant,
        state=stage,
        attempt=1,
        host="" if stage in STAGES[:1] else build.host,
        result_class=result_class,
        message=message,
    )
