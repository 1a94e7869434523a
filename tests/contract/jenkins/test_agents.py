"""Agents: the real agent.jar's options and exit codes, and builds that run on them."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.contract.jenkins.client import Jenkins, new_name

RUNNING = (
    "_class actions artifacts building description displayName duration estimatedDuration executor fullDisplayName id "
    "inProgress keepLog number queueId result timestamp url builtOn changeSet culprits"
)
BROKEN = "Connection was broken"


def test_a_build_runs_on_the_agent_that_has_its_label(jenkins: Jenkins, tmp_path: Path) -> None:
    label = new_name("label")
    gate = tmp_path / "gate"
    command = f"echo on $NODE_NAME $N > made; cat made; until [ -e {gate} ]; do sleep 0.1; done"
    job = jenkins.job(label, command, parameter=True)
    items = [jenkins.build(job, N=str(number)) for number in (1, 2)]
    node = jenkins.node(label, tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    build = jenkins.build_of(items[0])
    running = jenkins.json(f"{build}api/json")
    assert list(running) == RUNNING.split()
    assert (running["building"], running["result"], running["builtOn"]) == (True, None, node)
    assert (running["queueId"], running["executor"], running["duration"]) == (items[0], {}, 0)
    waits = jenkins.why(items[1], f"Waiting for next available executor on ‘{node}’")
    assert not waits["stuck"]
    tree = "idle,offline,executors[idle,currentExecutable[number,url,fullDisplayName]]"
    assert jenkins.json(f"computer/{node}/api/json?tree={tree}") == {
        "_class": "hudson.slaves.SlaveComputer", "idle": False, "offline": False,
        "executors": [{"idle": False, "currentExecutable": {
            "_class": "hudson.model.FreeStyleBuild", "fullDisplayName": f"{job} #1", "number": 1,
            "url": f"{jenkins.url}{build}",
        }}],
    }  # fmt: skip
    gate.touch()
    ended = jenkins.ended(build)
    assert (ended["result"], ended["executor"]) == ("SUCCESS", None)
    assert ended["duration"] > 0
    workspace = tmp_path / "workspace" / job
    assert (workspace / "made").read_text().strip() in (f"on {node} 1", f"on {node} 2")
    log = jenkins.log(build)
    assert f"Building remotely on {node} ({label}) in workspace {workspace}\n" in log
    assert f"[{job}] $ /bin/sh -xe /" in log
    assert f"\non {node} 1\n" in log
    assert log.rstrip().endswith("Finished: SUCCESS")
    jenkins.ended(jenkins.build_of(items[1]))
    builds = jenkins.json(f"job/{job}/api/json?tree=builds[number,result,builtOn]")["builds"]
    assert [one["number"] for one in builds] == [2, 1]


def test_a_log_is_read_on_as_it_grows(jenkins: Jenkins, tmp_path: Path) -> None:
    label, gate = new_name("label"), tmp_path / "gate"
    node = jenkins.node(label, tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    job = jenkins.job(label, f"echo first; until [ -e {gate} ]; do sleep 0.1; done; echo last; exit 3")
    build = jenkins.build_of(jenkins.build(job))
    path = f"{build}logText/progressiveText"
    jenkins.eventually(lambda: "\nfirst\n" in jenkins.log(build), "first line")
    part = jenkins.get(f"{path}?start=0")
    assert part.headers["X-More-Data"] == "true"
    assert part.headers["Content-Type"].startswith("text/plain")
    gate.touch()
    assert jenkins.ended(build)["result"] == "FAILURE"
    rest = jenkins.get(f"{path}?start={part.headers['X-Text-Size']}")
    assert "X-More-Data" not in rest.headers
    assert part.text + rest.text == jenkins.log(build)
    assert "\nlast\n" in rest.text
    assert "Build step 'Execute shell' marked build as failure\nFinished: FAILURE" in rest.text


def test_a_build_fails_when_its_node_is_deleted_and_its_agent_ends(jenkins: Jenkins, tmp_path: Path) -> None:
    label = new_name("label")
    node = jenkins.node(label, tmp_path)
    agent = jenkins.connect(node, tmp_path / "agent", "-noReconnect")
    build = jenkins.build_of(jenkins.build(jenkins.job(label, "echo begun; sleep 60")))
    jenkins.eventually(lambda: "\nbegun\n" in jenkins.log(build), "begun build")
    answer = jenkins.post(f"computer/{node}/doDelete")
    assert (answer.status_code, jenkins.location(answer), answer.content) == (302, "computer/", b"")
    assert jenkins.get(f"computer/{node}/api/json").status_code == 404
    ended = jenkins.ended(build)
    assert (ended["result"], ended["builtOn"]) == ("FAILURE", node)
    assert "java.nio.channels.ClosedChannelException" in jenkins.log(build)
    assert agent.wait(30) == 0
    assert jenkins.post(f"computer/{node}/doDelete").status_code == 404


def test_an_agent_that_is_killed_leaves_a_broken_connection(jenkins: Jenkins, tmp_path: Path) -> None:
    node = jenkins.node("any", tmp_path)
    agent = jenkins.connect(node, tmp_path / "agent")
    assert jenkins.computer(node)["offlineCauseReason"] == ""
    agent.send_signal(signal.SIGKILL)
    jenkins.eventually(lambda: jenkins.computer(node)["offline"], "lost agent")
    told = jenkins.json(f"computer/{node}/api/json?tree=offlineCauseReason,offlineCause[*]")
    assert told["offlineCauseReason"] == BROKEN
    assert told["offlineCause"]["_class"] == "hudson.slaves.OfflineCause$ChannelTermination"
    assert set(told["offlineCause"]) == {"_class", "timestamp"}
    jenkins.connect(node, tmp_path / "agent")
    assert jenkins.computer(node)["offlineCauseReason"] == ""


def test_an_agent_that_is_not_let_in_ends_with_255(jenkins: Jenkins, tmp_path: Path) -> None:
    node, other = jenkins.node("any", tmp_path), jenkins.node("any", tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    secret = jenkins.secret(node)
    given = {
        "twice": ("-name", node, "-secret", secret),
        "wrong-secret": ("-name", other, "-secret", secret),
        "unknown": ("-name", "nobody", "-secret", secret),
    }
    ended = {
        name: jenkins.agent(tmp_path / name, "-url", jenkins.url, "-webSocket", *options)
        for name, options in given.items()
    }
    for name, process in ended.items():
        assert process.wait(30) == 255, name
        assert secret not in (tmp_path / name / "agent.log").read_text()
    assert not jenkins.computer(node)["offline"], "the one that was there first stays"


def test_a_node_may_be_kept_from_new_builds(jenkins: Jenkins, tmp_path: Path) -> None:
    label = new_name("label")
    node = jenkins.node(label, tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    answer = jenkins.post(f"computer/{node}/toggleOffline?offlineMessage=draining")
    assert (answer.status_code, jenkins.location(answer)) == (302, f"computer/{node}/")
    tree = "offline,temporarilyOffline,offlineCauseReason,offlineCause[*]"
    told = jenkins.json(f"computer/{node}/api/json?tree={tree}")
    assert (told["offline"], told["temporarilyOffline"], told["offlineCauseReason"]) == (True, True, "draining")
    assert jenkins.auth is not None
    assert told["offlineCause"]["_class"] == "hudson.slaves.OfflineCause$UserCause"
    assert told["offlineCause"]["description"] == f"Disconnected by {jenkins.auth[0]} : draining"
    item = jenkins.build(jenkins.job(label))
    jenkins.why(item, f"‘{node}’ is offline")
    assert jenkins.post(f"computer/{node}/toggleOffline").status_code == 302
    assert jenkins.ended(jenkins.build_of(item))["result"] == "SUCCESS"


def test_a_disconnected_agent_that_may_not_come_again_ends_with_0(jenkins: Jenkins, tmp_path: Path) -> None:
    node = jenkins.node("any", tmp_path)
    agent = jenkins.connect(node, tmp_path / "agent", "-noReconnect")
    answer = jenkins.post(f"computer/{node}/doDisconnect?offlineMessage=bye")
    assert (answer.status_code, jenkins.location(answer)) == (302, f"computer/{node}/")
    assert agent.wait(30) == 0
    jenkins.eventually(lambda: jenkins.computer(node)["offline"], "disconnected node")


def test_an_agent_that_is_told_to_stop_ends_with_143(jenkins: Jenkins, tmp_path: Path) -> None:
    """Started by the address of its page, as long ago; the page is not for everybody, the secret opens it."""
    node = jenkins.node("any", tmp_path)
    page = f"{jenkins.url}computer/{node}/jenkins-agent.jnlp"
    agent = jenkins.agent(tmp_path / "agent", "-jnlpUrl", page, "-secret", jenkins.secret(node))
    jenkins.online(node)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(30) == 143
    assert "deprecated" in (tmp_path / "agent" / "agent.log").read_text()


def test_a_job_that_runs_alone_waits_for_itself(jenkins: Jenkins, tmp_path: Path) -> None:
    label, gate = new_name("label"), tmp_path / "gate"
    node = jenkins.node(label, tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    job = jenkins.job(label, f"until [ -e {gate} ]; do sleep 0.1; done", concurrent=False)
    first = jenkins.build_of(jenkins.build(job))
    item = jenkins.build(job)

    def blocked() -> bool:
        return bool(jenkins.item(item)["_class"] == "hudson.model.Queue$BlockedItem")

    jenkins.eventually(blocked, "blocked item")
    assert jenkins.item(item)["why"].startswith("Build #1 is already in progress")
    gate.touch()
    assert jenkins.ended(first)["result"] == "SUCCESS"
    assert jenkins.ended(jenkins.build_of(item))["number"] == 2


def test_a_build_can_be_stopped(jenkins: Jenkins, tmp_path: Path) -> None:
    label, mark = new_name("label"), tmp_path / "went-on"
    node = jenkins.node(label, tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    build = jenkins.build_of(jenkins.build(jenkins.job(label, f"echo begun; sleep 3; touch {mark}")))
    jenkins.eventually(lambda: "\nbegun\n" in jenkins.log(build), "begun build")
    assert jenkins.post(f"{build}stop").status_code == 302
    assert jenkins.ended(build)["result"] == "ABORTED"
    jenkins.eventually(lambda: jenkins.computer(node)["idle"], "idle node")
    assert not mark.exists()
