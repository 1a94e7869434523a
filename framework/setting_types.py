"""The kinds of values that settings have. Each is checked where the file is read, and says what would be right."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema

from framework.core.constraints import parse as parse_constraint
from framework.secret_files import resolved

DAY_S = 86_400


def _local_path(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str | Path):
        return value  # pydantic refuses it
    return resolved(str(value), (info.context or {}).get("base", Path()))


class Matching:
    """Text that a pattern matches as a whole; ``words`` say what that is, after "must be"."""

    def __init__(self, pattern: str, words: str) -> None:
        self._rule, self._words = re.compile(pattern), words

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._matches, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^({self._rule.pattern})$"}

    def _matches(self, value: str) -> str:
        if self._rule.fullmatch(value) is None:
            raise ValueError(f"must be {self._words}, not {value[:60]!r}")
        return value


def different(values: list[str]) -> list[str]:
    """The values, none of which stands twice. Raises ValueError."""
    twice = sorted(value for value, times in Counter(values).items() if times > 1)
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    return values


def _uid_range(value: str) -> str:
    found = re.fullmatch(r"(\d{1,10})-(\d{1,10})", value)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1000 <= first <= last <= 2**32 - 2:
        raise ValueError("must be FIRST-LAST, with 1000 <= FIRST <= LAST <= 4294967294")
    return value


def _constraint(parts: list[str]) -> list[str]:
    parse_constraint(parts)
    return parts


LocalPath = Annotated[Path, BeforeValidator(_local_path)]
"""A path of the scheduler's own machine; ``~`` is the user's home, and a relative one starts at the file's folder."""
HostPath = Annotated[str, Matching(r"/[^\x00-\x1f\x7f]{0,4094}", "an absolute path on the hosts")]
Text = Annotated[str, Matching(r"[^\x00-\x1f\x7f]{1,255}", "1 to 255 characters of one line")]
Principal = Annotated[str, Matching(r"[^:\x00-\x1f\x7f]{1,255}", "1 to 255 characters of one line, without a colon")]
Name = Annotated[
    str,
    Matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "up to 100 letters, digits, `.`, `_`, `-`, the first a letter or digit"
    ),
]
Image = Annotated[str, Matching(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", "the name of an image, such as maven:3.9")]
_ROLE_PART = r"[^-./*\s\x00-\x1f\x7f][^/*\s\x00-\x1f\x7f]{0,99}"
_ROLE = rf"{_ROLE_PART}(/{_ROLE_PART}){{0,9}}"
Role = Annotated[str, Matching(_ROLE, "a Mesos role, such as butlery or engineering/builds")]
AnyRole = Annotated[str, Matching(rf"\*|{_ROLE}", "* or a Mesos role, such as butlery or engineering/builds")]
Pyz = Annotated[str, Matching(r"(/|https?://)[^\s\x00-\x1f\x7f]{1,2000}", "an absolute path or an http(s) URL")]
Roles = Annotated[list[Role], Field(min_length=1, max_length=100), AfterValidator(different)]
UidRange = Annotated[str, AfterValidator(_uid_range)]
ConstraintParts = Annotated[list[str], AfterValidator(_constraint)]
Seconds = Annotated[float, Field(ge=0, le=365 * DAY_S)]
PositiveSeconds = Annotated[float, Field(gt=0, le=365 * DAY_S)]
