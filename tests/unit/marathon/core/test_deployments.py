"""Deployments: what they do in which order, how they end, and what they never do on the way."""

from __future__ import annotations

from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.groups import with_apps
from tests.simulation.marathon import World
from tests.unit.marathon.groups.trees import app


def put(*apps: App):  # type: ignore[no-untyped-def]
    def change(root: Group, version: str) -> Group:
        return with_apps(root, {one.id: one for one in apps})

    return change


def test_a_new_app_gets_its_instances() -> None:
    world = World()
    world.deploy(put(app("/a", instances=3)))
    assert world.rest()
    assert world.running() == {"/a": 3}
    assert not world.state.deployments()
    assert world.mesos.faults == []
