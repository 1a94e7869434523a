"""Forges' APIs on 127.0.0.1, which check what they are sent against the forges' own documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from framework.serverless_settings import Kind

TOKEN = "forge-token-0123456789"


class Posted(NamedTuple):
    """A status that was taken."""

    repository: str
    commit: str
    state: str
    body: dict[str, Any]


_RULES: dict[Kind, dict[str, re.Pattern[str]]] = {
    "github": {
        "state": re.compile(r"error|failure|pending|success"),
        "target_url": re.compile(r"https?://.+"),
        "description": re.compile(r".{0,140}"),
        "context": re.compile(r".+"),
    },
    "gitlab": {
        "state": re.compile(r"pending|running|success|failed|canceled"),
        "target_url": re.compile(r"https?://.{1,240}"),
        "description": re.compile(r".{0,255}"),
        "name": re.compile(r".{1,255}"),
    },
    "bitbucket": {
        "state": re.compile(r"SUCCESSFUL|FAILED|INPROGRESS|STOPPED"),
        "url": re.compile(r"https?://.+"),
        "description": re.compile(r".{0,255}"),
        "name": re.compile(r".+"),
        "key": re.compile(r".{1,40}"),
    },
}
_STATUS: dict[Kind, re.Pattern[str]] = {
    "github": re.compile(r"/repos/(?P<repository>[^/]+/[^/]+)/statuses/(?P<commit>[0-9a-f]+)"),
    "gitlab": re.compile(r"/projects/(?P<repository>[^/]+)/statuses/(?P<commit>[0-9a-f]+)"),
    "bitbucket": re.compile(r"/repositories/(?P<repository>[^/]+/[^/]+)/commit/(?P<commit>[0-9a-f]+)/statuses/build"),
}
_FILE: dict[Kind, re.Pattern[str]] = {
    "github": re.compile(r"/repos/(?P<repository>[^/]+/[^/]+)/contents/(?P<path>.+)"),
    "gitlab": re.compile(r"/projects/(?P<repository>[^/]+)/repository/files/(?P<path>[^/]+)/raw"),
    "bitbucket": re.compile(r"/repositories/(?P<repository>[^/]+/[^/]+)/src/(?P<commit>[0-9a-f]+)/(?P<path>.+)"),
}


class FakeForge:
    """One forge of a kind. ``answers``: statuses (codes) of the next posts, before it takes them again."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.posted: list[Posted] = []
        self.files: dict[str, bytes] = {}
        self.answers: list[int] = []
        self.refusing: int | None = None
        self.retry_after: str | None = None
        self.calls = 0
        self.faults: list[str] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> FakeForge:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/api"
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def states(self, commit: str) -> list[str]:
        return [one.state for one in self.posted if one.commit == commit]

    async def _answer(self, request: web.Request) -> web.Response:
        self.calls += 1
        path = request.rel_url.raw_path.removeprefix("/api")
        if not self._authorized(request.headers):
            return web.json_response({"message": "Bad credentials"}, status=401)
        if request.method == "GET":
            return self._file(path, request)
        code = self.refusing or (self.answers.pop(0) if self.answers else None)
        if code is not None:
            headers = {"Retry-After": self.retry_after} if self.retry_after is not None else {}
            return web.json_response({"message": "not now"}, status=code, headers=headers)
        found = _STATUS[self.kind].fullmatch(path)
        if found is None:
            self.faults.append(f"no path of {self.kind}: {path}")
            return web.json_response({"message": "Not Found"}, status=404)
        return self._take(unquote(found["repository"]), found["commit"], await request.json())

    def _take(self, repository: str, commit: str, body: dict[str, Any]) -> web.Response:
        rules = _RULES[self.kind]
        wrong = [name for name in body.keys() | rules.keys() if not self._sound(name, body)]
        if wrong:
            self.faults.append(f"{wrong} of {body}")
            return web.json_response({"message": "Validation Failed"}, status=422)
        before = [one for one in self.posted if one.commit == commit]
        if self.kind == "gitlab" and before and before[-1].state == body["state"]:
            text = 'Cannot transition status via :run from :running (Reason(s): Status cannot transition via "run")'
            return web.json_response({"message": text}, status=400)
        self.posted.append(Posted(repository, commit, body["state"], body))
        return web.json_response({"state": body["state"]}, status=201)

    def _sound(self, name: str, body: Mapping[str, Any]) -> bool:
        rule, value = _RULES[self.kind].get(name), body.get(name)
        return rule is not None and isinstance(value, str) and rule.fullmatch(value) is not None

    def _authorized(self, headers: Mapping[str, str]) -> bool:
        if self.kind == "gitlab":
            return headers.get("PRIVATE-TOKEN") == TOKEN
        return headers.get("Authorization") == f"Bearer {TOKEN}"

    def _file(self, path: str, request: web.Request) -> web.Response:
        found = _FILE[self.kind].fullmatch(path)
        commit = found.groupdict().get("commit") or request.query.get("ref") if found is not None else None
        if found is None or not commit:
            self.faults.append(f"no path of {self.kind}: {path}")
            return web.Response(status=400)
        content = self.files.get(unquote(found["path"]))
        return web.Response(status=404) if content is None else web.Response(body=content)
