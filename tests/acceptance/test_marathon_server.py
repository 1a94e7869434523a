"""The Marathon-compatible server as ``butlery local up`` runs it: told, kept alive, ended, and open to nobody else."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from framework.local import control
from framework.local.processes import ProcessId, wait_gone
from tests.acceptance.marathon_server import (
    MarathonApi,
    MarathonServer,
    checked,
    marathon_server,
    names,
    sleeper,
)
from tests.acceptance.scheduler_process import eventually

REPOSITORY = Path(__file__).parents[2]
DOWN_EXIT = 3


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server(env_vars_prefix="MY_") as server:
        yield server


def butlery(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from framework.cli.local import local_app; local_app()", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)


def status(server: MarathonServer) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(butlery("status", "--dir", str(server.cluster.directory), "--json").stdout)
    return told


def test_where_it_is_and_who_may_ask_it_is_told(server: MarathonServer) -> None:
    told = status(server)
    assert (told["state"], told["marathon_url"]) == ("up", server.url)
    assert told["marathon_pid"] is not None
    table = butlery("status", "--dir", str(server.cluster.directory)).stdout
    assert server.url in table
    assert "marathon.credentials" in "".join(table.split())
    assert server.password not in table + json.dumps(told)
    for path in ("marathon.credentials", "marathon.json", "marathon/state.db"):
        assert stat.S_IMODE((server.cluster.directory / path).stat().st_mode) == 0o600, path
    assert stat.S_IMODE((server.cluster.directory / "marathon" / "secrets").stat().st_mode) == 0o700


def test_it_tells_its_settings_as_marathon_does(api: MarathonApi) -> None:
    config = api.get("/v2/info")["marathon_config"]
    assert (config["framework_name"], config["mesos_role"], config["env_vars_prefix"]) == ("marathon", "*", "MY_")
    assert (config["local_port_min"], config["local_port_max"]) == (10_000, 20_000)
    assert (config["failover_timeout"], config["reconciliation_interval"]) == (604_800, 600_000)


@pytest.mark.parametrize("pair", [None, ("marathon", "guessed"), ("", "")])
def test_nobody_else_may_ask(server: MarathonServer, pair: tuple[str, str] | None) -> None:
    with httpx.Client(base_url=server.url, auth=pair, trust_env=False, timeout=30) as somebody:
        for path in ("/v2/apps", "/v2/info", "/v2/events", "/metrics", "/"):
            assert somebody.get(path).status_code == 401, path
        assert somebody.post("/v2/apps", json=sleeper("/theirs")).status_code == 401
        assert somebody.get("/ping").text == "pong"


def test_no_secret_is_in_its_log_its_settings_or_what_mesos_shows(api: MarathonApi, server: MarathonServer) -> None:
    directory = server.cluster.directory
    secret = directory / "marathon" / "secrets" / "deep" / "word"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("the-secret-of-this-test\n")
    secret.chmod(0o600)
    app = sleeper(
        "/hush",
        cmd='test "$WORD" = the-secret-of-""this-test && test -n "$MY_PORT0" && exec sleep 3600',
        env={"WORD": {"secret": "it"}},
        secrets={"it": {"source": "/deep/word"}},
    )
    api.deploy("POST", "/v2/apps", app)
    shown = [
        *(path.read_text() for path in (directory / "log").iterdir()),
        (directory / "marathon.json").read_text(),
        json.dumps(api.get("/v2/apps", embed="apps.tasks")),
        api.call("GET", "/metrics").text,
    ]
    operator = (directory / "operator.secret").read_text().strip()
    for path in ("/state", "/tasks", "/frameworks"):
        url = f"{server.cluster.status.mesos_url}{path}"
        shown.append(httpx.get(url, auth=("operator", operator), trust_env=False, timeout=30).text)
    for text in shown:
        assert "the-secret-of-this-test" not in text
        assert server.password not in text
    missing = sleeper("/missing", env={"WORD": {"secret": "it"}}, secrets={"it": {"source": "none"}})
    api.change("POST", "/v2/apps", missing)
    failed = api.wait_for("/missing", lambda app: "lastTaskFailure" in app, "its failure")["lastTaskFailure"]
    assert "'none'" in failed["message"]
    assert api.app("/hush")["tasksRunning"] == 1


def test_an_orderly_end_leaves_tasks_running_and_ends_streams_at_once(api: MarathonApi, server: MarathonServer) -> None:
    api.deploy("POST", "/v2/apps", checked("/stays", 2))
    before = names(api.tasks("/stays"))
    restarts = status(server)["marathon_restarts"]
    pid = server.cluster.now().marathon_pid
    assert pid is not None
    process = ProcessId.of(pid)
    assert process is not None
    headers = {"Authorization": server.authorization, "Accept": "text/event-stream"}
    with (
        closing(httpx.Client(trust_env=False, timeout=30)) as client,
        client.stream("GET", f"{server.url}/v2/events", headers=headers) as stream,
    ):
        os.kill(pid, signal.SIGTERM)
        list(stream.iter_lines())  # to its end
    assert wait_gone(process, 30)
    eventually(lambda: server.cluster.now().marathon_pid not in (None, pid), "another server")
    eventually(lambda: status(server)["marathon_restarts"] == restarts + 1, "its restart to be told")
    eventually(lambda: _connected(server), "its subscription")
    assert names(api.tasks("/stays")) == before
    log = (server.cluster.directory / "log" / "marathon.log").read_text()
    assert "Traceback" not in log


def _connected(server: MarathonServer) -> bool:
    try:
        answer = httpx.get(
            f"{server.url}/v2/info", headers={"Authorization": server.authorization}, trust_env=False, timeout=10
        )
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and "frameworkId" in answer.json()


def test_down_ends_apps_and_up_launches_them_again(api: MarathonApi, server: MarathonServer) -> None:
    directory = server.cluster.directory
    witness = directory / "pids"
    app = sleeper("/again", 2, cmd=f"echo $$ >> {witness}; exec sleep 3600")
    api.deploy("POST", "/v2/apps", app)
    pids = [int(line) for line in witness.read_text().split()]
    before = names(api.tasks("/again"))
    assert butlery("down", "--dir", str(directory)).returncode == 0
    assert [pid for pid in pids if ProcessId.of(pid) is not None] == []
    assert butlery("status", "--dir", str(directory)).returncode == DOWN_EXIT
    request = control.request_for(directory=directory, config=directory / "settings.yaml", scheduler_command=())
    assert control.up_detached(request, print).marathon_url == server.url
    api.wait_for("/again", lambda app: app["tasksRunning"] == 2, "to run again")
    assert names(api.tasks("/again")).isdisjoint(before)
    assert len(witness.read_text().split()) == 4


def test_kill_9_of_what_keeps_it_leaves_apps_running_until_up_takes_over(
    api: MarathonApi, server: MarathonServer
) -> None:
    api.deploy("POST", "/v2/apps", checked("/stays", 2))
    before = names(api.tasks("/stays"))
    directory = server.cluster.directory
    now = server.cluster.now()
    for pid in (now.supervisor_pid, now.marathon_pid, now.mesos_pid):
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.cluster.now().state == "crashed", "it to be seen")
    request = control.request_for(directory=directory, config=directory / "settings.yaml", scheduler_command=())
    control.up_detached(request, print)
    api.wait_for("/stays", lambda app: app["tasksHealthy"] == 2, "to be healthy")
    time.sleep(1)  # what would be launched twice would be by now
    assert names(api.tasks("/stays")) == before
