"""What a changed tree gets before it is saved: service ports, versions; and which trees are refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from framework.local.marathon.definition.app import (
    App,
    CommandCheck,
    Group,
    HealthCheck,
    PortDefinition,
    VersionInfo,
)
from framework.local.marathon.definition.faults import Detail, InvalidObjectError
from framework.local.marathon.definition.read import EMPTY, GroupUpdate
from framework.local.marathon.groups.settling import (
    assign_service_ports,
    check,
    is_only_scale_change,
    is_upgrade,
    settle,
    stamp_versions,
)
from framework.local.marathon.groups.tree import (
    app_of,
    apply_group_update,
    apps_of,
    groups_of,
    put_app,
    remove_app,
    with_apps,
)
from tests.unit.marathon.groups.trees import VERSIONS, app, external, mapped, persistent, tree


def there(root: Group, app_id: str) -> App:
    found = app_of(root, app_id)
    assert found
    return found


def refused(before: Group, *changed: App) -> list[Detail]:
    with pytest.raises(InvalidObjectError) as caught:
        check(before, with_apps(before, {one.id: one for one in changed}))
    return caught.value.details


def command_check(value: str) -> HealthCheck:
    return HealthCheck(
        protocol="COMMAND",
        grace_period_seconds=300,
        interval_seconds=60,
        timeout_seconds=20,
        max_consecutive_failures=3,
        delay_seconds=15,
        command=CommandCheck(value=value),
    )


# Service ports.


def test_a_port_of_0_becomes_the_lowest_that_no_app_has() -> None:
    root = tree(app("/a", ports=(10_001, 8080)), app("/b", ports=(0, 0)))
    assert there(root, "/b").service_ports == (10_000, 10_002)
    assert there(root, "/a").service_ports == (10_001, 8080)


def test_port_mappings_get_service_ports_too_and_stay_what_else_they_are() -> None:
    root = tree(app("/a", ports=None, container=mapped(0, 9000, 0)))
    assert there(root, "/a").service_ports == (10_000, 9000, 10_001)
    assert there(root, "/a").container == mapped(10_000, 9000, 10_001)


def test_an_app_that_asks_again_for_any_port_keeps_its_own() -> None:
    root = tree(app("/a", ports=(0, 0)), app("/b", ports=(0,)))
    after = tree(app("/a", ports=(0, 0), cmd="other"), before=root, version=VERSIONS[2])
    assert there(after, "/a").service_ports == (10_000, 10_001)


def test_an_app_that_asks_again_for_any_port_and_changes_nothing_is_not_changed() -> None:
    root = tree(app("/a", ports=(0, 0)))
    after = tree(app("/a", ports=(0, 0)), before=root, version=VERSIONS[2])
    assert there(after, "/a") is there(root, "/a")


def test_a_port_that_is_now_asked_for_by_number_is_not_given_to_another_of_the_app() -> None:
    root = tree(app("/a", ports=(0, 0)))
    after = tree(app("/a", ports=(0, 10_000, 0)), before=root, version=VERSIONS[2])
    assert there(after, "/a").service_ports == (10_001, 10_000, 10_002)


def test_a_port_outside_of_the_range_is_not_taken_up_again() -> None:
    root = tree(app("/a", ports=(8080,)))
    assert there(tree(app("/a", ports=(0,)), before=root), "/a").service_ports == (10_000,)


def test_ports_of_an_app_that_goes_are_free_only_for_the_next_change() -> None:
    root = tree(app("/a", ports=(0,)))
    swapped = put_app(remove_app(root, "/a"), app("/b", ports=(0,)))
    assert there(settle(root, swapped, VERSIONS[2]), "/b").service_ports == (10_001,)
    without = settle(root, remove_app(root, "/a"), VERSIONS[2])
    assert there(tree(app("/b", ports=(0,)), before=without), "/b").service_ports == (10_000,)


def test_two_apps_may_ask_for_the_same_port() -> None:
    root = tree(app("/a", ports=(9000,)), app("/b", ports=(9000,)))
    assert [one.service_ports for one in apps_of(root)] == [(9000,), (9000,)]


def test_where_no_port_is_left_the_change_is_refused_with_the_range() -> None:
    full = with_apps(EMPTY, {"/a": app("/a", ports=(0, 0, 0))})
    assert there(assign_service_ports(EMPTY, full, 10_000, 10_002), "/a").service_ports == (10_000, 10_001, 10_002)
    with pytest.raises(InvalidObjectError) as caught:
        assign_service_ports(EMPTY, full, 10_000, 10_001)
    assert caught.value.details == [Detail("/", ["All ports in the range [10000-10002) are already in use"])]


# Versions.


def test_a_new_app_has_the_version_throughout() -> None:
    root = tree(app("/a"))
    assert there(root, "/a").version == VERSIONS[1]
    assert there(root, "/a").version_info == VersionInfo(last_scaling_at=VERSIONS[1], last_config_change_at=VERSIONS[1])


@pytest.mark.parametrize(
    ("changed", "scaled_at", "configured_at"),
    [
        ({"cmd": "other"}, 2, 2),
        ({"cmd": "other", "instances": 5}, 2, 2),
        ({"instances": 5}, 2, 1),
        ({"labels": {"a": "b"}}, 2, 2),
        ({"dependencies": ("/x",)}, 2, 2),
        ({"health_checks": (command_check("true"),)}, 2, 2),
    ],
)
def test_a_changed_app_says_what_of_it_changed_last(
    changed: dict[str, Any], scaled_at: int, configured_at: int
) -> None:
    after = tree(app("/a", **changed), before=tree(app("/a")), version=VERSIONS[2])
    assert there(after, "/a").version == VERSIONS[2]
    assert there(after, "/a").version_info == VersionInfo(
        last_scaling_at=VERSIONS[scaled_at], last_config_change_at=VERSIONS[configured_at]
    )


def test_an_app_that_is_put_again_as_it_was_stays_the_same_object() -> None:
    before = tree(app("/g/a", env={"A": "1", "B": "2"}), app("/g/b"))
    after = tree(app("/g/a", env={"B": "2", "A": "1"}), before=before, version=VERSIONS[2])
    assert there(after, "/g/a") is there(before, "/g/a")
    assert there(after, "/g/b") is there(before, "/g/b")


def test_what_has_no_effect_is_shown_as_given_without_a_new_version() -> None:
    before = tree(app("/a"))
    after = tree(app("/a", residency={"taskLostBehavior": "WAIT_FOREVER"}), before=before, version=VERSIONS[2])
    assert there(after, "/a") == replace(there(before, "/a"), residency={"taskLostBehavior": "WAIT_FOREVER"})


@pytest.mark.parametrize("name", ["constraints", "accepted_resource_roles", "dependencies", "health_checks"])
def test_sets_may_come_in_any_order_and_lists_may_not(name: str) -> None:
    values: dict[str, tuple[Any, ...]] = {
        "constraints": (("hostname", "UNIQUE"), ("rack", "GROUP_BY", "3")),
        "health_checks": (command_check("a"), command_check("b")),
    }
    given = values.get(name, ("/x", "/y"))
    old = replace(app("/a"), **{name: given})
    assert not is_upgrade(old, replace(old, **{name: given[::-1]}))
    assert is_upgrade(old, replace(old, **{name: given[:1]}))
    assert is_upgrade(app("/a", args=("x", "y")), app("/a", args=("y", "x")))


def test_scaling_is_not_an_upgrade() -> None:
    assert is_only_scale_change(app("/a"), app("/a", instances=2))
    assert not is_only_scale_change(app("/a"), app("/a", instances=2, cmd="other"))
    assert not is_only_scale_change(app("/a"), app("/a"))


def test_a_restart_is_told_as_a_scaling_is() -> None:
    before = tree(app("/a"), app("/b"))
    after = stamp_versions(before, before, VERSIONS[2], restart=["/a", "/gone"])
    assert there(after, "/a") == replace(
        there(before, "/a"),
        version=VERSIONS[2],
        version_info=VersionInfo(last_scaling_at=VERSIONS[2], last_config_change_at=VERSIONS[1]),
    )
    assert there(after, "/b") is there(before, "/b")


def test_an_app_that_is_put_as_it_was_and_restarted_is_restarted_and_one_that_is_scaled_is_scaled() -> None:
    before = tree(app("/a"), app("/b"))
    put = with_apps(before, {"/a": app("/a"), "/b": app("/b", instances=3)})
    after = stamp_versions(before, put, VERSIONS[2], restart=["/a", "/b"])
    assert there(after, "/a").version_info == VersionInfo(
        last_scaling_at=VERSIONS[2], last_config_change_at=VERSIONS[1]
    )
    assert there(after, "/b").version_info.last_config_change_at == VERSIONS[1]
    assert there(after, "/b").instances == 3


def test_every_group_has_the_newest_version() -> None:
    root = tree(app("/b/c"), before=tree(app("/a/b/c")), version=VERSIONS[2])
    assert {one.version for one in groups_of(root)} == {VERSIONS[2]}


# Rules of the whole.


CIRCLE = [Detail("/", ["Dependency graph has cyclic dependencies."])]


def test_apps_that_wait_for_one_another_are_refused() -> None:
    assert refused(EMPTY, app("/a", dependencies=("/b",)), app("/b", dependencies=("/a",))) == CIRCLE
    assert refused(EMPTY, app("/a", dependencies=("/a",))) == CIRCLE


def test_a_circle_is_found_however_long_and_whichever_change_closes_it() -> None:
    chain = [app(f"/a{place}", dependencies=(f"/a{place + 1}",)) for place in range(3000)]
    root = tree(*chain)
    assert refused(root, app("/a3000", dependencies=("/a0",))) == CIRCLE
    assert refused(tree(app("/a3000"), before=root), app("/a3000", dependencies=("/a1500",))) == CIRCLE


def test_a_circle_through_groups_is_refused() -> None:
    assert refused(EMPTY, app("/g/a", dependencies=("/g",))) == CIRCLE
    assert refused(EMPTY, app("/g/a", dependencies=("/h",)), app("/h/b", dependencies=("/g",))) == CIRCLE
    root = tree(app("/g/a"), app("/h/b", dependencies=("/g/a",)))
    update = GroupUpdate(id="/g", dependencies=("/h",))
    with pytest.raises(InvalidObjectError) as caught:
        check(root, apply_group_update(root, update))
    assert caught.value.details == CIRCLE
    assert refused(tree(app("/h/b", dependencies=("/g",))), app("/g/a", dependencies=("/h/b",))) == CIRCLE


def test_apps_that_wait_for_what_is_not_there_or_for_the_same_are_not_refused() -> None:
    root = tree(
        app("/a", dependencies=("/gone", "/b", "/c")), app("/b", dependencies=("/c", "/g")), app("/c"), app("/g/d")
    )
    assert len(list(apps_of(root))) == 4
    assert apply_group_update(root, GroupUpdate(id="/g", dependencies=("/c",)))


def test_an_app_and_a_group_of_the_same_id_are_refused_wherever_they_are() -> None:
    words = ["Groups and Applications may not have the same identifier."]
    assert refused(tree(app("/a/b")), app("/a")) == [Detail("/", words)]
    assert refused(tree(app("/a")), app("/a/b")) == [Detail("/", words)]
    root = tree(app("/x/y"), app("/z/a/b"))
    assert refused(root, app("/z/a")) == [Detail("/groups(1)", words)]
    root = tree(app("/x/y/z/w"), app("/v/u"))
    assert refused(root, app("/x/y/z")) == [Detail("/groups(2)", words)]
    of = [app(f"/g{n}/{name}") for n in range(3) for name in ("a/b", "a")]
    assert sorted(one.path for one in refused(EMPTY, *of)) == [f"/groups({n})" for n in range(3)]


def test_a_named_external_volume_is_one_apps_unless_it_is_shared() -> None:
    root = tree(app("/n/one", container=external("vol", shared=True)))
    tree(app("/n/two", container=external("vol", shared=True)), before=root)
    details = refused(root, app("/n/two", container=external("vol")))
    assert details == [
        Detail(
            "/groups(0)/apps(0)/externalVolumes(0)",
            ["Volume name 'vol' in /n/one conflicts with volume(s) of same name in app(s): /n/two"],
        )
    ]
    root = tree(app("/one", container=external("vol")), app("/other", container=external("vol2")))
    tree(app("/one", container=external("vol"), cmd="other"), before=root)
    paths = [one.path for one in refused(root, app("/n/two", container=external("vol")))]
    assert paths == ["/apps(0)/externalVolumes(0)", "/groups(0)/apps(0)/externalVolumes(0)"]


def test_what_is_reserved_for_an_app_stays_what_it_is() -> None:
    volumes = "Persistent volumes can not be changed!"
    resources = "Resident Tasks may not change resource requirements!"
    root = tree(app("/plain"), app("/a", container=persistent("data"), ports=(0,)))
    assert refused(root, app("/a", container=persistent("data", 20), ports=(10_000,))) == [Detail("/app(0)", [volumes])]
    assert refused(root, app("/a", container=persistent("other"), cpus=2.0, ports=(10_000,))) == [
        Detail("/app(0)", [volumes, resources])
    ]
    assert refused(root, app("/a", container=persistent("data"), ports=(10_000, 9000))) == [
        Detail("/app(0)", [resources])
    ]
    assert refused(root, app("/plain", container=persistent("data"))) == [Detail("/app(0)", [volumes])]
    tree(app("/a", container=persistent("data"), ports=(0,), cmd="other", instances=3), before=root)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    root = tree(app("/a", container=persistent("data")), app("/g/b", container=external("vol")))
    details = refused(
        root,
        app("/a", dependencies=("/a",), container=persistent("data", 5)),
        app("/g", container=external("vol")),
    )
    assert len(details) == 5
    assert {one.path for one in details} == {
        "/",
        "/app(0)",
        "/apps(1)/externalVolumes(0)",
        "/groups(0)/apps(0)/externalVolumes(0)",
    }


def test_a_port_given_by_a_definition_keeps_its_name_and_labels() -> None:
    asked = PortDefinition(port=0, name="http", labels={"VIP": "x"}, protocol="udp,tcp")
    given = there(tree(replace(app("/a"), port_definitions=(asked,))), "/a")
    assert given.port_definitions == (replace(asked, port=10_000),)
