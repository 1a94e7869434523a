from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.marathon_control import FakeMarathon
from tests.unit.marathon.api.asking import Asking

TEAM: dict[str, Any] = {
    "id": "/team",
    "apps": [{"id": "web", "cmd": "sleep 1", "instances": 2}],
    "groups": [{"id": "sub", "apps": [{"id": "db", "cmd": "sleep 2"}]}],
}
AROUND = {
    "id": "/team",
    "apps": [
        {"id": "a", "cmd": "sleep 1", "dependencies": ["/team/b"]},
        {"id": "b", "cmd": "sleep 1", "dependencies": ["a"]},
    ],
}


def ids(marathon: FakeMarathon, group_id: str = "/team") -> set[str]:
    group = marathon.group(group_id)
    assert group is not None
    return set(group.apps)


async def test_a_new_group(api: Asking, marathon: FakeMarathon) -> None:
    answer = await api("POST", "/v2/groups", TEAM)
    assert answer.status_code == 201
    assert answer.headers["location"] == "http://127.0.0.1:8081/v2/groups/team"
    assert answer.json()["deploymentId"] == answer.headers["marathon-deployment-id"]
    assert ids(marathon) == {"/team/web"}
    assert ids(marathon, "/team/sub") == {"/team/sub/db"}
    again = await api("POST", "/v2/groups", TEAM)
    assert (again.status_code, again.json()) == (
        409,
        {"message": "Group /team is already created. Use PUT to change this group."},
    )


async def test_a_group_below_another_by_its_path(api: Asking, marathon: FakeMarathon) -> None:
    assert (await api("POST", "/v2/groups/team/sub", {"apps": [{"id": "x", "cmd": "sleep 1"}]})).status_code == 201
    assert ids(marathon, "/team/sub") == {"/team/sub/x"}
    await api.made("/team/app")
    assert (await api("POST", "/v2/groups", {"id": "/team/app"})).status_code == 409


async def test_what_is_embedded_in_a_group(api: Asking, marathon: FakeMarathon) -> None:
    await api("POST", "/v2/groups", TEAM)
    marathon.launch("/team/web")
    whole = (await api("GET", "/v2/groups")).json()
    assert (whole["id"], whole["apps"], whole["pods"]) == ("/", [], [])
    team = whole["groups"][0]
    assert team["apps"][0]["id"] == "/team/web"
    assert team["groups"][0]["apps"][0]["id"] == "/team/sub/db"
    assert (await api("GET", "/v2/groups//team/")).json() == team
    bare = (await api("GET", "/v2/groups/team?embed=group.groups")).json()
    assert "apps" not in bare
    assert "apps" not in bare["groups"][0]
    query = "embed=group.apps&embed=group.apps.tasks&embed=group.apps.counts"
    with_tasks = (await api("GET", f"/v2/groups/team?{query}")).json()
    assert with_tasks["apps"][0]["tasks"][0]["appId"] == "/team/web"
    assert with_tasks["apps"][0]["tasksRunning"] == 1
    assert "groups" not in with_tasks
    assert (await api("GET", "/v2/groups/none")).json() == {"message": "Group '/none' does not exist"}
    assert len((await api.client.get("/v2/groups/team/apps")).json()) == 2


async def test_an_update_replaces_what_it_gives(api: Asking, marathon: FakeMarathon) -> None:
    await api("POST", "/v2/groups", TEAM)
    await api("PUT", "/v2/groups/team", {"apps": [{"id": "other", "cmd": "sleep 1"}]})
    assert ids(marathon) == {"/team/other"}
    assert ids(marathon, "/team/sub") == {"/team/sub/db"}
    await api("PUT", "/v2/groups", {"id": "/team", "apps": []})
    assert ids(marathon) == set()


async def test_a_group_is_scaled(api: Asking, marathon: FakeMarathon) -> None:
    await api("POST", "/v2/groups", TEAM)
    await api("PUT", "/v2/groups/team", {"scaleBy": 1.5})
    instances = {app["id"]: app["instances"] for app in (await api("GET", "/v2/apps")).json()["apps"]}
    assert instances == {"/team/web": 3, "/team/sub/db": 2}


async def test_a_group_goes_back_to_a_version(api: Asking, marathon: FakeMarathon) -> None:
    version = (await api("POST", "/v2/groups", TEAM)).json()["version"]
    await api("DELETE", "/v2/groups/team/sub")
    await api("PUT", "/v2/groups/team", {"scaleBy": 2})
    assert (await api("PUT", "/v2/groups/team", {"version": version})).status_code == 200
    app = marathon.app("/team/web")
    assert app is not None
    assert app.instances == 2
    assert ids(marathon, "/team/sub") == {"/team/sub/db"}
    missing = await api("PUT", "/v2/groups/team", {"version": "2020-01-01T00:00:00.000Z"})
    assert (missing.status_code, missing.json()) == (
        422,
        {"message": "Group /team not available in version 2020-01-01T00:00:00.000Z"},
    )


async def test_a_dry_run_tells_the_steps_and_changes_nothing(api: Asking, marathon: FakeMarathon) -> None:
    await api("POST", "/v2/groups", TEAM)
    before = marathon.root
    answer = await api("PUT", "/v2/groups/team?dryRun=true", {"apps": [{"id": "other", "cmd": "sleep 1"}]})
    assert answer.json()["steps"] == [
        {"actions": [{"action": "StopApplication", "app": "/team/web"}]},
        {"actions": [{"action": "StartApplication", "app": "/team/other"}]},
        {"actions": [{"action": "ScaleApplication", "app": "/team/other"}]},
    ]
    assert marathon.root is before


async def test_versions_of_a_group(api: Asking) -> None:
    version = (await api("POST", "/v2/groups", TEAM)).json()["version"]
    await api("PUT", "/v2/groups/team", {"scaleBy": 2})
    assert (await api("GET", "/v2/groups/team/versions")).json()[-1] == version
    assert len((await api("GET", "/v2/groups/versions")).json()) == 2
    then = (await api("GET", f"/v2/groups/team/versions/{version}")).json()
    assert then["apps"][0]["instances"] == 2
    assert (await api("GET", f"/v2/groups/versions/{version}")).json()["groups"][0]["id"] == "/team"
    assert (await api("GET", "/v2/groups/team/versions/x")).status_code == 404
    assert (await api("GET", "/v2/groups/none/versions")).status_code == 404


async def test_only_a_top_level_group_enforces_its_role(api: Asking, marathon: FakeMarathon) -> None:
    await api("POST", "/v2/groups", TEAM)
    assert (await api("PATCH", "/v2/groups/team", {"enforceRole": True})).status_code == 200
    team = marathon.group("/team")
    assert team is not None
    assert team.enforce_role is True
    below = await api("PATCH", "/v2/groups/team/sub", {"enforceRole": True})
    assert (below.status_code, below.json()["details"]) == (
        422,
        [{"path": "/", "errors": ["Path needs to be top-level"]}],
    )
    assert (await api("PATCH", "/v2/groups/none", {"enforceRole": True})).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        ({"id": "/team", "apps": [{"id": "/elsewhere", "cmd": "x"}]}, 422),
        (AROUND, 422),
        ({"id": "/team", "scaleBy": -1}, 422),
        ({"id": 7}, 400),
    ],
)
async def test_bad_groups(api: Asking, marathon: FakeMarathon, body: Any, status: int) -> None:
    answer = await api("POST", "/v2/groups", body)
    assert answer.status_code == status
    assert marathon.roots == []


async def test_all_is_deleted(api: Asking, marathon: FakeMarathon) -> None:
    await api("POST", "/v2/groups", TEAM)
    assert (await api("DELETE", "/v2/groups/none")).status_code == 404
    assert (await api("DELETE", "/v2/groups?force=true")).status_code == 200
    assert (await api("GET", "/v2/apps")).json() == {"apps": []}


async def test_apps_are_shown_in_their_own_groups_now_and_as_they_were(api: Asking) -> None:
    def below(depth: int) -> dict[str, Any]:
        groups = [{"id": name, **below(depth - 1)} for name in "xyz"] if depth else []
        return {"apps": [{"id": f"app{n}", "cmd": "sleep 1"} for n in range(depth)], "groups": groups}

    version = (await api("PUT", "/v2/groups/team", below(3))).json()["version"]
    shown = []
    for path in (
        "/v2/groups?embed=group.groups&embed=group.apps&embed=group.apps.counts",
        f"/v2/groups/versions/{version}",
    ):
        waiting = (await api("GET", path)).json()["groups"]
        seen = {}
        while waiting:
            group = waiting.pop()
            waiting += group["groups"]
            seen[group["id"]] = [app["id"] for app in group["apps"]]
        assert all(app_id.rpartition("/")[0] == group_id for group_id, ids in seen.items() for app_id in ids)
        shown.append(seen)
    assert shown[0] == shown[1]
    assert [len(shown[0][group_id]) for group_id in ("/team", "/team/z", "/team/y/x", "/team/x/y/z")] == [3, 2, 1, 0]
