"""Marathon's constraints on a field of hosts: their form, and whether a host's value of the field satisfies one.

The meaning of each operator is that of Marathon 1.6 (mesosphere/mesos/Constraints.scala): a host without the field
satisfies UNLIKE alone; LIKE and UNLIKE are held against the whole value. What counts is counted in a ``Spread``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import re2

from framework.core.templates import Constraint, Operator

FIELD_MAX_CHARS = 256
VALUE_MAX_CHARS = 1000
_PATTERN_MAX_BYTES = 1 << 20  # of memory for a compiled pattern; RE2's own default is 8 MiB

_NUMBERS = (Operator.MAX_PER, Operator.GROUP_BY)
_PATTERNS = (Operator.LIKE, Operator.UNLIKE)


class Spread:
    """How the members of a group are spread over the values of a field; None: on hosts without the field.

    ``first``: the value of the oldest member. ``unknown``: members on hosts whose fields nobody has told yet; while
    there are any, nothing that counts is allowed.
    """

    __slots__ = ("_sizes", "counts", "first", "unknown")

    def __init__(self, values: Iterable[str | None] = ()) -> None:
        """``values`` of the members, the oldest first."""
        self.counts: dict[str | None, int] = {}
        self.first: str | None = None
        self.unknown = 0
        self._sizes: dict[int, int] = {}  # how many values have so many members
        for value in values:
            self.add(value)

    def add(self, value: str | None) -> None:
        if not self.counts:
            self.first = value
        self._resize(value, self.counts.get(value, 0), 1)

    def remove(self, value: str | None) -> None:
        """Raises KeyError where no member has the value. Whoever removes the oldest sets ``first``."""
        self._resize(value, self.counts[value], -1)

    @property
    def least(self) -> int:
        """Members of the value that has the fewest; 0 where there are none at all."""
        return min(self._sizes, default=0)

    def _resize(self, value: str | None, size: int, change: int) -> None:
        if size:
            self._sizes[size] -= 1
            if not self._sizes[size]:
                del self._sizes[size]
        if size + change:
            self.counts[value] = size + change
            self._sizes[size + change] = self._sizes.get(size + change, 0) + 1
        else:
            del self.counts[value]


def value_of(field: str, hostname: str, attributes: Mapping[str, str]) -> str | None:
    """A host's value of the field; its fault domain is among the attributes, as ``@region`` and ``@zone``."""
    return hostname if is_hostname(field) else attributes.get(field)


def is_hostname(field: str) -> bool:
    return field in ("hostname", "@hostname")


def counts(constraint: Constraint) -> bool:
    """Whether it depends on where other members of the group are, rather than on the host alone."""
    if constraint.operator is Operator.CLUSTER:
        return not constraint.value
    return constraint.operator in (Operator.UNIQUE, *_NUMBERS)


def allows(constraint: Constraint, value: str | None, spread: Spread | None = None) -> bool:
    """Whether one more member may go to a host with this value of the field.

    ``spread``: of the members there are, which matters where ``counts(constraint)``; None: there are none. The
    constraint is one without faults.
    """
    operator, wanted = constraint.operator, constraint.value
    if value is None:
        return operator is Operator.UNLIKE
    if operator is Operator.IS or (operator is Operator.CLUSTER and wanted):
        return value == wanted
    if operator in _PATTERNS:
        return _matches(wanted, value) is (operator is Operator.LIKE)
    spread = spread or Spread()
    if spread.unknown:
        return False
    here = spread.counts.get(value, 0)
    match operator:
        case Operator.UNIQUE:
            return here == 0
        case Operator.MAX_PER:
            return here < int(wanted)
        case Operator.GROUP_BY:
            return here == 0 or (here == spread.least and len(spread.counts) >= int(wanted or 0))
        case _:  # CLUSTER on the first one's value
            return not spread.counts or spread.first == value


def parse(parts: Sequence[str]) -> Constraint:
    """``[FIELD, OPERATOR]`` or ``[FIELD, OPERATOR, VALUE]``. Raises ValueError, which tells every fault at once."""
    if not 2 <= len(parts) <= 3:
        raise ValueError("give [FIELD, OPERATOR] or [FIELD, OPERATOR, VALUE]")
    try:
        constraint = Constraint(parts[0], Operator(parts[1]), *parts[2:])
    except ValueError:
        known = ", ".join(Operator)
        raise ValueError(f"{parts[1]!r} is no operator; there are {known}") from None
    found = faults(constraint)
    if found:
        raise ValueError("; ".join(found))
    return constraint


def faults(constraint: Constraint) -> list[str]:
    """All that is wrong with its form; empty where nothing is."""
    operator, value = constraint.operator, constraint.value
    found: list[str] = []
    if not constraint.field:
        found.append("name the field: hostname, @region, @zone or an attribute of hosts")
    elif len(constraint.field) > FIELD_MAX_CHARS:
        found.append(f"the field's name is longer than {FIELD_MAX_CHARS} characters")
    if len(value) > VALUE_MAX_CHARS:
        return [*found, f"the value is longer than {VALUE_MAX_CHARS} characters"]
    if operator is Operator.UNIQUE and value:
        found.append("UNIQUE takes no value")
    elif operator is Operator.IS and not value:
        found.append("IS needs the value that the field must have")
    elif operator in _PATTERNS and not value:
        found.append(f"{operator} needs a regular expression")
    elif operator in _PATTERNS:
        found += _faults_of_pattern(value)
    elif operator is Operator.MAX_PER and not _is_count(value):
        found.append(f"MAX_PER needs how many there may be, a whole number from 1, not {value!r}")
    elif operator is Operator.GROUP_BY and value and not _is_count(value):
        found.append(f"GROUP_BY takes over how many values to spread, a whole number from 1, not {value!r}")
    return found


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0


def _faults_of_pattern(pattern: str) -> list[str]:
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return [f"{pattern!r} is no regular expression that can be used (RE2 syntax): {said}"]
    except UnicodeEncodeError:
        return ["the regular expression is no Unicode text"]
    return []


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re2._Regexp[str]:
    """RE2 matches in time linear in the value, whatever the pattern, as no backtracking engine does."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MAX_BYTES
    return re2.compile(pattern, options)


def _matches(pattern: str, value: str) -> bool:
    """Against the whole value, as Java's ``matches`` does."""
    return _compiled(pattern).fullmatch(value.encode("utf-8", "replace").decode()) is not None
