"""Whether a route leads where it should: the same Jenkins must answer through HAProxy and at the master's own address.

Jenkins draws the value of ``X-Jenkins-Session`` anew at each start and sends it with every page: it names one process.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import aiohttp
from yarl import URL

from framework.errors import UnavailableError
from framework.log import get_logger
from framework.ports import Clock
from masters.ingress.config import CHECK_HEADER, CHECK_SOCKET
from masters.ingress.due import Due
from masters.ingress.places import Places
from masters.ingress.routes import Route

log = get_logger(__name__)

SESSION_HEADER = "X-Jenkins-Session"
PAGE = "/login"
"""Anybody may read it, and Jenkins makes it without asking its disk."""
TIMEOUT_S = 10.0
AT_ONCE = 4
LEAST_PAUSE_S = 0.1
"""Of each worker between two routes: 40 a second at most, so that 2000 are verified within a minute."""
AGAIN_S = 900.0
"""How often a route that did not change is verified; also the longest pause after failures."""


class Verdict(NamedTuple):
    """``right`` None: it could not be told, as the master does not answer or is no Jenkins."""

    right: bool | None
    problem: str | None = None


async def verify(places: Places, route: Route, check_key: str) -> Verdict:
    """Asks twice. Raises nothing."""
    if route.to is None:
        return Verdict(None, "its requests are held")
    path = f"{route.path or ''}{PAGE}"
    host = route.host or "127.0.0.1"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            direct = await _session(session, route.to.url() + path, {"Host": host})
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return Verdict(None, f"it does not answer at its own address {route.to.url()}: {_said(error)}")
    if direct is None:
        return Verdict(None, f"what answers at {route.to.url()} is no Jenkins")
    try:
        with places.short(CHECK_SOCKET) as socket_path:
            connector = aiohttp.UnixConnector(path=socket_path, force_close=True)
            async with aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as session:
                through = await _session(session, f"http://localhost{path}", {"Host": host, CHECK_HEADER: check_key})
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return Verdict(None, f"the ingress does not answer: {_said(error)}")
    if through == direct:
        return Verdict(True)
    return Verdict(False, "another Jenkins answers" if through else "no Jenkins answers through the ingress")


async def _session(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> str | None:
    async with session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as answer:
        return answer.headers.get(SESSION_HEADER)


def _said(error: BaseException) -> str:
    return str(error) or ("no answer in time" if isinstance(error, asyncio.TimeoutError) else type(error).__name__)


class Verifier:
    """Verifies each route when it has changed, and now and then all of them, a few at a time."""

    def __init__(self, places: Places, check_key: str, clock: Clock, repair: Callable[[], Awaitable[int]]) -> None:
        """``repair`` makes HAProxy's maps right, and tells how many entries were not."""
        self._places = places
        self._key = check_key
        self._clock = clock
        self._repair = repair
        self._routes: dict[str, Route] = {}
        self._due = Due()
        self._failures: Counter[str] = Counter()
        self.verified_at: dict[str, float] = {}
        self.problems: dict[str, str] = {}

    def take(self, routes: Mapping[str, Route]) -> None:
        """The routes as they are now, without those of masters that only pretend."""
        for tenant in self._routes.keys() - routes.keys():
            self._forget(tenant)
        for tenant, route in routes.items():
            if route != self._routes.get(tenant):
                self._forget(tenant)
                self._routes[tenant] = route
                if route.to is not None:
                    self._due.set(tenant)

    def _forget(self, tenant: str) -> None:
        self._routes.pop(tenant, None)
        self._due.drop(tenant)
        self._failures.pop(tenant, None)
        self.verified_at.pop(tenant, None)
        self.problems.pop(tenant, None)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            tenant = await self._due.next()
            route = self._routes[tenant]
            verdict = await verify(self._places, route, self._key)
            if self._routes.get(tenant) is route:
                await self._judge(tenant, verdict)
            await self._clock.sleep(LEAST_PAUSE_S)

    async def _judge(self, tenant: str, verdict: Verdict) -> None:
        if verdict.right:
            self._failures.pop(tenant, None)
            self.problems.pop(tenant, None)
            self.verified_at[tenant] = self._clock.now()
            self._due.set(tenant, AGAIN_S)
            return
        self.problems[tenant] = verdict.problem or ""
        self._due.set(tenant, min(AGAIN_S, 2.0 ** min(self._failures[tenant], 10)))
        self._failures[tenant] += 1
        if verdict.right is False:
            self.verified_at.pop(tenant, None)
            try:
                mended = await self._repair()
            except UnavailableError as error:
                log.warning("a route is wrong and cannot be mended now", tenant=tenant, error=str(error))
            else:
                log.warning("a route was wrong", tenant=tenant, problem=verdict.problem, mended=mended)
