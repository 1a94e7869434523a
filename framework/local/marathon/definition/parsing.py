"""JSON as it comes in from anybody: every way in which a body can be bad ends in one InvalidJsonError."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

import msgspec

from framework.local.marathon.definition.faults import Detail, InvalidJsonError

_LONGEST_NUMBER = 400  # digits; every number that a document can use has fewer
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _Doubled(dict[str, Any]):
    """An object that had ``keys`` more than once."""

    doubled: list[str]


def parse(body: bytes) -> object:
    """JSON. Raises InvalidJsonError for what is not, has a key twice, or is nested too deeply."""
    found_doubled = False

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found_doubled
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        found_doubled = True
        doubled = _Doubled(made)
        doubled.doubled = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        return doubled

    try:
        value = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=made,
            parse_int=_integer,
            parse_float=_fraction,
            parse_constant=_constant,
        )
        if _SURROGATE.search(body):
            msgspec.json.encode(value)  # half of a character could never be told of again
    except UnicodeDecodeError as error:
        raise _refused("the text is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise _refused("half of a surrogate pair is no character") from error
    except RecursionError as error:
        raise _refused("nested too deeply") from error
    except ValueError as error:
        raise _refused(str(error)) from error
    if found_doubled:
        raise InvalidJsonError("Invalid JSON", _doubled(value))
    return value


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(text)


def _fraction(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _refused(reason: str) -> InvalidJsonError:
    return InvalidJsonError("Invalid JSON", [Detail("/", [reason])])


def _doubled(value: object) -> list[Detail]:
    """Every key that an object has twice, with its path."""
    found = []
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        at, one = waiting.pop()
        if isinstance(one, _Doubled):
            found += [Detail(f"{at}/{key}", ["the key is given more than once"]) for key in one.doubled]
        if isinstance(one, dict):
            waiting += [(f"{at}/{key}", below) for key, below in one.items()]
        elif isinstance(one, list):
            waiting += [(f"{at}({place})", below) for place, below in enumerate(one)]
    return sorted(found, key=lambda detail: detail.path)
