"""What the tenants' service tells of itself to commands of the same user, over a UNIX socket of its directory."""

from __future__ import annotations

import http.client
import socket

import msgspec

from framework.errors import UnavailableError
from masters.ingress.places import Places
from masters.settings import MastersContext

STATE_SOCKET = "state.sock"
ASK_TIMEOUT_S = 5.0
MAX_BYTES = 64 << 20


class RouteState(msgspec.Struct, frozen=True):
    """Of one tenant's address, as the ingress has it now."""

    tenant: str
    url: str
    to: str | None  # ``ADDRESS:PORT``; None: requests are held
    agents: str | None  # ``HOST:PORT`` for its inbound agents by TCP
    verified_at: float | None  # unix s: through the ingress and at its own address the same Jenkins answered
    problem: str | None  # of the last verification
    held: int  # requests that wait for the master now
    last_use: float | None  # unix s: last request through the ingress, as far as is known


class IngressState(msgspec.Struct, frozen=True):
    url: str
    pid: int
    haproxy_pid: int | None
    haproxy_restarts: int
    observed_at: float | None  # unix s: last reading of Marathon
    routes: dict[str, RouteState]
    problems: list[str]


def ask(context: MastersContext) -> IngressState | None:
    """As the service tells; None where none runs. Raises UnavailableError where one does not answer."""
    places = Places.of(context)
    if not (places.directory / STATE_SOCKET).exists():
        return None
    connection = _Connection(places)
    try:
        connection.request("GET", "/state")
        answer = connection.getresponse()
        return msgspec.json.decode(answer.read(MAX_BYTES), type=IngressState)
    except (ConnectionRefusedError, FileNotFoundError):
        return None
    except (OSError, http.client.HTTPException, msgspec.MsgspecError) as error:
        raise UnavailableError(f"the tenants' service of {places.directory} does not answer: {error}") from error
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, places: Places) -> None:
        super().__init__("localhost", timeout=ASK_TIMEOUT_S)
        self._places = places

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ASK_TIMEOUT_S)
        with self._places.short(STATE_SOCKET) as path:
            self.sock.connect(path)
