"""Clients of others drive the Marathon-compatible server, and every exchange is held against Marathon's own API."""

from __future__ import annotations

import collections
import collections.abc
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from marathon import MarathonClient, MarathonHttpError, NotFoundError
from marathon.models import MarathonApp, MarathonGroup, MarathonHealthCheck
from marathon.models.app import PortDefinition
from marathon.models.constraint import MarathonConstraint

from tests.acceptance.marathon_clients import Program, dcos_marathon, shpkpr
from tests.acceptance.marathon_server import (
    MarathonApi,
    MarathonServer,
    checked,
    marathon_server,
    sleeper,
)
from tests.acceptance.scheduler_process import eventually

SECONDS = 60

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")
"""The library says so of what it reads."""


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server() as server:
        yield server


# marathon, of The Factory: the library that most Python programs use.


@pytest.fixture
def client(api: MarathonApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[MarathonClient]:
    """Of its last release, 2020, with what its repository has mended since: a name that Python 3.10 took away, and a

    field that groups have since Marathon 1.9.32.
    """
    monkeypatch.setattr(collections, "Iterable", collections.abc.Iterable, raising=False)
    made = MarathonGroup.__init__

    def init(group: MarathonGroup, *arguments: Any, enforce_role: bool | None = None, **fields: Any) -> None:
        made(group, *arguments, **fields)
        group.enforce_role = enforce_role

    monkeypatch.setattr(MarathonGroup, "__init__", init)
    with requests.Session() as session, requests.Session() as events:
        for each in (session, events):
            each.trust_env = False
        server = api.server
        yield MarathonClient(
            api.proxy.url, server.user, server.password, timeout=SECONDS, session=session, sse_session=events
        )


def app(instances: int = 1, **fields: Any) -> MarathonApp:
    check = MarathonHealthCheck(
        protocol="COMMAND", command="true", interval_seconds=1, delay_seconds=0, grace_period_seconds=60
    )
    given = {"cmd": "exec sleep 3600", "cpus": 0.1, "mem": 32, "instances": instances, "health_checks": [check]}
    return MarathonApp(**{**given, "task_kill_grace_period_seconds": 1, **fields})


def healthy(client: MarathonClient, app_id: str, count: int) -> Any:
    def found() -> Any:
        shown = client.get_app(app_id, embed_tasks=True, embed_counts=True)
        return shown if shown.tasks_healthy == count == len(shown.tasks) else None

    return eventually(found, f"{count} healthy of {app_id}")


def deployed(client: MarathonClient) -> None:
    eventually(lambda: not client.list_deployments(), "the end of all deployments")


def test_library_creates_scales_updates_restarts_and_deletes_an_app(client: MarathonClient) -> None:
    made = client.create_app(
        "/team/web",
        app(
            labels={"team": "web"},
            constraints=[MarathonConstraint("rack", "GROUP_BY", "3")],
            port_definitions=[PortDefinition(port=0, protocol="tcp", name="http")],
            env={"RELEASE": "1"},
        ),
    )
    assert (made.id, made.instances, made.env) == ("/team/web", 1, {"RELEASE": "1"})
    first = healthy(client, "/team/web", 1).tasks[0]
    assert first.ports[0] > 0
    assert first.health_check_results[0].alive is True
    assert [one.id for one in client.list_apps(label="team==web", cmd="sleep", embed_counts=True)] == ["/team/web"]
    assert client.list_apps(label="team!=web") == []

    client.scale_app("/team/web", instances=3)
    shown = healthy(client, "/team/web", 3)
    assert {task.host for task in shown.tasks} == {"host-1", "host-2", "host-3"}
    client.scale_app("/team/web", delta=-1)
    healthy(client, "/team/web", 2)
    deployed(client)

    client.update_app("/team/web", MarathonApp(env={"RELEASE": "2"}))
    deployed(client)
    updated = healthy(client, "/team/web", 2)
    assert updated.env == {"RELEASE": "2"}
    assert {task.id for task in updated.tasks}.isdisjoint({task.id for task in shown.tasks})

    client.restart_app("/team/web")
    deployed(client)
    assert {task.id for task in healthy(client, "/team/web", 2).tasks}.isdisjoint({task.id for task in updated.tasks})

    versions = client.list_versions("/team/web")
    assert len(versions) >= 4
    client.rollback_app("/team/web", versions[-1])
    deployed(client)
    assert healthy(client, "/team/web", 1).env == {"RELEASE": "1"}
    assert client.get_version("/team/web", versions[-1]).instances == 1

    client.delete_app("/team/web")
    eventually(lambda: not client.list_tasks(), "the end of its tasks")
    with pytest.raises(NotFoundError, match="App '/team/web' does not exist"):
        client.get_app("/team/web")


def test_library_kills_tasks_one_by_one_by_host_and_with_scaling(client: MarathonClient) -> None:
    client.create_app("/kill/me", app(3, constraints=[MarathonConstraint("hostname", "UNIQUE")]))
    before = {task.id: task.host for task in healthy(client, "/kill/me", 3).tasks}
    deployed(client)
    one = min(before)
    assert client.kill_task("/kill/me", one).id == one
    eventually(lambda: one not in {task.id for task in client.list_tasks("/kill/me")}, "the end of one task")
    now = {task.id: task.host for task in healthy(client, "/kill/me", 3).tasks}
    assert len(now.keys() & before.keys()) == 2

    killed = client.kill_tasks("/kill/me", host="host-2")
    assert [task.host for task in killed] == ["host-2"]
    gone = {task.id for task in killed}
    eventually(lambda: gone.isdisjoint(task.id for task in client.list_tasks("/kill/me")), "the end of that of host-2")
    given = [task.id for task in healthy(client, "/kill/me", 3).tasks][:2]
    client.kill_given_tasks(given, scale=True)
    deployed(client)
    assert client.get_app("/kill/me").instances == 1
    assert len(healthy(client, "/kill/me", 1).tasks) == 1


def test_library_sees_groups_deployments_info_and_what_is_wrong(client: MarathonClient) -> None:
    needs = app(id="needs", dependencies=["/tree/base/first"])
    base = MarathonGroup(id="base", apps=[app(id="first")])
    client.create_group(MarathonGroup(id="/tree", apps=[needs], groups=[base]))
    deployed(client)
    group = client.get_group("/tree")
    assert ([one.id for one in group.apps], [one.id for one in group.groups]) == (["/tree/needs"], ["/tree/base"])
    assert [one.id for one in client.list_groups()] == ["/tree"]
    client.scale_group("/tree", 2)
    deployed(client)
    healthy(client, "/tree/needs", 2)
    client.delete_group("/tree")
    deployed(client)

    client.create_app("/never", app(cpus=1000))
    (deployment,) = client.list_deployments()
    assert deployment.affected_apps == ["/never"]
    client.reset_delay("/never")
    client.delete_deployment(deployment.id)
    deployed(client)
    assert client.list_apps() == []

    assert client.get_info().name == "marathon"
    assert client.get_info().elected
    assert client.get_leader()
    assert client.ping() == b'"pong"'
    assert client.get_metrics()
    with pytest.raises(MarathonHttpError) as wrong:
        client.create_app("/wrong", app(-1))
    assert wrong.value.status_code == 422
    assert wrong.value.error_message == "Object is not valid"


def test_library_reads_the_event_stream(client: MarathonClient, api: MarathonApi) -> None:
    stream = client.event_stream()
    attached = next(stream)
    assert attached.event_type == "event_stream_attached"
    seen: list[Any] = []

    def read() -> None:
        for event in stream:
            seen.append(event)
            if event.event_type == "app_terminated_event":
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    client.create_app("/told", app())
    healthy(client, "/told", 1)
    deployed(client)
    client.delete_app("/told")
    reader.join(SECONDS)
    assert not reader.is_alive()
    kinds = [event.event_type for event in seen]
    for kind in (
        "api_post_event",
        "group_change_success",
        "deployment_info",
        "status_update_event",
        "instance_changed_event",
        "instance_health_changed_event",
        "deployment_step_success",
        "deployment_success",
    ):
        assert kind in kinds, kinds
    states = [event.task_status for event in seen if event.event_type == "status_update_event"]
    assert states.index("TASK_RUNNING") < states.index("TASK_KILLED")
    assert api.proxy.events.count("event_stream_attached") == 1


# dcos marathon, the command of DC/OS.


@pytest.fixture
def dcos(api: MarathonApi, tmp_path: Path) -> Program:
    return dcos_marathon(api.proxy.url, tmp_path)


def test_dcos_command_runs_an_apps_whole_life(dcos: Program, api: MarathonApi) -> None:
    assert "Created deployment" in dcos("app", "add", given=checked("/dcos/web"))
    api.wait_for("/dcos/web", lambda app: app["tasksHealthy"] == 1, "healthy")
    api.wait_deployed()
    assert [app["id"] for app in dcos.json("app", "list", "--json")] == ["/dcos/web"]
    assert "/dcos/web" in dcos("app", "list")  # its table, which reads what the list embeds
    assert dcos.json("app", "show", "/dcos/web")["instances"] == 1
    (task,) = dcos.json("task", "list", "--json", "/dcos/web")
    assert dcos.json("task", "show", task["id"])["host"] == task["host"]

    assert "already started" in dcos.run("app", "start", "/dcos/web", "2").stdout
    dcos("app", "update", "/dcos/web", given={"instances": 2, "env": {"RELEASE": "2"}})
    api.wait_deployed()
    dcos("app", "restart", "/dcos/web")
    api.wait_deployed()
    assert len(dcos.json("app", "version", "list", "/dcos/web")) == 3
    assert dcos.json("task", "stop", dcos.json("task", "list", "--json", "/dcos/web")[0]["id"])["appId"] == "/dcos/web"
    dcos("app", "kill", "--scale", "/dcos/web")
    api.wait_deployed()
    assert dcos.json("app", "show", "/dcos/web")["instances"] == 0
    dcos("app", "remove", "/dcos/web")
    api.wait_deployed()
    assert dcos.json("app", "list", "--json") == []


def test_dcos_command_sees_groups_deployments_queue_and_what_is_wrong(dcos: Program, api: MarathonApi) -> None:
    group = {"id": "/dcos", "apps": [checked("/dcos/one")], "groups": [{"id": "/dcos/below", "apps": []}]}
    dcos("group", "add", given=group)
    api.wait_deployed()
    assert [one["id"] for one in dcos.json("group", "list", "--json")] == ["/dcos"]
    assert dcos.json("group", "show", "/dcos")["apps"][0]["id"] == "/dcos/one"
    dcos("group", "scale", "/dcos", "2")
    api.wait_deployed()
    assert len(dcos.json("task", "list", "--json", "/dcos/one")) == 2
    dcos("group", "remove", "/dcos")
    api.wait_deployed()

    dcos("app", "add", given=sleeper("/dcos/never", cpus=1000))
    eventually(lambda: api.get("/v2/queue")["queue"], "it to wait")
    (waiting,) = dcos.json("debug", "list", "--json")
    assert waiting["app"]["id"] == "/dcos/never"
    summary = eventually(lambda: _summary(dcos, "/dcos/never"), "an offer looked at")
    assert summary["cpus"]["declined"] > 0 if "cpus" in summary else summary
    (deployment,) = dcos.json("deployment", "list", "--json")
    dcos("deployment", "rollback", deployment["id"])
    api.wait_deployed()
    assert dcos.json("app", "list", "--json") == []

    assert dcos.json("about")["name"] == "marathon"
    assert "[1] from" in dcos("ping", "--once") or "pong" in dcos("ping", "--once")
    assert dcos.json("plugin", "list", "--json")["plugins"] == []
    done = dcos.run("app", "add", given=sleeper("/dcos/wrong", instances=-1))
    assert done.returncode == 1
    assert "instances" in done.stdout + done.stderr


def _summary(dcos: Program, app_id: str) -> Any:
    done = dcos.run("debug", "summary", app_id, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else None


# shpkpr apps, of ShopKeep.


def test_shpkpr_deploys_and_shows_apps(api: MarathonApi, tmp_path: Path) -> None:
    program = shpkpr(api.proxy.url, api.server.user, api.server.password, tmp_path)
    template = tmp_path / "web.json.tmpl"
    template.write_text(json.dumps(checked("/shop/{{APP_NAME}}", env={"RELEASE": "{{RELEASE}}"})))
    deploy = ("deploy", "--template-dir", str(tmp_path), "-t", template.name)
    program(*deploy, "APP_NAME=web", "RELEASE=1")  # it returns when the deployment has ended
    assert api.app("/shop/web")["tasksHealthy"] == 1
    program(*deploy, "APP_NAME=web", "RELEASE=2")
    shown = program("show", "-a", "/shop/web")
    assert '"RELEASE": "2"' in shown
    assert "/shop/web" in program("show")
