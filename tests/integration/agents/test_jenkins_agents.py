"""Agents of a Jenkins, which is the stand-in: its agent.jar in every isolation this machine has, and a real Mesos."""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.executor.jar_cache import ROOTS_DIR, USERS_DIR
from agents.spec import AGENT_SECRET, AgentSpec, BuildSpec, assignment
from tests.contract.jenkins.client import Jenkins, new_name
from tests.contract.jenkins.started import StartedJenkins
from tests.integration.agents.conftest import KERNEL, OTHER_USER, Executor, assert_nothing_left, processes_marked, read
from tests.integration.agents.test_guard import assert_cleared, executors_of
from tests.integration.agents.test_hogs import MEMORY_HOG
from tests.integration.agents.test_mesos_shared import MARKER, Framework, spec
from tests.integration.conftest import ClusterFactory

pytestmark = pytest.mark.root

MEM_MIB = 160  # the box of one of the executors holds 192


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartedJenkins]:
    made = StartedJenkins(tmp_path_factory.mktemp("jenkins") / "home")
    made.start("--boot-s", "0")
    yield made
    made.stop()


@pytest.fixture
def jenkins(master: StartedJenkins) -> Iterator[Jenkins]:
    made = master.client()
    yield made
    made.tidy()


@pytest.fixture
def tenant() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    for directory in (ROOTS_DIR, USERS_DIR % OTHER_USER):
        shutil.rmtree(Path(directory, name), ignore_errors=True)


@pytest.fixture
def framework(mesos_cluster: ClusterFactory, pyz: Path) -> Iterator[Framework]:
    with Framework(mesos_cluster(hosts=1, isolation=KERNEL).url, pyz) as made:
        yield made
        made._call("TEARDOWN")
    assert_nothing_left(MARKER)


def agent_of(jenkins: Jenkins, label: str, tenant: str) -> dict[str, Any]:
    """What makes a build an agent of a new node, whose root is the agent's workspace."""
    node = jenkins.node(label, Path())
    secrets = {AGENT_SECRET: jenkins.secret(node)}
    return {"agent": AgentSpec(jenkins.url, node, "1"), "secrets": secrets, "tenant": tenant, "mem_mib": MEM_MIB}


def test_an_agent_serves_a_build(executor: Executor, jenkins: Jenkins, tenant: str) -> None:
    label = new_name("label")
    wanted = agent_of(jenkins, label, tenant)
    running = executor.start("", **wanted)
    jenkins.online(wanted["agent"].node)
    build = jenkins.build_of(jenkins.build(jenkins.job(label, "pwd; env")))
    assert jenkins.ended(build)["result"] == "SUCCESS"
    secret = wanted["secrets"][AGENT_SECRET]
    log = jenkins.log(build)
    assert "/workspace" in log
    assert "JAVA_TOOL_OPTIONS=" in log
    for pid in processes_marked(running.marker):
        assert secret not in read(Path(f"/proc/{pid}/cmdline"))
    running.process.terminate()
    ended = running.finish()
    assert ended.result.result_class == "cancelled", ended
    assert secret not in log + ended.log
    assert "INFO: Connected" in ended.log
    assert not any(path.name in ("agent.jar", "workspace") for path in ended.sandbox.iterdir())


def test_a_build_over_the_agents_memory_ends_it(executor: Executor, jenkins: Jenkins, tenant: str) -> None:
    label = new_name("label")
    running = executor.start("", **agent_of(jenkins, label, tenant))
    build = jenkins.build_of(jenkins.build(jenkins.job(label, MEMORY_HOG.replace("exec ", "") + "\nsleep 60")))
    ended = running.finish()
    assert ended.result.result_class == "oom", ended
    assert f"limit {MEM_MIB} MiB" in ended.result.message
    assert ended.result.peak_mem_mib is not None
    assert ended.result.peak_mem_mib >= 0.9 * MEM_MIB
    assert jenkins.ended(build)["result"] != "SUCCESS"


def test_an_agent_that_its_master_does_not_let_in(watchdog: Executor, jenkins: Jenkins, tenant: str) -> None:
    wanted = agent_of(jenkins, new_name("label"), tenant)
    wanted["secrets"] = {AGENT_SECRET: 64 * "0"}
    ended = watchdog.run("", **wanted)
    assert (ended.result.result_class, ended.result.exit_code) == ("connect", 255), ended
    assert "the node is connected already: WARNING:" in ended.result.message


def test_a_master_that_restarts_finds_its_agent_again(watchdog: Executor, tmp_path: Path, tenant: str) -> None:
    master = StartedJenkins(tmp_path / "home")
    master.start("--boot-s", "0")
    try:
        jenkins = master.client()
        label = new_name("label")
        wanted = agent_of(jenkins, label, tenant)
        running = watchdog.start("", **wanted)
        jenkins.online(wanted["agent"].node)
        master.end()
        master.start("--boot-s", "0")
        jenkins.online(wanted["agent"].node)
        build = jenkins.build_of(jenkins.build(jenkins.job(label, "echo served")))
        assert jenkins.ended(build)["result"] == "SUCCESS"
        running.process.terminate()
        assert running.finish().log.count("INFO: Connected") == 2
    finally:
        master.stop()


def test_a_killed_runners_secret_goes_with_it(watchdog: Executor, jenkins: Jenkins, tenant: str) -> None:
    wanted = agent_of(jenkins, new_name("label"), tenant)
    running = watchdog.start("", **wanted)
    jenkins.online(wanted["agent"].node)
    shown = [read(Path(f"/proc/{pid}/cmdline")).split("\0") for pid in processes_marked(running.marker)]
    secret = Path(next(one[one.index("-secret") + 1] for one in shown if "-secret" in one).removeprefix("@"))
    found = secret.stat()
    assert (secret.read_text(), found.st_mode & 0o777) == (wanted["secrets"][AGENT_SECRET], 0o400)
    assert found.st_uid // 1000 == 300
    os.kill(executors_of(running)[2], signal.SIGKILL)
    assert running.finish().result.result_class == "infrastructure"
    assert_cleared(running)
    assert not secret.exists()


def test_without_java_the_agent_says_so(watchdog: Executor, jenkins: Jenkins, tenant: str) -> None:
    wanted = agent_of(jenkins, new_name("label"), tenant)
    wanted["agent"].java = "no-java-here"
    ended = watchdog.run("", **wanted)
    assert ended.result.result_class == "connect", ended
    assert "no-java-here: not found" in ended.result.message


def test_a_spare_under_mesos(framework: Framework, jenkins: Jenkins, tenant: str) -> None:
    label = new_name("label")
    wanted = agent_of(jenkins, label, tenant)
    given = BuildSpec("x", job="payments", command="", cpu_millis=1, **wanted)
    framework.builds("spare-1", spec("spare-1", "", mem_mib=MEM_MIB, standby=True))
    assert framework.running(1) == {"spare-1"}
    build = jenkins.build(jenkins.job(label, "echo on $BUTLERY_TENANT"))
    for _ in range(2):
        framework.send("spare-1", assignment("spare-1", given))
    built = jenkins.build_of(build)
    assert jenkins.ended(built)["result"] == "SUCCESS"
    assert f"on {tenant}\n" in jenkins.log(built)
    framework.kill("spare-1")
    assert framework.ends(1)["spare-1"][0] == "TASK_KILLED"
