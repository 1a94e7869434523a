"""What the API asks of the runtime."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import pytest

from agents.shared import SHARED_EXECUTOR_ID
from framework.core.effects import Kill
from framework.core.events import HostsObserved
from framework.core.ids import RequestId, TenantName, task_id
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, Tenant
from framework.core.templates import Template
from framework.errors import IdempotencyConflictError, InputError, UnavailableError
from framework.ports import FileChunk, JobQuery
from framework.runtime import loop
from framework.tokens import token_sha256
from tests.fakes import samples
from tests.fakes.clockwork import eventually, quiet
from tests.unit.runtime.conftest import Rig

NONE = RequestId("none")


async def test_an_unknown_tenant_is_refused(ready: Rig) -> None:
    with pytest.raises(InputError, match="no tenant 'other'"):
        await ready.control.submit(samples.submission(tenant=TenantName("other")))


async def test_resources_beyond_every_host_are_refused_with_the_largest_named(ready: Rig) -> None:
    template = Template(Resources(17_000, 62_000, 0))
    with pytest.raises(InputError) as refused:
        await ready.control.submit(samples.submission(template=template))
    assert {fault.where for fault in refused.value.faults} == {"cpu_millis", "mem_mib"}
    assert all("host-1" in fault.message for fault in refused.value.faults)
    assert ready.store.requests(JobQuery()) == []


async def test_too_many_waiting_are_refused(ready: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ready.scheduler.loop.state
    monkeypatch.setattr(type(state), "waiting", lambda _: state.config.max_waiting)
    with pytest.raises(UnavailableError, match="wait already"):
        await ready.submit()


async def test_too_many_submissions_at_once_are_refused(ready: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "MAX_PENDING_SUBMISSIONS", 3)
    asked = await asyncio.gather(*(ready.submit() for _ in range(5)), return_exceptions=True)
    assert [isinstance(answer, UnavailableError) for answer in asked] == [False] * 3 + [True] * 2


async def test_a_repeat_is_the_first_one_again_and_another_body_a_conflict(ready: Rig) -> None:
    first = await ready.control.submit(samples.submission(idempotency_key="k", digest="d"))
    again = await ready.control.submit(samples.submission(idempotency_key="k", digest="d"))
    assert again.id == first.id
    assert ready.control.health().waiting == 1
    with pytest.raises(IdempotencyConflictError):
        await ready.control.submit(samples.submission(idempotency_key="k", digest="other"))


async def test_a_repeat_is_the_first_one_also_where_it_would_now_be_refused(
    ready: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ready.control.submit(samples.submission(idempotency_key="k", digest="d"))
    state = ready.scheduler.loop.state
    monkeypatch.setattr(type(state), "waiting", lambda _: state.config.max_waiting)
    ready.driver.tell(HostsObserved((msgspec.structs.replace(samples.HOST, total=Resources(1, 1, 1)),)))
    await eventually(lambda: ready.control.hosts()[0].host.total.mem_mib == 1, "the smaller host")
    assert (await ready.control.submit(samples.submission(idempotency_key="k", digest="d"))).id == first.id
    with pytest.raises(IdempotencyConflictError):
        await ready.control.submit(samples.submission(idempotency_key="k", digest="other"))
    with pytest.raises(InputError):
        await ready.control.submit(samples.submission(idempotency_key="k2", digest="d"))


async def test_cancel_of_what_waits_runs_has_ended_or_never_was(ready: Rig) -> None:
    (waits,) = await ready.submit()
    cancelled = await ready.control.cancel(waits, "by somebody")
    assert cancelled is not None
    assert cancelled.outcome is not None
    assert (cancelled.state, cancelled.outcome.message) == ("ended", "by somebody")
    runs, task = await ready.run_one()
    ending = await ready.control.cancel(runs, "by somebody")
    assert ending is not None
    assert ending.state == "ending"
    await eventually(lambda: ready.calls(Kill))
    assert ready.calls(Kill) == [Kill(task, samples.HOST.id, 10.0)]
    await ready.update(task, "TASK_KILLED", FailureClass.CANCELLED)
    assert await ready.state_of(runs) == "ended"
    assert await ready.control.cancel(runs, "again") == await ready.control.request(runs)
    assert await ready.control.cancel(NONE, "x") is None


async def test_wait_returns_when_it_has_ended(ready: Rig) -> None:
    request_id, task = await ready.run_one()
    waits = [asyncio.create_task(ready.control.wait(request_id, 1000.0)) for _ in range(3)]
    await quiet(3)
    assert not any(wait.done() for wait in waits)
    await ready.update(task, "TASK_FINISHED", FailureClass.PASSED)
    assert {request.state for request in await asyncio.gather(*waits) if request} == {"ended"}
    again = await ready.control.wait(request_id, 1000.0)
    assert again is not None
    assert again.state == "ended"
    assert await ready.control.wait(NONE, 1000.0) is None


async def test_wait_returns_it_as_it_is_when_the_time_is_over(ready: Rig) -> None:
    request_id, _ = await ready.run_one()
    waiting = asyncio.create_task(ready.control.wait(request_id, 30.0))
    await quiet(3)
    ready.clock.advance(30.0)
    request = await waiting
    assert request is not None
    assert request.state == "running"
    assert ready.scheduler.loop._ended == {}


async def test_an_end_that_is_not_saved_yet_is_not_told(ready: Rig) -> None:
    request_id, task = await ready.run_one()
    ready.store.hold = threading.Event()
    tried = ready.store.tried
    ready.tell(task, "TASK_FINISHED", FailureClass.PASSED)
    await eventually(lambda: ready.store.tried > tried)
    waiting = asyncio.create_task(ready.control.wait(request_id, 1000.0))
    await quiet(5)
    assert not waiting.done()
    ready.store.hold.set()
    request = await waiting
    assert request is not None
    assert request.state == "ended"


async def test_why_of_what_waits_and_of_what_does_not(ready: Rig) -> None:
    (request_id,) = await ready.submit()
    why = ready.control.why(request_id)
    assert why is not None
    assert why.summary
    await ready.control.cancel(request_id, "enough")
    assert ready.control.why(request_id) is None
    assert ready.control.why(NONE) is None


async def test_a_new_tenant_gets_a_token_once_and_a_new_one_when_asked(ready: Rig) -> None:
    new = TenantName("new")
    token = await ready.control.set_tenant(samples.tenant(new), new_token=False)
    assert token is not None
    assert ready.control.token_sha256(new) == token_sha256(token)
    assert await ready.control.set_tenant(samples.tenant(new, 5), new_token=False) is None
    assert ready.control.token_sha256(new) == token_sha256(token)
    other = await ready.control.set_tenant(samples.tenant(new, 5), new_token=True)
    assert other not in (None, token)
    assert ready.control.token_sha256(new) == token_sha256(str(other))
    assert ready.control.token_sha256(TenantName("none")) is None
    assert {use.tenant.name: use.tenant.weight for use in ready.control.tenants()} == {"team": 100, "new": 5}


async def test_files_of_the_newest_and_of_an_earlier_attempt(ready: Rig) -> None:
    request_id, first = await ready.run_one()
    ready.cluster.files[first, "build.log"] = b"first attempt"
    assert await ready.control.read_file(request_id, "build.log", 6, 3) == FileChunk(6, b"att", ended=False)
    assert await ready.control.read_file(request_id, "build.log", -1, 0) == FileChunk(13, b"", ended=False)
    await ready.update(first, "TASK_LOST")
    ready.clock.advance(60.0)
    await quiet(3)
    await ready.offer()
    second = (await ready.launched(2))[-1]
    assert second == task_id(request_id, 2)
    ready.cluster.files |= {(second, "build.log"): b"second", (second, "artifacts/a.xml"): b"<a/>"}
    assert await ready.control.read_file(request_id, "build.log", 0, 100) == FileChunk(0, b"second", ended=False)
    earlier = await ready.control.read_file(request_id, "build.log", 0, 5, attempt=1)
    assert earlier == FileChunk(0, b"first", ended=True)
    assert await ready.control.list_artifacts(request_id) == [("a.xml", 4)]
    await ready.update(second, "TASK_FINISHED", FailureClass.PASSED)
    assert await ready.control.read_file(request_id, "build.log", 0, 100) == FileChunk(0, b"second", ended=True)


async def test_files_of_a_build_that_shares_its_mesos_executor(ready: Rig) -> None:
    shared = samples.submission(template=msgspec.structs.replace(samples.TEMPLATE, shared=True))
    request = await ready.control.submit(shared)
    await ready.offer()
    (task,) = await ready.launched()
    folder = f"builds/{task}"
    shared_id = f"{SHARED_EXECUTOR_ID}~{samples.HOST.id}"
    ready.cluster.files |= {
        (shared_id, f"{folder}/build.log"): b"one of many",
        (shared_id, f"{folder}/artifacts/a.xml"): b"<a/>",
        (shared_id, "builds/other/artifacts/b.xml"): b"<b/>",
    }
    assert (await ready.control.read_file(request.id, "build.log", 0, 100)).data == b"one of many"
    assert await ready.control.list_artifacts(request.id) == [("a.xml", 4)]


async def test_files_that_there_are_none_of(ready: Rig) -> None:
    with pytest.raises(FileNotFoundError, match="no build none"):
        await ready.control.read_file(NONE, "build.log", 0, 10)
    (waits,) = await ready.submit()
    with pytest.raises(FileNotFoundError, match="not started"):
        await ready.control.read_file(waits, "build.log", 0, 10)
    await ready.control.cancel(waits, "enough")
    with pytest.raises(FileNotFoundError, match="no attempt 0"):
        await ready.control.list_artifacts(waits)
    runs, _ = await ready.run_one()
    with pytest.raises(FileNotFoundError, match="no attempt 7"):
        await ready.control.read_file(runs, "build.log", 0, 10, attempt=7)
    with pytest.raises(FileNotFoundError):
        await ready.control.read_file(runs, "none.log", 0, 10)


async def test_files_of_a_host_that_is_away(ready: Rig) -> None:
    request_id, _ = await ready.run_one()
    ready.driver.tell(HostsObserved(()))
    await eventually(lambda: not ready.control.hosts())
    with pytest.raises(UnavailableError, match="host-1"):
        await ready.control.read_file(request_id, "build.log", 0, 10)


async def test_what_was_submitted_is_told_without_secrets_once_it_has_ended(ready: Rig) -> None:
    request = await ready.control.submit(samples.submission(spec=samples.spec(secrets={"T": "hunter2hunter2"})))
    assert await ready.control.spec(request.id) == samples.spec(secrets={"T": "hunter2hunter2"})
    await ready.control.cancel(request.id, "enough")
    assert await ready.control.spec(request.id) == samples.spec()


async def test_attempts_and_lists_come_from_what_is_saved(ready: Rig) -> None:
    request_id, task = await ready.run_one()
    assert [attempt.id for attempt in await ready.control.attempts(request_id)] == [task]
    assert [request.id for request in await ready.control.requests(JobQuery(states=("running",)))] == [request_id]


async def test_a_tenant_is_given_no_role_whose_offers_never_come(ready: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    state = ready.scheduler.loop.state
    monkeypatch.setattr(state, "config", msgspec.structs.replace(state.config, roles=("builds",)))
    with pytest.raises(InputError, match="silver is none of mesos"):
        await ready.control.set_tenant(Tenant(TenantName("new"), role="silver"), new_token=False)
    assert ready.control.token_sha256(TenantName("new")) is None
