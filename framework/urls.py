"""Addresses. Those in the settings: each check takes the text and returns it, or raises ValueError with what is right.

An address is not repeated where it may hold a password.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit


def api_url(value: str) -> str:
    """Of a scheduler's API, without a slash at the end."""
    parts, is_http = _http(
        value,
        "cannot be read; write http://HOST:PORT with a port up to 65535",
        "must not hold a name or password: it is shown to everyone",
    )
    if not is_http or parts.path not in ("", "/"):
        raise ValueError(f"must be http://HOST:PORT or https://HOST:PORT with nothing after it, not {value[:60]!r}")
    return value.rstrip("/")


def marathon_urls(value: str) -> str:
    """Marathon's addresses with commas between them, without white space or slashes at their ends.

    A path may stand in front of its API, as behind a proxy.
    """
    return ",".join(_marathon_url(address.strip()) for address in value.split(","))


def _marathon_url(value: str) -> str:
    _, is_http = _http(
        value,
        "has an address that cannot be read; write http://HOST:PORT with a port up to 65535",
        "must not hold a name or password: a file of their own has them",
    )
    if not is_http:
        raise ValueError(f"must be http(s)://HOST:PORT, several of them with commas, not {value[:60]!r}")
    return value.rstrip("/")


def forge_url(value: str) -> str:
    """Of a forge's API, without a slash at the end."""
    _, is_http = _http(
        value,
        "cannot be read; write https://HOST/PATH",
        "must not hold a name or password; token_file names a file for that",
    )
    if not is_http:
        raise ValueError(f"must be http(s)://HOST/PATH, not {value[:60]!r}")
    return value.rstrip("/")


def service_url(value: str) -> str:
    """Of a service that is sent something, without a slash at the end."""
    _, is_http = _http(
        value,
        "cannot be read; write http(s)://HOST:PORT with a port up to 65535",
        "must not hold a name or password: a file of their own has them",
    )
    if not is_http:
        raise ValueError(f"must be http(s)://HOST:PORT, with a path where there is one, not {value[:60]!r}")
    return value.rstrip("/")


def _http(value: str, unreadable: str, has_login: str) -> tuple[SplitResult, bool]:
    """Its parts, and whether they are of HTTP(S) with a host, and no query or fragment.

    Raises ValueError with the first text where it cannot be read, with the other where it holds a name or password.
    """
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError:
        raise ValueError(unreadable) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(has_login)
    return parts, parts.scheme in ("http", "https") and bool(host) and not parts.query and not parts.fragment


def mesos_url(value: str) -> str:
    """Masters' addresses with commas between them, or one ``zk://``."""
    if value.startswith("zk://"):
        return zookeeper_url(value)
    for address in value.split(","):
        _check_master(address.strip())
    return value


def _check_master(address: str) -> None:
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError("has an address that cannot be read; write http://HOST:PORT with a port up to 65535") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a name or password: addresses end up in logs")
    if parts.scheme not in ("http", "https"):
        raise ValueError(
            f"must be http(s)://HOST:PORT, several of them with commas, or zk://HOST:PORT/PATH, not {address[:60]!r}"
        )
    if not host or port is None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"must be {parts.scheme}://HOST:PORT with nothing after it, not {address[:60]!r}")


def zookeeper_url(value: str) -> str:
    """``zk://HOST:PORT,.../PATH``, without a slash at the end."""
    if "@" in value:
        raise ValueError("must hold no name or password; zookeeper_auth_file names a file for them")
    found = re.fullmatch(r"zk://([^/]+)((?:/[A-Za-z0-9._-]+)+)/?", value)
    if found is None:
        raise ValueError(f"must be zk://HOST:PORT,HOST:PORT/PATH, not {value[:60]!r}")
    for address in found[1].split(","):
        port = re.fullmatch(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", address)
        if port is None or not 1 <= int(port[1]) <= 65_535:
            raise ValueError(f"has {address[:60]!r} where HOST:PORT must be, with a port up to 65535")
    parts = found[2].split("/")[1:]
    if parts[0] == "zookeeper" or not {".", ".."}.isdisjoint(parts):
        raise ValueError("must name a path of Butlery's own, without . and ..; /zookeeper is ZooKeeper's")
    return value.rstrip("/")


def bracketed(host: str) -> str:
    """As it stands in a URL, and before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def found_at(host: str) -> str:
    """Where this machine finds a server that listens at ``host``, which may stand for all addresses; bracketed."""
    return bracketed({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host))  # noqa: S104 - compared only


def is_loopback(url: str) -> bool:
    """Whether it is of this machine itself, where no proxy is to be asked for it."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
