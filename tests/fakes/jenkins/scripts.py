"""What a master's init scripts do inside it: they tell of its queue and agents, and show why no agent comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fakes.jenkins.demand import Outbox, Record
from tests.fakes.jenkins.model import Build, Item, ItemState, Job, NodePart

SHOWN_S = 60.0
_REMEMBERED = 2000
_POOLED = "-pooled"
MAX_AGAIN = 2
AGAIN_BY = "butlery"


class _Shown(NamedTuple):
    reason: str
    since_ms: int
    until: float


class Scripts:
    """``outbox`` None: of a master without a scheduler, which does as a Jenkins without them."""

    def __init__(self, outbox: Outbox | None, prefix: str, version: str, session: str) -> None:
        self._outbox, self._prefix, self._version, self._session = outbox, prefix, version, session
        self._unserved: dict[int, _Shown] = {}
        self._ran: dict[str, Build] = {}  # by node, the oldest first

    async def run(self, items: Callable[[], list[Item]], found: Callable[[int], Item | None],
                  note: Callable[[Build, str], None], look: Callable[[], None]) -> None:  # fmt: skip
        """Tells, as long as the master runs. ``note`` writes into the log of a build."""
        if self._outbox is None:
            return

        def announced() -> list[Record]:
            waiting = [one for one in reversed(items()) if self.waits(one)]
            return [
                {"event": "ready", "version": self._version},
                *({"event": "buildable", **described(one)} for one in waiting),
            ]

        def show(told: list[Record]) -> None:
            self._unserved = {number: one for number, one in self._unserved.items() if _is_there(found(number))}
            for one in told:
                item = found(one["item"]["number"])
                if item is None or not _is_there(item) or item.since_ms != one["item"]["since_ms"]:
                    continue
                before = self._unserved.get(item.id)
                self._unserved[item.id] = _Shown(one["reason"], item.since_ms, time.monotonic() + SHOWN_S)
                if isinstance(item.task, NodePart) and (before is None or before.reason != one["reason"]):
                    note(item.task.build, f"no agent comes: {one['reason']}")
            look()

        await self._outbox.run(self._session, announced, show)

    @property
    def there(self) -> bool:
        return self._outbox is not None

    def refusal(self, item: Item) -> str | None:
        """Why no agent comes for it, as the scheduler said."""
        found = self._unserved.get(item.id)
        if found is None or found.since_ms != item.since_ms or found.until < time.monotonic():
            return None
        return found.reason

    def waits(self, item: Item) -> bool:
        """Whether an agent is all that it waits for."""
        if item.flyweight:
            return False
        return item.state is ItemState.BUILDABLE or (item.state is ItemState.BLOCKED and self.refusal(item) is not None)

    def entered(self, item: Item) -> None:
        if self.waits(item):
            self.tell("buildable", **described(item))

    def left(self, item: Item) -> None:
        self.tell("left", cancelled=item.cancelled, **described(item))

    def accepts_more(self, node: str) -> bool:
        """Whether a node that was given a task takes others."""
        return not self._ours(node) or node.endswith(_POOLED)

    def accepted(self, node: str, item: Item) -> None:
        if self._ours(node):
            one = described(item)
            self.tell("accepted", node=node, **{key: one[key] for key in one if key != "label"})

    def served(self, node: str, task: str, took_ms: int) -> None:
        if self._ours(node):
            self.tell("served", node=node, task=task, duration_ms=took_ms, problem=None)

    def online(self, node: str) -> None:
        if self._ours(node):
            self.tell("online", node=node)

    def offline(self, node: str, cause: str) -> None:
        if self._ours(node):
            self.tell("offline", node=node, cause=cause)

    def runs(self, node: str, build: Build) -> None:
        """A build begins on it."""
        if self._ours(node):
            self._ran.pop(node, None)
            self._ran[node] = build
            while len(self._ran) > _REMEMBERED:
                del self._ran[next(iter(self._ran))]

    def ran_on(self, node: str) -> Build | None:
        return self._ran.get(node)

    def tell(self, event: str, **record: Any) -> None:
        if self._outbox is not None:
            self._outbox.put({"event": event, **record})

    def _ours(self, node: str) -> bool:
        return self._outbox is not None and node.startswith(self._prefix)


def described(item: Item) -> Record:
    return {
        "item": item.id,
        "task": item.task_name,
        "task_url": item.task_url,
        "label": item.label.expression if item.label is not None else None,
        "in_queue_since_ms": item.since_ms,
        "fits": True,
    }


def remote_cause(build: Build, reason: str) -> str | None:
    """Of the build that takes the place of one that was lost; None where it was lost often enough."""
    number = sum(1 for cause in build.causes if cause is not None and cause.startswith(f"{AGAIN_BY}\n"))
    if number >= MAX_AGAIN:
        return None
    times = f"{number + 1} of at most {MAX_AGAIN} times that it is built again"
    return f"{AGAIN_BY}\n#{build.number} was lost, {times}: {reason}"


def is_lost(build: Build) -> bool:
    """Whether it may be built again: Pipelines say themselves what they try again."""
    return isinstance(build.job, Job) and not build.job.definition.pipeline and build.result in (None, "FAILURE")


def _is_there(item: Item | None) -> bool:
    return item is not None and item.state is not ItemState.LEFT
