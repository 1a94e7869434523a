"""Which handler answers which path, and what a handler is given."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.fakes.jenkins.exporting import Of
from tests.fakes.jenkins.http import Request, Response
from tests.fakes.jenkins.master import Master
from tests.fakes.jenkins.pages import Pages
from tests.fakes.jenkins.security import Caller, Security
from tests.fakes.jenkins.tree import Bean, Kind, TreeSyntaxError, pruner, show


@dataclass(slots=True)
class Call:
    """One request to be answered. ``address`` is the master's as the caller knows it, with a slash at its end."""

    request: Request
    caller: Caller
    master: Master
    security: Security
    pages: Pages
    address: str

    @property
    def root(self) -> str:
        """The configured address, else the caller's."""
        return self.master.options.root_url or self.address

    def shown(self, kind: Kind, thing: Any = None) -> Response:
        """The REST API's answer about a thing."""
        query = self.request.query
        try:
            by = pruner(query.get("tree"), query.get("depth"))
        except TreeSyntaxError as error:
            return self.pages.error(500, f"Malformed tree expression: {error}")
        of = Of(thing, self.master, self.root, self.master.queue.reasons())
        return self.pages.json(show(Bean(kind, of), by), query.get("pretty") == "true", self.request.method == "HEAD")

    def not_found(self) -> Response:
        return self.pages.error(404)


Handler = Callable[..., Response | Awaitable[Response]]


class Route(NamedTuple):
    pattern: re.Pattern[str]
    posts: bool  # POST alone, else 405
    handler: Handler


class Routes:
    """``{name}`` in a path is one segment of it, handed to the handler by that name."""

    def __init__(self) -> None:
        self._routes: dict[str, list[Route]] = {}

    def any(self, path: str) -> Callable[[Handler], Handler]:
        return self._add(path, posts=False)

    def post(self, path: str) -> Callable[[Handler], Handler]:
        return self._add(path, posts=True)

    def _add(self, path: str, posts: bool) -> Callable[[Handler], Handler]:
        pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))

        def keep(handler: Handler) -> Handler:
            self._routes.setdefault(_first(path), []).append(Route(pattern, posts, handler))
            return handler

        return keep

    async def answer(self, path: str, call: Call) -> Response:
        method = call.request.method
        refused = False
        for route in self._routes.get(_first(path), ()):
            found = route.pattern.fullmatch(path)
            if found is None:
                continue
            if route.posts and method != "POST":
                refused = True
                continue
            answer = route.handler(call, **found.groupdict())
            return answer if isinstance(answer, Response) else await answer
        return call.pages.error(405) if refused else call.not_found()


def _first(path: str) -> str:
    return path.split("/", 2)[1]
