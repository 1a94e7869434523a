"""Groups as they are sent, with all below them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from framework.local.marathon.definition.app import Group
from framework.local.marathon.definition.faults import InvalidJsonError, InvalidObjectError
from framework.local.marathon.definition.read import EMPTY, Defaults, GroupUpdate, read_enforce_role, read_group
from tests.unit.marathon.definition.reading import SLEEP, VERSION, made


def read(raw: object, group_id: str = "/", root: Group = EMPTY) -> GroupUpdate:
    return read_group(raw, group_id=group_id, defaults=Defaults(), version=VERSION, root=root)


def faults(raw: object, group_id: str = "/", root: Group = EMPTY) -> dict[str, list[str]]:
    try:
        read(raw, group_id, root)
    except (InvalidJsonError, InvalidObjectError) as error:
        return {one.path: one.errors for one in error.details or []}
    return {}


def test_ids_become_absolute_all_the_way_down() -> None:
    group = read({
        "id": "product",
        "dependencies": ["/base", "../x", "y"],
        "apps": [{**SLEEP, "id": "app", "dependencies": ["service/a", "../x"]}],
        "groups": [{"id": "service", "dependencies": ["../database"], "apps": [{**SLEEP, "id": "/product/service/a"}]}],
    })  # fmt: skip
    assert group.id == "/product"
    assert group.dependencies == ("/base", "/x", "/product/y")
    assert group.apps is not None
    assert group.apps[0] == made(id="/product/app", dependencies=["/product/service/a", "/x"])
    assert group.groups is not None
    (service,) = group.groups
    assert service.id == "/product/service"
    assert service.dependencies == ("/product/database",)
    assert service.apps is not None
    assert service.apps[0].id == "/product/service/a"
    assert service.groups is None


def test_without_an_id_it_is_the_group_of_the_path() -> None:
    assert read({"apps": []}, "/a/b") == GroupUpdate(id="/a/b", apps=())
    assert read({"id": "c"}, "/a/b").id == "/a/b/c"


def test_scaling_and_going_back_go_with_nothing_else() -> None:
    assert read({"scaleBy": 2}, "/a").scale_by == 2
    assert read({"version": VERSION}, "/a").version == VERSION
    alone = ["not allowed in conjunction with other properties."]
    assert faults({"scaleBy": 2, "apps": []}, "/a") == {"/scaleBy": alone}
    assert faults({"scaleBy": 2, "version": VERSION}, "/a") == {"/scaleBy": alone, "/version": alone}
    assert faults({"version": VERSION, "dependencies": []}, "/a") == {"/version": alone}
    assert faults({"scaleBy": -1}, "/a") == {"/scaleBy": ["is less than 0"]}


def test_a_group_as_it_was_shown_may_be_sent() -> None:
    shown: dict[str, Any] = {"id": "/a", "apps": [], "groups": [], "dependencies": [], "version": VERSION, "pods": []}
    assert read(shown) == GroupUpdate(id="/a", apps=(), groups=(), dependencies=())


def test_faults_are_told_with_the_path_of_what_they_are_in() -> None:
    found = faults({
        "id": "a",
        "apps": [{**SLEEP, "id": "B"}, {"id": "c"}, {**SLEEP, "id": "d", "instances": -1}],
        "groups": [{"id": "e", "groups": [{"id": "f", "apps": [{**SLEEP, "id": "tasks"}]}]}],
    })  # fmt: skip
    assert found.keys() == {
        "/apps(0)/id", "/apps(1)", "/apps(2)/instances", "/groups(0)/groups(0)/apps(0)/id"
    }  # fmt: skip
    assert faults({"id": "a", "apps": [{"id": 1}], "groups": [{}, 5]}).keys() == {
        "/apps(0)/id", "/groups(0)/id", "/groups(1)"
    }  # fmt: skip


def test_apps_and_groups_are_below_their_group() -> None:
    found = faults({"id": "a", "apps": [{**SLEEP, "id": "/b/c"}], "groups": [{"id": "x/y"}]})
    assert found["/apps(0)/id"] == ["Identifier is not child of /a. Hint: use relative paths."]
    assert found["/groups(0)/id"] == ["Identifier is not child of /a. Hint: use relative paths."]


def test_nothing_is_there_twice() -> None:
    twice = [{**SLEEP, "id": "b"}, {**SLEEP, "id": "/a/b"}]
    assert faults({"id": "a", "apps": twice}) == {"/apps": ["Elements must be unique."]}
    assert faults({"id": "a", "groups": [{"id": "b"}] * 2}) == {"/groups": ["Elements must be unique."]}


def test_groups_are_not_nested_without_end() -> None:
    raw: dict[str, Any] = {"id": "a"}
    for _ in range(200):
        raw = {"id": "a", "groups": [raw]}
    (errors,) = faults(raw).values()
    assert errors == ["nested too deeply"]


def test_roles_are_enforced_by_what_the_document_says() -> None:
    group = read({"id": "/team", "enforceRole": True, "apps": [{**SLEEP, "id": "a"}], "groups": [
        {"id": "b", "apps": [{**SLEEP, "id": "c"}]}
    ]})  # fmt: skip
    assert group.enforce_role is True
    assert group.apps is not None
    assert group.apps[0].role == "team"
    assert group.groups is not None
    assert group.groups[0].apps is not None
    assert group.groups[0].apps[0].role == "team"
    within = read({"id": "/", "groups": [{"id": "team", "enforceRole": True, "apps": [{**SLEEP, "id": "a"}]}]})
    assert within.groups is not None
    assert within.groups[0].apps is not None
    assert within.groups[0].apps[0].role == "team"


def test_only_groups_at_the_top_enforce_roles() -> None:
    only = ["enforceRole can only be set for top-level groups, and /a/b is not top-level"]
    assert faults({"enforceRole": True}, "/a/b") == {"/enforceRole": only}
    assert read({"enforceRole": False}, "/a/b").enforce_role is False


def test_apps_that_are_there_may_keep_their_role() -> None:
    app = replace(made(id="/a/b"), role="former")
    below = Group(id="/a", apps={app.id: app}, groups={}, version=VERSION)
    root = Group(id="/", apps={}, groups={"/a": below}, version=VERSION)
    raw: dict[str, Any] = {**SLEEP, "id": "b", "role": "former"}
    assert read({"apps": [raw]}, "/a", root).apps == (app,)


def test_the_enforcing_of_roles_alone() -> None:
    assert read_enforce_role({"enforceRole": True}) is True
    assert read_enforce_role({}) is None
    with pytest.raises(InvalidJsonError):
        read_enforce_role({"enforceRole": "yes"})


def test_more_than_anybody_has_is_not_taken_at_once() -> None:
    few: dict[str, Any] = {"groups": [{"id": "a", "apps": [{**SLEEP, "id": str(n)} for n in range(10)]}]}
    assert read(few).groups
    below = {"id": "a", "groups": [{"id": "b", "apps": [1] * 2499}]}
    many: dict[str, Any] = {"apps": [SLEEP] * 2500, "groups": [below]}
    assert faults(many) == {"/": ["more than 5000 apps and groups cannot be taken at once"]}
    assert faults({"groups": [{"id": "a", "groups": [{}] * 5000}]}) == faults(many)
    assert faults({"apps": 1, "groups": {"id": "a"}}).keys() == {"/apps", "/groups"}
