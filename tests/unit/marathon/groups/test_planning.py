"""The steps of deployments, in their order, and what taking one back leaves of the changes of others."""

from __future__ import annotations

from framework.local.marathon.definition.app import Group
from framework.local.marathon.definition.read import EMPTY, GroupUpdate
from framework.local.marathon.groups.planning import plan, revert
from framework.local.marathon.groups.settling import settle
from framework.local.marathon.groups.tree import (
    app_of,
    apply_group_update,
    apps_of,
    group_of,
    groups_of,
    put_app,
    remove_app,
    remove_group,
    set_enforce_role,
    with_apps,
)
from framework.local.marathon.records import AppChange, Deployment, GroupChange
from tests.unit.marathon.groups.trees import VERSIONS, app, tree


def planned(
    before: Group, after: Group, deployment_id: str = "d", kill: dict[str, list[str]] | None = None
) -> Deployment:
    return plan(before, after, version=after.version, deployment_id=deployment_id, kill=kill)


def steps(deployment: Deployment) -> list[list[tuple[str, str, int]]]:
    return [sorted((one.kind.value, one.app.id, one.scale_to) for one in step.actions) for step in deployment.steps]


def updated(root: Group, update: GroupUpdate, version: str) -> Group:
    return settle(root, apply_group_update(root, update), version)


def test_new_apps_start_with_no_instance_and_grow_after_what_they_wait_for() -> None:
    after = tree(
        app("/g/web", instances=3, dependencies=("/g/db",)),
        app("/g/db", instances=2, dependencies=("/g/disk",)),
        app("/g/disk"),
        app("/g/alone"),
    )
    deployment = planned(EMPTY, after)
    assert steps(deployment) == [
        [("StartApplication", f"/g/{name}", 0) for name in ("alone", "db", "disk", "web")],
        [("ScaleApplication", "/g/alone", 1), ("ScaleApplication", "/g/disk", 1)],
        [("ScaleApplication", "/g/db", 2)],
        [("ScaleApplication", "/g/web", 3)],
    ]
    assert deployment.version == after.version
    assert [one.app for one in deployment.steps[3].actions] == [app_of(after, "/g/web")]


def test_what_is_gone_is_stopped_first_as_it_was() -> None:
    before = tree(app("/old", instances=4), app("/same"))
    after = settle(before, put_app(remove_app(before, "/old"), app("/new")), VERSIONS[2])
    deployment = planned(before, after)
    assert steps(deployment) == [
        [("StopApplication", "/old", 0)],
        [("StartApplication", "/new", 0)],
        [("ScaleApplication", "/new", 1)],
    ]
    assert deployment.steps[0].actions[0].app is app_of(before, "/old")
    assert set(deployment.affected) == {"/old", "/new"}


def test_apps_are_scaled_or_rolled_by_what_of_them_changed_and_left_alone_where_nothing_did() -> None:
    before = tree(app("/scaled", instances=4), app("/rolled"), app("/both"), app("/same"))
    after = tree(
        app("/scaled", instances=2),
        app("/rolled", cmd="other"),
        app("/both", cmd="other", instances=5),
        app("/same"),
        before=before,
        version=VERSIONS[2],
    )
    deployment = planned(before, after, kill={"/scaled": ["i1", "i2"], "/rolled": ["i3"]})
    assert steps(deployment) == [
        [("RestartApplication", "/both", 5), ("RestartApplication", "/rolled", 1), ("ScaleApplication", "/scaled", 2)]
    ]
    assert {one.app.id: one.kill for one in deployment.steps[0].actions} == {
        "/scaled": ("i1", "i2"),
        "/rolled": (),
        "/both": (),
    }


def test_apps_to_be_restarted_are_rolled_though_nothing_changed() -> None:
    before = tree(app("/a"), app("/b"))
    after = settle(before, before, VERSIONS[2], restart=["/a"])
    assert steps(planned(before, after)) == [[("RestartApplication", "/a", 1)]]


def test_what_has_no_effect_needs_no_step() -> None:
    before = tree(app("/a"))
    assert planned(before, settle(before, before, VERSIONS[2])).steps == ()
    after = tree(app("/a", residency={"taskLostBehavior": "WAIT_FOREVER"}), before=before, version=VERSIONS[2])
    deployment = planned(before, after)
    assert deployment.steps == ()
    assert deployment.apps == (AppChange("/a", app_of(before, "/a"), app_of(after, "/a")),)


def test_layers_count_the_whole_way_even_through_what_does_not_change() -> None:
    before = tree(
        app("/db"), app("/cache", dependencies=("/db",)), app("/web", dependencies=("/cache",)), app("/alone")
    )
    after = tree(
        app("/web", dependencies=("/cache",), cmd="other"),
        app("/db", cmd="other"),
        app("/alone", cmd="other"),
        before=before,
        version=VERSIONS[2],
    )
    assert steps(planned(before, after)) == [
        [("RestartApplication", "/alone", 1), ("RestartApplication", "/db", 1)],
        [("RestartApplication", "/web", 1)],
    ]


def test_a_group_waits_for_groups_and_apps_and_all_in_it_waits() -> None:
    root = tree(app("/db/one"), app("/db/two", dependencies=("/db/one",)), app("/web/in/side"), app("/lone"))
    root = updated(root, GroupUpdate(id="/web", dependencies=("/db", "/lone", "/gone")), VERSIONS[2])
    assert steps(planned(EMPTY, root))[1:] == [
        [("ScaleApplication", "/db/one", 1), ("ScaleApplication", "/lone", 1)],
        [("ScaleApplication", "/db/two", 1)],
        [("ScaleApplication", "/web/in/side", 1)],
    ]


def test_a_long_line_of_dependencies_is_a_step_each() -> None:
    apps = [app(f"/a{place}", dependencies=(f"/a{place + 1}",)) for place in range(3000)]
    assert len(planned(EMPTY, tree(*apps)).steps) == 3001


def plain(root: Group) -> tuple[dict[str, str | None], dict[str, tuple[set[str], bool | None]]]:
    """What is wanted, without versions."""
    apps = {one.id: f"{one.cmd} {one.instances}" for one in apps_of(root)}
    groups = {one.id: (set(one.dependencies), one.enforce_role) for one in groups_of(root)}
    return dict(apps), groups


def test_taking_back_gives_what_was() -> None:
    before = tree(app("/a/keep"), app("/a/change"), app("/a/b/go"), app("/top"))
    before = updated(before, GroupUpdate(id="/a", dependencies=("/x", "/y")), VERSIONS[2])
    after = remove_group(
        with_apps(before, {"/a/change": app("/a/change", cmd="o"), "/n/m/new": app("/n/m/new")}), "/a/b"
    )
    after = apply_group_update(after, GroupUpdate(id="/a", dependencies=("/y", "/z"), enforce_role=True))
    after = settle(before, after, VERSIONS[3])
    deployment = planned(before, after)
    assert {one.group_id for one in deployment.groups} == {"/a", "/a/b", "/n", "/n/m"}
    back = settle(after, revert(deployment, after), VERSIONS[4])
    assert plain(back) == plain(before)
    assert steps(planned(after, back)) == [
        [("StopApplication", "/n/m/new", 0)],
        [("StartApplication", "/a/b/go", 0)],
        [("RestartApplication", "/a/change", 1), ("ScaleApplication", "/a/b/go", 1)],
    ]


def test_taking_back_leaves_what_others_changed_meanwhile() -> None:
    before = tree(app("/a/mine"), app("/other"))
    after = updated(before, GroupUpdate(id="/n", apps=(app("/n/one"),), dependencies=("/x",)), VERSIONS[2])
    deployment = planned(before, after)
    later = with_apps(after, {"/n/theirs": app("/n/theirs"), "/other": app("/other", cmd="theirs")})
    later = apply_group_update(later, GroupUpdate(id="/n", dependencies=("/x", "/y")))
    later = settle(after, later, VERSIONS[3])
    back = settle(later, revert(deployment, later), VERSIONS[4])
    assert {one.id: one.cmd for one in apps_of(back)} == {
        "/a/mine": "sleep 1000",
        "/other": "theirs",
        "/n/theirs": "sleep 1000",
    }
    group = group_of(back, "/n")
    assert group and group.dependencies == ("/y",)


def test_taking_back_does_not_bring_back_what_others_took_away() -> None:
    before = tree(app("/a/mine"))
    after = tree(app("/n/one"), before=before, version=VERSIONS[2])
    later = remove_group(after, "/n")
    assert plain(revert(planned(before, after), later)) == plain(before)


def test_taking_back_restores_a_group_that_an_app_took_the_place_of_and_the_other_way_round() -> None:
    empty = settle(EMPTY, remove_app(tree(app("/a/b")), "/a/b"), VERSIONS[2])
    taken = settle(empty, put_app(empty, app("/a")), VERSIONS[3])
    assert plain(revert(planned(empty, taken), taken)) == plain(empty)
    before = tree(app("/a"))
    after = settle(before, put_app(remove_app(before, "/a"), app("/a/b")), VERSIONS[2])
    assert plain(revert(planned(before, after), after)) == plain(before)


def test_taking_back_gives_back_whether_a_group_enforced_its_role_unless_others_set_it_since() -> None:
    before = tree(app("/a/b"))
    after = settle(before, set_enforce_role(before, "/a", True), VERSIONS[2])
    deployment = planned(before, after)
    assert deployment.steps == ()
    assert deployment.groups == (GroupChange("/a", ((), False), ((), True)),)
    assert revert(deployment, after).groups["/a"].enforce_role is False
    gone = settle(after, remove_group(after, "/a"), VERSIONS[3])
    assert revert(planned(after, gone), gone).groups["/a"].enforce_role is True
