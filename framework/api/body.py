"""Reading a request's body as JSON, and telling exactly where it is not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request

from framework.api import reading
from framework.api.problems import ProblemError
from framework.documents import Key, dotted
from framework.errors import Fault

_MAX_DIGITS = 40


async def read_object(request: Request, max_bytes: int) -> dict[str, Any]:
    """The body as a JSON object. Raises ProblemError: 400 (not JSON), 408, 413, 415, 422 (no object)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ProblemError(415, "media-type", "The body must be JSON, sent with `Content-Type: application/json`.")
    value = _parse(await read_body(request, max_bytes))
    if not isinstance(value, dict):
        raise ProblemError(422, "input", "The body must be a JSON object.", [Fault("", "must be a JSON object")])
    return value


async def read_body(request: Request, max_bytes: int) -> bytes:
    """All of it. Raises ProblemError: 408, 413."""
    close = {"Connection": "close"}
    try:
        return await reading.read_body(request, max_bytes)
    except reading.TooLargeError:
        detail = f"The body must have at most {max_bytes} bytes; put large scripts and files into the job's repository."
        raise ProblemError(413, "too-large", detail, headers=close) from None
    except TimeoutError:
        detail = f"The body did not come within {reading.READ_TIMEOUT_S:.0f} s."
        raise ProblemError(408, "timeout", detail, headers=close) from None


def _parse(body: bytes) -> Any:
    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair can be written in JSON but not in UTF-8
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        ended = " (the body ends there: was it cut off?)" if error.pos >= len(text.rstrip()) else ""
        raise _not_json(at, f"{error.msg.removesuffix(' at')} at {at}{ended}") from None
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start}", f"not UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        message = "a text holds half of a surrogate pair (\\ud800 to \\udfff), so it is not UTF-8"
        raise _not_json(_half(value), message) from None
    except RecursionError:
        raise _not_json("", "nested too deeply") from None
    return value


def _half(value: object) -> str:
    """Where the first such text is; "" where it lies too deep."""
    try:
        return next(_halves(value), "")
    except RecursionError:
        return ""


def _halves(value: object, path: tuple[Key, ...] = ()) -> Iterator[str]:
    """Where texts are that UTF-8 cannot hold."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            yield dotted(path)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from _halves(name, path)
            yield from _halves(one, (*path, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _halves(one, (*path, index))


def _not_json(where: str, message: str) -> ProblemError:
    return ProblemError(400, "json", f"The body is not JSON: {message}.", [Fault(where, message)])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        faults = [Fault(ascii(name[:60])[1:-1], "stands twice") for name in twice]
        raise ProblemError(400, "json", "A field stands twice in one object of the body.", faults)
    return value


def _whole_number(digits: str) -> int:
    """Of so many digits that no field takes it, the first ones do to say so."""
    return int(digits[:_MAX_DIGITS])
