"""The API as one ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette

from framework.local.marathon.api.door import Door
from framework.local.marathon.api.settings import ApiSettings
from framework.local.marathon.control import Control


def make_app(control: Control, settings: ApiSettings) -> Starlette:
    """The application, ready for a server on the loop that ``control`` runs on.

    ``app.state.hub.close()`` ends the event streams; it is to be called before the server is stopped, which else waits
    for them.
    """
    door = Door(control, settings)
    app = Starlette()
    app.router.default = door  # not a route: those of Starlette have no path with a line feed in it
    app.state.hub = door.hub
    return app
