"""The files of the ingress, and what of them outlives the service: ports, keys, agents' ports."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from framework.local.files import PRIVATE, write_whole
from masters.settings import MastersContext


class Remembered(msgspec.Struct, forbid_unknown_fields=False):
    """What a service that is started anew takes up again."""

    holder_port: int = 0  # of 127.0.0.1, where HAProxy finds the holder; 0: not chosen yet
    check_key: str = ""  # marks requests that only verify a route
    agent_ports: dict[str, int] = {}
    last_use: dict[str, float] = {}  # unix s
    quieted: list[str] = []  # tenants whose masters were told to quiet down, to be put to sleep


class Places:
    """Files below ``DIRECTORY/ingress``, which its owner alone may enter."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.lock = self.directory / "lock"
        self.pid = self.directory / "service.pid"
        self.log = self.directory / "service.log"
        self.config = self.directory / "haproxy.cfg"
        self.haproxy_log = self.directory / "haproxy.log"
        self.memory = self.directory / "ingress.json"

    @staticmethod
    def of(context: MastersContext) -> Places:
        return Places(context.state.parent / "ingress")

    def prepare(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remembered(self) -> Remembered:
        """What was written last; where that cannot be read, as if nothing had been."""
        try:
            found = msgspec.json.decode(self.memory.read_bytes(), type=Remembered)
        except (OSError, msgspec.MsgspecError):
            found = Remembered()
        found.check_key = found.check_key or secrets.token_hex(16)
        return found

    def remember(self, what: Remembered) -> None:
        """Raises OSError."""
        write_whole(self.memory, msgspec.json.encode(what).decode(), PRIVATE)

    @contextmanager
    def short(self, name: str) -> Iterator[str]:
        """The path of a socket here that fits into the 107 bytes that Linux leaves for one, however deep we are."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{descriptor}/{name}"
        finally:
            os.close(descriptor)
