"""Requests and answers one by one: status, headers, and which keys an object has, in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contract.jenkins.client import Jenkins, new_name, node_form

TOLD = {"X-Jenkins": r"\d+\.\d+.*", "X-Jenkins-Session": r"[0-9a-f]{8}"}
JSON = {
    **TOLD, "X-Frame-Options": "deny", "Content-Type": r"application/json;charset=utf-8", "Content-Length": r"\d+",
}  # fmt: skip
PAGE = {
    **TOLD, "Cache-Control": "no-cache,no-store,must-revalidate", "Expires": "0", "X-Hudson": "1.395",
    "X-Frame-Options": "sameorigin", "Content-Type": "text/html;charset=utf-8", "Transfer-Encoding": "chunked",
}  # fmt: skip
ERROR = {**PAGE, "X-Hudson-Theme": "default", "Referrer-Policy": "same-origin",
         "Cross-Origin-Opener-Policy": "same-origin"}  # fmt: skip
JETTY = {
    "X-Jenkins": None, "Cache-Control": "must-revalidate,no-cache,no-store",
    "Content-Type": "text/html;charset=iso-8859-1",
}  # fmt: skip
LOGIN = {
    **TOLD, "X-Hudson": "1.395", "X-Frame-Options": None, "Content-Type": "text/html;charset=utf-8",
    "Transfer-Encoding": "chunked",
}  # fmt: skip
XML = {"X-Jenkins": None, "Content-Type": "application/xml"}
JNLP = {"X-Jenkins": None, "Content-Type": "application/x-java-jnlp-file"}

MASTER = (
    "_class assignedLabels mode nodeDescription nodeName numExecutors description jobs overallLoad primaryView "
    "quietDownReason quietingDown slaveAgentPort unlabeledLoad url useCrumbs useSecurity views"
)
JOB = (
    "_class actions description displayName displayNameOrNull fullDisplayName fullName name url buildable builds color "
    "firstBuild healthReport inQueue keepDependencies lastBuild lastCompletedBuild lastFailedBuild lastStableBuild "
    "lastSuccessfulBuild lastUnstableBuild lastUnsuccessfulBuild nextBuildNumber property queueItem concurrentBuild "
    "disabled downstreamProjects labelExpression scm upstreamProjects"
)
COMPUTER = (
    "_class actions assignedLabels description displayName executors icon iconClassName idle jnlpAgent launchSupported "
    "loadStatistics manualLaunchAllowed monitorData numExecutors offline offlineCause offlineCauseReason "
    "oneOffExecutors temporarilyOffline absoluteRemotePath"
)
LABEL = (
    "_class actions busyExecutors clouds description idleExecutors loadStatistics name nodes offline tiedJobs "
    "totalExecutors propertiesList"
)
LOAD = (
    "_class availableExecutors busyExecutors connectingExecutors definedExecutors idleExecutors onlineExecutors "
    "queueLength totalExecutors totalQueueLength"
)


@dataclass(frozen=True)
class Exchange:
    """``headers``: patterns of the whole value; None: it is not sent. ``keys`` of the JSON object, in order."""

    method: str
    path: str
    status: int
    headers: dict[str, Any] = field(default_factory=dict)
    keys: str | None = None
    anonymous: bool = False
    sent: dict[str, Any] = field(default_factory=dict)
    says: str = ""

    def __str__(self) -> str:
        return f"{'anonymous ' if self.anonymous else ''}{self.method} {self.path} {self.status}"


def _get(path: str, status: int = 200, headers: dict[str, Any] | None = None, keys: str | None = None,
         **more: Any) -> Exchange:  # fmt: skip
    return Exchange("GET", path, status, headers if headers is not None else JSON, keys, **more)


def _post(path: str, status: int, headers: dict[str, Any], **more: Any) -> Exchange:
    return Exchange("POST", path, status, headers, **more)


XML_SENT = {"data": "<project/>", "headers": {"Content-Type": "application/xml"}}
NONSENSE = {"data": "<nonsense/>", "headers": {"Content-Type": "application/xml"}}
NO_CRUMB = "No valid crumb was included in the request"
EXCHANGES = [
    _get("api/json", keys=MASTER),
    Exchange("HEAD", "api/json", 200, JSON),
    _get("api/json?tree=mode,numExecutors,nothing", keys="_class mode numExecutors"),
    _get("whoAmI/api/json", keys="_class anonymous authenticated authorities name"),
    _get("overallLoad/api/json", keys=LOAD),
    _get("queue/api/json", keys="_class discoverableItems items"),
    _get("computer/api/json", keys="_class busyExecutors computer displayName totalExecutors"),
    _get("crumbIssuer/api/json", keys="_class crumb crumbRequestField"),
    _get("job/{job}/api/json", keys=JOB),
    _get("job/{job}/config.xml", headers=XML),
    _get("label/{label}/api/json", keys=LABEL),
    _get("label/no-such-label/api/json", keys=LABEL),
    _get("computer/{node}/api/json", keys=COMPUTER),
    _get("computer/{node}/config.xml", headers=XML, says="<remoteFS>"),
    _get("computer/{node}/jenkins-agent.jnlp", headers=JNLP, says="<jnlp><application-desc><argument>"),
    _get("computer/{node}/slave-agent.jnlp", headers=JNLP, says="<jnlp><application-desc><argument>"),
    _get("job/absent/api/json", 404, ERROR),
    _get("queue/item/99999999/api/json", 404, ERROR),
    _get("computer/absent/api/json", 404, ERROR),
    _get("computer/absent/jenkins-agent.jnlp", 404, ERROR),
    _get("absent/", 404, ERROR),
    _get("computer/{node}/doDelete", 405, ERROR),
    _get("quietDown", 405, ERROR),
    _get("exit", 405, ERROR),
    _post("createItem?name={job}", 400, {**ERROR, "X-Error": "A job already exists with the name  {job} ?"},
          sent=XML_SENT),
    _post("createItem?name=q/x", 400, {**ERROR, "X-Error": "/  is an unsafe character"}, sent=XML_SENT),
    _post("createItem?name=bad", 500, ERROR, sent=NONSENSE),
    _post("queue/cancelItem?id=99999999", 404, PAGE),
    _post("job/absent/build", 404, ERROR),
    _post("job/{parameterised}/build", 400, JETTY, says="Nothing is submitted"),
    _post("computer/absent/doDelete", 404, ERROR),
    _post("computer/doCreateItem?name=nojson&type=hudson.slaves.DumbSlave", 400, JETTY,
          says="This page expects a form submission"),
    _post("computer/doCreateItem?name={node}&type=hudson.slaves.DumbSlave", 400,
          {**ERROR, "X-Error": "Agent called  {node}  already exists"}, sent={"data": {"json": "{}"}}),
    _post("computer/doCreateItem?name=no%2Fslash&type=hudson.slaves.DumbSlave", 400,
          {**ERROR, "X-Error": "/  is an unsafe character"}, sent={"data": {"json": "{}"}}),
    _get("wsagents/", 400, JETTY, says="only for use from agent.jar"),
    _get("login", headers=PAGE, anonymous=True),
    _get("api/json", 403, LOGIN, anonymous=True, says="Authentication required"),
    _get("computer/{node}/jenkins-agent.jnlp", 403, LOGIN, anonymous=True),
    _post("createItem?name=x", 403, JETTY, anonymous=True, sent=XML_SENT, says=NO_CRUMB),
    _post("job/{job}/build", 403, JETTY, anonymous=True, says=NO_CRUMB),
    _post("computer/{node}/doDelete", 403, JETTY, anonymous=True, says=NO_CRUMB),
    Exchange("HEAD", "jnlpJars/agent.jar", 200, anonymous=True,
             headers={"Content-Disposition": "attachment; filename=agent.jar", "Accept-Ranges": "bytes",
                      "Content-Type": "application/java-archive", "Content-Length": r"\d{5,}"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def names(shared_jenkins: Jenkins, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of what is there for all of these tests."""
    jenkins = Jenkins(shared_jenkins.url, shared_jenkins.auth)
    label = new_name("label")
    yield {
        "job": jenkins.job(label),
        "parameterised": jenkins.job(parameter=True),
        "label": label,
        "node": jenkins.node("elsewhere", tmp_path_factory.mktemp("node")),
    }
    jenkins.tidy()


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_an_answer_has_the_recorded_status_headers_and_keys(
    jenkins: Jenkins, names: dict[str, str], exchange: Exchange
) -> None:
    path = exchange.path.format(**names)
    answer = jenkins.call(exchange.method, path, anonymous=exchange.anonymous, **exchange.sent)
    assert answer.status_code == exchange.status, answer.text[:500]
    for name, pattern in exchange.headers.items():
        told = answer.headers.get(name)
        wanted = re.sub(r"\{([a-z]+)\}", lambda found: re.escape(names[found[1]]), pattern) if pattern else None
        assert (told is None) == (wanted is None), f"{name}: {told}"
        assert wanted is None or re.fullmatch(wanted, told or ""), f"{name}: {told!r} is not {wanted!r}"
    assert exchange.says in answer.text
    if exchange.keys is not None:
        assert list(answer.json()) == exchange.keys.split()


def test_pretty_json_has_blanks_around_its_colons(jenkins: Jenkins) -> None:
    text = jenkins.get("api/json?pretty=true&tree=mode").text.strip()
    assert text == '{\n  "_class" : "hudson.model.Hudson",\n  "mode" : "NORMAL"\n}'


def test_computers_are_shown_whole_and_in_the_order_of_their_names(
    jenkins: Jenkins, names: dict[str, str], tmp_path: Path
) -> None:
    form = {"numExecutors": "1", "remoteFS": str(tmp_path)}
    before, after = f"a{names['node']}", f"z{names['node']}"
    for name in (after, before):
        assert jenkins.create_node(name, form).status_code == 302
    built_in, *nodes = jenkins.json("computer/api/json")["computer"]
    assert list(built_in) == COMPUTER.split()[:-1]
    assert [list(node) for node in nodes] == [COMPUTER.split()] * len(nodes)
    shown = [node["displayName"] for node in nodes]
    assert shown == sorted(shown)
    assert {before, names["node"], after} <= set(shown)


def test_a_tree_shows_what_it_names_of_what_it_names(jenkins: Jenkins, names: dict[str, str]) -> None:
    label = names["label"]
    found = jenkins.json("api/json?tree=jobs[name,labelExpression,queueItem[id]],quietingDown")
    assert list(found) == ["_class", "jobs", "quietingDown"]
    own = next(job for job in found["jobs"] if job["name"] == names["job"])
    assert own == {
        "_class": "hudson.model.FreeStyleProject",
        "name": names["job"],
        "queueItem": None,
        "labelExpression": label,
    }


def test_a_tree_of_everything_goes_one_level_down(jenkins: Jenkins, names: dict[str, str]) -> None:
    item = jenkins.build(names["job"])
    jenkins.eventually(lambda: jenkins.item(item)["why"] != "Finished waiting", "maintained queue")
    found = jenkins.json("queue/api/json?tree=items[id,task[*]]")["items"]
    task = next(one["task"] for one in found if one["id"] == item)
    assert "allBuilds" in task, "the tree overrules how deep things are visible"
    assert task["labelExpression"] == names["label"]
    assert set(task["queueItem"]) == {"_class"}
    assert task["scm"] == {"_class": "hudson.scm.NullSCM"}


def test_a_job_is_shown_with_name_address_and_colour_within_others(jenkins: Jenkins, names: dict[str, str]) -> None:
    jobs = jenkins.json("api/json")["jobs"]
    own = next(job for job in jobs if job["name"] == names["job"])
    assert own == {
        "_class": "hudson.model.FreeStyleProject",
        "name": names["job"],
        "url": f"{jenkins.url}job/{names['job']}/",
        "color": "notbuilt",
    }


def test_the_definition_of_a_job_is_kept_but_for_its_declaration(jenkins: Jenkins, names: dict[str, str]) -> None:
    text = jenkins.get(f"job/{names['job']}/config.xml").text
    assert text.startswith('<?xml version="1.1" encoding="UTF-8"?>')
    assert f"<assignedNode>{names['label']}</assignedNode>" in text


def test_who_asks_is_told(jenkins: Jenkins) -> None:
    assert jenkins.auth is not None
    known = jenkins.json("whoAmI/api/json")
    assert (known["name"], known["anonymous"]) == (jenkins.auth[0], False)
    nobody = jenkins.get("whoAmI/api/json", anonymous=True).json()
    assert nobody == {
        "_class": "hudson.security.WhoAmI", "anonymous": True, "authenticated": True,
        "authorities": ["anonymous"], "name": "anonymous",
    }  # fmt: skip


def test_the_agents_program_has_three_names_and_is_open_to_all(jenkins: Jenkins) -> None:
    sizes = {
        name: len(jenkins.get(f"jnlpJars/{name}", anonymous=True).content)
        for name in ("agent.jar", "slave.jar", "remoting.jar")
    }
    assert len(set(sizes.values())) == 1
    assert jenkins.get("jnlpJars/other.jar", anonymous=True).status_code == 404


def test_the_tcp_listener_tells_its_port_or_is_not_there(jenkins: Jenkins) -> None:
    port = jenkins.json("api/json?tree=slaveAgentPort")["slaveAgentPort"]
    answer = jenkins.get("tcpSlaveAgentListener/", anonymous=True)
    if port == -1:
        assert answer.status_code == 404
    else:
        assert answer.headers["X-Jenkins-JNLP-Port"] == str(port)


def test_a_page_of_an_agent_is_written_with_the_address_it_was_asked_by(
    jenkins: Jenkins, names: dict[str, str]
) -> None:
    if jenkins.json("api/json?tree=url")["url"] is None:
        page = jenkins.get(f"computer/{names['node']}/jenkins-agent.jnlp", headers={"Host": "jenkins.example:8443"})
        assert "<argument>-url</argument><argument>http://jenkins.example:8443/" in page.text


def test_a_node_without_a_launcher_is_inbound_too(jenkins: Jenkins, tmp_path: Path) -> None:
    name = new_name("bare")
    form = {"numExecutors": "1", "remoteFS": str(tmp_path), "labelString": "bare"}
    answer = jenkins.create_node(name, form)
    assert (answer.status_code, jenkins.location(answer), answer.content) == (302, "computer/", b"")
    found = jenkins.computer(name)
    assert found["jnlpAgent"]
    assert found["offline"]
    assert found["offlineCauseReason"] == ""
    assert found["description"] is None
    assert found["executors"] == [{}]
    assert {one["name"] for one in found["assignedLabels"]} == {name, "bare"}
    config = jenkins.get(f"computer/{name}/config.xml").text
    assert "<mode>NORMAL</mode>" in config
    assert "<launcher" not in config


def test_name_and_type_of_a_node_may_be_fields_of_the_form(jenkins: Jenkins, tmp_path: Path) -> None:
    name = new_name("form")
    fields = {"name": name, "type": "hudson.slaves.DumbSlave"}
    form = json.dumps(node_form(name, "one two", tmp_path, web_socket=True))
    assert jenkins.post("computer/doCreateItem", data={**fields, "json": form}).status_code == 302
    jenkins.made(f"computer/{name}")
    page = jenkins.get(f"computer/{name}/jenkins-agent.jnlp").text
    arguments = re.findall(r"<argument>([^<]*)</argument>", page)
    assert re.fullmatch(r"[0-9a-f]{64}", arguments[0])
    assert arguments[1:] == [
        name, "-webSocket", "-workDir", str(tmp_path), "-internalDir", "remoting", "-url", jenkins.url,
    ]  # fmt: skip
