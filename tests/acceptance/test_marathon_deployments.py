"""Deployments of the Marathon-compatible server on a real Mesos: conflicts, cancelling, capacity, order, back-off."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.marathon.rolling import broken_orders, fewest_healthy
from tests.acceptance.marathon_events import Listener
from tests.acceptance.marathon_server import (
    MarathonApi,
    MarathonServer,
    checked,
    marathon_server,
    names,
    sleeper,
)
from tests.acceptance.scheduler_process import eventually

NEVER = {"cpus": 1000}
DEPLOYMENTS = 4


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server(max_running_deployments=DEPLOYMENTS) as server:
        yield server


def test_a_change_of_what_is_being_deployed_is_a_conflict_unless_it_is_forced(api: MarathonApi) -> None:
    api.change("POST", "/v2/apps", sleeper("/stuck", **NEVER))
    (deployment,) = api.get("/v2/deployments")
    assert deployment["affectedApps"] == ["/stuck"]
    assert [one["action"] for one in deployment["currentActions"]] in (["StartApplication"], ["ScaleApplication"])
    answer = api.call("PUT", "/v2/apps/stuck", json={"instances": 2})
    assert answer.status_code == 409
    assert answer.json()["deployments"] == [{"id": deployment["id"]}]
    assert "App is locked by one or more deployments" in answer.json()["message"]
    forced = api.deploy("PUT", "/v2/apps/stuck", {"cpus": 0.1}, force="true")
    assert forced["deploymentId"] != deployment["id"]
    assert api.app("/stuck")["tasksRunning"] == 1


def test_more_deployments_than_may_run_are_refused(api: MarathonApi) -> None:
    for number in range(DEPLOYMENTS):
        api.change("POST", "/v2/apps", sleeper(f"/many/app-{number}", **NEVER))
    answer = api.call("POST", "/v2/apps", json=sleeper("/many/more"))
    assert answer.status_code == 403
    assert f"({DEPLOYMENTS})" in answer.json()["message"]
    assert api.call("GET", "/v2/apps/many/more").status_code == 404


def test_cancelling_brings_back_what_was_and_forced_only_stops(api: MarathonApi) -> None:
    api.deploy("POST", "/v2/apps", sleeper("/back"))
    before = names(api.tasks("/back"))
    changed = api.change("PUT", "/v2/apps/back", NEVER)
    reverting = api.call("DELETE", f"/v2/deployments/{changed['deploymentId']}")
    assert reverting.status_code == 200
    assert reverting.json()["deploymentId"] != changed["deploymentId"]
    api.wait_deployed()
    assert api.app("/back")["cpus"] == 0.1
    assert len(names(api.tasks("/back"))) == 1

    changed = api.change("PUT", "/v2/apps/back", NEVER)
    stopped = api.call("DELETE", f"/v2/deployments/{changed['deploymentId']}", params={"force": "true"})
    assert (stopped.status_code, stopped.content) == (202, b"")
    assert api.deployment_ids() == []
    assert api.app("/back")["cpus"] == 1000
    assert before
    unknown = api.call("DELETE", "/v2/deployments/unknown")
    assert unknown.status_code == 404
    assert unknown.json() == {"message": "DeploymentPlan unknown does not exist"}


def test_one_is_cancelled_while_another_waits(api: MarathonApi) -> None:
    api.change("POST", "/v2/apps", sleeper("/first", **NEVER))
    second = api.change("POST", "/v2/apps", sleeper("/second", **NEVER))
    first = next(one for one in api.get("/v2/deployments") if one["affectedApps"] == ["/first"])
    api.change("DELETE", f"/v2/deployments/{first['id']}")
    eventually(lambda: api.call("GET", "/v2/apps/first").status_code == 404, "the first to be gone")
    eventually(lambda: api.deployment_ids() == [one["id"] for one in second["deployments"]], "only the second")
    assert api.app("/second", "app.deployments")["deployments"] == second["deployments"]


def test_a_roll_keeps_the_capacity_it_is_to_keep(api: MarathonApi) -> None:
    strategy = {"minimumHealthCapacity": 0.8, "maximumOverCapacity": 0}
    api.deploy("POST", "/v2/apps", checked("/rolled", 10, upgradeStrategy=strategy))
    before = names(api.tasks("/rolled"))
    with Listener(api, "?plan-format=light") as listener:
        api.deploy("PUT", "/v2/apps/rolled", {"env": {"RELEASE": "2"}})
        listener.wait_for("deployment_success")
        events = listener.events
    assert fewest_healthy(events, "/rolled", 10) == 8
    assert broken_orders(events) == 0
    after = names(api.tasks("/rolled"))
    assert len(after) == 10
    assert after.isdisjoint(before)


def test_a_group_is_deployed_in_the_order_of_its_dependencies(api: MarathonApi) -> None:
    group = {
        "id": "/order",
        "apps": [
            checked("/order/front", dependencies=["back"]),
            checked("back", dependencies=["base/store"]),
        ],
        "groups": [{"id": "base", "apps": [checked("store")]}],
    }
    dry = api.change("PUT", "/v2/groups/order", group, dryRun="true")
    assert api.get("/v2/apps")["apps"] == []
    started = [
        action["app"] for step in dry["steps"] for action in step["actions"] if action["action"] == "ScaleApplication"
    ]
    assert started == ["/order/base/store", "/order/back", "/order/front"]
    api.deploy("PUT", "/v2/groups/order", group)
    began = {app: api.tasks(app)[0]["stagedAt"] for app in started}
    assert sorted(began, key=lambda app: began[app]) == started


def test_failing_apps_back_off_and_others_go_on(api: MarathonApi) -> None:
    api.change("POST", "/v2/apps", sleeper("/fails", cmd="exit 3", backoffSeconds=30, backoffFactor=2))
    (queued,) = eventually(
        lambda: [one for one in api.get("/v2/queue")["queue"] if one["delay"]["timeLeftSeconds"] > 0], "its delay"
    )
    assert queued["app"]["id"] == "/fails"
    assert not queued["delay"]["overdue"]
    failure = api.app("/fails", "app.lastTaskFailure")["lastTaskFailure"]
    assert failure["state"] == "TASK_FAILED"
    api.change("POST", "/v2/apps", sleeper("/fine"))
    api.wait_for("/fine", lambda app: app["tasksRunning"] == 1, "to run beside it")
    assert api.call("DELETE", "/v2/queue/fails/delay").status_code in (200, 204)
    eventually(
        lambda: api.app("/fails", "app.lastTaskFailure")["lastTaskFailure"]["taskId"] != failure["taskId"], "a new try"
    )
    grown = eventually(
        lambda: [one for one in api.get("/v2/queue")["queue"] if one["delay"]["timeLeftSeconds"] > 0], "its delay"
    )
    assert grown[0]["delay"]["timeLeftSeconds"] > 0
    assert api.call("DELETE", "/v2/queue/other/delay").status_code == 404


def test_many_callers_at_once_get_each_their_own_answer(api: MarathonApi) -> None:
    answers: list[int] = []

    def call(number: int) -> None:
        client = httpx.Client(base_url=api.proxy.url, auth=(api.server.user, api.server.password), trust_env=False)
        with client:
            answers.append(client.post("/v2/apps", json=sleeper("/same", instances=0), timeout=60).status_code)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert sorted(answers) == [201] + [409] * 7
