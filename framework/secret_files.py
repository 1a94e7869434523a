"""Secrets of the settings, from files or the environment: read with care for who else could, and never quoted."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from framework.documents import Document
from framework.errors import Fault, InputError

ADMIN_TOKEN_VARIABLE = "BUTLERY_ADMIN_TOKEN"  # noqa: S105 the variable's name
MESOS_SECRET_VARIABLE = "BUTLERY_MESOS_SECRET"  # noqa: S105 the variable's name
ADMIN_TOKEN_MIN_CHARS = 16
"""96 bits where it is drawn from base64, which no one guesses over a network."""
MAX_CHARS = 4096


def resolved(value: str, base: Path) -> Path:
    """A path of the settings; ``~`` is the user's home, and a relative one starts at ``base``. Raises ValueError."""
    if not value or "\0" in value:
        raise ValueError("must be a path")
    try:
        return base / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("names the home of a user that is not known here") from None


def given_admin_token(document: Document, base: Path, environ: Mapping[str, str]) -> str | None:
    """The variable's goes before the file's; None where neither is there. Raises InputError."""
    where, keys = ADMIN_TOKEN_VARIABLE, ("api", "admin_token_file")
    token = environ.get(ADMIN_TOKEN_VARIABLE)
    if token is None:
        where, token = document.where(keys), _secret_at(document, keys, base, "the token")
    if token is not None and (len(token) < ADMIN_TOKEN_MIN_CHARS or not re.fullmatch(r"[!-~]+", token)):
        message = f"the token must have {ADMIN_TOKEN_MIN_CHARS} or more visible ASCII characters and no spaces"
        raise InputError([Fault(where, f"{message}; `openssl rand -hex 24` makes one")])
    return token


def given_mesos_secret(document: Document, base: Path, environ: Mapping[str, str]) -> str | None:
    """As ``given_admin_token``."""
    where, keys = MESOS_SECRET_VARIABLE, ("mesos", "secret_file")
    secret = environ.get(MESOS_SECRET_VARIABLE)
    if secret is None:
        where, secret = document.where(keys), _secret_at(document, keys, base, "the secret")
    if secret is not None and not re.fullmatch(r"[!-~]+", secret):
        raise InputError([Fault(where, "the secret must be of visible ASCII characters, with no spaces")])
    return secret


def given_zookeeper_auth(document: Document, base: Path, section: str) -> str | None:
    """``USER:PASSWORD``, for the ZooKeeper of that section; None where none is named. Raises InputError."""
    keys = (section, "zookeeper_auth_file")
    auth = _secret_at(document, keys, base, "the user and password")
    if auth is not None and not re.fullmatch(r"[!-9;-~]+:[!-~]+", auth):
        raise InputError([Fault(document.where(keys), "must hold USER:PASSWORD, both of visible ASCII characters")])
    return auth


def _secret_at(document: Document, keys: tuple[str, str], base: Path, what: str) -> str | None:
    """What the file holds that ``keys`` (section, key) of the document name; None where they name none.

    ``what`` it is, for the one whose file it is. Raises InputError.
    """
    section = document.data.get(keys[0]) if isinstance(document.data, dict) else None
    name = section.get(keys[1]) if isinstance(section, dict) else None
    if not isinstance(name, str) or not name:
        return None
    try:
        return read_secret(resolved(name, base))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError([Fault(document.where(keys), f"{what} cannot be read: {reason}")]) from error


def read_secret(path: Path) -> str:
    """What a file holds, without white space around it. Raises OSError, and ValueError for what is no file of its

    owner's alone.
    """
    return read_private(path, MAX_CHARS, whole=False).decode("ascii", errors="replace").strip()


def read_private(path: Path, max_bytes: int, *, whole: bool = True) -> bytes:
    """What a file of its owner's alone holds: all of it, or where not ``whole`` its first ``max_bytes``.

    Raises OSError, and ValueError for what is no such file, or with ``whole`` a longer one.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a file")
        if status.st_mode & stat.S_IRWXO:
            raise ValueError("everyone on this machine may read or change it; `chmod 600` it")
        raw = file.read(max_bytes + 1)
    if whole and len(raw) > max_bytes:
        raise ValueError(f"has more than {max_bytes >> 10} KiB")
    return raw[:max_bytes]


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO without a writer would wait for ever
