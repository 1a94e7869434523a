"""Which path and method is answered by what.

Ids have slashes, and parts of an id may be called like a resource below it: ``/v2/apps/a/tasks`` are the tasks of
``/a``, and the app ``/a/tasks`` itself is out of reach, as with the real one. ``/v2/apps/a/restart`` can only be posted
to, so the other methods are of the app ``/a/restart``.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple, TypeAlias

from framework.local.marathon.api import apps, deployments, groups, metrics, system, tasks
from framework.local.marathon.api.exchange import Answer, Call
from framework.local.marathon.api.problems import RefusedError

Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]
EVENTS = "/v2/events"


class Route(NamedTuple):
    """``more``: other methods may be of a route further down that has the same path."""

    pattern: re.Pattern[str]
    methods: dict[str, Handler]
    more: bool = False


def _route(pattern: str, /, *, more: bool = False, **methods: Handler) -> Route:
    return Route(re.compile(pattern, re.DOTALL), methods, more)


_APPS = r"/v2/apps"
_GROUPS = r"/v2/groups"

ROUTES = (
    _route(
        rf"{_APPS}/*",
        GET=apps.index,
        POST=apps.create,
        PUT=apps.replace_several,
        PATCH=apps.patch_several,
    ),
    _route(rf"{_APPS}/(?P<id>.+)/restart/?", more=True, POST=apps.restart),
    _route(rf"{_APPS}/(?P<id>.+)/versions/?", GET=apps.versions),
    _route(rf"{_APPS}/(?P<id>.+)/versions/(?P<version>[^/]+)", more=True, GET=apps.version),
    _route(rf"{_APPS}/(?P<id>.+)/tasks/?", GET=tasks.of_app, DELETE=tasks.kill_of_app),
    _route(rf"{_APPS}/(?P<id>.+)/tasks/(?P<task>[^/]+)", more=True, DELETE=tasks.kill_one),
    _route(
        rf"{_APPS}/(?P<id>.+)",
        GET=apps.show,
        PUT=apps.replace_one,
        PATCH=apps.patch_one,
        DELETE=apps.delete,
    ),
    _route(rf"{_GROUPS}(?P<id>(?:/.*)?)/versions/?", more=True, GET=groups.versions),
    _route(rf"{_GROUPS}(?P<id>(?:/.*)?)/versions/(?P<version>[^/]+)", more=True, GET=groups.version),
    _route(rf"{_GROUPS}(?P<id>(?:/.*)?)/apps/?", more=True, GET=groups.apps),
    _route(
        rf"{_GROUPS}(?P<id>(?:/.*)?)",
        GET=groups.show,
        POST=groups.create,
        PUT=groups.update,
        PATCH=groups.patch,
        DELETE=groups.delete,
    ),
    _route(r"/v2/deployments/?", GET=deployments.running),
    _route(r"/v2/deployments/(?P<deployment>[^/]+)", DELETE=deployments.cancel),
    _route(r"/v2/tasks/?", GET=tasks.index),
    _route(r"/v2/tasks/delete/?", POST=tasks.kill_several),
    _route(r"/v2/queue/?", GET=deployments.queue),
    _route(r"/v2/queue/(?P<id>.+)/delay/?", DELETE=deployments.reset_delay),
    _route(r"/v2/info/?", GET=system.info),
    _route(r"/v2/leader/?", GET=system.leader, DELETE=system.abdicate),
    _route(r"/v2/plugins/?", GET=system.plugins),
    _route(r"/v2/pods/?", GET=system.pods, POST=system.no_pods),
    _route(r"/v2/pods/?::status/?", GET=system.pods),
    _route(
        r"/v2/pods/(?P<id>[^:]+)(?:::.*)?",
        GET=system.no_pod,
        PUT=system.no_pods,
        DELETE=system.no_pod,
    ),
    _route(r"/v2/schemas/(?P<name>[^/]+)", GET=system.schema),
    _route(r"/ping/?", GET=system.ping),
    _route(r"/metrics/?", GET=metrics.show),
    _route(r"/metrics/prometheus/?", GET=metrics.prometheus),
    _route(r"/logging/?", GET=system.loggers, POST=system.set_logger),
)


def find(path: str, method: str) -> tuple[Handler, dict[str, str]]:
    """What answers, and the parts of the path. HEAD is answered as GET. Raises RefusedError: 404, 405."""
    for route, match in _matching(path):
        handler = route.methods.get("GET" if method == "HEAD" else method)
        if handler is not None:
            return handler, match.groupdict()
    allowed = allow(path)
    if not allowed:
        raise RefusedError(404, "URI not found")
    raise RefusedError(405, "Method Not Allowed", headers={"Allow": allowed})


def allow(path: str) -> str:
    """The methods that are answered, as the header Allow has them; "" where there is nothing at the path."""
    methods = {method: None for route, _ in _matching(path) for method in route.methods}
    if path.rstrip("/") == EVENTS:
        methods["GET"] = None
    if not methods:
        return ""
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])


def _matching(path: str) -> Iterator[tuple[Route, re.Match[str]]]:
    for route in ROUTES:
        match = route.pattern.fullmatch(path)
        if match is not None:
            yield route, match
            if not route.more:
                return
