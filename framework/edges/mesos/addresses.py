"""Where Mesos masters are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from framework.errors import Fault, InputError

DEFAULT_PORT = 5050


class Address(NamedTuple):
    """Host and port of one Mesos master."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_addresses(urls: Iterable[str], where: str = "mesos.url") -> tuple[Address, ...]:
    """Of masters given as ``http://10.0.0.1:5050``. Raises InputError with every fault at once, ``where`` named."""
    addresses: list[Address] = []
    faults: list[Fault] = []
    for url in urls:
        try:
            addresses.append(_parse(url))
        except ValueError as error:
            faults.append(Fault(where, f"{error}; write such as http://10.0.0.1:5050"))
    if not addresses and not faults:
        faults.append(Fault(where, "names no Mesos master; write such as http://10.0.0.1:5050"))
    if faults:
        raise InputError(faults)
    return tuple(addresses)


def redirect_target(location: str) -> Address | None:
    """The leading master, out of a Location header such as ``//10.0.0.2:5050/api/v1/scheduler``; None if none is."""
    try:
        return _parse(location, tail=True)
    except ValueError:
        return None


def _parse(text: str, *, tail: bool = False) -> Address:
    if "//" not in text:
        text = f"//{text}"
    parts = urlsplit(text)
    if parts.scheme not in ("", "http"):
        raise ValueError(f"has the scheme {parts.scheme!r} where only http is spoken")
    if not parts.hostname:
        raise ValueError("names no host")
    if not parts.hostname.isascii():
        raise ValueError("has letters beyond ASCII in its host")
    if parts.username is not None:
        raise ValueError("has a user in it; credentials do not belong in an address")
    if not tail and (parts.path not in ("", "/") or parts.query or parts.fragment):
        raise ValueError("has more after the port than belongs there")
    port = parts.port
    if port == 0:
        raise ValueError("has the port 0")
    return Address(parts.hostname, DEFAULT_PORT if port is None else port)
