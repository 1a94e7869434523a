"""Rules for the values of a tenant's YAML, each a function that gives the value back or raises ValueError. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from masters.names import LABEL_TENANT, Variable

VARIABLE_MAX_BYTES = 32 << 10
"""Of one value; Linux takes 128 KiB, and bodies to Marathon are to stay small."""
_OURS = frozenset(value for name, value in vars(Variable).items() if name.isupper())
_OF_MARATHON = re.compile(r"HOST|PORTS?|PORT\d+|PORT_.*|(MESOS|MARATHON)_.*")
_AFTER_AN_ID = ("restart", "tasks", "versions")
_PREFIX = LABEL_TENANT.partition("_")[0] + "_"
_HOST_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def one_of(given: Sequence[str], names: Sequence[str]) -> str:
    """The complaint where not exactly one of ``names`` is given."""
    known = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"give only one of {known}, not {' and '.join(given)}" if given else f"one of {known} must be given"


def tenant_name(name: str) -> str:
    if name in _AFTER_AN_ID:
        raise ValueError(f"must not be {name!r}, which Marathon's API has after an app's id for something else")
    return name


def no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    return text


def variable_value(value: str) -> str:
    if len(value.encode(errors="replace")) > VARIABLE_MAX_BYTES:
        raise ValueError(f"must have at most {VARIABLE_MAX_BYTES >> 10} KiB")
    return no_nul(value)


def free_variable(name: str) -> str:
    if name in _OURS or name.startswith(_PREFIX):
        raise ValueError(f"{name} is a variable that Butlery sets itself")
    if _OF_MARATHON.fullmatch(name):
        raise ValueError(f"{name} is a variable that Marathon or Mesos sets")
    return name


def free_label(name: str) -> str:
    if name.startswith(_PREFIX):
        raise ValueError(f"{name}: labels that begin with {_PREFIX} are Butlery's own")
    return name


def file_name(name: str) -> str:
    if not name:
        raise ValueError("must be the name of a file")
    return no_nul(name)


def file_below(name: str) -> str:
    """Of a folder that is not left."""
    parts = PurePosixPath(file_name(name))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError(f"{name[:60]!r} must be a file below the folder of the YAML file, without `..`")
    return str(parts)


def once(values: list[str]) -> list[str]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    return values


def plugins_once(plugins: list[str]) -> list[str]:
    once([plugin.partition(":")[0] for plugin in plugins])
    return plugins


def war(address: str) -> str:
    """A path on the hosts, or a URL that Mesos' fetcher takes."""
    if address.startswith("/"):
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https", "file") or (parts.scheme != "file" and not parts.hostname):
        raise ValueError("must be an absolute path on the hosts, or a URL of http, https or file")
    if parts.username or parts.password:
        raise ValueError("must hold no user or password: Marathon shows it")
    return address


def tag_of(image: str) -> str:
    """Empty where it has none; a registry's port is no tag."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def check_image_version(image: str, version: str) -> None:
    """A tag may say more than the version, such as ``2.463-lts-jdk17``."""
    tag = tag_of(image)
    if tag and tag != version and not tag.startswith(f"{version}-"):
        raise ValueError(f"{version} and the image's tag {tag} do not agree; leave one of them out")
    if not tag and "@" in image:
        raise ValueError(f"{version} cannot be held against the image's digest; leave one of them out")


def check_war_version(address: str, version: str | None) -> None:
    if version is not None and "{version}" not in address:
        raise ValueError("is of no use with a war that has no `{version}` in it")
    if version is None and "{version}" in address:
        raise ValueError("is missing: war has `{version}` in it")


def host_template(name: str) -> str:
    """A host name that may hold ``{tenant}``."""
    check_host_name(name.replace("{tenant}", "t"))
    return name


def check_host_name(name: str) -> None:
    """As RFC 1123 has it."""
    if len(name) > 253 or not all(map(_HOST_LABEL.fullmatch, name.split("."))):
        raise ValueError(
            f"{name[:60]!r} is no host name: parts of letters, digits and `-` within, 63 at most each, 253 in all"
        )
