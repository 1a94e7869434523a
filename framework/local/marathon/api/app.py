"""The API as one ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from framework.local.marathon.api.settings import ApiSettings
from framework.local.marathon.control import Control


def make_app(control: Control, settings: ApiSettings) -> Starlette:
    """The application, ready for a server on the loop that ``control`` runs on."""

    async def ping(_request: Request) -> Response:
        return PlainTextResponse("pong")

    return Starlette(routes=[Route("/ping", ping)])
