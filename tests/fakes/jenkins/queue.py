"""The build queue: quiet periods, folding, what waits for whom and why, and who gets a free executor."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.fakes.jenkins.labels import Label
from tests.fakes.jenkins.model import Item, ItemState, JenkinsExecutor, Job, Node, NodePart

MAINTENANCE_S = 5.0
"""How often Jenkins looks by itself; what happens makes it look at once."""
_LEFT_KEPT_MS = 300_000
_LEFT_KEPT = 10_000
_STUCK_LEAST_MS = 60_000
_DAY_MS = 24 * 3_600_000
_PART = re.compile(r"part of (.+?)(?: #\d+)?", re.DOTALL)
BUILT_IN = frozenset(["built-in"])


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Why(NamedTuple):
    """Why an item waits, and whether nothing can take it as things stand."""

    text: str | None
    stuck: bool


class Queue:
    """``begin`` starts what an item is of, on the executor or (flyweight) on none; what came and went is told.

    ``refusal``: why an item is kept back where no node could take it, as a QueueTaskDispatcher says.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        begin: Callable[[Item, JenkinsExecutor | None], None],
        entered: Callable[[Item], None],
        left: Callable[[Item], None],
        refusal: Callable[[Item], str | None],
    ) -> None:
        self._nodes, self._begin, self._entered, self._left_told = nodes, begin, entered, left
        self._refusal = refusal
        self.last_id = 0
        self.quieting = False
        self._waiting: dict[int, Item] = {}
        self._blocked: dict[int, Item] = {}
        self._buildable: dict[int, Item] = {}
        self._left: dict[int, Item] = {}
        self._same: dict[tuple[str, tuple[tuple[str, str], ...]], Item] = {}
        self._of_label: dict[str, list[Node]] = {}
        self._maintenance: asyncio.Handle | None = None

    def schedule(self, task: Job | NodePart, label: Label | None, quiet_s: float, user: str | None,
                 parameters: dict[str, str]) -> Item:  # fmt: skip
        """An item, or the one that this folds into."""
        now = now_ms()
        same = self._same.get(_key(task, parameters))
        if same is not None:
            same.causes.append(user)
            if same.state is ItemState.WAITING:
                same.due_ms = min(same.due_ms, now + round(quiet_s * 1000))
            self.look()
            return same
        self.last_id += 1
        causes = [user] if isinstance(task, Job) else []
        item = Item(self.last_id, task, label, now, now + round(quiet_s * 1000), causes, parameters)
        self.add(item)
        return item

    def add(self, item: Item) -> None:
        """One that is whole already, as a restored one is."""
        self._waiting[item.id] = item
        if isinstance(item.task, Job):
            self._same[_key(item.task, item.parameters)] = item
        if isinstance(item.task, NodePart):
            self._to_buildable(item)
        self.look()

    def find(self, number: int) -> Item | None:
        for group in (self._waiting, self._blocked, self._buildable, self._left):
            if number in group:
                return group[number]
        return None

    def cancel(self, number: int) -> bool:
        item = self.find(number)
        if item is None or item.state is ItemState.LEFT:
            return False
        item.cancelled = True
        self._leave(item)
        if isinstance(item.task, NodePart) and not item.task.given.done():
            item.task.given.cancel()
        return True

    def listed(self) -> list[Item]:
        """As the API lists them: the waiting ones by when they are due, then the buildable ones, newest first."""
        waiting = sorted(self._waiting.values(), key=lambda item: (item.due_ms, item.id))
        return [*waiting, *self._blocked.values(), *reversed(self._buildable.values())]

    def of_job(self, job: Job) -> Item | None:
        return next((item for key, item in self._same.items() if key[0] == job.name), None) if self._same else None

    def nodes_changed(self) -> None:
        """Nodes came, went, or are something else now."""
        self._of_label.clear()
        self.look()

    def look(self) -> None:
        """Looks what can go on, once for all that happens in this turn of the loop."""
        if self._maintenance is None:
            self._maintenance = asyncio.get_running_loop().call_soon(self._maintain)

    async def keep_looking(self) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_S)
            self.look()
            self._forget()

    def _maintain(self) -> None:
        self._maintenance = None
        now = now_ms()
        for item in [one for one in self._blocked.values() if not self._is_blocked(one)]:
            self._to_buildable(item)
        for item in sorted((one for one in self._waiting.values() if one.due_ms <= now), key=lambda one: one.due_ms):
            if self._is_blocked(item):
                del self._waiting[item.id]
                item.state = ItemState.BLOCKED
                self._blocked[item.id] = item
            else:
                self._to_buildable(item)
        if not self.quieting:
            self._hand_out()

    def _to_buildable(self, item: Item) -> None:
        self._waiting.pop(item.id, None)
        self._blocked.pop(item.id, None)
        item.state = ItemState.BUILDABLE
        item.buildable_ms = now_ms()
        self._buildable[item.id] = item
        self._entered(item)

    def _hand_out(self) -> None:
        free = self._free()
        full: set[str | None] = set()  # labels that nothing free has
        for item in list(self._buildable.values()):
            if self._is_blocked(item):
                del self._buildable[item.id]
                item.state = ItemState.BLOCKED
                self._blocked[item.id] = item
            elif item.flyweight:
                self._start(item, None)
            elif free and (expression := item.label.expression if item.label else None) not in full:
                executor, kept = self._executor_for(item)
                if executor is not None:
                    self._start(item, executor)
                    free = self._free()
                elif not kept:
                    full.add(expression)

    def _free(self) -> bool:
        return any(node.idle_executors() for node in self._nodes.values())

    def _start(self, item: Item, executor: JenkinsExecutor | None) -> None:
        if isinstance(item.task, NodePart) and item.task.given.done():
            item.cancelled = True
        else:
            self._begin(item, executor)
        self._leave(item)

    def _executor_for(self, item: Item) -> tuple[JenkinsExecutor | None, bool]:
        """And, where there is none, whether one is kept for others."""
        kept = False
        for node in self.nodes_of(item.label):
            if item.label is None and node.definition.exclusive:
                continue
            for executor in node.idle_executors():
                if fits(node.definition.description or "", item.task_name):
                    return executor, False
                kept = True
        return None, kept

    def _leave(self, item: Item) -> None:
        for group in (self._waiting, self._blocked, self._buildable):
            group.pop(item.id, None)
        if isinstance(item.task, Job):
            self._same.pop(_key(item.task, item.parameters), None)
        item.state = ItemState.LEFT
        item.left_ms = now_ms()
        self._left[item.id] = item
        while len(self._left) > _LEFT_KEPT:
            del self._left[next(iter(self._left))]
        self._left_told(item)

    def _forget(self) -> None:
        long_ago = now_ms() - _LEFT_KEPT_MS
        for item in list(self._left.values()):
            if item.left_ms > long_ago:
                return
            del self._left[item.id]

    def _is_blocked(self, item: Item) -> bool:
        return _is_building(item) or self.refused(item) is not None

    def refused(self, item: Item) -> str | None:
        """Why it is kept back."""
        reason = self._refusal(item)
        return None if reason is None or any(node.executors for node in self.nodes_of(item.label)) else reason

    def nodes_of(self, label: Label | None) -> list[Node]:
        """Those that have it; all where there is none."""
        if label is None:
            return list(self._nodes.values())
        found = self._of_label.get(label.expression)
        if found is None:
            found = [node for node in self._nodes.values() if label.matches(node.definition.labels)]
            self._of_label[label.expression] = found
        return found

    def reasons(self) -> Reasons:
        return Reasons(self, bool(self._nodes))


class Reasons:
    """Why items wait, as things stand in one turn of the loop: looked up once for each label."""

    def __init__(self, queue: Queue, any_node: bool) -> None:
        self._queue, self._any_node = queue, any_node
        self._offline: dict[str, bool] = {}
        self._texts: dict[str | None, str] = {}

    def of(self, item: Item) -> Why:
        if item.state is ItemState.LEFT:
            return Why(None, stuck=False)
        if item.state is ItemState.WAITING:
            left_ms = item.due_ms - now_ms()
            text = f"In the quiet period. Expires in {_span(left_ms)}" if left_ms > 0 else "Finished waiting"
            return Why(text, stuck=False)
        if item.state is ItemState.BLOCKED and (reason := self._queue.refused(item)) is not None:
            return Why(reason, stuck=False)
        if item.state is ItemState.BLOCKED and isinstance(item.task, Job) and item.task.running():
            return Why(f"Build #{item.task.running()[-1].number} is already in progress (ETA: N/A)", stuck=False)
        stuck = self._is_stuck(item)
        if self._queue.quieting:
            return Why("Jenkins is about to shut down", stuck)
        expression = item.label.expression if item.label is not None else None
        if expression not in self._texts:
            self._texts[expression] = self._text(item.label)
        return Why(self._texts[expression], stuck)

    def _text(self, label: Label | None) -> str:
        if label is None or not self._any_node:
            reserved = self._reserved() if label is None else []
            return "; ".join(reserved) or "Waiting for next available executor"
        nodes = self._queue.nodes_of(label)
        names = [node.name for node in nodes] + (["Built-In Node"] if label.matches(BUILT_IN) else [])
        one = names[0] if len(names) == 1 else None
        if not self._is_offline(label):
            return f"Waiting for next available executor on ‘{one or label.expression}’"
        if one is not None:
            return f"‘{one}’ is offline"
        if names:
            return f"All nodes of label ‘{label.expression}’ are offline"
        return f"There are no nodes with the label ‘{label.expression}’"

    def _reserved(self) -> list[str]:
        idle = [node for node in self._queue.nodes_of(None) if node.idle_executors()]
        return [f"‘{node.name}’ is reserved for jobs with matching label expression" for node in idle]

    def _is_stuck(self, item: Item) -> bool:
        if item.label is not None and self._is_offline(item.label):
            return True
        waited_ms = now_ms() - item.buildable_ms
        expected_ms = item.task.estimated_ms() if isinstance(item.task, Job) else -1
        return waited_ms > (max(expected_ms, _STUCK_LEAST_MS) * 10 if expected_ms >= 0 else _DAY_MS)

    def _is_offline(self, label: Label) -> bool:
        """Nothing that has it is online."""
        key = label.expression
        if key not in self._offline:
            online = label.matches(BUILT_IN) or any(not node.offline for node in self._queue.nodes_of(label))
            self._offline[key] = not online
        return self._offline[key]


def fits(description: str, task: str) -> bool:
    """Whether a node that may be sized for one job takes a task, as the init script has Jenkins decide it."""
    _, mark, job = description.partition(", sized for ")
    part = _PART.fullmatch(task)
    return not mark or job == (task if part is None else part[1])


def _is_building(item: Item) -> bool:
    """Whether an earlier build of its job must end first."""
    return isinstance(item.task, Job) and not item.task.definition.concurrent and bool(item.task.running())


def _key(task: Job | NodePart, parameters: dict[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
    return (task.name if isinstance(task, Job) else f"\0{id(task)}", tuple(sorted(parameters.items())))


def _span(milliseconds: int) -> str:
    """As Jenkins writes a time: ``4.9 sec``, ``12 sec``, ``3 min 5 sec``."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 10_000:
        return f"{milliseconds / 1000:.1f} sec"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} hr {minutes} min"
    return f"{minutes} min {seconds} sec" if minutes else f"{seconds} sec"
