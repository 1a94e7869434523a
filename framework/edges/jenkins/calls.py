"""Calls to masters, which are their tenants': what they answer is bounded in size and time, and never believed."""

from __future__ import annotations

import asyncio
import os
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDictProxy

from framework.jenkins_ports import MasterError, MasterRecord

MAX_BYTES = 16 * 1024 * 1024
"""Of an answer; 20,000 items of a queue are some 6 MiB."""
CONNECT_TIMEOUT_S = 3.0
KNOWN_S = 5.0
"""For so long after an answer its process is taken to be the same: no Jenkins is there sooner in another's place."""
IDLE_S = 15.0
"""For so long a connection is kept that nobody uses."""
MAX_KNOWN = 10_000
MAX_TOLD_CHARS = 200

_WHO = "whoAmI/api/json?tree=name"
"""Open to anybody, and answered without a session being made."""


class Answer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def session(self) -> str:
        return self.headers.get("X-Jenkins-Session", "")

    @property
    def of_jenkins(self) -> bool:
        """What stands before a master, such as the ingress, answers without."""
        return "X-Jenkins" in self.headers


class Calls:
    """One HTTP client for all masters. ``close`` it at the end."""

    def __init__(self, timeout_s: float) -> None:
        """``timeout_s`` of one call, its connection included."""
        self._timeout_s = timeout_s
        self._http: aiohttp.ClientSession | None = None
        self._known: dict[tuple[str, str], float] = {}  # process by address and session, until when

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def call(
        self,
        master: MasterRecord,
        method: Literal["GET", "HEAD", "POST"],
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        optional: bool = False,
    ) -> Answer:
        """What it answers, of which 200, 302, 400 and 404 are returned. Raises MasterError.

        A 404 is taken for the master's own where Jenkins' headers say so, or where it does not matter (``optional``).
        """
        base = await self._base(master)
        login = b64encode(f"{master.user}:{master.api_token}".encode()).decode()
        try:
            answer = await self._ask(base, method, path, login, form)
        except MasterError:
            self._known.pop((master.direct_url, master.session), None)
            raise
        self._check_process(master, answer)
        where = f"{method} {path.partition('?')[0]}"
        status = answer.status
        if status in (401, 403):
            what = "it does not know its own API token" if status == 401 else f"its user {master.user} may not do this"
            raise MasterError("refused", f"{what} (HTTP {status}, {where})")
        if status == 503:
            raise MasterError("down", "it starts, or is not there (HTTP 503)")
        if status == 429 or status >= 500:
            raise MasterError("full", f"it cannot answer now (HTTP {status}, {where})")
        if status not in (200, 302, 400, 404) or (status == 404 and not answer.of_jenkins and not optional):
            raise MasterError("odd", f"what answers is no Jenkins that we know (HTTP {status}, {where})")
        return answer

    async def _base(self, master: MasterRecord) -> str:
        """Where to call it.

        The port of a process that ended may be another tenant's master by now, who must not see our token; so a
        process says first who it is.
        """
        if not master.direct_url:
            return _slashed(master.url)
        base = _slashed(master.direct_url)
        if self._known.get((master.direct_url, master.session), 0.0) < time.monotonic():
            self._check_process(master, await self._ask(base, "GET", _WHO, None, None))
        return base

    def _check_process(self, master: MasterRecord, answer: Answer) -> None:
        if not master.direct_url:
            return
        key = (master.direct_url, master.session)
        if answer.session and answer.session != master.session:
            self._known.pop(key, None)
            raise MasterError("down", "another process has its place; it is about to tell where it is")
        if answer.status == 503 and not answer.session:
            raise MasterError("down", "it starts (HTTP 503)")
        if answer.session:
            self._known.pop(key, None)
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = time.monotonic() + KNOWN_S
        elif key not in self._known:
            raise MasterError("odd", f"what answers does not say that it is this Jenkins (HTTP {answer.status})")

    async def _ask(
        self,
        base: str,
        method: str,
        path: str,
        login: str | None,
        form: Mapping[str, str] | None,
    ) -> Answer:
        http = self._session()
        headers = {} if login is None else {"Authorization": f"Basic {login}"}
        try:
            async with http.request(
                method, base + path, headers=headers, data=form,
                allow_redirects=False,
            ) as response:  # fmt: skip
                return Answer(response.status, response.headers, await _bounded(response))
        except aiohttp.ConnectionTimeoutError as error:
            raise MasterError("down", f"no connection within {CONNECT_TIMEOUT_S:g} s") from error
        except TimeoutError as error:
            raise MasterError("slow", f"no answer within {self._timeout_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise MasterError("down", f"no connection: {_why(error)}") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as error:
            raise MasterError("down", "it closed the connection") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise MasterError(
                "odd", f"what answers does not speak HTTP as it should ({type(error).__name__})"
            ) from error

    def _session(self) -> aiohttp.ClientSession:
        """Connections are not limited here: many masters may stand behind one address, and a slow one must not take

        others' places. Who calls bounds the calls to each.
        """
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S),
                headers={"Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._http


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """Its body. Raises MasterError where that is larger than any that is of use."""
    if response.content_length is not None and response.content_length > MAX_BYTES and response.method != "HEAD":
        raise _endless()
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_BYTES:
            raise _endless()
        parts.append(part)
        await asyncio.sleep(0)
    return b"".join(parts)


def _endless() -> MasterError:
    return MasterError("odd", f"it answers more than {MAX_BYTES // 1024 // 1024} MiB")


def _why(error: aiohttp.ClientConnectorError) -> str:
    number = error.os_error.errno
    return os.strerror(number).lower() if number is not None and number > 0 else "its name or certificate is unknown"


def told(text: str) -> str:
    """What a master says, as it may be shown."""
    return "".join(char if char.isprintable() else " " for char in text[:MAX_TOLD_CHARS])


def path_of(url: str) -> str:
    """Of a URL that a master tells, which may be none: empty then."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _slashed(url: str) -> str:
    return url.rstrip("/") + "/"
