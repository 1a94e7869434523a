"""A plan as people read it, and as JSON. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from masters.plan import Plan
from masters.records import Change, ChangeKind, Difference

SIGNS = {
    ChangeKind.CREATE: "+",
    ChangeKind.UPDATE: "~",
    ChangeKind.SHARE: "~",
    ChangeKind.SECRETS: "~",
    ChangeKind.GONE: "?",
}
_DONE = {
    ChangeKind.CREATE: "to create",
    ChangeKind.UPDATE: "to update",
    ChangeKind.SHARE: "with another share",
    ChangeKind.SECRETS: "with other secrets",
    ChangeKind.GONE: "gone from the YAML",
}


def lines(plan: Plan) -> Iterator[str]:
    """``~ payments  update, restarts`` for each change, and ``mem: 1024 -> 2048`` below it for each value."""
    for change in plan.changes:
        yield head(change)
        for one in change.differences:
            yield f"    {difference(change.kind, one)}"


def head(change: Change) -> str:
    """The change's own line."""
    words: str = change.kind
    if change.kind is ChangeKind.GONE:
        words = "no YAML speaks of it: left as it is without --prune"
    elif change.restarts:
        words += ", restarts"
    return f"{SIGNS[change.kind]} {change.tenant}  {words}"


def difference(kind: ChangeKind, one: Difference) -> str:
    """``mem: 1024 -> 2048``; of what is new or gone the one value there is."""
    if kind is ChangeKind.CREATE:
        return f"{one.path}: {_text(one.after)}"
    before = "(none)" if one.before is None else _text(one.before)
    return f"{one.path}: {before} -> {'(none)' if one.after is None else _text(one.after)}"


def summary(plan: Plan) -> str:
    """``3 to create, 2 to update, 1996 unchanged; 1 restarts``."""
    counts = Counter(change.kind for change in plan.changes)
    told = [f"{counts[kind]} {words}" for kind, words in _DONE.items() if counts[kind]]
    restarts = sum(change.restarts for change in plan.changes if change.kind is not ChangeKind.GONE)
    text = ", ".join([*told, f"{plan.unchanged} unchanged"])
    return text if not restarts else f"{text}; {restarts} {'restarts' if restarts == 1 else 'restart'}"


def as_json(plan: Plan) -> dict[str, Any]:
    """Of ``--json``; apps themselves are left out."""
    return {
        "changes": [
            {
                "tenant": change.tenant,
                "kind": change.kind.value,
                "app_id": change.app_id,
                "restarts": change.restarts,
                "differences": [
                    {"path": one.path, "before": one.before, "after": one.after} for one in change.differences
                ],
            }
            for change in plan.changes
        ],
        "unchanged": plan.unchanged,
    }


def _text(value: Any) -> str:
    """On one line, whatever is in it."""
    if isinstance(value, str) and value.isprintable() and value:
        return value
    return json.dumps(value)
