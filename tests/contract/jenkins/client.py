"""A Jenkins as the tests speak to it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

PATIENCE_S = 40.0
_TIMEOUT_S = 20.0
_numbers = itertools.count(1)
FREESTYLE = """<?xml version='1.1' encoding='UTF-8'?>
<project>
  <description>contract</description>
  <keepDependencies>false</keepDependencies>
  <properties>{properties}</properties>
  <scm class="hudson.scm.NullSCM"/>
  {label}
  <canRoam>{roams}</canRoam>
  <disabled>false</disabled>
  <triggers/>
  <concurrentBuild>{concurrent}</concurrentBuild>
  <builders><hudson.tasks.Shell><command>{command}</command></hudson.tasks.Shell></builders>
  <publishers/>
  <buildWrappers/>
</project>"""
PIPELINE = (
    "<flow-definition><keepDependencies>false</keepDependencies><properties/>"
    '<definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition"><script>{script}</script>'
    "<sandbox>true</sandbox></definition><triggers/><disabled>false</disabled></flow-definition>"
)
PARAMETER = (
    "<hudson.model.ParametersDefinitionProperty><parameterDefinitions><hudson.model.StringParameterDefinition>"
    "<name>N</name><defaultValue>7</defaultValue></hudson.model.StringParameterDefinition></parameterDefinitions>"
    "</hudson.model.ParametersDefinitionProperty>"
)


class Jenkins:
    """``auth`` is a user with an API token; what was made here is taken away by ``tidy``."""

    def __init__(self, url: str, auth: tuple[str, str] | None, java: str = "java") -> None:
        self.url = url.rstrip("/") + "/"
        self.auth = auth
        self._java = java
        self._made: list[str] = []
        self._agents: list[subprocess.Popen[bytes]] = []

    # HTTP

    def call(self, method: str, path: str, *, anonymous: bool = False, **more: Any) -> requests.Response:
        with self.browser() as session:
            session.auth = None if anonymous else self.auth
            return session.request(method, self.url + path, allow_redirects=False, timeout=_TIMEOUT_S, **more)

    @contextmanager
    def browser(self) -> Iterator[requests.Session]:
        """A session that keeps cookies, and is nobody yet."""
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Accept-Encoding"] = "identity"  # as when it was recorded
            yield session

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.call("GET", path, **more)

    def post(self, path: str, **more: Any) -> requests.Response:
        return self.call("POST", path, **more)

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    def location(self, answer: requests.Response) -> str:
        """The path that it names, below the master's."""
        return answer.headers["Location"].removeprefix(self.url)

    def eventually(self, look: Callable[[], Any], what: str) -> Any:
        """What ``look`` told when it was first true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert time.monotonic() < deadline, f"no {what} within {PATIENCE_S:g} s"
            time.sleep(0.05)
        return found

    # Jobs

    def job(self, label: str | None = None, command: str = "true", parameter: bool = False,
            concurrent: bool = True) -> str:  # fmt: skip
        """The name of a new freestyle job."""
        config = FREESTYLE.format(
            label=f"<assignedNode>{_escaped(label)}</assignedNode>" if label else "",
            roams="false" if label else "true",
            command=_escaped(command),
            properties=PARAMETER if parameter else "",
            concurrent=str(concurrent).lower(),
        )
        return self.create_job(config)

    def pipeline(self, script: str) -> str:
        return self.create_job(PIPELINE.format(script=_escaped(script)))

    def create_job(self, config: str) -> str:
        name = new_name("job")
        answer = self.post(f"createItem?name={name}", data=config.encode(), headers={"Content-Type": "application/xml"})
        assert answer.status_code == 200, f"{answer.status_code} {answer.headers.get('X-Error')} {answer.text[:300]}"
        self._made.append(f"job/{name}")
        return name

    def build(self, job: str, delay: str = "0sec", **parameters: str) -> int:
        """The queue item's id."""
        how = "buildWithParameters" if parameters else "build"
        answer = self.post(f"job/{job}/{how}", params={"delay": delay, **parameters})
        assert answer.status_code == 201, answer.status_code
        return int(self.location(answer).split("/")[2])

    def item(self, number: int) -> Any:
        return self.json(f"queue/item/{number}/api/json")

    def why(self, number: int, wanted: str) -> Any:
        """The item, once it says so."""

        def look() -> Any:
            item = self.item(number)
            return item if item["why"] == wanted else None

        return self.eventually(look, f"item that says {wanted!r} but {self.item(number)['why']!r}")

    def build_of(self, item: int) -> str:
        """The path of the build that it became."""

        def look() -> Any:
            return self.item(item).get("executable")

        url: str = self.eventually(look, "build of the item")["url"]
        return urlsplit(url).path.removeprefix(urlsplit(self.url).path)

    def ended(self, build: str) -> Any:
        def look() -> Any:
            found = self.json(f"{build}api/json")
            return None if found["building"] else found

        return self.eventually(look, f"end of {build}")

    def log(self, build: str) -> str:
        return self.get(f"{build}consoleText").text

    # Nodes

    def node(self, label: str, directory: Path, web_socket: bool = True) -> str:
        """The name of a new node with one executor."""
        name = new_name("node")
        answer = self.create_node(name, node_form(name, label, directory, web_socket))
        assert answer.status_code == 302, answer.headers.get("X-Error")
        return name

    def create_node(self, name: str, form: dict[str, Any]) -> requests.Response:
        self._made.append(f"computer/{name}")
        query = {"name": name, "type": "hudson.slaves.DumbSlave"}
        return self.post("computer/doCreateItem", params=query, data={"json": json.dumps(form)})

    def computer(self, name: str) -> Any:
        return self.json(f"computer/{name}/api/json")

    def secret(self, name: str) -> str:
        page = self.get(f"computer/{name}/jenkins-agent.jnlp").text
        return page.split("<argument>")[1].split("<")[0]

    def agent(self, directory: Path, *options: str) -> subprocess.Popen[bytes]:
        """A process of this Jenkins' own agent.jar, which is ended after the test."""
        directory.mkdir(exist_ok=True)
        jar = directory / "agent.jar"
        jar.write_bytes(self.get("jnlpJars/agent.jar", anonymous=True).content)
        command = [self._java, "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(jar), *options]
        with (directory / "agent.log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory)
        self._agents.append(process)
        return process

    def connect(self, name: str, directory: Path, *options: str) -> subprocess.Popen[bytes]:
        """An agent of the node by WebSocket, which is online when this returns. Its secret is not to be seen."""
        directory.mkdir(exist_ok=True)
        (directory / "secret").write_text(self.secret(name))
        given = ("-url", self.url, "-secret", f"@{directory}/secret", "-name", name, "-webSocket")
        process = self.agent(directory, *given, "-workDir", str(directory), *options)
        self.online(name)
        return process

    def online(self, name: str) -> None:
        self.eventually(lambda: not self.computer(name)["offline"], f"agent of {name}")

    def made(self, path: str) -> None:
        """What is there is to be taken away after the test."""
        self._made.append(path)

    def end_agents(self) -> None:
        for agent in self._agents:
            agent.kill()
            agent.wait()
        self._agents.clear()

    def tidy(self) -> None:
        self.end_agents()
        for path in reversed(self._made):
            self.post(f"{path}/doDelete")
        self._made.clear()


def new_name(kind: str) -> str:
    return f"{kind}-{os.getpid()}-{next(_numbers)}"


def node_form(name: str, label: str, directory: Path, web_socket: bool) -> dict[str, Any]:
    return {
        "name": name, "nodeDescription": "contract", "numExecutors": "1", "remoteFS": str(directory),
        "labelString": label, "mode": "EXCLUSIVE",
        "launcher": {
            "stapler-class": "hudson.slaves.JNLPLauncher", "$class": "hudson.slaves.JNLPLauncher",
            "workDirSettings": {
                "disabled": False, "workDirPath": "", "internalDir": "remoting", "failIfWorkDirIsMissing": False,
            },
            "tunnel": "", "webSocket": web_socket,
        },
        "retentionStrategy": {
            "stapler-class": "hudson.slaves.RetentionStrategy$Always",
            "$class": "hudson.slaves.RetentionStrategy$Always",
        },
        "nodeProperties": {"stapler-class-bag": "true"},
        "type": "hudson.slaves.DumbSlave",
    }  # fmt: skip


def java() -> str:
    found = shutil.which("java")
    assert found is not None, "no java: .ci/packages"
    return found


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
