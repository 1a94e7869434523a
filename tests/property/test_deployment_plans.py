"""Plans of any change of any tree: their steps lead there, in the order of the dependencies, and can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.faults import InvalidObjectError
from framework.local.marathon.definition.read import EMPTY
from framework.local.marathon.groups.planning import plan, revert
from framework.local.marathon.groups.settling import check, settle
from framework.local.marathon.groups.tree import (
    app_of,
    apps_of,
    group_of,
    groups_above,
    groups_of,
    put_group,
    remove_app,
    remove_group,
    with_apps,
)
from framework.local.marathon.records import ActionKind, Deployment
from tests.unit.marathon.groups.trees import VERSIONS, app, external

# Few, so that changes meet: an app in the place of a group, waiting for another, and again what it was.
PATHS = ("/a", "/b", "/a/a", "/a/b", "/b/a", "/a/b/a", "/a/b/b")

some_paths = st.lists(st.sampled_from(PATHS), max_size=3, unique=True).map(tuple)
apps = st.builds(
    app,
    st.sampled_from(PATHS),
    instances=st.integers(0, 3),
    cmd=st.sampled_from(["one", "two"]),
    dependencies=some_paths,
    ports=st.sampled_from([(), (0,), (10_000, 0)]),
    container=st.sampled_from([None, None, external("vol"), external("vol", shared=True)]),
)
puts = st.tuples(st.just("put"), apps)
removals = st.tuples(st.sampled_from(["remove app", "remove group"]), st.sampled_from(PATHS))
waits = st.tuples(st.just("wait"), st.sampled_from(PATHS), some_paths)
changes = st.lists(puts | puts | removals | waits, min_size=1, max_size=8)


def changed(root: Group, steps: list[tuple[Any, ...]]) -> Group:
    for kind, what, *more in steps:
        if kind == "put":
            root = with_apps(root, {what.id: what})
        elif kind == "remove app":
            root = remove_app(root, what)
        elif kind == "remove group":
            root = remove_group(root, what)
        else:
            group = group_of(root, what)
            root = put_group(root, replace(group, dependencies=more[0])) if group else root
    return root


@st.composite
def trees(draw: st.DrawFn, before: Group = EMPTY, version: int = 1) -> Group:
    after = changed(before, draw(changes))
    try:
        return settle(before, after, VERSIONS[version], restart=draw(some_paths))
    except InvalidObjectError:
        assume(False)
        raise


@st.composite
def deployments(draw: st.DrawFn) -> tuple[Group, Group, Deployment]:
    before = draw(trees())
    after = draw(trees(before, 2))
    return before, after, plan(before, after, version=after.version, deployment_id="d")


def all_apps(root: Group) -> dict[str, App]:
    return {one.id: one for one in apps_of(root)}


def performed(before: Group, deployment: Deployment) -> Iterator[dict[str, App]]:
    """What runs, by what app, after each step, from the start on; an app that is not scaled yet has no instance."""
    running = all_apps(before)
    yield dict(running)
    for step in deployment.steps:
        for action in step.actions:
            if action.kind is ActionKind.STOP:
                del running[action.app.id]
            elif action.kind is ActionKind.START:
                assert action.app.id not in running
                running[action.app.id] = replace(action.app, instances=action.scale_to)
            else:
                assert action.app.id in running
                running[action.app.id] = replace(action.app, instances=action.scale_to)
        yield dict(running)


def waited_for(root: Group, one: App) -> set[str]:
    """Of an app, straight from what the documents say."""
    asked = set(one.dependencies).union(*(group.dependencies for group in groups_above(root, one.id)))
    direct = {path for path in asked if app_of(root, path)}
    groups = [group for path in asked - direct if (group := group_of(root, path))]
    return direct.union(*({below.id for below in apps_of(group)} for group in groups))


def wanted(root: Group) -> tuple[dict[str, tuple[str | None, int, tuple[str, ...]]], dict[str, set[str]]]:
    """Without versions."""
    return (
        {one.id: (one.cmd, one.instances, one.dependencies) for one in apps_of(root)},
        {one.id: set(one.dependencies) for one in groups_of(root)},
    )


def circles(root: Group) -> bool:
    waits = {one.id: waited_for(root, one) for one in apps_of(root)}
    while gone := [path for path, others in waits.items() if not others & waits.keys()]:
        waits = {path: others for path, others in waits.items() if path not in gone}
    return bool(waits)


def clashes_of_volumes(root: Group) -> bool:
    having = [(one, one.container.volumes[0].external) for one in apps_of(root) if one.container]
    return len(having) > 1 and any(volume and not volume.shared for _, volume in having)


@given(st.data())
def test_a_look_at_what_changed_finds_what_is_wrong_with_the_whole(data: st.DataObject) -> None:
    before = data.draw(trees())
    after = changed(before, data.draw(changes))
    expected = {
        "Dependency graph has cyclic": circles(after),
        "Groups and Applications": any(app_of(after, one.id) for one in groups_of(after)),
        "Volume name 'vol'": clashes_of_volumes(after),
    }
    found: list[str] = []
    try:
        check(before, after)
    except InvalidObjectError as refused:
        found = [error for one in refused.details for error in one.errors]
    assert {words: any(error.startswith(words) for error in found) for words in expected} == expected


@given(deployments())
def test_the_steps_in_their_order_lead_from_one_tree_to_the_other(made: tuple[Group, Group, Deployment]) -> None:
    before, after, deployment = made
    *_, end = performed(before, deployment)
    assert end == all_apps(after)


@given(deployments())
def test_no_app_moves_before_what_it_waits_for_is_there(made: tuple[Group, Group, Deployment]) -> None:
    before, after, deployment = made
    for step, running in zip(deployment.steps, performed(before, deployment), strict=False):
        for action in step.actions:
            if action.kind in {ActionKind.SCALE, ActionKind.RESTART}:
                awaited = waited_for(after, action.app)
                assert {path: running[path] for path in awaited} == {path: app_of(after, path) for path in awaited}


@given(deployments())
def test_each_app_that_changed_is_brought_to_its_instances_once_and_no_other_is_in_the_plan(
    made: tuple[Group, Group, Deployment],
) -> None:
    before, after, deployment = made
    was, now = all_apps(before), all_apps(after)
    touched = {path for path in was.keys() | now.keys() if was.get(path) != now.get(path)}
    assert set(deployment.affected) == touched == {one.app_id for one in deployment.apps}
    moved = [
        action.app.id for step in deployment.steps for action in step.actions if action.kind is not ActionKind.START
    ]
    assert sorted(moved) == sorted(touched)
    assert all(step.actions for step in deployment.steps)
    for change in deployment.apps:
        assert (change.old, change.new) == (was.get(change.app_id), now.get(change.app_id))


@given(deployments())
def test_what_no_deployment_touches_keeps_its_version_and_ports_are_given_once(
    made: tuple[Group, Group, Deployment],
) -> None:
    before, after, deployment = made
    for path, one in all_apps(after).items():
        assert 0 not in one.service_ports
        if path not in deployment.affected:
            assert one is app_of(before, path)
        else:
            assert one.version == after.version
    given = [port for one in apps_of(after) for port in one.service_ports if port != 10_000]
    assert len(given) == len(set(given))


@given(deployments())
def test_taking_back_gives_the_same_tree(made: tuple[Group, Group, Deployment]) -> None:
    before, after, deployment = made
    back = settle(after, revert(deployment, after), VERSIONS[3])
    assert wanted(back) == wanted(before)


# Most second changes touch what the first one does, and those that do are no case of this.
@settings(suppress_health_check=[*settings().suppress_health_check, HealthCheck.filter_too_much])
@given(st.data())
def test_taking_back_undoes_nothing_of_a_deployment_beside_it(data: st.DataObject) -> None:
    before, after, deployment = data.draw(deployments())
    later = data.draw(trees(after, 3))
    other = plan(after, later, version=later.version, deployment_id="other")
    assume(frozenset(deployment.affected).isdisjoint(other.affected))
    back = revert(deployment, later)
    was, now = all_apps(before), all_apps(later)
    for path in was.keys() | now.keys():
        assert app_of(back, path) == (was if path in deployment.affected else now).get(path)
