"""What is saved becomes records: one of each build, one of each change."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from framework.core import events as ev
from framework.core.effects import SaveRequest
from framework.core.origin import Origin
from framework.core.resources import Resources
from framework.core.tasks import SPARES, FailureClass, Outcome, RequestState
from framework.core.templates import Lifetime
from framework.runtime.telemetry import recorder as recorder_module
from framework.telemetry.records import BuildRecord, ChangeRecord
from tests.unit.core.rig import SMALL, T0, TEAM
from tests.unit.runtime.telemetry.recording import RecordedRig

ENDED = Outcome(FailureClass.OOM, "it had to be killed", 137, None, 9.0, 4.25, 1020.5, 1024, 33.0, "mesos")


@pytest.fixture
def rig(tmp_path: Path) -> RecordedRig:
    return RecordedRig(tmp_path)


def steps(changes: list[ChangeRecord], attempt: int = 1) -> list[tuple[str, float]]:
    """State and seconds since the begin."""
    return [(each.state, each.at_ms / 1000 - T0) for each in changes if each.attempt == attempt]


async def test_a_job_from_its_submission_to_its_end(rig: RecordedRig) -> None:
    request = rig.submit(SMALL, name="java", version="v7", image="maven:3")
    rig.now += 5
    rig.offer()
    task = rig.task(request)
    rig.now += 1
    rig.update(task, "TASK_RUNNING")
    rig.now += 9
    rig.send(ev.TaskUpdate(task.id, "TASK_FAILED", task.host_id, uuid=b"u", outcome=ENDED))
    builds, changes = await rig.told()
    assert steps(changes) == [
        ("waiting", pytest.approx(0, abs=0.01)), ("starting", 5), ("building", 6), ("ended", 15),
    ]  # fmt: skip
    assert [change.id for change in changes] == [f"{request.id}.1.{change.state}" for change in changes]
    assert (changes[-1].result_class, changes[-1].host, changes[0].host) == ("oom", request.hostname, "")
    (build,) = builds
    at = round(T0 * 1000)
    assert build == BuildRecord(
        id=request.id,
        at_ms=at + 15_000,
        v=1,
        tenant=TEAM,
        job="job",
        source="api",
        result_class="oom",
        attempts=1,
        asked_cpu_millis=500,
        asked_mem_mib=1024,
        asked_disk_mib=0,
        queued_at_ms=at,
        ended_at_ms=at + 15_000,
        template="java",
        template_version="v7",
        host=request.hostname,
        image="maven:3",
        used_cpu_ms=4250,
        peak_mem_mib=1020.5,
        limit_mem_mib=1024,
        peak_disk_mib=33.0,
        claimed_at_ms=at + 5000,
        launched_at_ms=at + 5000,
        running_at_ms=at + 6000,
        started_at_ms=at + 6000,
        wait_ms=6000,
        run_ms=9000,
        asked_cpu_ms=4500,
        asked_mem_mib_s=9216,
        peak_mem_mib_s=9184,
        message=build.message,
        exit_code=137,
        isolation="mesos",
        cost_micros=10 * 500,
        currency="EUR",
        price="all",
    )
    assert build.message.startswith("it needed more memory than it has, which is 1024 MiB")
    assert rig.metrics.counted().ended == {(TEAM, "oom"): 1}


async def test_an_agent_of_jenkins(rig: RecordedRig) -> None:
    request = rig.item()
    side = rig.side(request)
    side.task = "part of payments #7"
    rig.now += 2
    rig.offer()
    rig.now += 1
    rig.ready(request)
    task = rig.task(request)
    for event in ("TASK_RUNNING", ev.AgentOnline(task.id), "accept", "served", "TASK_KILLED"):
        rig.now += 1
        if event == "accept":
            rig.accept(task, request)
            rig.send(ev.BuildTold(task.id, "job/payments/7/", None))
        elif event == "served":
            rig.send(ev.BuildTold(task.id, "job/payments/7/", "UNSTABLE"))
            rig.send(ev.AgentServed(task.id))
        elif isinstance(event, str):
            rig.update(task, event, FailureClass.CANCELLED if event == "TASK_KILLED" else None)
        else:
            rig.send(event)
    builds, changes = await rig.told()
    assert [(state, round(at)) for state, at in steps(changes)] == [
        ("waiting", 0), ("preparing", 2), ("starting", 3), ("connecting", 4), ("online", 5), ("building", 6),
        ("ending", 7), ("ended", 8),
    ]  # fmt: skip
    (build,) = builds
    assert (build.job, build.title, build.source) == ("payments", "part of payments #7", "jenkins")
    assert (build.result_class, build.result, build.message) == ("passed", "UNSTABLE", "")
    assert (build.queue_item, build.label, build.build_url) == (1, "maven", "job/payments/7/")
    assert (build.wait_ms, build.run_ms, build.cost_micros) == (5000, 1000, 5 * 500)
    assert build.connected_at_ms is not None
    assert build.started_at_ms == build.connected_at_ms + 1000


async def test_attempts_that_were_lost_are_paid_for_too(rig: RecordedRig) -> None:
    request, task = rig.running()
    rig.now += 10
    rig.update(task, "TASK_LOST")
    rig.now += 60
    rig.offer()
    rig.send(ev.Tick())
    again = rig.task(request)
    begun_at = rig.now
    rig.update(again, "TASK_RUNNING")
    rig.now += 4
    rig.update(again, "TASK_FINISHED", FailureClass.PASSED)
    builds, changes = await rig.told()
    (build,) = builds
    assert (build.attempts, build.losses, build.cost_micros) == (2, 1, 14 * 500)
    assert build.launched_at_ms == round(begun_at * 1000)
    assert [state for state, _ in steps(changes, 1)] == ["waiting", "starting", "building", "ended"]
    assert [state for state, _ in steps(changes, 2)] == ["waiting", "starting", "building", "ended"]
    assert [each.result_class for each in changes if each.state == "ended"] == ["infrastructure", "passed"]
    assert rig.metrics.counted().attempts == {"infrastructure": 1, "passed": 1}


async def test_one_that_never_had_an_attempt(rig: RecordedRig) -> None:
    request = rig.item()
    rig.now += 3
    rig.offer()
    rig.send(ev.CancelAsked(request.id, "not wanted"))
    builds, changes = await rig.told()
    (build,) = builds
    assert (build.result_class, build.message, build.attempts) == ("cancelled", "not wanted", 0)
    assert (build.launched_at_ms, build.wait_ms, build.run_ms) == (None, None, None)
    assert build.claimed_at_ms == round(rig.now * 1000)
    assert [state for state, _ in steps(changes)] == ["waiting", "preparing", "ended"]


async def test_where_a_webhook_brought_it(rig: RecordedRig) -> None:
    request = rig.request()
    request.origin = Origin("shop", "acme/shop", "6113728", "main", "d-1")
    rig.send(ev.Submitted(request), ev.CancelAsked(request.id, "no"))
    assert (await rig.build()).source == "webhook"


async def test_what_is_saved_after_its_end_is_not_told_again(rig: RecordedRig) -> None:
    request, task = rig.running()
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert rig.recorder is not None
    rig.recorder.saved([SaveRequest(request)], ())
    builds, changes = await rig.told()
    assert (len(builds), len(changes)) == (1, 4)


async def test_a_request_is_recorded_as_it_was_saved(rig: RecordedRig) -> None:
    request, task = rig.running()
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    request.outcome, request.hostname = Outcome(FailureClass.FAILED), "elsewhere"
    build = await rig.build()
    assert (build.result_class, build.host) != ("failed", "elsewhere")


async def test_a_fault_of_ours_fails_nobody_and_the_build_is_found_in_the_state(
    rig: RecordedRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(recorder_module, "build_record", lambda *_: 1 / 0)
        for _ in range(2):
            _, task = rig.running()
            rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert len([entry for entry in caplog.records if "telemetry is at fault" in entry.getMessage()]) == 1
    assert not (await rig.flushed()).builds()
    assert rig.spool.told_until < rig.now - 0.5 or rig.spool.told_until == T0


# Agents of pools.


async def test_each_build_of_a_pool_has_its_record_and_its_part_of_the_cost(rig: RecordedRig) -> None:
    request, task = rig.building(lifetime=Lifetime.POOLED, idle_s=300.0)
    rig.now += 10
    rig.send(ev.AgentServed(task.id))
    assert rig.metrics.counted().ended == {}, "its agent's idle time is yet to be known"
    rig.now += 20
    other = rig.item(lifetime=Lifetime.POOLED, idle_s=300.0)
    rig.now += 1
    rig.accept(task, other)
    assert other.state is RequestState.ENDED
    assert rig.metrics.counted().ended == {(TEAM, "passed"): 1}
    rig.now += 30
    rig.send(ev.BuildTold(task.id, "job/2/", "SUCCESS"))
    rig.send(ev.AgentServed(task.id))
    rig.now += 300
    rig.send(ev.Tick())
    rig.now += 1
    rig.look((task.id, False, True))
    rig.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    builds, changes = await rig.told()
    first, second = builds
    assert (first.id, second.id) == (f"{request.id}+1", f"{request.id}+2")
    assert (first.cost_micros, second.cost_micros) == (10 * 500, (21 + 30 + 301) * 500)
    assert (first.result_class, second.result_class) == ("passed", "passed")
    assert (first.run_ms, second.run_ms) == (10_000, 30_000)
    assert (second.queue_item, second.wait_ms, second.result, second.build_url) == (2, 1000, "SUCCESS", "job/2/")
    assert (first.launched_at_ms is None, second.launched_at_ms) == (False, None)
    assert (first.job, second.job) == ("job 1", "job 2")
    assert "idle" in {each.state for each in changes if each.build == request.id}
    assert [each.state for each in changes if each.build == other.id][-1] == "ended"


async def test_a_build_of_a_pool_that_is_broken_off_has_a_record_of_its_own(rig: RecordedRig) -> None:
    request, task = rig.building(lifetime=Lifetime.POOLED, idle_s=300.0)
    rig.send(ev.AgentServed(task.id))
    other = rig.item(lifetime=Lifetime.POOLED, idle_s=300.0)
    rig.accept(task, other)
    rig.now += 7
    rig.send(ev.TaskUpdate(task.id, "TASK_FAILED", task.host_id, uuid=b"u", outcome=ENDED))
    first, second = (await rig.flushed()).builds()
    assert (first.result_class, second.result_class) == ("passed", "oom")
    assert (second.id, second.run_ms, second.cost_micros) == (f"{request.id}+2", 7000, 7 * 500)


async def test_an_agent_of_a_pool_that_served_nothing_is_told_as_any_other(rig: RecordedRig) -> None:
    request, task = rig.online(lifetime=Lifetime.POOLED, idle_s=300.0)
    rig.send(ev.TaskUpdate(task.id, "TASK_FAILED", task.host_id, uuid=b"u", outcome=ENDED))
    assert (await rig.build()).id == request.id


async def test_spares_are_nobodys_builds(rig: RecordedRig) -> None:
    spare = rig.request(tenant=SPARES)
    rig.send(ev.Submitted(spare))
    rig.offer()
    task = rig.task(spare)
    rig.update(task, "TASK_RUNNING")
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert await rig.told() == ([], [])


# Names and prices.


async def test_a_name_of_32_kib_is_bounded_and_told_whole_beside(rig: RecordedRig) -> None:
    name = "ü" * 16_000
    for suffix in ("a", "b"):
        request = msgspec.structs.replace(rig.request(), job=name + suffix)
        rig.send(ev.Submitted(request), ev.CancelAsked(request.id, "x" * 5000))
    one, other = (await rig.flushed()).builds()
    assert one.job != other.job
    assert len(one.job.encode()) <= 256
    assert one.job[:100] == name[:100]
    assert len(one.title.encode()) == 32_000
    assert len(one.message) == 2000


async def test_without_prices_nothing_costs_anything(tmp_path: Path) -> None:
    rig = RecordedRig(tmp_path, prices=None)
    _, task = rig.running()
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    build = await rig.build()
    assert (build.cost_micros, build.currency, build.price, build.attempts) == (None, "", "", 1)


async def test_what_an_attempt_cost_on_a_host_that_is_gone_is_known(rig: RecordedRig) -> None:
    _, task = rig.running()
    rig.send(ev.HostsObserved(()))
    rig.now += 2
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert (await rig.build()).cost_micros == 1000


async def test_a_part_without_a_price_leaves_the_whole_without_one(rig: RecordedRig) -> None:
    rig.hosts = {
        name: msgspec.structs.replace(host, total=host.total + Resources(gpus=2)) for name, host in rig.hosts.items()
    }
    rig.send(ev.HostsObserved(tuple(rig.hosts.values())))
    _, task = rig.running(need=SMALL + Resources(gpus=1))
    rig.now += 2
    rig.update(task, "TASK_FINISHED", FailureClass.PASSED)
    build = await rig.build()
    assert (build.cost_micros, build.currency, build.asked_gpus) == (None, "EUR", 1)
    assert rig.metrics.counted().unpriced == {TEAM: 1}
