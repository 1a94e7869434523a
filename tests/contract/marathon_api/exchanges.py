"""Holds one exchange, a request and its answer, against the schemas."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema_rs

from tests.contract.marathon_api import kinds
from tests.contract.marathon_api.directions import as_answer, as_request, as_update
from tests.contract.marathon_api.notation import Schema, either, several

NOTHING = "nothing"
"""In place of a schema: there is no body."""
PLAIN = "plain"
"""In place of a schema: text."""

Body = Schema | str


@dataclass(frozen=True)
class Exchange:
    """``path``, and ``body`` as text; both directions."""

    method: str
    path: str
    sent: str
    status: int
    content_type: str
    answered: str


@dataclass(frozen=True)
class Route:
    """``answers``: by status. ``sent``: what may be sent; ``update``: where the app is there already."""

    method: str
    pattern: re.Pattern[str]
    answers: dict[int, Body]
    sent: Schema | None = None
    update: bool = False


def _route(
    method: str, pattern: str, answers: dict[int, Body], sent: Schema | None = None, *, update: bool = False
) -> Route:
    return Route(method, re.compile(pattern), answers, sent, update)


_RESULT = kinds.DEPLOYMENT_RESULT
_APP = r"/v2/apps/+(?P<id>.+)"
_GROUP = r"/v2/groups(/+(?P<id>.+?))?/*"

ROUTES = (
    _route("GET", r"/v2/apps/*", {200: kinds.APP_LIST}),
    _route("POST", r"/v2/apps/*", {201: kinds.APP_INFO}, kinds.APP),
    _route("PUT|PATCH", r"/v2/apps/*", {200: _RESULT}, several(kinds.APP), update=True),
    _route("POST", rf"{_APP}/restart", {200: _RESULT}),
    _route("GET", rf"{_APP}/tasks", {200: kinds.TASK_LIST}),
    _route("DELETE", rf"{_APP}/tasks", {200: either(kinds.TASK_LIST, _RESULT)}),
    _route("DELETE", rf"{_APP}/tasks/[^/]+", {200: either(kinds.TASK_SINGLE, _RESULT)}),
    _route("GET", rf"{_APP}/versions", {200: kinds.VERSION_LIST}),
    _route("GET", rf"{_APP}/versions/[^/]+", {200: kinds.APP_SHOWN}),
    _route("GET", r"/v2/apps/+(.+/)?\*", {200: kinds.APPS_BELOW}),
    _route("GET", _APP, {200: kinds.APP_ANSWER}),
    _route("PUT", _APP, {200: _RESULT, 201: _RESULT}, kinds.APP, update=True),
    _route("PATCH", _APP, {200: _RESULT}, kinds.APP, update=True),
    _route("DELETE", _APP, {200: _RESULT}),
    _route("GET", r"/v2/groups(/+.+?)?/+versions", {200: kinds.GROUP_VERSIONS}),
    _route("GET", r"/v2/groups(/+.+?)?/+versions/[^/]+", {200: kinds.GROUP_INFO}),
    _route("GET", r"/v2/groups(/+.+?)?/+apps/?", {200: kinds.APP_LIST}),
    _route("GET", _GROUP, {200: kinds.GROUP_INFO}),
    _route("POST", _GROUP, {201: _RESULT}, kinds.GROUP_UPDATE),
    _route("PUT", _GROUP, {200: either(_RESULT, kinds.DEPLOYMENT_STEPS), 201: _RESULT}, kinds.GROUP_UPDATE),
    _route("PATCH", _GROUP, {200: _RESULT}, kinds.GROUP_PARTIAL_UPDATE),
    _route("DELETE", _GROUP, {200: _RESULT}),
    _route("GET", r"/v2/deployments/?", {200: kinds.DEPLOYMENTS}),
    _route("DELETE", r"/v2/deployments/[^/]+", {200: _RESULT, 202: NOTHING}),
    _route("GET", r"/v2/tasks/?", {200: kinds.TASK_LIST}),
    _route("POST", r"/v2/tasks/delete/?", {200: either(kinds.TASK_LIST, _RESULT)}, kinds.DELETE_TASKS),
    _route("GET", r"/v2/queue/?", {200: kinds.QUEUE}),
    _route("DELETE", r"/v2/queue/+.+/delay", {200: NOTHING, 204: NOTHING}),
    _route("GET", r"/v2/info/?", {200: kinds.INFO}),
    _route("GET", r"/v2/leader/?", {200: kinds.LEADER}),
    _route("DELETE", r"/v2/leader/?", {200: kinds.MESSAGE}),
    _route("GET", r"/v2/plugins/?", {200: kinds.PLUGINS}),
    _route("GET", r"/v2/schemas/[a-z]+", {200: {"type": "object"}}),
    _route("GET", r"/v2/pods/?(::status/?)?", {200: several({"type": "object"})}),
    _route("GET", r"/metrics/?", {200: kinds.METRICS}),
    _route("GET", r"/metrics/prometheus/?", {200: PLAIN}),
    _route("GET", r"/logging/?", {200: kinds.LOGGERS}),
    _route("POST", r"/logging/?", {200: kinds.LOGGER_CHANGE}, kinds.LOGGER_CHANGE),
    _route("GET|HEAD", r"/ping/?", {200: PLAIN}),
)
STATUSES_OF_ERRORS = frozenset({400, 401, 403, 404, 405, 406, 409, 411, 413, 415, 422, 500, 503})
"""With a body of kinds.ERROR. 500 is what no test brings about."""


def faults(exchange: Exchange) -> list[str]:
    """What is wrong with it, each with method, path and status; empty where nothing is."""
    where = f"{exchange.method} {exchange.path} {exchange.status}"
    path = urlsplit(exchange.path).path
    found = [
        route for route in ROUTES if re.fullmatch(route.method, exchange.method) and route.pattern.fullmatch(path)
    ][:1]
    if exchange.status >= 400:
        return [f"{where}: {fault}" for fault in _faults_of_error(exchange)]
    if not found:
        return [f"{where}: the RAML has no such resource"]
    return [
        f"{where}: {fault}" for fault in (*_faults_of_sent(exchange, found[0]), *_faults_of_answer(exchange, found[0]))
    ]


def _faults_of_error(exchange: Exchange) -> list[str]:
    if exchange.status not in STATUSES_OF_ERRORS:
        return ["there is no such answer"]
    if exchange.method == "HEAD" or (exchange.status == 405 and exchange.content_type.startswith("text/html")):
        return []  # the RAML has a page of HTML for who asks for the events without taking them
    return _against(kinds.ERROR, "answer", exchange.answered)


def _faults_of_sent(exchange: Exchange, route: Route) -> list[str]:
    """Only of what the server took."""
    if route.sent is None or not exchange.sent:
        return []
    whole = parse_qs(urlsplit(exchange.path).query).get("partialUpdate") == ["false"]
    kind = _sent(json.dumps(route.sent), update=route.update and not whole)
    return _told(kind, "request", exchange.sent)


def _faults_of_answer(exchange: Exchange, route: Route) -> list[str]:
    kind = route.answers.get(exchange.status)
    if kind is None:
        return [f"the RAML has only {', '.join(map(str, route.answers))}"]
    if kind == NOTHING:
        return [f"a body: {exchange.answered[:200]!r}"] if exchange.answered else []
    if kind == PLAIN or exchange.content_type.startswith("text/plain"):
        return []
    if not exchange.content_type.startswith("application/json"):
        return [f"a content type of {exchange.content_type!r}"]
    assert not isinstance(kind, str)
    return _against(kind, "answer", exchange.answered)


def _against(kind: Schema, what: str, body: str) -> list[str]:
    return _told(_answered(json.dumps(kind)), what, body)


def _told(validator: Any, what: str, body: str) -> list[str]:
    try:
        document = json.loads(body)
    except ValueError as error:
        return [f"{what}: {error}: {body[:200]!r}"]
    return [
        f"{what}, /{'/'.join(map(str, error.instance_path))}: {error.message[:400]}"
        for found in validator.iter_errors(document)
        for error in nearest(found)
    ]


def nearest(error: jsonschema_rs.ValidationError) -> list[jsonschema_rs.ValidationError]:
    """Of alternatives the faults of that which is nearest to being met: the one in which they are deepest."""
    if not isinstance(error.kind, jsonschema_rs.ValidationErrorKind.AnyOf):
        return [error]
    branches = [[one for found in branch for one in nearest(found)] for branch in error.kind.context]
    return max(branches, key=lambda branch: max(len(one.instance_path) for one in branch))


@cache
def _answered(kind: str) -> Any:
    return jsonschema_rs.validator_for(as_answer(json.loads(kind)))


@cache
def _sent(kind: str, *, update: bool) -> Any:
    schema = json.loads(kind)
    return jsonschema_rs.validator_for(as_update(schema) if update else as_request(schema))
