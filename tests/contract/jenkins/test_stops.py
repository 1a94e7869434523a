"""A Jenkins that starts, is stopped, and starts again."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.contract.jenkins.client import PATIENCE_S, Jenkins, new_name
from tests.contract.jenkins.conftest import Starter

WAITING = "Waiting for next available executor"


def test_what_is_left_of_a_jenkins_that_was_stopped_and_of_one_that_was_killed(
    own_jenkins: Starter, tmp_path: Path
) -> None:
    started = own_jenkins({})
    started.start()
    jenkins = _open(started.client())
    session = jenkins.get("api/json").headers["X-Jenkins-Session"]
    node = jenkins.node("other", tmp_path)
    secret = jenkins.secret(node)
    label = "mine && other-label"
    job = jenkins.job(label, parameter=True)
    ids = [jenkins.build(job, N=str(number)) for number in range(3)]
    for item in ids:
        jenkins.why(item, "There are no nodes with the label ‘mine&&other-label’")
    before = {item: jenkins.item(item)["inQueueSince"] for item in ids}

    assert started.end(signal.SIGTERM) == 143
    assert started.status() is None
    started.start()
    after = jenkins.json("queue/api/json?tree=items[id,inQueueSince]")["items"]
    assert {one["id"]: one["inQueueSince"] for one in after} == before
    assert jenkins.get("api/json").headers["X-Jenkins-Session"] != session
    assert jenkins.secret(node) == secret
    assert jenkins.build(job, N="7") == max(ids) + 1

    started.end(signal.SIGKILL)
    started.start()
    assert jenkins.json("queue/api/json")["items"] == []
    assert jenkins.computer(node)["offline"]
    assert jenkins.secret(node) == secret
    assert jenkins.json(f"job/{job}/api/json")["nextBuildNumber"] == 1


def test_a_build_is_gone_after_a_restart_and_a_pipeline_that_waits_is_not(own_jenkins: Starter, tmp_path: Path) -> None:
    started = own_jenkins({})
    started.start()
    jenkins = _open(started.client())
    node = jenkins.node("here", tmp_path)
    jenkins.connect(node, tmp_path / "agent", "-noReconnect")
    build = jenkins.build_of(jenkins.build(jenkins.job("here", "echo begun; sleep 60")))
    jenkins.eventually(lambda: "\nbegun\n" in jenkins.log(build), "begun build")
    job = jenkins.pipeline("echo 'once'\nnode('later') { sh 'echo at last' }")
    jenkins.build(job)
    tree = "queue/api/json?tree=items[id,inQueueSince,task[name]]"
    part = jenkins.eventually(lambda: jenkins.json(tree)["items"], "part in the queue")

    assert started.end(signal.SIGTERM) == 143
    started.start()
    assert jenkins.get(f"{build}api/json").status_code == 404
    assert jenkins.json(tree)["items"] == part
    later = jenkins.node("later", tmp_path / "later")
    jenkins.connect(later, tmp_path / "agent2")
    assert jenkins.ended(f"job/{job}/1/")["result"] == "SUCCESS"
    log = jenkins.log(f"job/{job}/1/")
    assert log.count("once\n") == 1
    assert "\nat last\n" in log


def test_an_agent_comes_again_until_its_node_is_gone(own_jenkins: Starter, tmp_path: Path) -> None:
    """By WebSocket and without -noReconnect, after a restart of Jenkins."""
    started = own_jenkins({})
    started.start()
    jenkins = _open(started.client())
    stays, goes = (jenkins.node(new_name("label"), tmp_path) for _ in range(2))
    agents = {node: jenkins.connect(node, tmp_path / f"agent-{node}") for node in (stays, goes)}
    assert jenkins.post(f"computer/{goes}/doDelete").status_code == 302
    assert started.end(signal.SIGTERM) == 143
    started.start()
    jenkins.online(stays)
    assert agents[stays].poll() is None
    assert agents[goes].wait(PATIENCE_S) == 255


def test_a_jenkins_that_exits_safely_goes_once_nothing_runs(own_jenkins: Starter, tmp_path: Path) -> None:
    started = own_jenkins({})
    started.start()
    jenkins = _open(started.client())
    gate = tmp_path / "gate"
    node = jenkins.node("here", tmp_path)
    jenkins.connect(node, tmp_path / "agent", "-noReconnect")
    job = jenkins.job("here", f"until [ -e {gate} ]; do sleep 0.1; done")
    build = jenkins.build_of(jenkins.build(job))
    answer = jenkins.post("safeExit")
    assert (answer.status_code, answer.text.strip()) == (200, "Shutting down as soon as all jobs are complete")
    assert jenkins.json(f"{build}api/json")["building"]
    assert started.process.poll() is None
    gate.touch()
    started.process.wait(30)
    assert started.status() is None


def test_a_jenkins_restarts_itself_when_it_is_told_to(own_jenkins: Starter) -> None:
    started = own_jenkins({})
    started.start()
    jenkins = _open(started.client())
    session = jenkins.get("api/json").headers["X-Jenkins-Session"]
    item = jenkins.build(jenkins.job("docker"))
    assert jenkins.post("restart").status_code == 302

    def anew() -> bool:
        return started.status() in (200, 403) and jenkins.get("api/json").headers["X-Jenkins-Session"] != session

    jenkins.eventually(anew, "second start")
    assert [one["id"] for one in jenkins.json("queue/api/json")["items"]] == [item]
    assert started.process.poll() is None, "it is the same process"


def _open(jenkins: Jenkins) -> Jenkins:
    assert jenkins.auth is not None, "the API token of a master's init scripts is needed"
    return jenkins
