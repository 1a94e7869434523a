"""Where commands of the same user ask the service what it knows: a UNIX socket that only they may open."""

from __future__ import annotations

import os
import socket

import msgspec
from aiohttp import web

from framework.local.files import PRIVATE
from masters.ingress.ingress import Ingress
from masters.ingress.places import Places
from masters.ingress.state import STATE_SOCKET


class Door:
    def __init__(self, places: Places, ingress: Ingress) -> None:
        self._places = places
        self._ingress = ingress
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Raises OSError."""
        app = web.Application()
        app.router.add_get("/state", self._state)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        (self._places.directory / STATE_SOCKET).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._places.short(STATE_SOCKET) as path:
            listener.bind(path)
            os.chmod(path, PRIVATE)  # noqa: PTH101 - the short path is the socket's only here
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        (self._places.directory / STATE_SOCKET).unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _state(self, _request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self._ingress.state()), content_type="application/json")
