"""The script console, of which three scripts are known: the queue's fields as a list, its labels as JSON, and one that

throws: ``println(jenkins.model.Jenkins.get().queue.items.collect{[it.id,it.task.name,it.assignedLabel?.toString(),
it.isStuck()]})`` with any of those fields in any order, what the scheduler asks, and
``throw new RuntimeException('..')``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tests.fakes.jenkins.model import Item
from tests.fakes.jenkins.queue import Queue, Reasons

_QUEUE = re.compile(
    r"println\s*\(?\s*(?:jenkins\.model\.)?Jenkins\.(?:get\(\)|instance)\.queue\.items\s*\.collect\s*"
    r"\{\s*\[([^\]]*)\]\s*\}\s*\)?\s*;?"
)
_LABELS = (
    "println(groovy.json.JsonOutput.toJson(jenkins.model.Jenkins.get().queue.items"
    ".collectEntries { [it.id as String, it.assignedLabel?.expression ?: ''] }))"
)
_THROW = re.compile(r"throw\s+new\s+(RuntimeException|IllegalStateException)\s*\(\s*'([^']*)'\s*\)\s*;?")

_Field = Callable[[Item, Reasons], object]
_FIELDS: dict[str, _Field] = {
    "it.id": lambda item, reasons: item.id,
    "it.task.name": lambda item, reasons: item.task_name,
    "it.assignedLabel?.toString()": lambda item, reasons: item.label.expression if item.label else "null",
    "it.isStuck()": lambda item, reasons: str(reasons.of(item).stuck).lower(),
    "it.why": lambda item, reasons: reasons.of(item).text,
}


def run(script: str, queue: Queue) -> str:
    """What it printed, or the text of what it threw."""
    found = _QUEUE.fullmatch(script.strip())
    if found is not None:
        names = [name.strip() for name in found[1].split(",")]
        unknown = next((name for name in names if name not in _FIELDS), None)
        if unknown is not None:
            return f"groovy.lang.MissingPropertyException: No such property: {unknown}"
        reasons = queue.reasons()
        rows = [[str(_FIELDS[name](item, reasons)) for name in names] for item in queue.listed()]
        return "[" + ", ".join(f"[{', '.join(row)}]" for row in rows) + "]"
    if script.strip() == _LABELS:
        return json.dumps({str(item.id): item.label.expression if item.label else "" for item in queue.listed()})
    thrown = _THROW.fullmatch(script.strip())
    if thrown is not None:
        return f"java.lang.{thrown[1]}: {thrown[2]}\n\tat Script1.run(Script1.groovy:1)"
    return "java.lang.UnsupportedOperationException: the stand-in does not know this script"
