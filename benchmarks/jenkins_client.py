"""A master as the one who builds on it sees it, by Jenkins' own API: jobs are made and queued, builds are asked for."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from xml.sax.saxutils import escape

from framework.errors import UnavailableError

TIMEOUT_S = 30.0
BUILD_FIELDS = "number,timestamp,duration,result,builtOn,queueId,actions[parameters[name,value]]"
NODE_PREFIX = "butlery-"


class Jenkins:
    """One master, with a user's API token; for one thread, on one connection that is kept alive.

    Every method raises UnavailableError where the master does not do it.
    """

    def __init__(self, url: str, user: str, api_token: str) -> None:
        self.url = url.rstrip("/") + "/"
        self.user, self.api_token = user, api_token
        self._address = urlsplit(self.url)
        pair = base64.b64encode(f"{user}:{api_token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {pair}"}
        self._connection: http.client.HTTPConnection | None = None

    def create_job(self, name: str, config: str) -> None:
        self._call("POST", f"createItem?name={quote(name)}", config, {"Content-Type": "application/xml"})

    def queue(self, job: str, **parameters: str) -> int:
        """Has the job built at once, and gives the queue item's number. The job has ``parameters``, one at least."""
        form = urlencode({**parameters, "delay": "0sec"})
        headers = self._call("POST", f"job/{quote(job)}/buildWithParameters?{form}")[1]
        return int(headers["location"].rstrip("/").rsplit("/", 1)[1])

    def item(self, number: int) -> dict[str, Any]:
        return self.get(f"queue/item/{number}/api/json")

    def items(self) -> list[dict[str, Any]]:
        """Of the queue, with the names of their tasks and why they wait."""
        found = self.get("queue/api/json?tree=items[id,why,inQueueSince,task[name]]")["items"]
        return list(found)

    def builds(self, job: str) -> list[dict[str, Any]]:
        """All of the job; times in ms."""
        return list(self.get(f"job/{quote(job)}/api/json?tree=allBuilds[{BUILD_FIELDS}]")["allBuilds"])

    def log(self, job: str, number: int) -> str:
        return self._call("GET", f"job/{quote(job)}/{number}/consoleText")[0].decode(errors="replace")

    def nodes(self) -> list[str]:
        """Names of those that the scheduler made."""
        found = self.get("computer/api/json?tree=computer[displayName]")["computer"]
        return [one["displayName"] for one in found if one["displayName"].startswith(NODE_PREFIX)]

    def create_node(self, name: str, label: str) -> None:
        """As somebody makes it by hand."""
        launcher = {"stapler-class": "hudson.slaves.JNLPLauncher", "webSocket": True}
        node = {"name": name, "numExecutors": 1, "remoteFS": "/tmp", "labelString": label, "launcher": launcher}  # noqa: S108
        form = urlencode({"json": json.dumps(node)})
        path = f"computer/doCreateItem?name={quote(name)}&type=hudson.slaves.DumbSlave"
        self._call("POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})

    def delete_node(self, name: str) -> None:
        """As somebody deletes it by hand."""
        self._call("POST", f"computer/{quote(name)}/doDelete")

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._call("GET", path)[0])
        return found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Its body and headers, by names in lower case."""
        kept = self._connection is not None
        try:
            return self._asked(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if not kept:
                raise UnavailableError(f"{self.url}{path}: {error or type(error).__name__}") from error
        return self._call(method, path, body, headers)  # the master had closed what was kept

    def _asked(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str] | None
    ) -> tuple[bytes, Mapping[str, str]]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                str(self._address.hostname), self._address.port or 80, timeout=TIMEOUT_S
            )
        sent = None if body is None else body.encode()
        self._connection.request(method, self._address.path + path, sent, {**self._headers, **(headers or {})})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise UnavailableError(f"{method} {self.url}{path.partition('?')[0]}: {answer.status} {answer.reason}")
        return content, {name.lower(): value for name, value in answer.getheaders()}


def freestyle(label: str | None, command: str, parameters: Sequence[str] = ("N",)) -> str:
    """config.xml of a job that runs a shell command on an agent of the label."""
    assigned = f"<assignedNode>{escape(label)}</assignedNode><canRoam>false</canRoam>" if label else ""
    return (
        f"<project>{_declared(parameters)}{assigned}<concurrentBuild>true</concurrentBuild>"
        f"<builders><hudson.tasks.Shell><command>{escape(command)}</command></hudson.tasks.Shell></builders></project>"
    )


def pipeline(script: str) -> str:
    """config.xml of a Pipeline; it has the parameter N."""
    definition = "org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition"
    return (
        f'<flow-definition>{_declared(("N",))}<definition class="{definition}"><script>{escape(script)}</script>'
        f"<sandbox>true</sandbox></definition></flow-definition>"
    )


def _declared(parameters: Sequence[str]) -> str:
    kind = "hudson.model.StringParameterDefinition"
    each = "".join(f"<{kind}><name>{name}</name><defaultValue/></{kind}>" for name in parameters)
    holder = "hudson.model.ParametersDefinitionProperty"
    return f"<properties><{holder}><parameterDefinitions>{each}</parameterDefinitions></{holder}></properties>"


def parameter_of(build: Mapping[str, Any], name: str) -> str | None:
    """Its value in a build."""
    for action in build["actions"]:
        for parameter in (action or {}).get("parameters", ()):
            if parameter["name"] == name:
                return str(parameter["value"])
    return None
