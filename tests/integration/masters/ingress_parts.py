"""An ingress with a real HAProxy, before masters that only pretend."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from framework.errors import UnavailableError
from framework.local.cluster import free_port
from framework.runtime.chance import SystemChance, SystemClock
from masters.ingress import haproxy
from masters.ingress.ingress import Ingress
from masters.ingress.places import Places
from masters.ingress.routes import ROUTES_MAP
from masters.ingress.runtime import Runtime
from masters.names import LABEL_STATE
from masters.settings import IngressSettings, MastersSettings
from tests.fakes.placed_masters import PlacedMasters


@contextlib.asynccontextmanager
async def ingress_of(
    directory: Path, marathon: PlacedMasters, *, keep: bool = False, **settings: Any
) -> AsyncIterator[Ingress]:
    """``keep``: HAProxy is left as by a service that was killed."""
    places = Places(directory)
    places.prepare()
    known = port_of(places) or free_port()
    whole = MastersSettings(ingress=IngressSettings(**{"http_port": known, "hold_s": 10.0, **settings}))
    ingress = Ingress(
        marathon,
        whole,
        places,
        lambda master: marathon.scale(master.app_id, 1, {LABEL_STATE: "on"}),
        SystemClock(),
        SystemChance(),
    )
    try:
        await ingress.open()
        work = asyncio.create_task(ingress.run())
        try:
            yield ingress
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
    finally:
        await ingress.close()
        if not keep:
            haproxy.end(places)


def port_of(places: Places) -> int | None:
    """For HTTP, of the HAProxy that was started there last."""
    text = places.config.read_text() if places.config.exists() else ""
    found = re.search(r"bind 127\.0\.0\.1:(\d+)\n", text)
    return int(found[1]) if found else None


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        await asyncio.sleep(0.02)


async def get(
    session: aiohttp.ClientSession, ingress: Ingress, host: str, path: str = "/", **more: Any
) -> tuple[int, str]:
    """Status and body of a GET, or of another ``method``."""
    method = more.pop("method", "GET")
    headers = {"Host": host, **more.pop("headers", {})}
    async with session.request(method, ingress.url + path, headers=headers, **more) as answer:
        return answer.status, (await answer.text()).strip()


async def until_answered(
    session: aiohttp.ClientSession, ingress: Ingress, host: str, by: str, path: str = "/", timeout_s: float = 10.0
) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            status, text = await get(session, ingress, host, path)
        except aiohttp.ClientError as error:  # HAProxy itself is starting
            status, text = 0, str(error)
        if status == 200 and text.startswith(by):
            return
        assert time.monotonic() < deadline, f"{status} {text}"
        await asyncio.sleep(0.02)


async def until_mapped(directory: Path, wanted: Mapping[str, str], timeout_s: float = 10.0) -> None:
    """HAProxy has these keys and no others; each leads to, or waits for, that tenant."""
    runtime = Runtime(Places(directory))
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = {key: value.partition("|")[0] for key, value in await runtime.entries(ROUTES_MAP)}
        except UnavailableError as error:
            found = {"": str(error)}
        if found == wanted:
            return
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)
