"""Documents that are read beside the loop."""

from __future__ import annotations

from typing import Any

import pytest

from framework.local.marathon.api import exchange
from framework.local.marathon.definition.app import Group
from framework.local.marathon.definition.read import Defaults, new_app
from framework.local.marathon.groups.tree import put_app
from tests.fakes.marathon_control import FakeMarathon
from tests.unit.marathon.api.asking import Asking

SLEEP = {"cmd": "sleep 1"}
PADDING = {"padding": "x" * exchange.LONG_BYTES}


def long(**fields: Any) -> dict[str, Any]:
    return {**fields, "labels": PADDING}


async def test_what_they_change_is_changed(api: Asking, marathon: FakeMarathon) -> None:
    apps = [{"id": f"app-{n}", **SLEEP} for n in range(1000)]
    assert (await api("POST", "/v2/groups", {"id": "/team", "apps": apps})).status_code == 201
    planned = await api("PUT", "/v2/groups/team?dryRun=true", {"apps": apps[1:]})
    assert planned.json()["steps"] == [{"actions": [{"action": "StopApplication", "app": "/team/app-0"}]}]
    assert (await api("PUT", "/v2/groups/team", {"apps": apps[2:]})).status_code == 200
    group = marathon.group("/team")
    assert group is not None
    assert len(group.apps) == 998
    assert group.version not in {one.version for one in group.apps.values()}
    await api.made("/long", **long())
    assert (await api("PUT", "/v2/apps/long", long(instances=3))).status_code == 200
    assert (await api("PUT", "/v2/apps", [long(id="/long", instances=4), {"id": "/more", **SLEEP}])).status_code == 200
    made = marathon.app("/long")
    assert made is not None
    assert (made.instances, made.version) == (4, marathon.root.version)


async def test_what_is_wrong_with_them_is_told(api: Asking, marathon: FakeMarathon) -> None:
    before = marathon.root
    assert (await api("POST", "/v2/apps", long(id="/a", **SLEEP, instances=-1))).status_code == 422
    assert (await api("PUT", "/v2/apps/a", long(cpus="1"))).status_code == 400
    assert (await api("PATCH", "/v2/apps", [long(id="/gone", cpus=1)])).status_code == 404
    assert (await api("PUT", "/v2/apps", b"[" * exchange.LONG_BYTES + b" ")).status_code == 400
    several = {"apps": [long(id="a", **SLEEP, cpus=-1), {"id": "b"}], "groups": [{"id": "c", "apps": [{"id": "d"}]}]}
    answer = await api("PUT", "/v2/groups/team", several)
    assert answer.status_code == 422
    assert {one["path"] for one in answer.json()["details"]} >= {"/apps(0)/cpus", "/apps(1)", "/groups(0)/apps(0)"}
    assert marathon.root is before


@pytest.mark.parametrize("times", [1, 10])
async def test_a_tree_that_changes_meanwhile_keeps_its_change(
    api: Asking, marathon: FakeMarathon, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Be it so often that the document is not read beside the loop in the end."""
    beside = exchange.Call.beside
    left = list(range(times))

    async def disturbed(call: exchange.Call, *given: Any) -> Any:
        found = await beside(call, *given)
        if isinstance(found, Group) and left:
            app = new_app({"id": f"/other-{left.pop()}", **SLEEP}, defaults=Defaults(), version=marathon.new_version())
            marathon.root = put_app(marathon.root, app)
        return found

    monkeypatch.setattr(exchange.Call, "beside", disturbed)
    await api.made("/long", **long())
    disturbances = times - len(left)
    assert disturbances == min(times, exchange.READ_AHEAD)
    assert len(marathon.root.apps) == 1 + disturbances
