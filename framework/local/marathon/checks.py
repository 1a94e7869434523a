"""The health and readiness checks that the server makes itself: HTTP, HTTPS and TCP.

As Marathon 1.9 makes them (core/health/impl/HealthCheckWorkerActor.scala, core/readiness/impl): certificates are not
verified, redirects are not followed, statuses from 200 to 399 are healthy. What COMMAND and MESOS_* checks find is told
by the task's Mesos executor.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from framework.local.marathon.core.events import Event, HealthProbed, ReadinessProbed
from framework.local.marathon.definition.app import App, HealthCheck, NetworkMode, ReadinessCheck
from framework.local.marathon.records import Instance
from framework.log import get_logger
from framework.ports import Chance, Clock
from framework.urls import bracketed

log = get_logger(__name__)

MAX_AT_ONCE = 512
"""Checks under way; one that hangs takes a place, and no more than a descriptor, until its time is up."""

FIRST_WITHIN_S = 0.5
"""A first look is soon, for deployments wait for it, but not all at once where many instances start."""

MAX_BODY_BYTES = 64 * 1024
"""Of a readiness check's answer; the rest is not read."""

MAX_HEADER_BYTES = 16 * 1024
LOCAL = "127.0.0.1"


class Target(msgspec.Struct, frozen=True):
    host: str
    port: int

    def url(self, scheme: str, path: str) -> str:
        return f"{scheme}://{bracketed(self.host)}:{self.port}/{path.removeprefix('/')}"


class Failed(Exception):  # noqa: N818 - a result like any other
    """The check could not be made or found something ill; says what, for people."""


class Checker:
    """All checks of one server; on the event loop's thread. ``emit`` gets each result, and never blocks.

    ``host_of``: where a host's ports are reached. On one machine that is always the machine itself, for the hosts'
    names are known to Mesos alone.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        clock: Clock,
        chance: Chance,
        host_of: Callable[[Instance], str] = lambda _: LOCAL,
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._chance = chance
        self._host_of = host_of
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._health: dict[str, list[asyncio.Task[None]]] = {}
        self._readiness: dict[str, list[asyncio.Task[None]]] = {}
        self._session: aiohttp.ClientSession | None = None

    def start(self, app: App, instance: Instance) -> None:
        """From now on, until ``stop``; checks of an earlier task of the instance end."""
        self.stop(instance.id)
        self._health[instance.id] = [
            _begun(self._watch_health(app, check, index, instance))
            for index, check in enumerate(app.health_checks)
            if not check.by_executor
        ]

    def stop(self, instance_id: str) -> None:
        for task in self._health.pop(instance_id, ()):
            task.cancel()

    def start_readiness(self, app: App, instance: Instance) -> None:
        """Each until it is ready, or ``stop_readiness``."""
        self.stop_readiness(instance.id)
        self._readiness[instance.id] = [
            _begun(self._await_readiness(app, check, instance)) for check in app.readiness_checks
        ]

    def stop_readiness(self, instance_id: str) -> None:
        for task in self._readiness.pop(instance_id, ()):
            task.cancel()

    async def close(self) -> None:
        """Ends all; nothing is emitted any more when it returns."""
        tasks = [task for found in (*self._health.values(), *self._readiness.values()) for task in found]
        self._health, self._readiness = {}, {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _watch_health(self, app: App, check: HealthCheck, index: int, instance: Instance) -> None:
        async def look() -> bool:
            try:
                async with self._place(check.timeout_seconds):
                    said = await self._look(app, check, instance)
            except Failed as error:
                self._emit(HealthProbed(instance.id, instance.attempt, index, alive=False, cause=str(error)))
            else:
                if said:
                    self._emit(HealthProbed(instance.id, instance.attempt, index, alive=True))
            return False

        await self._repeat(check.interval_seconds, look)

    async def _await_readiness(self, app: App, check: ReadinessCheck, instance: Instance) -> None:
        async def look() -> bool:
            found = await self._look_whether_ready(app, check, instance)
            self._emit(found)
            return found.ready

        await self._repeat(check.interval_seconds, look)

    async def _repeat(self, interval_s: float, look: Callable[[], Awaitable[bool]]) -> None:
        """Until ``look`` is done for good. The first interval is drawn, so that those who start as one drift apart."""
        await self._clock.sleep(self._chance.uniform(0.0, min(FIRST_WITHIN_S, interval_s / 2)))
        share = self._chance.uniform(0.5, 1.0)
        while True:
            began = self._clock.now()
            if await look():
                return
            took_s = max(0.0, self._clock.now() - began)  # less, where the clock was set back
            await self._clock.sleep(max(0.0, interval_s * share - took_s))
            share = 1.0

    async def _look(self, app: App, check: HealthCheck, instance: Instance) -> bool:
        """Whether it is healthy; False where there is nothing to be said. Raises Failed."""
        target = self._target(app, check, instance)
        if check.protocol == "TCP":
            _, writer = await asyncio.open_connection(target.host, target.port)
            writer.close()
            return True
        async with self._get(target.url(check.protocol.lower(), check.path or "/")) as answer:
            if 200 <= answer.status < 400:
                return True
            if check.ignore_http1xx and 100 <= answer.status < 200:
                return False
            raise Failed(f"{answer.status} {answer.reason or ''}".rstrip())

    async def _look_whether_ready(self, app: App, check: ReadinessCheck, instance: Instance) -> ReadinessProbed:
        url = "its port"
        try:
            target = self._named(app, check.port_name, instance)
            url = target.url(check.protocol.lower(), check.path)
            async with self._place(check.timeout_seconds), self._get(url) as answer:
                body = await answer.content.read(MAX_BODY_BYTES) if check.preserve_last_response else b""
                while check.preserve_last_response and len(body) < MAX_BODY_BYTES:
                    more = await answer.content.read(MAX_BODY_BYTES - len(body))
                    if not more:
                        break
                    body += more
                return ReadinessProbed(
                    instance.id,
                    instance.attempt,
                    check.name,
                    ready=answer.status in check.http_status_codes_for_ready,
                    status=answer.status,
                    content_type=answer.headers.get("Content-Type"),
                    body=body.decode("utf-8", "replace"),
                )
        except Failed as error:
            told = f"Marathon could not query {url}: {error}"
            return ReadinessProbed(instance.id, instance.attempt, check.name, False, 504, "text/plain", told)

    @asynccontextmanager
    async def _place(self, timeout_s: float) -> AsyncIterator[None]:
        """Time runs from when there is one. Every foreign error becomes Failed."""
        async with self._places:
            try:
                async with asyncio.timeout(timeout_s):
                    yield
            except TimeoutError as error:
                raise Failed(f"no answer within {timeout_s:g} s") from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise Failed(_wording(error)) from error

    @asynccontextmanager
    async def _get(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),  # ``_place`` has it
                auto_decompress=False,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        async with self._session.get(url, allow_redirects=False, ssl=False) as answer:
            yield answer

    def _target(self, app: App, check: HealthCheck, instance: Instance) -> Target:
        """Of a health check, which names a port or the index of one. Raises Failed."""
        if check.port is not None:
            return self._at(app, instance, check.port)
        return self._assigned(app, instance, check.port_index or 0)

    def _named(self, app: App, name: str, instance: Instance) -> Target:
        """Raises Failed."""
        mappings = (app.container.port_mappings if app.container else None) or ()
        names = [one.name for one in app.port_definitions or ()] + [one.name for one in mappings]
        if name in names:
            return self._assigned(app, instance, names.index(name))
        raise Failed(f"there is no port named {name!r}")

    def _assigned(self, app: App, instance: Instance, index: int) -> Target:
        """The container's own address and port on a network of containers, the host's with all others."""
        mappings = (app.container.port_mappings if app.container else None) or ()
        port = instance.ports[index] if index < len(instance.ports) else 0
        if _has_own_address(app) and instance.addresses and index < len(mappings):
            return Target(instance.addresses[0], mappings[index].container_port or port)
        if not port:
            raise Failed(f"the task has no port of index {index}")
        return Target(self._host_of(instance), port)

    def _at(self, app: App, instance: Instance, port: int) -> Target:
        if _has_own_address(app) and instance.addresses:
            return Target(instance.addresses[0], port)
        return Target(self._host_of(instance), port)


def _begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_tell_fault)
    return task


def _tell_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a check has ended, which is a fault of this program", exc_info=task.exception())


def _has_own_address(app: App) -> bool:
    return any(network.mode is NetworkMode.CONTAINER for network in app.networks)


def _wording(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed before an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"not an HTTP answer: {error.message:.200}"
    return f"{type(error).__name__}: {error}"[:300]
