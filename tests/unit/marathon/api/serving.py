"""The API behind a real server."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from framework.local.marathon.api import ApiSettings, make_app
from framework.local.marathon.definition.read import Defaults
from framework.runtime.serving import HttpServer, http_config
from tests.fakes.marathon_control import FakeMarathon

DEADLINE_S = 20.0


class Server:
    """The API on a free port of this machine."""

    def __init__(self, marathon: FakeMarathon, **settings: Any) -> None:
        self.app = make_app(
            marathon, ApiSettings(host="127.0.0.1", port=0, defaults=Defaults(), launch_timeout_s=300.0, **settings)
        )
        config = http_config(self.app)
        config.port = 0
        self._server = HttpServer(config)

    @property
    def port(self) -> int:
        port: int = self._server.servers[0].sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._server.serve())
        async with asyncio.timeout(DEADLINE_S):
            while not self._server.started:  # noqa: ASYNC110 - uvicorn tells of it in no other way
                await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.app.state.hub.close()
        self._server.should_exit = True
        async with asyncio.timeout(DEADLINE_S):
            await self._serving
