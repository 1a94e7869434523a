"""Tenants' masters over HTTP, as recorded of Jenkins 2.463: nodes made and removed, the queue looked at.

Held to the recording by tests/contract/jenkins.
"""

from __future__ import annotations

import json
import re
from email.utils import parsedate_to_datetime
from html import unescape
from urllib.parse import quote, urlencode

from framework.core.ids import TenantName
from framework.edges.jenkins import looking
from framework.edges.jenkins.calls import Answer, Calls, path_of, told
from framework.edges.jenkins.looking import Asker, is_ours
from framework.jenkins_ports import Look, MasterError, MasterRecord, NewNode, NodeTakenError
from framework.ports import Clock

_NODE_KIND = "hudson.slaves.DumbSlave"
_LAUNCHER = "hudson.slaves.JNLPLauncher"
_RETENTION = "hudson.slaves.RetentionStrategy$Always"
_SECRET = re.compile(r"<argument>([0-9a-f]{64})</argument>\s*<argument>([^<]*)</argument>")
_EXISTS = "already exists"
_NOT_OF_A_JAR = re.compile(r"[^A-Za-z0-9.+_-]")


class JenkinsEdge:
    """A ``framework.jenkins_ports.MasterEdge``. ``close`` it at the end."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        """``timeout_s`` of one call; a method makes up to five."""
        self._clock = clock
        self._calls = Calls(timeout_s)

    async def close(self) -> None:
        await self._calls.close()

    async def create_node(self, master: MasterRecord, node: NewNode) -> str:
        if not await self._made(master, node) and not await self._taken_over(master, node):
            raise MasterError("odd", "its node was there and is gone")
        return await self._secret(master, node.name)

    async def remove_node(self, master: MasterRecord, name: str) -> None:
        """One that is not ours is left alone."""
        found = await self._found(master, name)
        if found is not None and is_ours(name, found.description):
            await self._delete(master, name)

    async def tell(self, master: MasterRecord, name: str, reason: str, *, resubmit: bool) -> None:
        """First into the build's log, by our init script, which a Jenkins that we did not start need not have.

        The build is told of too where somebody has deleted the node under it.
        """
        found = await self._found(master, name)
        if found is not None and not is_ours(name, found.description):
            return
        note = {"node": name, "reason": reason, "resubmit": str(resubmit).lower()}
        await self._calls.call(master, "POST", "butlery/tell", form=note, optional=True)
        if found is not None:
            await self._cordon(master, found, reason)

    async def cordon(self, master: MasterRecord, name: str, reason: str) -> None:
        found = await self._found(master, name)
        if found is not None and is_ours(name, found.description):
            await self._cordon(master, found, reason)

    async def _cordon(self, master: MasterRecord, found: looking.Computer, reason: str) -> None:
        if not found.temporarily_offline:  # toggled once more it would be online
            path = f"{_path(found.display_name)}/toggleOffline"
            await self._calls.call(master, "POST", path, form={"offlineMessage": reason})

    async def look(self, master: MasterRecord, tenant: TenantName, *, labels: bool) -> Look:
        return await looking.look(self._asker(master), master, tenant, self._clock.now(), labels=labels)

    async def jar(self, master: MasterRecord) -> str:
        """Its size and date: a war of the same version may be of another's making."""
        answer = await self._calls.call(master, "HEAD", "jnlpJars/agent.jar")
        if answer.status != 200:
            raise MasterError("odd", f"it has no agent.jar (HTTP {answer.status})")
        size, date = answer.headers.get("Content-Length", ""), answer.headers.get("Last-Modified", "")
        try:
            made_at = f"{int(parsedate_to_datetime(date).timestamp()):x}"
        except (ValueError, OverflowError):
            made_at = "0"
        return _NOT_OF_A_JAR.sub("_", f"{master.version[:60]}-{size[:12]}-{made_at}")[:100]

    def _asker(self, master: MasterRecord) -> Asker:
        async def ask(path: str, script: str | None = None) -> Answer:
            if script is None:
                return await self._calls.call(master, "GET", path)
            return await self._calls.call(master, "POST", path, form={"script": script})

        return ask

    async def _made(self, master: MasterRecord, node: NewNode) -> bool:
        """False where there is one of its name."""
        query = urlencode({"name": node.name, "type": _NODE_KIND})
        answer = await self._calls.call(
            master, "POST", f"computer/doCreateItem?{query}", form={"json": json.dumps(_form(node))}
        )
        if answer.status == 302:
            _check_redirect(answer)
            return True
        problem = answer.headers.get("X-Error", "")
        if answer.status == 400 and _EXISTS in problem:
            return False
        raise MasterError("odd", f"it makes no node (HTTP {answer.status}{f': {told(problem)}' if problem else ''})")

    async def _taken_over(self, master: MasterRecord, node: NewNode) -> bool:
        """Whether it stands now. Raises NodeTakenError where it is somebody else's."""
        found = await self._found(master, node.name)
        if found is None:
            return await self._made(master, node)
        if not is_ours(node.name, found.description):
            raise NodeTakenError(f"there is a node {node.name} that was made by hand")
        if not found.temporarily_offline:
            return True
        await self._delete(master, node.name)  # it was about to be removed: nothing would be built there
        return await self._made(master, node)

    async def _found(self, master: MasterRecord, name: str) -> looking.Computer | None:
        answer = await self._calls.call(
            master, "GET", f"{_path(name)}/api/json?tree=displayName,description,offline,idle,temporarilyOffline"
        )
        return None if answer.status == 404 else looking.decoded(answer, looking.COMPUTER)

    async def _delete(self, master: MasterRecord, name: str) -> None:
        answer = await self._calls.call(master, "POST", f"{_path(name)}/doDelete")
        if answer.status == 302:
            _check_redirect(answer)
        elif answer.status != 404:
            raise MasterError("odd", f"it does not remove a node (HTTP {answer.status})")

    async def _secret(self, master: MasterRecord, name: str) -> str:
        answer = await self._calls.call(master, "GET", f"{_path(name)}/jenkins-agent.jnlp")
        found = _SECRET.search(answer.body.decode("utf-8", "replace"))
        if answer.status != 200 or found is None or unescape(found[2]) != name:
            raise MasterError("odd", f"it tells no secret of a node (HTTP {answer.status})")
        return found[1]


def _path(name: str) -> str:
    return f"computer/{quote(name, safe='')}"


def _form(node: NewNode) -> dict[str, object]:
    """What Jenkins' own page sends for a new node."""
    return {
        "name": node.name,
        "nodeDescription": node.description,
        "numExecutors": "1",
        "remoteFS": node.remote_root,
        "labelString": node.labels,
        "mode": "EXCLUSIVE" if node.exclusive else "NORMAL",
        "launcher": {
            "stapler-class": _LAUNCHER,
            "$class": _LAUNCHER,
            "workDirSettings": {
                "disabled": False,
                "workDirPath": "",
                "internalDir": "remoting",
                "failIfWorkDirIsMissing": False,
            },
            "tunnel": node.tunnel or "",
            "webSocket": node.web_socket,
        },
        "retentionStrategy": {"stapler-class": _RETENTION, "$class": _RETENTION},
        "nodeProperties": {"stapler-class-bag": "true"},
        "type": _NODE_KIND,
    }


def _check_redirect(answer: Answer) -> None:
    """What was done leads to the list of nodes; a proxy that does not know us leads to a login."""
    if not path_of(answer.headers.get("Location", "")).endswith("/computer/"):
        raise MasterError("refused", "it wants a login; what stands before it must let our API token through")
