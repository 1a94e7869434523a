"""PUT and PATCH: what is given replaces what there is, whole fields at a time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framework.local.marathon.definition.app import NetworkMode, PortDefinition, VersionInfo
from framework.local.marathon.definition.faults import InvalidJsonError, InvalidObjectError
from framework.local.marathon.definition.read import app_updates
from tests.unit.marathon.definition.reading import IMAGE, LATER, VERSION, changed, made


def test_fields_that_are_not_given_stay() -> None:
    before = made(env={"A": "1", "B": "2"}, labels={"a": "b"}, instances=3)
    after = changed(before, env={"A": "5"}, cpus=2)
    assert after == replace(before, env={"A": "5"}, cpus=2.0, version=LATER)
    assert after.version_info == VersionInfo(last_scaling_at=VERSION, last_config_change_at=VERSION)


def test_nothing_given_changes_nothing_but_the_version() -> None:
    before = made(container={**IMAGE, "portMappings": [{"containerPort": 80}]}, networks=[{"mode": "container/bridge"}])
    assert changed(before) == replace(before, version=LATER)


def test_a_whole_replacement_begins_from_the_defaults() -> None:
    before = made(env={"A": "1"}, instances=3)
    after = changed(before, partial=False, cmd="sleep 1")
    assert (after.cmd, after.env, after.instances) == ("sleep 1", {}, 1)
    assert after.version_info == before.version_info


def test_what_is_not_there_yet_is_made() -> None:
    app = changed(None, app_id="/a/b", cmd="sleep 1")
    assert app.id == "/a/b"
    assert app.version_info == VersionInfo(last_scaling_at=LATER, last_config_change_at=LATER)


def test_the_id_of_the_path_is_the_one_that_counts() -> None:
    assert changed(made(), id="/other", cpus=2).id == "/app"


def test_service_ports_stay() -> None:
    before = replace(made(), port_definitions=(PortDefinition(port=10001, name="default"),))
    assert changed(before, cpus=2).service_ports == (10001,)


def test_the_old_ways_to_write_fields_are_those_of_updates_too() -> None:
    after = changed(made(fetch=[{"uri": "http://a"}]), uris=["http://b"], ports=[80])
    assert [one.uri for one in after.fetch] == ["http://b"]
    assert after.service_ports == (80,)


def test_an_app_moves_to_another_network() -> None:
    on_host = made(container=IMAGE)
    bridged = changed(on_host, networks=[{"mode": "container/bridge"}])
    assert bridged.networks[0].mode is NetworkMode.BRIDGE
    assert bridged.port_definitions is None
    assert bridged.container is not None
    assert bridged.container.port_mappings is not None
    assert len(bridged.container.port_mappings) == 1
    back = changed(bridged, networks=[{"mode": "host"}])
    assert back == replace(on_host, version=LATER)


def test_from_a_command_to_arguments_takes_a_whole_replacement() -> None:
    with pytest.raises(InvalidObjectError, match="must either contain one of 'cmd' or 'args'"):
        changed(made(container=IMAGE), args=["sleep", "1"])
    after = changed(made(container=IMAGE), partial=False, args=["sleep", "1"], container=IMAGE)
    assert (after.cmd, after.args) == (None, ("sleep", "1"))


def test_a_version_goes_with_nothing_else() -> None:
    with pytest.raises(InvalidObjectError, match="may only be combined with the 'id' field"):
        changed(made(), version=VERSION, cpus=2)


def test_faults_of_an_update_are_told_all_at_once() -> None:
    with pytest.raises(InvalidObjectError) as caught:
        changed(made(), instances=-1, constraints=[["a", "NEAR"]], container={})
    assert {one.path for one in caught.value.details} == {"/instances", "/constraints(0)", "/container/docker"}
    with pytest.raises(InvalidJsonError):
        changed(made(), instances="1")


def test_a_role_that_an_app_has_stays_allowed() -> None:
    before = replace(made(), role="former")
    assert changed(before, cpus=2).role == "former"
    with pytest.raises(InvalidObjectError, match="/role"):
        changed(before, role="other")


def test_lists_of_updates_have_ids() -> None:
    assert app_updates([{"id": "a/b", "instances": 2, "unknown": 1}]) == (("/a/b", {"id": "a/b", "instances": 2}),)
    with pytest.raises(InvalidJsonError) as caught:
        app_updates([{"id": "a"}, {"cpus": "1"}])
    assert caught.value.details is not None
    assert {one.path for one in caught.value.details} == {"(1)/id", "(1)/cpus"}
    with pytest.raises(InvalidJsonError):
        app_updates({"id": "a"})
    with pytest.raises(InvalidObjectError):
        app_updates([{"id": "A"}])
    with pytest.raises(InvalidObjectError, match="maxLength"):
        app_updates([{"id": "a"}] * 5001)
