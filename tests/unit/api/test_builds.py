"""Builds from masters' queues and jobs alike."""

from __future__ import annotations

from framework.core.ids import RequestId, TenantName
from framework.core.jenkins import JenkinsSide, QueueItem
from framework.core.tasks import FailureClass, Request
from framework.jenkins_ports import MasterRecord, Unserved
from tests.fakes import samples
from tests.fakes.control import FakeControl
from tests.unit.api.conftest import Client

RED = TenantName("red")


async def queued(control: FakeControl, number: int = 7) -> Request:
    """A request of a queue item of red's master."""
    side = JenkinsSide(QueueItem(number, 1), "payments #3", "job/payments/3/", "maven && java", "maven java", 990.0)
    return await control.submit(samples.submission(tenant=RED, job="payments", jenkins=side))


async def test_a_list_has_what_became_of_queue_items_and_jobs(red: Client, control: FakeControl) -> None:
    control.masters[RED] = MasterRecord("http://red.example/", "u", "secret-token", "2.463", "s1")
    build = await queued(control)
    await control.submit(samples.submission(tenant=RED))
    control.run(build.id)
    assert build.jenkins is not None
    build.jenkins.online_at, build.jenkins.accepted_at, build.jenkins.result = 991.25, 992.0, "SUCCESS"
    response = await red("GET", "/v1/builds")
    assert response.status_code == 200
    job, found = response.json()["builds"]
    assert (job["jenkins"], job["stage"]) == (None, "waiting")
    assert (found["stage"], found["waited_s"], found["name"]) == ("building", 1.25, "payments")
    assert found["jenkins"]["url"] == "http://red.example/job/payments/3/"
    assert (found["jenkins"]["item"], found["jenkins"]["result"]) == (7, "SUCCESS")
    assert "secret-token" not in response.text


async def test_another_tenants_build_is_not_there(blue: Client, control: FakeControl) -> None:
    build = await queued(control)
    for path in (f"builds/{build.id}", f"builds/{build.id}/why", "tenants/red/queue", "tenants/red/queue/why?item=7"):
        assert (await blue("GET", f"/v1/{path}")).status_code == 404
    assert (await blue("GET", "/v1/builds?tenant=red")).status_code == 403
    assert (await blue("GET", "/v1/builds")).json()["builds"] == []


async def test_a_build_is_shown_with_its_attempts(red: Client, control: FakeControl) -> None:
    build = await queued(control)
    control.run(build.id)
    found = (await red("GET", f"/v1/builds/{build.id}")).json()
    assert found["build"]["stage"] == "connecting"
    assert [one["attempt"] for one in found["job"]["attempts"]] == [1]


async def test_why_it_waits(red: Client, control: FakeControl) -> None:
    build = await queued(control)
    for path in (f"/v1/builds/{build.id}/why", "/v1/tenants/red/queue/why?item=7"):
        found = (await red("GET", path)).json()
        assert (found["id"], found["stage"], found["for_s"]) == (build.id, "waiting", 2.5)
        assert found["why"]["blockers"] == ["quota of 4 builds"]


async def test_why_it_ended_with_the_last_lines_of_its_log(red: Client, control: FakeControl) -> None:
    build = await queued(control)
    control.run(build.id, b"".join(b"line %d\n" % n for n in range(2000)))
    control.end(build.id, FailureClass.OOM, exit_code=137)
    for path in (f"/v1/builds/{build.id}/why", "/v1/tenants/red/queue/why?item=7"):
        found = (await red("GET", path)).json()
        assert found["stage"] == "ended"
        assert found["summary"].startswith("oom: it needed more memory than it has, with a peak of 12 MiB")
        assert found["last_lines"] == [f"line {n}" for n in range(1990, 2000)]
        assert len(found["attempts"]) == 1


async def test_why_of_one_whose_host_keeps_no_log_any_more(red: Client, control: FakeControl) -> None:
    build = await queued(control)
    control.run(build.id)
    control.end(build.id, FailureClass.FAILED)
    del control.files[build.id, 1, "build.log"]
    assert (await red("GET", f"/v1/builds/{build.id}/why")).json()["last_lines"] == []


async def test_the_queue_has_first_what_no_agent_will_come_for(red: Client, control: FakeControl) -> None:
    build = await queued(control)
    control.hopeless[RED] = [Unserved(QueueItem(9, 1), "docs", "windows", "no template has the label windows")]
    items = (await red("GET", "/v1/tenants/red/queue")).json()["items"]
    assert [(one["item"], one["id"], one["stage"]) for one in items] == [(9, None, None), (7, build.id, "waiting")]
    assert items[0]["why"] == "no template has the label windows"
    why = (await red("GET", "/v1/tenants/red/queue/why?item=9")).json()
    assert (why["id"], why["summary"]) == (None, "no template has the label windows")


async def test_an_item_that_never_was_is_not_found(red: Client, control: FakeControl) -> None:
    assert (await red("GET", "/v1/tenants/red/queue/why?item=99")).status_code == 404
    assert (await red("GET", "/v1/tenants/red/queue/why?item=-1")).status_code == 422
    assert (await red("GET", f"/v1/builds/{RequestId('none')}")).status_code == 404
