"""Pipelines: the part that waits for an agent, and what its build shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract.jenkins.client import Jenkins, new_name

PART = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask"


def _part(jenkins: Jenkins, job: str) -> Any:
    """The item of its node step."""
    tree = "queue/api/json?tree=items[id,why,stuck,task[name,labelExpression,*]]"

    def look() -> Any:
        items = jenkins.json(tree)["items"]
        return next((one for one in items if one["task"].get("name") == f"part of {job} #1"), None)

    return jenkins.eventually(look, "part of the Pipeline in the queue")


def test_a_node_step_waits_for_its_label_which_only_why_tells(jenkins: Jenkins, tmp_path: Path) -> None:
    label = new_name("gpu")
    job = jenkins.pipeline(f"node('{label} && mesos') {{ sh 'echo pipeline on $NODE_NAME' }}")
    flyweight = jenkins.build(job)
    part = _part(jenkins, job)
    assert part["task"] == {
        "_class": PART, "fullDisplayName": f"part of {job} #1", "name": f"part of {job} #1", "url": f"job/{job}/1/",
    }  # fmt: skip
    assert (part["why"], part["stuck"]) == ("Waiting for next available executor", True)
    whole = jenkins.item(part["id"])
    assert whole["task"] == {"_class": PART}
    assert whole["actions"] == []
    left = jenkins.item(flyweight)
    assert left["executable"] == {
        "_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun", "number": 1, "url": f"{jenkins.url}job/{job}/1/",
    }  # fmt: skip
    computers = jenkins.json(
        "computer/api/json?tree=computer[displayName,idle,oneOffExecutors[idle,currentExecutable[url]],executors[idle]]"
    )["computer"]
    assert computers[0]["displayName"] == "Built-In Node"
    assert not computers[0]["idle"]
    assert [one["currentExecutable"]["url"] for one in computers[0]["oneOffExecutors"]] == [
        f"{jenkins.url}job/{job}/1/"
    ]

    jenkins.node("other", tmp_path)
    jenkins.why(part["id"], f"There are no nodes with the label ‘{label}&&mesos’")
    node = jenkins.node(f"{label} mesos", tmp_path)
    jenkins.why(part["id"], f"‘{node}’ is offline")
    jenkins.connect(node, tmp_path / "agent")
    ended = jenkins.ended(f"job/{job}/1/")
    assert ended["result"] == "SUCCESS"
    assert "builtOn" not in ended
    log = jenkins.log(f"job/{job}/1/").splitlines()
    # Jenkins hides its notes in lines; the text of each is at its end.
    wanted = [
        "[Pipeline] Start of Pipeline", "[Pipeline] node", f"Running on {node} in {tmp_path}/workspace/{job}",
        "[Pipeline] {", "[Pipeline] sh", f"+ echo pipeline on {node}", f"pipeline on {node}", "[Pipeline] }",
        "[Pipeline] // node", "[Pipeline] End of Pipeline", "Finished: SUCCESS",
    ]  # fmt: skip
    assert [line for line in log if line][-len(wanted) :] == wanted


def test_branches_run_side_by_side_and_one_that_fails_fails_the_build(jenkins: Jenkins, tmp_path: Path) -> None:
    label = new_name("label")
    node = jenkins.node(label, tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    job = jenkins.pipeline(
        f"""
        stage('Both') {{
          parallel(
            a: {{ node('{label}') {{ sh 'echo from a' }} }},
            b: {{ echo 'from b' }}
          )
        }}
        stage('Last') {{ node('{label}') {{ sh(script: 'exit 4') }} }}
        """
    )
    build = jenkins.build_of(jenkins.build(job))
    assert jenkins.ended(build)["result"] == "FAILURE"
    log = jenkins.log(build)
    assert "from a" in log
    assert "from b" in log
    assert "[Pipeline] { (Last)" in log
    assert "script returned exit code 4" in log


def test_a_script_that_cannot_be_read_fails_its_build(jenkins: Jenkins) -> None:
    build = jenkins.build_of(jenkins.build(jenkins.pipeline("node('a') { sh 'x'")))
    assert jenkins.ended(build)["result"] == "FAILURE"
