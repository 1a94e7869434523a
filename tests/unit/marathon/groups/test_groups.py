"""The tree of groups: what a change makes, what it keeps, and what it shares with the tree before it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.faults import InvalidObjectError
from framework.local.marathon.definition.read import EMPTY, GroupUpdate
from framework.local.marathon.groups.tree import (
    Difference,
    NoSuchGroupError,
    app_of,
    apply_group_update,
    apps_of,
    changed_groups,
    differences,
    group_of,
    groups_above,
    groups_of,
    is_top,
    put_app,
    put_group,
    remove_app,
    remove_group,
    scale_group,
    set_enforce_role,
    top_of,
    with_apps,
    with_version,
)
from tests.unit.marathon.groups.trees import VERSIONS, app


def grown(*apps: App) -> Group:
    return with_apps(EMPTY, {one.id: one for one in apps})


def app_ids(group: Group) -> set[str]:
    return {one.id for one in apps_of(group)}


def group_ids(group: Group) -> set[str]:
    return {one.id for one in groups_of(group)}


@pytest.mark.parametrize(
    ("path", "top", "is_one"),
    [("/", "/", False), ("/a", "/a", True), ("/a/b", "/a", False), ("/a/b/c", "/a", False)],
)
def test_an_id_tells_where_in_the_tree_it_is(path: str, top: str, is_one: bool) -> None:
    assert (top_of(path), is_top(path)) == (top, is_one)


def test_an_app_is_found_where_it_was_put_and_missing_groups_are_made() -> None:
    root = grown(app("/a/b/c"), app("/d"))
    assert app_of(root, "/a/b/c") == app("/a/b/c")
    assert app_of(root, "/d") == app("/d")
    assert app_of(root, "/a/b") is None
    assert app_of(root, "/x/y/z") is None
    assert group_ids(root) == {"/", "/a", "/a/b"}
    assert group_of(root, "/") is root
    assert group_of(root, "/a/b/c") is None
    assert [one.id for one in groups_above(root, "/a/b/c")] == ["/", "/a", "/a/b"]
    assert [one.id for one in groups_above(root, "/a/x/y")] == ["/", "/a"]
    assert [one.id for one in groups_above(root, "/")] == []


def test_only_groups_right_below_the_root_say_whether_they_enforce_their_role() -> None:
    root = grown(app("/a/b/c"))
    assert [one.enforce_role for one in groups_of(root)] == [None, False, None]
    assert group_of(set_enforce_role(root, "/a", True), "/a") == replace(root.groups["/a"], enforce_role=True)
    assert set_enforce_role(set_enforce_role(root, "/a", True), "/a", None) == root
    assert set_enforce_role(root, "/a/b", True) == root
    with pytest.raises(NoSuchGroupError):
        set_enforce_role(root, "/x", True)


def test_a_change_shares_what_it_does_not_touch() -> None:
    root = grown(app("/a/one"), app("/b/one"), app("/top"))
    after = put_app(root, app("/a/two"))
    assert after.groups["/b"] is root.groups["/b"]
    assert after.apps is root.apps
    assert after.groups["/a"].apps["/a/one"] is root.groups["/a"].apps["/a/one"]
    assert app_ids(root) == {"/a/one", "/b/one", "/top"}


def test_groups_stay_when_their_last_app_goes() -> None:
    root = remove_app(grown(app("/a/b/c")), "/a/b/c")
    assert group_ids(root) == {"/", "/a", "/a/b"}
    assert app_ids(root) == set()


def test_what_is_not_there_is_removed_without_a_change() -> None:
    root = grown(app("/a/b"))
    assert remove_app(root, "/a/x") == root
    assert remove_app(root, "/x/y") == root
    assert remove_group(root, "/x") is root
    assert remove_group(root, "/a/x/y") is root


def test_an_app_takes_the_place_of_a_group_without_any_app_but_of_no_other() -> None:
    root = remove_app(grown(app("/a/b/c")), "/a/b/c")
    assert group_ids(put_app(root, app("/a"))) == {"/"}
    both = put_app(grown(app("/a/b/c")), app("/a/b"))
    assert group_ids(both) == {"/", "/a", "/a/b"}
    assert app_ids(both) == {"/a/b", "/a/b/c"}


def test_a_group_goes_with_all_below_it_and_the_root_with_everything() -> None:
    root = grown(app("/a/b/c"), app("/a/d"), app("/e"))
    assert app_ids(remove_group(root, "/a/b")) == {"/a/d", "/e"}
    assert app_ids(remove_group(root, "/a")) == {"/e"}
    assert remove_group(root, "/") == EMPTY


def test_a_group_goes_back_to_what_it_was() -> None:
    then = grown(app("/a/b/c"), app("/e"))
    now = put_app(remove_app(then, "/a/b/c"), app("/a/b/new"))
    was = group_of(then, "/a/b")
    assert was
    assert put_group(now, was) == then
    assert put_group(now, then) is then


def test_scaling_rounds_up_and_makes_a_group_that_is_not_there() -> None:
    root = grown(app("/a/one", instances=3), app("/a/b/two", instances=10), app("/c", instances=4))
    with pytest.raises(InvalidObjectError, match="/scaleBy: more than 10000 instances"):
        scale_group(root, "/a", 1e12)
    half = scale_group(root, "/a", 0.5)
    assert {one.id: one.instances for one in apps_of(half)} == {"/a/one": 2, "/a/b/two": 5, "/c": 4}
    none = scale_group(root, "/", 0)
    assert {one.instances for one in apps_of(none)} == {0}
    assert group_ids(scale_group(root, "/x/y", 2)) == {"/", "/a", "/a/b", "/x", "/x/y"}


def test_an_update_replaces_what_it_gives_and_keeps_what_it_does_not() -> None:
    root = grown(app("/a/one"), app("/a/two"), app("/a/b/three"), app("/a/c/four"), app("/other"))
    changed = app("/a/one", cmd="other")
    after = apply_group_update(root, GroupUpdate(id="/a", apps=(changed, app("/a/new"))))
    assert app_ids(after) == {"/a/one", "/a/new", "/a/b/three", "/a/c/four", "/other"}
    assert app_of(after, "/a/one") is changed
    after = apply_group_update(root, GroupUpdate(id="/a", groups=(GroupUpdate(id="/a/b"), GroupUpdate(id="/a/d"))))
    assert app_ids(after) == {"/a/one", "/a/two", "/a/b/three", "/other"}
    assert group_ids(after) == {"/", "/a", "/a/b", "/a/d"}
    assert apply_group_update(root, GroupUpdate(id="/a")) == root


def test_an_update_of_a_group_that_is_not_there_makes_it_with_all_below() -> None:
    nested = GroupUpdate(id="/a/b/c", apps=(app("/a/b/c/d"),), dependencies=("/a/x",))
    root = apply_group_update(EMPTY, GroupUpdate(id="/a/b", groups=(nested,), enforce_role=True))
    assert app_ids(root) == {"/a/b/c/d"}
    below = group_of(root, "/a/b/c")
    assert below and below.dependencies == ("/a/x",)
    assert {one.id: one.enforce_role for one in groups_of(root)} == {
        "/": None,
        "/a": False,
        "/a/b": None,
        "/a/b/c": None,
    }


def test_an_update_sets_dependencies_and_enforcement_only_where_it_gives_them() -> None:
    root = apply_group_update(EMPTY, GroupUpdate(id="/a", dependencies=("/b",), enforce_role=True))
    assert root.groups["/a"].dependencies == ("/b",)
    assert root.groups["/a"].enforce_role is True
    assert apply_group_update(root, GroupUpdate(id="/a", apps=())) == root
    assert apply_group_update(root, GroupUpdate(id="/a", dependencies=())).groups["/a"].dependencies == ()


def test_an_update_with_a_factor_scales_and_does_nothing_else() -> None:
    root = grown(app("/a/one", instances=2))
    after = apply_group_update(root, GroupUpdate(id="/a", scale_by=1.5, apps=()))
    assert {one.id: one.instances for one in apps_of(after)} == {"/a/one": 3}


def test_an_update_of_the_root_is_an_update_of_everything() -> None:
    root = grown(app("/a/one"), app("/top"))
    after = apply_group_update(root, GroupUpdate(id="/", apps=(), groups=(GroupUpdate(id="/b"),)))
    assert app_ids(after) == set()
    assert group_ids(after) == {"/", "/b"}


def test_all_groups_get_a_version_and_no_app_does() -> None:
    root = with_version(grown(app("/a/b/c")), VERSIONS[3])
    assert {one.version for one in groups_of(root)} == {VERSIONS[3]}
    assert {one.version for one in apps_of(root)} == {VERSIONS[0]}


def test_what_differs_between_two_trees_is_told_and_nothing_else() -> None:
    root = grown(app("/a/one"), app("/a/two"), app("/b/three"), app("/four"))
    after = remove_group(put_app(root, app("/a/two", cmd="other")), "/b")
    after = with_version(put_app(after, app("/c/five")), VERSIONS[2])
    found = differences(changed_groups(root, after))
    assert sorted(found[:-1]) == [
        Difference("/a/two", app("/a/two"), app("/a/two", cmd="other")),
        Difference("/c/five", None, app("/c/five")),
    ]
    assert found[-1] == Difference("/b/three", app("/b/three"), None)
    assert list(changed_groups(root, root)) == []
