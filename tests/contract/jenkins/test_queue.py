"""The queue: why items wait, in Jenkins' own words, and what becomes of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.jenkins.client import Jenkins, new_name

WAITING = "Waiting for next available executor"


def test_an_item_in_its_quiet_period_tells_when_it_ends(jenkins: Jenkins) -> None:
    job = jenkins.job("docker")
    answer = jenkins.post(f"job/{job}/build")
    assert answer.status_code == 201
    assert answer.content == b""
    assert re.fullmatch(r"queue/item/\d+/", jenkins.location(answer))
    item = jenkins.json(f"{jenkins.location(answer)}api/json")
    assert item["_class"] == "hudson.model.Queue$WaitingItem"
    assert re.fullmatch(r"In the quiet period\. Expires in [\d.]+ (sec|ms)", item["why"])
    assert (item["blocked"], item["buildable"], item["stuck"]) == (False, False, False)
    assert 0 < item["timestamp"] - item["inQueueSince"] <= 6000
    assert "buildableStartMilliseconds" not in item
    assert "pending" not in item
    assert item["params"] == ""
    assert item["url"] == f"queue/item/{item['id']}/"
    cause = item["actions"][0]["causes"][0]
    assert cause["_class"] == "hudson.model.Cause$UserIdCause"
    assert jenkins.auth is not None
    assert cause["userId"] == jenkins.auth[0]
    shown = {"_class": "hudson.model.FreeStyleProject", "name": job, "url": f"{jenkins.url}job/{job}/"}
    assert item["task"] == {**shown, "color": "notbuilt"}


def test_without_any_node_no_label_is_named(jenkins: Jenkins) -> None:
    labelled, plain = jenkins.build(jenkins.job("docker")), jenkins.build(jenkins.job())
    item = jenkins.why(labelled, WAITING)
    assert item["_class"] == "hudson.model.Queue$BuildableItem"
    assert (item["stuck"], item["buildable"], item["pending"]) == (True, True, False)
    assert item["buildableStartMilliseconds"] >= item["inQueueSince"]
    assert "timestamp" not in item
    assert not jenkins.why(plain, WAITING)["stuck"]


@pytest.mark.parametrize(
    ("label", "printed"),
    [("gpu", "gpu"), ("gpu && mesos", "gpu&&mesos"), ("(a || ! b) && c", "(a||!b)&&c")],
)
def test_a_label_that_no_node_has_is_printed_without_blanks(
    jenkins: Jenkins, tmp_path: Path, label: str, printed: str
) -> None:
    jenkins.node("b", tmp_path)
    job = jenkins.job(label)
    item = jenkins.why(jenkins.build(job), f"There are no nodes with the label ‘{printed}’")
    assert item["stuck"]
    shown = jenkins.json("queue/api/json?tree=items[task[name,labelExpression]]")["items"]
    task = next(one["task"] for one in shown if one["task"]["name"] == job)
    assert task["labelExpression"] == label


def test_the_only_node_of_a_label_is_named_and_of_several_the_label(jenkins: Jenkins, tmp_path: Path) -> None:
    label = new_name("multi")
    first = jenkins.node(label, tmp_path)
    item = jenkins.build(jenkins.job(label))
    assert jenkins.why(item, f"‘{first}’ is offline")["stuck"]
    jenkins.node(label, tmp_path)
    assert jenkins.why(item, f"All nodes of label ‘{label}’ are offline")["stuck"]


def test_a_second_build_folds_into_the_one_that_waits(jenkins: Jenkins) -> None:
    job = jenkins.job("docker")
    first = jenkins.build(job)
    assert jenkins.build(job) == first
    causes = jenkins.item(first)["actions"][0]["causes"]
    assert len(causes) == 2


def test_builds_with_other_parameters_are_items_of_their_own(jenkins: Jenkins) -> None:
    job = jenkins.job("docker", parameter=True)
    items = [jenkins.build(job, N=str(number)) for number in range(3)]
    assert len(set(items)) == 3
    assert jenkins.build(job, N="1") == items[1]
    found = jenkins.json("queue/api/json?tree=items[id,actions[parameters[name,value]]]")["items"]
    values = {
        one["id"]: action["parameters"]
        for one in found
        for action in one["actions"]
        if action["_class"] == "hudson.model.ParametersAction"
    }
    for number, item in enumerate(items):
        assert values[item] == [
            {"_class": "hudson.model.StringParameterValue", "name": "N", "value": str(number)}
        ]  # fmt: skip


def test_the_newest_buildable_item_comes_first(jenkins: Jenkins) -> None:
    items = [jenkins.build(jenkins.job("docker")) for _ in range(3)]
    for item in items:
        jenkins.why(item, WAITING)
    shown = [one["id"] for one in jenkins.json("queue/api/json?tree=items[id]")["items"]]
    assert [one for one in shown if one in items] == items[::-1]


def test_a_cancelled_item_is_known_for_a_while(jenkins: Jenkins) -> None:
    item = jenkins.build(jenkins.job("docker"))
    jenkins.why(item, WAITING)
    answer = jenkins.post(f"queue/cancelItem?id={item}")
    assert (answer.status_code, answer.content) == (204, b"")
    left = jenkins.item(item)
    assert left["_class"] == "hudson.model.Queue$LeftItem"
    assert (left["cancelled"], left["executable"], left["why"]) == (True, None, None)
    assert item not in [one["id"] for one in jenkins.json("queue/api/json")["items"]]
    assert jenkins.post(f"queue/cancelItem?id={item}").status_code == 404


def test_a_job_that_goes_takes_its_item_along(jenkins: Jenkins) -> None:
    job = jenkins.job("docker")
    item = jenkins.build(job)
    assert jenkins.post(f"job/{job}/doDelete").status_code == 302
    shown = jenkins.json("queue/api/json?tree=items[id]")["items"]
    assert item not in [one["id"] for one in shown]


def test_the_script_console_tells_every_label(jenkins: Jenkins) -> None:
    job = jenkins.job("mesos && jdk17")
    item = jenkins.build(job)
    jenkins.why(item, WAITING)
    script = (
        "println(jenkins.model.Jenkins.get().queue.items"
        ".collect{[it.id,it.task.name,it.assignedLabel?.toString(),it.isStuck()]})"
    )
    answer = jenkins.post("scriptText", data={"script": script})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain;charset=utf-8"
    assert f"[{item}, {job}, mesos&&jdk17, true]" in answer.text


def test_a_script_that_throws_is_answered_with_what_it_threw(jenkins: Jenkins) -> None:
    answer = jenkins.post("scriptText", data={"script": "throw new RuntimeException('x')"})
    assert answer.status_code == 200
    assert answer.text.startswith("java.lang.RuntimeException: x\n\tat ")


def test_a_jenkins_that_quiets_down_starts_nothing(jenkins: Jenkins) -> None:
    try:
        answer = jenkins.post("quietDown?reason=moving")
        assert (answer.status_code, jenkins.location(answer)) == (302, "")
        told = jenkins.json("api/json?tree=quietingDown,quietDownReason,mode")
        assert (told["mode"], told["quietingDown"]) == ("NORMAL", True)
        item = jenkins.build(jenkins.job("docker"))
        assert jenkins.why(item, "Jenkins is about to shut down")["stuck"]
    finally:
        assert jenkins.post("cancelQuietDown").status_code == 302
    jenkins.why(item, WAITING)


def test_hundreds_of_items_are_listed(jenkins: Jenkins) -> None:
    job = jenkins.job("docker", parameter=True)
    first = jenkins.build(job, N="0")
    last = [jenkins.build(job, N=str(number)) for number in range(1, 200)][-1]
    shown = jenkins.json("queue/api/json?tree=items[id,why,stuck,task[name]]")["items"]
    ours = [one for one in shown if one["task"]["name"] == job]
    assert len(ours) == 200
    assert last - first == 199
