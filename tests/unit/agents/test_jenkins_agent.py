"""Agents of Jenkins, spares and their containers, as the executor's driver takes them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.executor import jenkins_agent
from agents.executor.folders import Folders
from agents.executor.jar_cache import ROOTS_DIR
from agents.shared import SHARED_EXECUTOR_ID
from agents.spec import AGENT_SECRET, AgentSpec, BuildSpec, ReadyCheck, VolumeSpec, assignment
from tests.fakes.jar_server import JarServer
from tests.fakes.odd_agent import OddAgent
from tests.unit.agents.conftest import Start, group, kill, launch, message, result, task, until

SECRET = "0123456789abcdef" * 4
SHOW = """echo $JENKINS_URL $JENKINS_AGENT_NAME $JENKINS_WEB_SOCKET; cat $JENKINS_SECRET_FILE | wc -c
head -c 2 $JENKINS_AGENT_JAR; """


@pytest.fixture
def master() -> Iterator[JarServer]:
    with JarServer() as made:
        yield made


@pytest.fixture
def tenant() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    shutil.rmtree(Path(ROOTS_DIR, name), ignore_errors=True)


def agent_of(master: JarServer, **wanted: Any) -> dict[str, Any]:
    return {"agent": AgentSpec(master.url, "butlery-x.1", "2.463", **wanted), "secrets": {AGENT_SECRET: SECRET}}


def spare(**wanted: Any) -> dict[str, Any]:
    return launch(SHOW + "env; touch $HOME/here; while [ ! -e $HOME/go ]; do sleep 0.05; done", standby=True, **wanted)


def given(task_id: str = "task-1", tenant: str = "acme", **wanted: Any) -> dict[str, Any]:
    spec = BuildSpec("another", tenant, "payments", "", 1, 1, **wanted)
    data = base64.b64encode(assignment(task_id, spec)).decode()
    return {"type": "MESSAGE", "message": {"data": data}}


def test_how_its_jvm_is_started() -> None:
    agent = AgentSpec("http://m/", "n", "1", jvm_options=["-Dx=y", "-Xmx99m"])
    made = jenkins_agent.command(agent, "/b/agent.jar", "/run/s", "/b/workspace", "/b/home", 2048)
    assert made[0] == "java"
    assert made.index("-Xmx256m") < made.index("-Xmx99m") < made.index("-jar")
    assert "-XX:+UseSerialGC" in made
    end = ["-url", "http://m/", "-name", "n", "-secret", "@/run/s", "-webSocket", "-workDir", "/b/workspace"]
    assert made[made.index("-jar") :] == ["-jar", "/b/agent.jar", *end]
    assert "-noReconnect" not in made


@pytest.mark.parametrize(("mem_mib", "heap"), [(128, "-Xmx32m"), (1024, "-Xmx128m"), (65536, "-Xmx256m")])
def test_its_heap_is_a_small_part(mem_mib: int, heap: str) -> None:
    assert heap in jenkins_agent.command(AgentSpec("http://m/", "n"), "j", "s", "w", "h", mem_mib)


def test_by_tcp_and_with_another_collector() -> None:
    agent = AgentSpec("http://m/", "n", web_socket=False, tunnel="h:5", jvm_options=["-XX:+UseG1GC"])
    made = jenkins_agent.command(agent, "j", "s", "w", "h", 512)
    assert "-webSocket" not in made
    assert made[made.index("-tunnel") + 1] == "h:5"
    assert "-XX:+UseSerialGC" not in made


def test_a_template_has_a_command_of_its_own(
    start: Start, agent: OddAgent, sandbox: Path, master: JarServer, tenant: str
) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch(SHOW + "env", tenant=tenant, **agent_of(master)))
    assert [agent.state()["state"] for _ in range(2)] == ["TASK_RUNNING", "TASK_FINISHED"]
    assert started.code() == 0
    log = (sandbox / "build.log").read_text()
    assert log.startswith(f"{master.url} butlery-x.1 true\n64\nPK")
    assert SECRET not in log
    assert "JENKINS_SECRET=" not in log
    assert sorted(path.name for path in sandbox.iterdir()) == ["build.log", "stderr", "stdout"]
    assert list(Path("/run/butlery/services").glob("butlery-u31*")) == []


def test_a_jar_that_cannot_be_had_is_no_connection(
    start: Start, agent: OddAgent, master: JarServer, tenant: str
) -> None:
    start()
    agent.next("SUBSCRIBE")
    master.statuses = [404]
    agent.send(launch("", tenant=tenant, **agent_of(master)))
    told = result(agent.state())
    assert (told.result_class, told.message) == ("connect", f"{master.url}jnlpJars/agent.jar: HTTP status 404")


def test_an_agent_that_ends_by_itself_did_not_connect(
    start: Start, agent: OddAgent, master: JarServer, tenant: str
) -> None:
    start()
    agent.next("SUBSCRIBE")
    agent.send(launch("echo no entry; exit 255", tenant=tenant, keep_failed_h=1.0, **agent_of(master)))
    agent.state()
    told = result(agent.state())
    assert (told.result_class, told.exit_code) == ("connect", 255)
    assert told.message.endswith("the node is connected already: no entry")


@pytest.mark.parametrize("script", ["kill -9 $$", "exit 143"])
def test_an_agent_that_somebody_kills_is_lost(
    start: Start, agent: OddAgent, master: JarServer, tenant: str, script: str
) -> None:
    start()
    agent.next("SUBSCRIBE")
    agent.send(launch(script, tenant=tenant, **agent_of(master)))
    agent.state()
    told = result(agent.state())
    assert told.result_class == "infrastructure"
    assert told.message == f"the agent was killed by signal {9 if '9' in script else 15}"


def test_a_spare_waits_and_becomes_what_it_is_given(
    start: Start, agent: OddAgent, sandbox: Path, master: JarServer, tenant: str
) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(spare(env={"OF": "the spare"}))
    assert agent.state()["state"] == "TASK_RUNNING"
    assert not (sandbox / "home" / "here").exists()
    agent.send(given("task-9", tenant, **agent_of(master)))
    wanted = {**agent_of(master), "env": {"OF": "acme", "BIG": 100_000 * "x"}, "timeout_s": 50.0}
    for _ in range(3):  # only the first counts
        agent.send(given("task-1", tenant, files={"a/b": "given"}, **wanted))
        wanted["env"] = {"OF": "another"}
    agent.send(given("task-1", "nobody"))
    until((sandbox / "home" / "here").exists, "the agent")
    assert (sandbox / "workspace" / "a" / "b").read_text() == "given"
    log = (sandbox / "build.log").read_text()
    assert "butlery-x.1 true\n64\nPK" in log
    assert {f"BUTLERY_TENANT={tenant}", "BUTLERY_JOB=payments", "BUTLERY_TASK_ID=task-1", "OF=acme"} <= {
        *log.split("\n")
    }
    (sandbox / "home" / "go").touch()
    assert agent.state()["state"] == "TASK_FINISHED"
    assert started.code() == 0
    assert "task-9: an agent for a spare that is not here" in started.log()
    assert SECRET not in started.log() + log


def test_a_spare_that_is_not_needed_is_killed(start: Start, agent: OddAgent) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(spare(timeout_s=0.2))
    assert agent.state()["state"] == "TASK_RUNNING"
    time.sleep(0.4)  # its time has not begun
    agent.send(kill("task-1"))
    assert agent.state()["state"] == "TASK_KILLED"
    assert started.code() == 0


def test_what_is_no_spare_is_given_nothing(start: Start, agent: OddAgent, sandbox: Path, master: JarServer) -> None:
    started = start()
    agent.next("SUBSCRIBE")
    agent.send(launch("while [ ! -e $HOME/go ]; do sleep 0.05; done; env"))
    agent.state()
    strange: list[Any] = [[], {"task_id": "task-1"}, {"task_id": "task-1", "spec": 3}]
    for odd in strange:
        agent.send(message({"assign": odd}))
    agent.send(given(**agent_of(master)))
    until(lambda: "it is no spare" in started.log(), "the refusal")
    (sandbox / "home" / "go").touch()
    assert agent.state()["state"] == "TASK_FINISHED"
    assert "payments" not in (sandbox / "build.log").read_text()


def test_the_one_that_builds_waits_for_a_port(start: Start, agent: OddAgent, sandbox: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    start()
    agent.next("SUBSCRIBE")
    listen = f"sleep 0.4; exec python3 -m http.server -b 127.0.0.1 {port}"
    db = task(listen, "task-1~db", container="db", ready=ReadyCheck(port=port, timeout_s=20.0))
    look = f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 5)'"
    agent.send(group(task(look), db))
    assert [agent.state()["task_id"]["value"] for _ in range(2)] == ["task-1~db", "task-1"]
    assert agent.states(2)["task-1"]["state"] == "TASK_FINISHED"


def test_the_one_that_builds_waits_for_a_command(start: Start, agent: OddAgent, sandbox: Path) -> None:
    start()
    agent.next("SUBSCRIBE")
    check = ReadyCheck(command="test -e $HOME/ready && echo not shown", timeout_s=20.0)
    db = task("sleep 0.4; touch $HOME/ready; sleep 60", "task-1~db", container="db", ready=check)
    agent.send(group(task("while [ ! -e $HOME/go ]; do sleep 0.05; done"), db))
    assert [agent.state()["task_id"]["value"] for _ in range(2)] == ["task-1~db", "task-1"]
    assert (sandbox / "containers" / "db" / "home" / "ready").exists()
    (sandbox / "home" / "go").touch()
    assert agent.states(2)["task-1"]["state"] == "TASK_FINISHED"
    assert "not shown" not in (sandbox / "containers" / "db.log").read_text()


@pytest.mark.parametrize("check", [ReadyCheck(port=1, timeout_s=0.5), ReadyCheck(command="sleep 9", timeout_s=0.5)])
def test_one_that_is_not_ready_in_time_ends_the_agent(start: Start, agent: OddAgent, check: ReadyCheck) -> None:
    start()
    agent.next("SUBSCRIBE")
    agent.send(group(task("true"), task("echo warming up; sleep 60", "task-1~db", container="db", ready=check)))
    assert agent.state()["state"] == "TASK_RUNNING"
    ends = agent.states(2)
    assert ends["task-1~db"]["message"] == "not ready within 0.5 s: warming up"
    assert result(ends["task-1"]).result_class == "failed"
    assert ends["task-1"]["message"] == "its container db ended: failed: not ready within 0.5 s: warming up"


def test_one_that_ends_before_it_is_ready_says_how(start: Start, agent: OddAgent) -> None:
    start()
    agent.next("SUBSCRIBE")
    check = ReadyCheck(port=1, timeout_s=20.0)
    agent.send(group(task("true"), task("echo no licence; exit 3", "task-1~db", container="db", ready=check)))
    agent.state()
    assert agent.states(2)["task-1"]["message"] == "its container db ended: failed: exit code 3: no licence"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"user": "1000"}, "needs user 1000, which takes a Docker engine"),
        ({"network": "bridge"}, "needs network bridge, which takes a Docker engine"),
        (
            {"volumes": [VolumeSpec("/tmp", "x", read_only=True)]},
            "needs read-only volume /tmp, which takes a Docker engine",
        ),
    ],
)
def test_what_processes_cannot_hold_is_refused(
    start: Start, agent: OddAgent, wanted: dict[str, Any], said: str
) -> None:
    start()
    agent.next("SUBSCRIBE")
    agent.send(launch("true", **wanted))
    told = result(agent.state())
    assert told.result_class == "image"
    assert told.message.startswith(said)


def test_the_workspace_of_one_that_failed_is_kept_closed(start: Start, agent: OddAgent, sandbox: Path) -> None:
    start(MESOS_EXECUTOR_ID=SHARED_EXECUTOR_ID)
    agent.next("SUBSCRIBE")
    for task_id, script in (("task-1", "touch left; exit 3"), ("task-2", "touch left")):
        agent.send(launch(script, task_id, keep_failed_h=1.0))
        agent.state()
        agent.state()
    one, two = (sandbox / "builds" / name for name in ("task-1", "task-2"))
    until(lambda: one.stat().st_mode & 0o777 == 0o750 and not (two / "workspace").exists(), "the end of both")
    assert (one / "workspace" / "left").exists()
    if os.geteuid() == 0:
        assert one.stat().st_gid == 0


def test_folders_that_are_to_be_kept_go_last(tmp_path: Path) -> None:
    folders = Folders(max_folders=2)
    for name, keep_s in (("failed", 3600.0), ("a", 0.0), ("b", 0.0), ("c", 0.0)):
        (tmp_path / name).mkdir()
        folders.add(str(tmp_path / name), keep_s)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "failed"]
    for name in ("failed2", "failed3"):
        (tmp_path / name).mkdir()
        folders.add(str(tmp_path / name), 3600.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed2", "failed3"]


def test_an_assignment_takes_nothing_of_what_was_made(master: JarServer) -> None:
    raw = json.loads(assignment("task-1", BuildSpec("t", "acme", "j", "x", 9, 9, image="i:1", **agent_of(master))))
    assert raw["assign"]["task_id"] == "task-1"
    assert {"mem_mib", "image", "command", "host", "standby"}.isdisjoint(raw["assign"]["spec"])
