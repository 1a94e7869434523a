"""Where Mesos masters are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from framework.errors import Fault, InputError
from framework.urls import bracketed

DEFAULT_PORT = 5050
SCHEMES = ("http", "https")


class Address(NamedTuple):
    """Host and port of one Mesos master, and whether TLS is spoken there."""

    host: str
    port: int
    secure: bool = False

    def __str__(self) -> str:
        """As in a Host header."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self}"


def parse_addresses(urls: Iterable[str], where: str = "mesos.url") -> tuple[Address, ...]:
    """Of masters given as ``https://10.0.0.1:5050``. Raises InputError with every fault at once, ``where`` named."""
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


def redirect_target(location: str, by: Address) -> Address | None:
    """The leading master, out of the Location header that the master ``by`` answered, such as

    ``//10.0.0.2:5050/api/v1/scheduler``: over the scheme of ``by`` where it names none. None if it names no master.
    """
    try:
        return _parse(location, tail=True, secure=by.secure)
    except ValueError:
        return None


def _parse(text: str, *, tail: bool = False, secure: bool = False) -> Address:
    if "//" not in text:
        text = f"//{text}"
    parts = urlsplit(text)
    if parts.scheme and parts.scheme not in SCHEMES:
        raise ValueError(f"has the scheme {parts.scheme!r} where only http and https are spoken")
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
    if parts.scheme:
        secure = parts.scheme == "https"
    return Address(parts.hostname, DEFAULT_PORT if port is None else port, secure)
