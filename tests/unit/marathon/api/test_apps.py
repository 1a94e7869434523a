from __future__ import annotations

from typing import Any

import pytest

from framework.errors import StoreFullError
from framework.local.marathon.records import Condition, HealthResult, ReadinessResult, TaskFailure
from tests.fakes.marathon_control import NOW, FakeMarathon
from tests.unit.marathon.api.asking import Asking

STAMP = "2026-11-21T12:00:00.000Z"


async def test_a_new_app_is_answered_with_its_deployment(api: Asking, marathon: FakeMarathon) -> None:
    answer = await api("POST", "/v2/apps", {"id": "team/web", "cmd": "sleep 1", "portDefinitions": [{"port": 0}]})
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == "http://127.0.0.1:8081/v2/apps/team/web"
    assert made["deployments"] == [{"id": answer.headers["marathon-deployment-id"]}]
    assert (made["id"], made["tasks"], made["tasksRunning"]) == ("/team/web", [], 0)
    assert made["portDefinitions"] == [{"port": 10000, "protocol": "tcp"}]
    assert marathon.app("/team/web") is not None


async def test_an_app_that_is_there_already_is_not_made_again(api: Asking) -> None:
    await api.made("/web")
    answer = await api("POST", "/v2/apps", {"id": "/web", "cmd": "sleep 2"})
    assert answer.status_code == 409
    assert answer.json() == {"message": "An app with id [/web] already exists."}


async def test_an_app_does_not_take_the_place_of_a_group_with_apps(api: Asking) -> None:
    await api.made("/team/web")
    answer = await api("PUT", "/v2/apps/team", {"cmd": "sleep 2"})
    assert answer.status_code == 409


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"id":', 400, "Invalid JSON"),
        (b'{"id":"/x","cmd":"a","id":"/y"}', 400, "Invalid JSON"),
        ({"id": 3, "cmd": "a"}, 400, "Invalid JSON"),
        ({"id": "/x", "cmd": "a", "instances": -1}, 422, "Object is not valid"),
        ({"id": "/UPPER", "cmd": "a"}, 422, "Object is not valid"),
        ([], 400, "Invalid JSON"),
    ],
)
async def test_bad_documents_are_refused_with_every_fault(api: Asking, body: Any, status: int, message: str) -> None:
    answer = await api("POST", "/v2/apps", body)
    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert all({"path", "errors"} == set(detail) for detail in answer.json().get("details", []))


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_an_update_of_one_field_leaves_the_others(api: Asking, marathon: FakeMarathon, method: str) -> None:
    await api.made("/web", cpus=0.5)
    answer = await api(method, "/v2/apps//web", {"instances": 3})
    assert answer.status_code == 200
    app = marathon.app("/web")
    assert app is not None
    assert (app.instances, app.cpus, app.cmd) == (3, 0.5, "sleep 1")


async def test_a_put_that_is_not_partial_replaces_all(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web", cpus=0.5)
    await api("PUT", "/v2/apps/web?partialUpdate=false", {"id": "/web", "cmd": "sleep 9"})
    app = marathon.app("/web")
    assert app is not None
    assert (app.cpus, app.cmd) == (1.0, "sleep 9")


async def test_put_makes_what_is_missing_and_patch_does_not(api: Asking) -> None:
    assert (await api("PUT", "/v2/apps/web", {"cmd": "sleep 1"})).status_code == 201
    answer = await api("PATCH", "/v2/apps/other", {"cmd": "sleep 1"})
    assert (answer.status_code, answer.json()) == (404, {"message": "App '/other' does not exist"})


async def test_put_with_a_version_goes_back_to_it(api: Asking, marathon: FakeMarathon) -> None:
    version = (await api.made("/web", cpus=0.5))["version"]
    await api("PUT", "/v2/apps/web", {"cpus": 2})
    assert (await api("PUT", "/v2/apps/web", {"version": version})).status_code == 200
    app = marathon.app("/web")
    assert app is not None
    assert app.cpus == 0.5
    missing = await api("PUT", "/v2/apps/web", {"version": "2020-01-01T00:00:00.000Z"})
    assert missing.json() == {"message": "App '/web' does not exist in version 2020-01-01T00:00:00.000Z"}


async def test_several_apps_are_changed_together_or_not_at_all(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/one")
    both = [{"id": "/one", "instances": 5}, {"id": "/two", "cmd": "sleep 2"}]
    assert (await api("PATCH", "/v2/apps", both)).status_code == 404
    app = marathon.app("/one")
    assert app is not None
    assert app.instances == 1
    assert (await api("PUT", "/v2/apps", both)).status_code == 200
    assert {app.id for app in (await api("GET", "/v2/apps")).json()["apps"] and marathon.root.apps.values()} == {
        "/one",
        "/two",
    }


async def test_delete_and_restart(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web")
    assert (await api("POST", "/v2/apps/web/restart")).status_code == 200
    assert marathon.restarted == ("/web",)
    assert (await api("DELETE", "/v2/apps/web")).status_code == 200
    for method, path in (("DELETE", "/v2/apps/web"), ("POST", "/v2/apps/web/restart"), ("GET", "/v2/apps/web")):
        answer = await api(method, path)
        assert (answer.status_code, answer.json()) == (404, {"message": "App '/web' does not exist"})


async def test_a_locked_app_is_told_with_the_deployments_that_lock_it(api: Asking, marathon: FakeMarathon) -> None:
    marathon.holding = True
    running = (await api.made("/web"))["deployments"]
    answer = await api("PUT", "/v2/apps/web", {"instances": 2})
    assert answer.status_code == 409
    assert answer.json()["deployments"] == running
    assert "force=true" in answer.json()["message"]
    assert (await api("PUT", "/v2/apps/web?force=true", {"instances": 2})).status_code == 200


async def test_a_delete_is_forced_unless_it_says_otherwise(api: Asking, marathon: FakeMarathon) -> None:
    marathon.holding = True
    await api.made("/web")
    assert (await api("DELETE", "/v2/apps/web?force=false")).status_code == 409
    assert (await api("DELETE", "/v2/apps/web")).status_code == 200
    assert (await api("GET", "/v2/apps/web/versions")).status_code == 404


async def test_a_version_is_gone_back_to_only_where_it_is_one(api: Asking) -> None:
    await api.made("/web")
    for body in ({"version": "yesterday"}, {"version": 1}):
        answer = await api("PUT", "/v2/apps/web", body)
        assert (answer.status_code, answer.json()["details"][0]["path"]) == (400, "/version")
    missing = {"version": "2001-01-01T00:00:00.000Z", "cmd": None, "unheard-of": 1}
    answer = await api("PUT", "/v2/apps/web", missing)
    assert (answer.status_code, answer.json()["message"]) == (
        404,
        "App '/web' does not exist in version 2001-01-01T00:00:00.000Z",
    )


async def test_a_version_may_be_written_in_other_ways(api: Asking) -> None:
    version = (await api.made("/web"))["version"]
    same = version.removesuffix("Z")
    for written in (f"{same}000+00:00", f"{same}-0000", version):
        assert (await api("GET", f"/v2/apps/web/versions/{written}")).json()["version"] == version
        assert (await api("PUT", "/v2/apps/web", {"version": written})).status_code == 200
        assert (await api("GET", f"/v2/groups/versions/{written}")).status_code == 200
    for no_time in ("0001-01-01T00:00:00+23:00", "x"):
        assert (await api("GET", f"/v2/apps/web/versions/{no_time}")).status_code == 404


async def test_too_many_deployments_and_a_full_disk(api: Asking, marathon: FakeMarathon) -> None:
    marathon.holding, marathon.limit = True, 1
    await api.made("/one")
    answer = await api("POST", "/v2/apps", {"id": "/two", "cmd": "sleep 1"})
    assert answer.status_code == 403
    assert "Max number of running deployments (1)" in answer.json()["message"]
    marathon.failing = StoreFullError("the disk is full")
    answer = await api("POST", "/v2/apps", {"id": "/two", "cmd": "sleep 1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert marathon.app("/two") is None


async def test_a_flag_that_is_neither_true_nor_false_is_refused(api: Asking) -> None:
    await api.made("/web")
    assert (await api("DELETE", "/v2/apps/web?force=maybe")).status_code == 400
    assert (await api("DELETE", "/v2/apps/web?force=True")).status_code == 200


async def test_what_is_embedded_in_one_app_and_in_the_list(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web", portDefinitions=[{"port": 0}])
    one = marathon.launch("/web", healthy=True)
    marathon.launch("/web", condition=Condition.STAGING, started_at=None)
    marathon.launch("/web", condition=Condition.SCHEDULED, site=None)
    marathon.checked[one.id] = [HealthResult(one.id, 0, True, 0, NOW.timestamp(), NOW.timestamp())]
    marathon.ready["/web"] = [ReadinessResult(one.id, "ready", False, 500, "application/json", "{}")]
    marathon.failures["/web"] = TaskFailure(
        "/web", "host-1", "exit status 1", "TASK_FAILED", one.task_id, NOW.timestamp(), one.version, "S1"
    )
    listed = (await api("GET", "/v2/apps")).json()["apps"][0]
    assert (listed["tasksStaged"], listed["tasksRunning"], listed["tasksHealthy"]) == (1, 1, 1)
    assert listed["deployments"] == []
    assert not {"tasks", "lastTaskFailure", "tasksStats"} & set(listed)
    app = (await api("GET", "/v2/apps/web?embed=readiness&embed=apps.taskStats&embed=app.nonsense")).json()["app"]
    assert [task["state"] for task in app["tasks"]] == ["TASK_RUNNING", "TASK_STAGING"]
    assert app["tasks"][0]["healthCheckResults"] == [
        {"alive": True, "consecutiveFailures": 0, "instanceId": one.id, "firstSuccess": STAMP, "lastSuccess": STAMP}
    ]
    assert (app["tasks"][0]["servicePorts"], app["tasks"][0]["region"]) == ([10000], "north")
    assert app["readinessCheckResults"][0]["lastResponse"]["status"] == 500
    assert app["lastTaskFailure"]["message"] == "exit status 1"
    stats = app["tasksStats"]
    assert stats["totalSummary"]["stats"]["counts"] == {"staged": 1, "running": 1, "healthy": 1, "unhealthy": 0}
    assert set(stats) == {"startedAfterLastScaling", "withLatestConfig", "totalSummary"}
    embedded = (await api("GET", "/v2/apps?embed=apps.failures")).json()["apps"][0]
    assert embedded["tasks"] == app["tasks"]
    assert embedded["lastTaskFailure"] == app["lastTaskFailure"]


async def test_an_answer_follows_every_change(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web")
    one = marathon.launch("/web")
    before = (await api("GET", "/v2/apps/web")).json()["app"]
    marathon.checked[one.id] = [HealthResult(one.id, 0, False, 3)]
    await api("PUT", "/v2/apps/web", {"instances": 4})
    after = (await api("GET", "/v2/apps/web")).json()["app"]
    assert (before["instances"], after["instances"]) == (1, 4)
    assert after["tasks"][0]["healthCheckResults"][0]["consecutiveFailures"] == 3


async def test_apps_below_a_group(api: Asking) -> None:
    for app_id in ("/team/a", "/team/sub/b", "/other"):
        await api.made(app_id)
    below = (await api("GET", "/v2/apps/team/*")).json()["*"]
    assert {app["id"] for app in below} == {"/team/a", "/team/sub/b"}
    assert len((await api("GET", "/v2/apps/*")).json()["*"]) == 3
    assert (await api("GET", "/v2/apps/none/*")).json() == {"message": "Group '/none' does not exist"}


async def test_filters(api: Asking) -> None:
    await api.made("/team/a", labels={"tier": "front", "odd one": "x,y"})
    await api.made("/team/b", labels={"tier": "back"})
    await api("POST", "/v2/apps", {"id": "/java", "cmd": "JAVA -jar x"})

    async def found(query: str) -> set[str]:
        return {app["id"] for app in (await api("GET", f"/v2/apps?{query}")).json()["apps"]}

    assert await found("cmd=java") == {"/java"}
    assert await found("id=TEAM") == {"/team/a", "/team/b"}
    assert await found("label=tier") == {"/team/a", "/team/b"}
    assert await found("label=tier!=back") == {"/team/a"}
    assert await found("label=odd%5C%20one==x%5C,y,%20tier%20in%20(front,%20none)&id=a") == {"/team/a"}
    assert (await api("GET", "/v2/apps?label=a==")).status_code == 422


async def test_versions(api: Asking) -> None:
    first = (await api.made("/web"))["version"]
    await api("PUT", "/v2/apps/web", {"instances": 2})
    versions = (await api("GET", "/v2/apps//web/versions")).json()["versions"]
    assert versions[-1] == first
    assert len(versions) == 2
    assert (await api("GET", f"/v2/apps/web/versions/{first}")).json()["instances"] == 1
    assert (await api("GET", "/v2/apps/web/versions/x")).status_code == 404
    assert (await api("GET", "/v2/apps/none/versions")).status_code == 404


async def test_ids_whose_parts_are_called_like_resources(api: Asking) -> None:
    await api.made("/a/tasks/b")
    await api.made("/a/restarting")
    assert (await api("GET", "/v2/apps/a/tasks/b")).json()["app"]["id"] == "/a/tasks/b"
    assert (await api("GET", "/v2/apps/a/tasks/b/tasks")).json() == {"tasks": []}
    assert (await api("GET", "/v2/apps/a/restart")).json() == {"message": "App '/a/restart' does not exist"}
    answer = await api("PUT", "/v2/apps/a/tasks", {"cmd": "sleep 1"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, DELETE, HEAD, OPTIONS")


async def test_the_body_of_a_get_of_all_apps_is_the_same_before_and_after_it_was_kept(api: Asking) -> None:
    await api.made("/web")
    assert (await api("GET", "/v2/apps")).content == (await api("GET", "/v2/apps")).content
