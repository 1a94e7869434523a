"""Structured logging on the standard library: one line a record, its subject in fields such as ``tenant``, ``task_id``,
``offer_id`` and ``host``; as JSON, or for people. Secrets are kept out as a last line of defence.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

MASK = "****"
MAX_SECRETS = 256
"""How many secrets are remembered; the oldest goes first. The scheduler itself has a handful."""
MIN_SECRET_CHARS = 4
"""Shorter ones would mask half of every line, and are no secrets."""

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_COLOURS = {logging.DEBUG: "\033[2m", logging.WARNING: "\033[33m", logging.ERROR: "\033[31m"}
_RESET = "\033[0m"
_SECRET_FIELD = re.compile(r"(?i)(?:^|_)(?:token|secret|secrets|password|passwd|authorization|cookie|credential)$")
_SECRET_TEXT = re.compile(
    r"""(?ix)
    (?P<keep>
        \b(?:bearer|basic)\s+                         # the value of a header
        | \b[a-z][a-z0-9+.-]{0,20}:// (?=[^\s/@]+@)   # user:password@ of a URL
        | \bbt~[A-Za-z0-9._-]{1,100}~                 # a tenant's token, wherever it stands
    )
    [^\s/@"',;]+
    """
)


class Redactor:
    """Masks secrets that it was told of, bearer and basic credentials, tenants' tokens, and passwords in URLs."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: dict[str, None] = {}
        self._longest_first: tuple[str, ...] = ()
        self._lock = threading.Lock()
        for secret in secrets:
            self.protect(secret)

    def protect(self, secret: str) -> None:
        """Masks ``secret`` from now on, however often it comes; one shorter than ``MIN_SECRET_CHARS`` is left."""
        if len(secret) < MIN_SECRET_CHARS:
            return
        with self._lock:
            self._secrets.pop(secret, None)
            self._secrets[secret] = None
            while len(self._secrets) > MAX_SECRETS:
                del self._secrets[next(iter(self._secrets))]
            self._longest_first = tuple(sorted(self._secrets, key=len, reverse=True))

    def text(self, text: str) -> str:
        for secret in self._longest_first:
            text = text.replace(secret, MASK)
        return _SECRET_TEXT.sub(rf"\g<keep>{MASK}", text)

    def value(self, value: Any, name: str = "") -> Any:
        """``value`` as JSON can hold it, with its secrets masked; all of it where its name says that it is one."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if _SECRET_FIELD.search(name):
            return MASK
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(inner, str(key)) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(inner) for inner in value]
        return self.text(str(value))


class Logger:
    """A logger whose keyword arguments are the record's fields: ``log.info("launched", task_id=task.id)``."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, **fields: object) -> None:
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: object) -> None:
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: object) -> None:
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, **fields: object) -> None:
        self._log(logging.ERROR, message, fields)

    def exception(self, message: str, **fields: object) -> None:
        """As ``error``, with the traceback of the exception being handled."""
        self._log(logging.ERROR, message, fields, exc_info=True)

    def at(self, level: str, message: str, **fields: object) -> None:
        """At a level by its name, one of ``LEVELS``."""
        self._log(LEVELS[level], message, fields)

    def _log(self, level: int, message: str, fields: Mapping[str, object], exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            present = {name: value for name, value in fields.items() if value is not None}
            self._logger.log(level, "%s", message, exc_info=exc_info, extra={"fields": present})


def get_logger(name: str) -> Logger:
    return Logger(logging.getLogger(name))


def muted(name: str) -> logging.Logger:
    """For a library that logs what it sends, credentials too, and tracebacks of losses that we tell of ourselves."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.CRITICAL)
    return logger


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that ``configure`` replaces it and leaves others alone."""


class _Formatter(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self.redactor = redactor

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        given: Mapping[str, object] = getattr(record, "fields", {})
        return {name: self.redactor.value(value, name) for name, value in given.items()}

    def message(self, record: logging.LogRecord) -> str:
        return self.redactor.text(record.getMessage())

    def traceback(self, record: logging.LogRecord) -> str:
        return self.redactor.text(self.formatException(record.exc_info)) if record.exc_info else ""

    @staticmethod
    def time(record: logging.LogRecord) -> str:
        """UTC with milliseconds, as RFC 3339 writes it."""
        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{whole}.{int(record.created % 1 * 1000):03d}Z"


class JsonFormatter(_Formatter):
    """One JSON object a line: ``at``, ``level``, ``logger``, ``message``, the fields, and ``traceback`` if any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
        }
        for name, value in self.fields(record).items():
            line[f"{name}_" if name in line else name] = value
        if traceback := self.traceback(record):
            line["traceback"] = traceback
        return json.dumps(line, ensure_ascii=False, allow_nan=True)


class HumanFormatter(_Formatter):
    """``TIME LEVEL LOGGER message field=value``, in colour where wanted; control characters are written as escapes."""

    def __init__(self, redactor: Redactor, colour: bool) -> None:
        super().__init__(redactor)
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        name = record.name.removeprefix("framework.")
        line = f"{self.time(record)} {record.levelname:<7} {name}: {_printable(self.message(record))}"
        line += "".join(f" {name}={_shown(value)}" for name, value in self.fields(record).items())
        if traceback := self.traceback(record):
            line += "".join(f"\n    {_printable(row)}" for row in traceback.splitlines())
        colour = _COLOURS.get(min(record.levelno, logging.ERROR)) if self.colour else None
        return f"{colour}{line}{_RESET}" if colour else line


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _shown(value: Any) -> str:
    text = _printable(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) and re.search(r'[\s="]|^$', text) else text


_redactor = Redactor()


def protect(secret: str) -> None:
    """Masks a secret of this process in every line it logs from now on."""
    _redactor.protect(secret)


def configure(level: str, format: str, stream: TextIO | None = None) -> None:  # noqa: A002 the setting's own name
    """Sends every record of this process at ``level`` or above to ``stream`` (standard error by default).

    ``level`` is one of ``LEVELS``, ``format`` is ``human`` or ``json``. May be called again; the last call counts.
    Other libraries' records below WARNING are dropped, unless ``level`` is ``debug``.
    """
    stream = stream or sys.stderr
    handler = _Handler(stream)
    colour = stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(JsonFormatter(_redactor) if format == "json" else HumanFormatter(_redactor, colour))
    root = logging.getLogger()
    for other in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(max(LEVELS[level], logging.WARNING) if level != "debug" else logging.DEBUG)
    for room in ("framework", "masters", "benchmarks"):
        logging.getLogger(room).setLevel(LEVELS[level])
