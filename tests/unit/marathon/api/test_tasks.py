from __future__ import annotations

from typing import Any

import pytest

from framework.local.marathon.records import Condition, LocalVolume
from tests.fakes.marathon_control import FakeMarathon
from tests.unit.marathon.api.asking import Asking

UNKNOWN = "web.instance-00000000-0000-0000-0000-00000000ffff._app.1"


async def test_tasks_of_all_and_of_one_app(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/team/a", portDefinitions=[{"port": 0}, {"port": 0}])
    await api.made("/b")
    one = marathon.launch(
        "/team/a", addresses=("10.0.0.7", "fe80::1"), volumes=(LocalVolume("data", "u1", "team_a#data#u1"),)
    )
    marathon.launch("/b", condition=Condition.STAGING)
    marathon.launch("/b", condition=Condition.UNREACHABLE_INACTIVE)
    tasks = (await api("GET", "/v2/tasks")).json()["tasks"]
    assert [task["state"] for task in tasks] == ["TASK_RUNNING", "TASK_STAGING", "TASK_UNREACHABLE"]
    assert "version" not in tasks[2]
    task = tasks[0]
    assert (task["id"], task["ports"], task["servicePorts"]) == (one.task_id, [31000, 31001], [10000, 10001])
    assert task["ipAddresses"][1] == {"ipAddress": "fe80::1", "protocol": "IPv6"}
    assert task["localVolumes"][0]["persistenceId"] == "team_a#data#u1"
    assert (await api("GET", "/v2/apps/team/a/tasks")).json()["tasks"] == [task]
    assert (await api("GET", "/v2/apps/team/*/tasks")).json()["tasks"] == [task]
    assert (await api("GET", "/v2/apps/none/tasks")).status_code == 404


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("status=running", ["TASK_RUNNING"]),
        ("status=staging", ["TASK_STAGING"]),
        ("status[]=running&status[]=staging", ["TASK_RUNNING", "TASK_STAGING"]),
        ("status=nonsense", []),
        ("", ["TASK_RUNNING", "TASK_STAGING"]),
    ],
)
async def test_tasks_by_status(api: Asking, marathon: FakeMarathon, query: str, states: list[str]) -> None:
    await api.made("/web")
    marathon.launch("/web")
    marathon.launch("/web", condition=Condition.STAGING)
    tasks = (await api("GET", f"/v2/tasks?{query}")).json()["tasks"]
    assert [task["state"] for task in tasks] == states


async def test_tasks_as_text(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/team/web", portDefinitions=[{"port": 0}, {"port": 9999}])
    await api.made("/plain", portDefinitions=[])
    for app_id in ("/team/web", "/team/web", "/plain"):
        marathon.launch(app_id)
    marathon.launch("/plain", condition=Condition.STAGING)
    answer = await api("GET", "/v2/tasks", accept="text/plain")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.splitlines(keepends=True) == [
        "plain\t \thost-3\t\n",
        "team_web\t10000\thost-1:31000\thost-2:31000\t\n",
        "team_web\t9999\thost-1:31001\thost-2:31001\t\n",
    ]
    of_app = await api("GET", "/v2/apps/team/web/tasks", accept="text/plain, */*;q=0.1")
    assert len(of_app.text.splitlines()) == 2


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain;q=0.5,application/json;q=0.5", "text/*;q=x"])
async def test_tasks_are_json_unless_text_is_wanted_more(api: Asking, accept: str) -> None:
    assert (await api("GET", "/v2/tasks", accept=accept)).json() == {"tasks": []}


async def test_containers_with_addresses_of_their_own_as_text(api: Asking, marathon: FakeMarathon) -> None:
    container = {"type": "DOCKER", "docker": {"image": "busybox"}, "portMappings": [{"containerPort": 80}]}
    await api.made("/web", networks=[{"mode": "container", "name": "blue"}], container=container)
    marathon.launch("/web", addresses=("10.1.0.5",), ports=(0,))

    async def text(query: str) -> str:
        return (await api("GET", f"/v2/tasks?{query}", accept="text/plain")).text

    for nobody in ("", "containerNetworks=red"):
        assert await text(nobody) == "web\t10000\t\n"
    for names in ("*", "red,blue"):
        name, _, addresses = (await text(f"containerNetworks={names}")).split("\t", 2)
        assert (name, addresses) == ("web", "10.1.0.5:80\t\n")


async def test_tasks_are_killed_and_told(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web", instances=3)
    first, second = marathon.launch("/web"), marathon.launch("/web")
    killed = (await api("DELETE", f"/v2/apps/web/tasks/{first.task_id}")).json()
    assert killed["task"]["id"] == first.task_id
    killed = (await api("DELETE", "/v2/apps/web/tasks?host=host-2&wipe=true")).json()
    assert [task["id"] for task in killed["tasks"]] == [second.task_id]
    await api("DELETE", "/v2/apps/web/tasks?host=*")
    assert (await api("DELETE", "/v2/apps/web/tasks?host=elsewhere")).json() == {"tasks": []}
    assert marathon.killed == [((first.id,), False), ((second.id,), True), ((first.id, second.id), False)]


async def test_tasks_are_killed_and_the_app_is_scaled_down(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web", instances=3)
    first = marathon.launch("/web")
    marathon.launch("/web", kill_asked_at=1.0)
    answer = await api("DELETE", f"/v2/apps/web/tasks/{first.task_id}?scale=true")
    assert answer.json()["deploymentId"] == answer.headers["marathon-deployment-id"]
    app = marathon.app("/web")
    assert app is not None
    assert app.instances == 2
    assert marathon.scaled_by == {"/web": [first.id]}
    await api("DELETE", "/v2/apps/web/tasks?scale=true")
    app = marathon.app("/web")
    assert app is not None
    assert app.instances == 1
    assert marathon.killed == []


async def test_tasks_of_several_apps_are_killed(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/a")
    await api.made("/b", instances=2)
    first, second = marathon.launch("/a"), marathon.launch("/b")
    answer = await api("POST", "/v2/tasks/delete", {"ids": [first.task_id, second.id, UNKNOWN]})
    assert [task["id"] for task in answer.json()["tasks"]] == [first.task_id, second.task_id]
    assert marathon.killed == [((first.id, second.id), False)]
    await api("POST", "/v2/tasks/delete?scale=true", {"ids": [first.task_id, second.task_id]})
    assert {path: app.instances for path, app in marathon.root.apps.items()} == {"/a": 0, "/b": 1}


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("", {"ids": ["not_known"]}, "Invalid task id not_known"),
        ("", {"ids": "x"}, "Invalid JSON"),
        ("", {"ids": [3]}, "Invalid JSON"),
        ("", [], "Invalid JSON"),
        ("scale=true&wipe=true", {"ids": []}, "You cannot use scale and wipe at the same time."),
    ],
)
async def test_what_cannot_be_killed(api: Asking, query: str, body: Any, message: str) -> None:
    answer = await api("POST", f"/v2/tasks/delete?{query}", body)
    assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_volumes_of_who_waits_for_a_task_are_wiped_too(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web")
    waiting = marathon.launch("/web", condition=Condition.SCHEDULED, reserved=True)
    await api("DELETE", "/v2/apps/web/tasks")
    assert (await api("DELETE", "/v2/apps/web/tasks?wipe=true")).json() == {"tasks": []}
    assert (await api("DELETE", f"/v2/apps/web/tasks/{waiting.task_id}?wipe=true")).status_code == 200
    assert marathon.killed == [((waiting.id,), True), ((waiting.id,), True)]


async def test_tasks_that_are_not_there(api: Asking, marathon: FakeMarathon) -> None:
    await api.made("/web")
    marathon.launch("/web", condition=Condition.SCHEDULED)
    for task_id in (UNKNOWN, "nonsense", next(iter(marathon.known))):
        answer = await api("DELETE", f"/v2/apps/web/tasks/{task_id}")
        assert (answer.status_code, answer.json()) == (404, {"message": f"Task '{task_id}' does not exist"})
    assert (await api("DELETE", "/v2/apps/none/tasks")).json() == {"message": "App '/none' does not exist"}
    assert (await api("DELETE", "/v2/apps/web/tasks?scale=true&wipe=true")).status_code == 400
