"""One request and its answer, as the routes see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.requests import Request

from framework.api import reading
from framework.local.marathon.api.problems import RefusedError, bad_request, unknown_app, unknown_group
from framework.local.marathon.api.settings import ApiSettings
from framework.local.marathon.control import Control, Started, View
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.read import parse

if TYPE_CHECKING:
    from framework.local.marathon.api.events import Hub
    from framework.local.marathon.api.metrics import Metrics
    from framework.local.marathon.api.render import Renderer

JSON = "application/json"
TEXT = "text/plain;charset=utf-8"
LONG_BYTES = 32 << 10
"""A document that is longer is read beside the loop, which goes on meanwhile: a megabyte of small apps takes 2 s."""
READ_AHEAD = 3
"""Times, where the tree becomes another while such a document is read."""
_T = TypeVar("_T")
_reader = ThreadPoolExecutor(1, "reader")  # of one long document after the other: what is saved is not to wait for them


class Answer(msgspec.Struct):
    """``after`` is done once the answer was written."""

    body: bytes = b""
    status: int = 200
    media_type: str = JSON
    headers: dict[str, str] = {}
    after: Callable[[], Awaitable[None]] | None = None


class Call:
    """``path``: the parts that the route's pattern names, decoded."""

    def __init__(
        self,
        request: Request,
        path: Mapping[str, str],
        control: Control,
        settings: ApiSettings,
        render: Renderer,
        hub: Hub,
        metrics: Metrics,
    ) -> None:
        self.request = request
        self.path = path
        self.control = control
        self.settings = settings
        self.render = render
        self.hub = hub
        self.metrics = metrics
        self._long = False  # its document

    @property
    def view(self) -> View:
        return self.control.view

    @property
    def id(self) -> str:
        """The path's id as an absolute one; ids may begin with any number of slashes there, or none."""
        return absolute(self.path["id"])

    def app(self) -> App:
        """That of the path's id. Raises RefusedError: 404."""
        app = self.view.app(self.id)
        if app is None:
            raise unknown_app(self.id)
        return app

    def group(self) -> Group:
        """That of the path's id. Raises RefusedError: 404."""
        group = self.view.group(self.id)
        if group is None:
            raise unknown_group(self.id)
        return group

    def group_below(self) -> Group | None:
        """Where the path's id ends with ``*``, which stands for all apps of a group. Raises RefusedError: 404."""
        above, _, last = self.path["id"].rpartition("/")
        if last != "*":
            return None
        group_id = absolute(above)
        group = self.view.group(group_id)
        if group is None:
            raise unknown_group(group_id)
        return group

    def url(self, path: str) -> str:
        """Of ``path`` at this server, as the client sees it."""
        return f"{str(self.request.base_url).rstrip('/')}{path}"

    @property
    def client(self) -> str:
        return self.request.client.host if self.request.client else ""

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter that is true or false; raises RefusedError (400) where it is neither."""
        given = self.request.query_params.get(name)
        match given.lower() if given is not None else None:
            case None:
                return default
            case "true":
                return True
            case "false" | "":
                return False
            case _:
                raise bad_request(f"Invalid value of the query parameter {name}: expected true or false")

    def several(self, name: str) -> list[str]:
        return self.request.query_params.getlist(name)

    def prefers_text(self) -> bool:
        """Whether text/plain is wanted rather than JSON, which the server itself prefers by ten to three."""
        accept = self.request.headers.get("accept", "*/*")
        return _quality(accept, "text", "plain") * 0.3 > _quality(accept, "application", "json")

    async def body(self) -> bytes:
        """All of it. Raises RefusedError: 408, 413."""
        limit, close = self.settings.max_body_bytes, {"Connection": "close"}
        try:
            return await reading.read_body(self.request, limit)
        except reading.TooLargeError:
            raise RefusedError(413, f"The body has more than {limit} bytes", headers=close) from None
        except TimeoutError:
            message = f"The body did not come within {reading.READ_TIMEOUT_S:.0f} s"
            raise RefusedError(408, message, headers=close) from None

    async def document(self, any_type: bool = False) -> object:
        """The body's JSON. Raises RefusedError: 408, 413, 415; InvalidJsonError."""
        kind = self.request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind != JSON and not any_type:
            raise RefusedError(415, "Unsupported Media Type")
        body = await self.body()
        self.metrics.received(len(body))
        self._long = len(body) > LONG_BYTES
        return await self.beside(parse, body)

    async def beside(self, read: Callable[..., _T], *given: object) -> _T:
        """What ``read``, which is pure, makes of the document; beside the loop where that is long."""
        if not self._long:
            return read(*given)
        return await asyncio.get_running_loop().run_in_executor(_reader, read, *given)

    async def deploy(self, change: Callable[[Group, str], Group], **options: Any) -> Started:
        """As ``Control.deploy``. ``change`` is pure, and may be called more than once."""
        return await self.control.deploy(await self._ahead(change), **options)

    async def changed(self, change: Callable[[Group, str], Group]) -> Group:
        """What a deployment of it would make of the tree."""
        change = await self._ahead(change)
        return change(self.view.root, self.control.new_version())

    async def _ahead(self, change: Callable[[Group, str], Group]) -> Callable[[Group, str], Group]:
        """The same, done before where that takes long. That it was done for another version does not matter: what has

        changed gets that of its deployment.
        """
        if not self._long:
            return change
        for _ in range(READ_AHEAD):
            root = self.view.root
            changed = await self.beside(change, root, self.control.new_version())
            if self.view.root is root:
                return lambda _root, _version: changed
        return change


def absolute(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part)


def encoded(value: object, status: int = 200, **headers: str) -> Answer:
    return Answer(msgspec.json.encode(value), status, headers=headers)


def message(text: str, status: int = 200) -> Answer:
    return encoded({"message": text}, status)


def deployed(started: Started, status: int = 200, location: str | None = None) -> Answer:
    headers = {"Marathon-Deployment-Id": started.deployment_id}
    if location:
        headers["Location"] = location
    body = msgspec.json.encode({"version": started.version, "deploymentId": started.deployment_id})
    return Answer(body, status, headers=headers)


def listed(items: Iterable[bytes]) -> bytes:
    """A JSON array of what is JSON already."""
    return b"[" + b",".join(items) + b"]"


def _quality(accept: str, kind: str, subkind: str) -> float:
    """Of a media type in an Accept header (RFC 9110, 12.5.1): the most specific range that has it decides."""
    best, found = -1, 0.0
    for one in accept.split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        major, _, minor = name.partition("/")
        match (major == kind, minor == subkind, major == "*", minor == "*"):
            case (True, True, _, _):
                rank = 2
            case (True, _, _, True):
                rank = 1
            case (_, _, True, True):
                rank = 0
            case _:
                continue
        if rank > best:
            given = next((part[2:] for part in parameters if part.startswith("q=")), "1")
            try:
                best, found = rank, min(max(float(given), 0.0), 1.0)
            except ValueError:
                continue
    return found
