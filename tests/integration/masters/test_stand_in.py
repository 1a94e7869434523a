"""The stand-in for Jenkins as a tenant's master: its start, its scheduler, its backups, agents by TCP, a path prefix.

What it answers over HTTP otherwise is in tests/contract/jenkins.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from framework.local.cluster import free_port
from masters.jenkins import JenkinsError, JenkinsMaster
from masters.names import Variable
from masters.ports import Activity, MasterAccess
from tests.contract.jenkins.client import Jenkins
from tests.contract.jenkins.started import StartedJenkins

TOKEN = "the tenant's token"
Starter = Callable[..., StartedJenkins]


class SchedulerStub:
    """Takes what a master sends; ``refuse`` answers are 503 first."""

    def __init__(self, refuse: int) -> None:
        self.events: list[dict[str, Any]] = []
        self.access: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.hopeless: dict[str, str] = {}  # why no agent comes, by label
        self._refuse = refuse
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                stub._take(self)

            def do_POST(self) -> None:
                stub._take(self)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _take(self, call: http.server.BaseHTTPRequestHandler) -> None:
        body = call.rfile.read(int(call.headers["Content-Length"]))
        self.tokens.add(call.headers["Authorization"])
        answer = b""
        if self._refuse > 0:
            self._refuse -= 1
            call.send_response(503)
        elif (call.command, call.path) == ("PUT", "/v1/tenants/payments/master"):
            self.access.append(json.loads(body))
            call.send_response(200)
        elif (call.command, call.path) == ("POST", "/v1/demand"):
            events = [json.loads(line) for line in body.splitlines()]
            self.events.extend(events)
            call.send_response(200)
            answer = json.dumps({"taken": len(events), "unserved": list(self._unserved(events))}).encode()
        else:
            call.send_response(404)
        call.send_header("Content-Length", str(len(answer)))
        call.end_headers()
        call.wfile.write(answer)

    def _unserved(self, events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for one in events:
            if one["event"] == "buildable" and one["label"] in self.hopeless:
                item = {"number": one["item"], "since_ms": one["in_queue_since_ms"]}
                yield {"item": item, "task": one["task"], "reason": self.hopeless[one["label"]]}

    def told(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def scheduler() -> Iterator[SchedulerStub]:
    stub = SchedulerStub(refuse=3)
    yield stub
    stub.close()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Starter]:
    made: list[StartedJenkins] = []

    def make(variables: Mapping[str, str] | None = None, name: str = "home") -> StartedJenkins:
        own = {Variable.TENANT: "payments", Variable.ADMIN_PASSWORD: "secret"}
        one = StartedJenkins(tmp_path / name, variables={**own, **(variables or {})})
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()


def test_it_is_refused_then_starting_then_there(master: Starter) -> None:
    started = master()
    assert started.status() is None
    started.start("--boot-refused-s", "0.3", "--boot-s", "1", ready=False)
    seen: list[int | None] = []
    while not seen or seen[-1] != 403:
        assert started.process.poll() is None
        if started.status() == 503:
            with requests.get(f"{started.url}api/json", timeout=10) as page:
                if page.status_code == 503:
                    assert "Starting Jenkins" in page.text
                    assert "X-Jenkins" not in page.headers
                    assert page.headers["Content-Type"] == "text/html"
        if not seen or seen[-1] != started.status():
            seen.append(started.status())
    assert seen == [None, 503, 403]


def test_it_hands_its_access_over_and_tells_of_demand(
    master: Starter, scheduler: SchedulerStub, tmp_path: Path
) -> None:
    started = master({
        Variable.SCHEDULER_URL: scheduler.url, Variable.TENANT_TOKEN: TOKEN,
        Variable.ROOT_URL: "https://jenkins.example/payments", Variable.PATH: "/payments",
    })  # fmt: skip
    started.start("--boot-s", "0")
    jenkins = started.client()
    assert jenkins.auth is not None
    assert (started.home / "secrets" / "butlery-api-token").stat().st_mode & 0o777 == 0o600
    jenkins.eventually(lambda: scheduler.access, "access of the master")
    access = scheduler.access[0]
    session = jenkins.get("api/json").headers["X-Jenkins-Session"]
    assert access == {
        "url": "https://jenkins.example/payments/", "user": "butlery", "api_token": jenkins.auth[1],
        "version": "2.463", "session": session, "direct_url": started.url,
    }  # fmt: skip

    freestyle = jenkins.job("docker && mesos", "true")
    item = jenkins.build(freestyle)
    pipeline = jenkins.pipeline("node('maven') { sh 'true' }")
    jenkins.build(pipeline)
    jenkins.eventually(lambda: len(scheduler.told("buildable")) == 2, "items that are buildable")
    assert scheduler.events[0]["event"] == "ready"
    assert [one["seq"] for one in scheduler.events] == list(range(1, len(scheduler.events) + 1))
    assert {one["session"] for one in scheduler.events} == {session}
    queue = jenkins.json("butlery/queue")
    assert (queue["session"], {one["label"] for one in queue["items"]}) == (session, {"docker&&mesos", "maven"})
    wanted = {(one["task"], one["label"]) for one in scheduler.told("buildable")}
    assert wanted == {(freestyle, "docker&&mesos"), (f"part of {pipeline} #1", "maven")}
    assert scheduler.told("buildable")[0]["item"] == item
    first = jenkins.item(item)["inQueueSince"]

    started.end()
    started.start("--boot-s", "0")
    jenkins.eventually(lambda: len(scheduler.told("ready")) == 2, "second start")
    at = scheduler.events.index(scheduler.told("ready")[1])
    jenkins.eventually(lambda: len(scheduler.events) >= at + 3, "items that wait still")
    again = {one["task"]: one for one in scheduler.events[at + 1 : at + 3]}
    assert (again[freestyle]["item"], again[freestyle]["in_queue_since_ms"]) == (item, first)
    assert again[f"part of {pipeline} #1"]["label"] == "maven"
    jenkins.eventually(lambda: len(scheduler.access) == 2, "access of the second start")
    assert scheduler.access[1]["api_token"] == access["api_token"]
    assert scheduler.access[1]["session"] != access["session"]
    assert scheduler.tokens == {f"Bearer {TOKEN}"}


def test_a_node_of_the_schedulers_serves_one_build(master: Starter, scheduler: SchedulerStub, tmp_path: Path) -> None:
    started = master({Variable.SCHEDULER_URL: scheduler.url, Variable.TENANT_TOKEN: TOKEN})
    started.start("--boot-s", "0")
    jenkins = started.client()
    job = jenkins.job("docker", "true", parameter=True)
    items = [jenkins.build(job, N=str(number)) for number in (1, 2)]
    form = {"remoteFS": str(tmp_path), "labelString": "docker", "launcher": {"webSocket": True}}
    jenkins.create_node("butlery-1", form)
    jenkins.connect("butlery-1", tmp_path / "agent", "-noReconnect")
    build = jenkins.build_of(items[0])
    jenkins.ended(build)
    jenkins.eventually(lambda: scheduler.told("served"), "event of the agent's end")
    jenkins.why(items[1], "Waiting for next available executor on ‘butlery-1’")
    (accepted,), (served,) = scheduler.told("accepted"), scheduler.told("served")
    assert (accepted["node"], accepted["task"], accepted["task_url"]) == ("butlery-1", job, f"job/{job}/")
    assert accepted["item"] == items[0]
    assert [one["node"] for one in scheduler.told("online")] == ["butlery-1"]
    assert (served["node"], served["task"], served["problem"]) == ("butlery-1", job, None)
    (begun,) = scheduler.told("started")
    (done,) = scheduler.told("finished")
    shared = {"job": job, "build": 1, "url": f"job/{job}/1/", "queue_item": items[0], "node": "butlery-1"}
    assert shared.items() <= begun.items()
    assert (shared | {"result": "SUCCESS"}).items() <= done.items()
    (left,) = scheduler.told("left")
    assert (left["item"], left["cancelled"]) == (items[0], False)
    jenkins.post("computer/butlery-1/doDelete")
    jenkins.eventually(lambda: scheduler.told("offline"), "event of the agent that went")


def test_it_shows_why_no_agent_comes_and_tells_builds_why_theirs_ended(
    master: Starter, scheduler: SchedulerStub, tmp_path: Path
) -> None:
    started = master({Variable.SCHEDULER_URL: scheduler.url, Variable.TENANT_TOKEN: TOKEN})
    started.start("--boot-s", "0")
    jenkins = started.client()
    scheduler.hopeless["gpu"] = "no template is for gpu"
    pipeline = jenkins.pipeline("node('gpu') { sh 'true' }")
    jenkins.build(pipeline)
    jenkins.eventually(lambda: jenkins.json("queue/api/json")["items"], "the step's item")
    (waiting,) = jenkins.json("queue/api/json")["items"]
    jenkins.why(waiting["id"], "no template is for gpu")
    assert jenkins.log(f"job/{pipeline}/1/").count("[butlery] no agent comes: no template is for gpu") == 1
    (listed,) = jenkins.json("butlery/queue")["items"]
    assert (listed["item"], listed["buildable"]) == (waiting["id"], True)

    job = jenkins.job("docker", "sleep 60", parameter=True)
    jenkins.build(job, N="7")
    form = {"remoteFS": str(tmp_path), "labelString": "docker", "launcher": {"webSocket": True}}
    jenkins.create_node("butlery-1", form)
    agent = jenkins.connect("butlery-1", tmp_path / "agent", "-noReconnect")
    jenkins.eventually(lambda: scheduler.told("started"), "start of the build")
    agent.kill()
    reason = {"node": "butlery-1", "reason": "host h1 is lost", "resubmit": "true"}
    assert jenkins.post("butlery/tell", data=reason).status_code == 200
    assert jenkins.post("butlery/tell", data={**reason, "node": "butlery-2"}).status_code == 404
    jenkins.eventually(lambda: "[butlery] host h1 is lost" in jenkins.log(f"job/{job}/1/"), "the reason")
    again = next(one for one in jenkins.json("queue/api/json")["items"] if one["task"].get("name") == job)
    told = str(again["actions"])
    assert "1 of at most 2 times" in told
    assert "'value': '7'" in told


def test_a_backup_is_made_told_of_and_restored(master: Starter, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    started = master({Variable.BACKUP_TO: str(backups)})
    started.start("--boot-s", "0")
    jenkins = started.client()
    job = jenkins.job("kept")
    assert jenkins.get("butlery/backups", anonymous=True).status_code == 403
    assert jenkins.json("butlery/backups") == []
    assert jenkins.post("butlery/backup?name=..%2Fout").status_code == 400
    assert jenkins.post("butlery/backup?name=payments-1").status_code == 202

    def done() -> bool:
        return [(one["name"], one["state"]) for one in jenkins.json("butlery/backups")] == [("payments-1", "done")]

    jenkins.eventually(done, "finished backup")
    jenkins.post(f"job/{job}/doDelete")
    other = jenkins.job("lost")
    started.end()

    again = master({Variable.BACKUP_TO: str(backups), Variable.RESTORE: "payments-1"})
    again.start("--boot-s", "0")
    restored = Jenkins(again.url, jenkins.auth)
    assert [one["name"] for one in restored.json("api/json")["jobs"]] == [job]
    later = restored.job("later")
    again.end()
    again.start("--boot-s", "0")
    assert [one["name"] for one in restored.json("api/json")["jobs"]] == sorted([job, later])
    assert other not in (one["name"] for one in restored.json("api/json")["jobs"])
    again.end()

    for wanted, variables in (([job, later], {}), ([job], {Variable.RESTORE: "payments-1@2"})):
        third = master({Variable.BACKUP_TO: str(backups), **variables})
        third.start("--boot-s", "0")
        jobs = Jenkins(third.url, jenkins.auth).json("api/json")["jobs"]
        assert [one["name"] for one in jobs] == sorted(wanted)
        third.end()


def test_the_edge_to_masters_sees_what_it_does(master: Starter, tmp_path: Path) -> None:
    started = master({Variable.PATH: "/payments"})
    started.start("--boot-s", "0")
    jenkins = started.client()
    assert jenkins.auth is not None
    edge = JenkinsMaster("payments", started.url, MasterAccess(*jenkins.auth))
    assert edge.activity() == Activity(busy=0, queued=0, quieting=False)
    gate = tmp_path / "gate"
    node = jenkins.node("docker", tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    build = jenkins.build_of(jenkins.build(jenkins.job("docker", f"until [ -e {gate} ]; do sleep 0.1; done")))
    waits = jenkins.build(jenkins.job("gpu"))
    assert edge.activity() == Activity(busy=1, queued=1, quieting=False)
    edge.quiet_down(on=True)
    assert edge.activity().quieting
    jenkins.why(waits, "Jenkins is about to shut down")
    edge.quiet_down(on=False)
    gate.touch()
    jenkins.ended(build)
    jenkins.eventually(lambda: edge.activity() == Activity(0, 1, quieting=False), "idle master")
    assert edge.backups() == []
    with pytest.raises(JenkinsError, match="another backup of its master runs, or it has no place for one"):
        edge.backup("payments-1")


def test_a_restore_of_no_backup_stops_the_start(master: Starter, tmp_path: Path) -> None:
    started = master({Variable.BACKUP_TO: str(tmp_path), Variable.RESTORE: "unknown"})
    started.start(ready=False)
    assert started.process.wait(30) == 1
    log = started.log.read_text()
    assert "there is no backup unknown" in log
    assert "Traceback" not in log


def test_a_second_one_does_not_run_in_the_same_home(master: Starter) -> None:
    first, second = master(), master()
    first.start("--boot-s", "0")
    second.start("--boot-s", "0", ready=False)
    assert second.status() is None
    first.end()
    second.wait_ready()


def test_agents_by_tcp_come_to_the_port_it_was_given(master: Starter, tmp_path: Path) -> None:
    port = free_port()
    started = master({Variable.AGENT_PORT: str(port)})
    started.start("--boot-s", "0")
    jenkins = started.client()
    assert jenkins.json("api/json?tree=slaveAgentPort")["slaveAgentPort"] == port
    told = jenkins.get("tcpSlaveAgentListener/", anonymous=True)
    assert told.headers["X-Jenkins-JNLP-Port"] == told.headers["X-Hudson-JNLP-Port"] == str(port)
    assert told.headers["X-Jenkins-Agent-Protocols"] == "JNLP4-connect, Ping"
    assert "JNLP4-connect" in requests.get(f"http://127.0.0.1:{port}/", timeout=10).text

    node, other = (jenkins.node("docker", tmp_path, web_socket=False) for _ in range(2))
    item = jenkins.build(jenkins.job("docker", "echo by tcp"))
    wrong = jenkins.agent(
        tmp_path / "wrong", "-url", jenkins.url, "-name", other, "-secret", jenkins.secret(node),
        "-tunnel", f"127.0.0.1:{port}",
    )  # fmt: skip
    jenkins.agent(tmp_path / "agent", "-url", jenkins.url, "-name", node, "-secret", jenkins.secret(node))
    jenkins.online(node)
    build = jenkins.build_of(item)
    assert jenkins.ended(build)["result"] == "SUCCESS"
    assert "\nby tcp\n" in jenkins.log(build)
    log = tmp_path / "wrong" / "agent.log"
    jenkins.eventually(lambda: "reconnect rejected, sleeping 10s" in log.read_text(), "refusal of the wrong secret")
    assert wrong.poll() is None, "an agent by TCP does not give up"


def test_nonsense_is_answered_or_cut_and_harms_nobody_else(master: Starter, tmp_path: Path) -> None:
    started = master()
    started.start("--boot-s", "0")
    jenkins = started.client()
    node = jenkins.node("docker", tmp_path)
    digits = "9" * 5000
    for method, path, status in (
        ("GET", f"api/json?tree=jobs{{{digits}}}", 500),
        ("GET", f"api/json?tree={'jobs[' * 3000}", 500),
        ("GET", f"queue/item/{digits}/api/json", 500),
        ("POST", "createItem?name=a%00b", 500),
        ("POST", "computer/doCreateItem?name=a&type=b", 400),
    ):
        answer = jenkins.call(method, path, data="<project/>", headers={"Content-Type": "application/xml"})
        assert answer.status_code == status, path[:60]
    agent = (
        f"GET /wsagents/ HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nNode-Name: {node}\r\n"
        f"Secret-Key: {jenkins.secret(node)}\r\nX-Remoting-Capability: x\r\n\r\n"
    ).encode()
    frames = (b"\x82\xff" + b"\xff" * 12, b"\x82\x03\x00", b"\x82\x05E" + b"\xff" * 4)
    with contextlib.ExitStack() as opened:
        for sent in (
            b"\0\xff\r\n\r\n",
            b"POST /x HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            *(b"POST /createItem HTTP/1.1\r\nContent-Length: 10\r\n\r\n1" for _ in range(50)),
        ):
            line = opened.enter_context(socket.create_connection(("127.0.0.1", started.port), 10))
            line.sendall(sent)
        for frame in frames:  # half a message, and then nothing or the end
            jenkins.eventually(lambda: jenkins.computer(node)["offline"], "agent that is gone")
            with socket.create_connection(("127.0.0.1", started.port), 10) as line:
                line.sendall(agent)
                assert line.recv(4096).startswith(b"HTTP/1.1 101 ")
                line.sendall(frame)
        assert jenkins.connect(node, tmp_path / "agent").poll() is None
        second = jenkins.agent(
            tmp_path / "second", "-url", jenkins.url, "-name", node, "-webSocket", "-secret", "0" * 64
        )
        assert second.wait(30) == 255
    assert "Traceback" not in started.log.read_text()


def test_below_a_prefix_all_is_below_it(master: Starter, tmp_path: Path) -> None:
    started = master({Variable.PATH: "/payments"})
    started.start("--boot-s", "0")
    jenkins = started.client()
    root = f"http://127.0.0.1:{started.port}"
    outside = requests.get(f"{root}/payments", timeout=10, allow_redirects=False)
    assert (outside.status_code, outside.headers["Location"]) == (302, f"{root}/payments/")
    assert requests.get(f"{root}/api/json", timeout=10).status_code == 404
    login = requests.get(f"{root}/payments/login", timeout=10)
    assert "Path=/payments;" in login.headers["Set-Cookie"]
    proxied = {"X-Forwarded-Host": "ci.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}
    job = jenkins.job("docker")
    answer = jenkins.post(f"job/{job}/build", headers=proxied)
    assert answer.headers["Location"].startswith("https://ci.example/payments/queue/item/")
    node = jenkins.node("docker", tmp_path)
    jenkins.connect(node, tmp_path / "agent")
    build = jenkins.build_of(jenkins.build(job))
    assert jenkins.ended(build)["url"] == f"{jenkins.url}{build}"


def test_a_user_logs_in_by_the_form(master: Starter) -> None:
    started = master()
    started.start("--boot-s", "0")
    with requests.Session() as browser:
        page = browser.get(f"{started.url}login?from=%2F", timeout=10).text
        crumb = page.split('name="Jenkins-Crumb" value="')[1].split('"')[0]
        form = {"j_username": "admin", "j_password": "secret", "from": "/", "Jenkins-Crumb": crumb}
        assert browser.post(f"{started.url}j_spring_security_check", data=form, timeout=10).status_code == 200
        assert browser.get(f"{started.url}whoAmI/api/json", timeout=10).json()["name"] == "admin"
