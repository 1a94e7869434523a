"""What a master's queue and nodes hold, read from what it answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec
from msgspec import Struct, field

from framework.core.events import MasterObserved, SeenNode
from framework.core.ids import TenantName, task_of_node
from framework.core.jenkins import QueueItem
from framework.edges.jenkins.calls import Answer, path_of
from framework.jenkins_ports import OURS, FoundItem, Look, MasterError, MasterRecord, Whole

COMPUTERS_PATH = "computer/api/json?tree=computer[displayName,description,offline,idle]"
OWN_PATH = "butlery/queue"
QUEUE_PATH = (
    "queue/api/json?tree=items[id,inQueueSince,buildable,pending,why,task[name,fullDisplayName,url,labelExpression]]"
)
LABELS_PATH = "scriptText"
_LABELS_SCRIPT = (
    "println(groovy.json.JsonOutput.toJson(jenkins.model.Jenkins.get().queue.items"
    ".collectEntries { [it.id as String, it.assignedLabel?.expression ?: ''] }))"
)

MAX_ITEMS = 20_000
MAX_NODES = 10_000
THREAD_BYTES = 256 * 1024
"""Larger answers are decoded beside the event loop."""

_UNSERVED = re.compile(r"(?:There are no nodes with the label|All nodes of label) ‘([^’]*)’")
_FLYWEIGHT = ("WorkflowJob", "MatrixProject")
"""What runs on the master itself: it needs no agent."""

T = TypeVar("T")


class Computer(Struct, rename="camel"):
    """Of Jenkins' REST API, as far as it concerns us."""

    display_name: str = ""
    description: str | None = None
    offline: bool = True
    idle: bool = True
    temporarily_offline: bool = False


class _Computers(Struct):
    computer: list[Computer]


class _Task(Struct, rename="camel"):
    kind: str = field(name="_class", default="")
    name: str = ""
    full_display_name: str = ""
    url: str = ""
    label_expression: str | msgspec.UnsetType | None = msgspec.UNSET


class _Item(Struct, rename="camel"):
    id: Whole
    task: _Task
    in_queue_since: Whole = 0
    buildable: bool = False
    pending: bool = False
    why: str | None = None


class _Queue(Struct):
    items: list[_Item]


class _OwnItem(Struct):
    """As our init script tells it. Those that wait for something else than an agent are not ``buildable``."""

    item: Whole
    task: str
    in_queue_since_ms: Whole
    task_url: str = ""
    label: str | None = None
    buildable: bool = True


class _OwnNode(Struct):
    name: str
    description: str | None = None
    offline: bool = True
    idle: bool = True


class _Own(Struct):
    """The page of ``masters/image/init.groovy.d/butlery-60-page.groovy``, which spares the master a second call."""

    session: str
    items: list[_OwnItem]
    nodes: list[_OwnNode]


COMPUTER = msgspec.json.Decoder(Computer)
_COMPUTERS = msgspec.json.Decoder(_Computers)
_QUEUE = msgspec.json.Decoder(_Queue)
_OWN = msgspec.json.Decoder(_Own)
_LABELS = msgspec.json.Decoder(dict[str, str])
"""Made here, before threads use them: see masters/records.py."""


class Asker(Protocol):
    """Asks the master that is looked at; with ``script``, has it run that. Raises MasterError."""

    async def __call__(self, path: str, script: str | None = None) -> Answer: ...


async def look(ask: Asker, master: MasterRecord, tenant: TenantName, asked_at: float, *, labels: bool) -> Look:
    """Raises MasterError."""
    answer = await ask(OWN_PATH)
    if answer.status != 404:
        return _from_script(await _decoded(answer, _OWN), master, tenant, asked_at)
    answer = await ask(COMPUTERS_PATH)
    computers = await _decoded(answer, _COMPUTERS)
    _check_counts(nodes=len(computers.computer))
    everything, items = await _from_rest(ask, master, labels=labels)
    nodes = _ours(
        (found.display_name, found.description, not found.offline, found.idle) for found in computers.computer
    )
    return Look(answer.session, tuple(items), MasterObserved(tenant, asked_at, everything, nodes))


def is_ours(name: str, description: str | None) -> bool:
    """Whether we made the node, as its name and its description say."""
    task = task_of_node(name)
    return task is not None and (description or "").startswith(OURS) and task in (description or "")


def _ours(nodes: Iterable[tuple[str, str | None, bool, bool]]) -> tuple[SeenNode, ...]:
    """Of all nodes: name, description, online, idle."""
    return tuple(
        SeenNode(task, name, online=online, idle=idle)
        for name, description, online, idle in nodes
        if is_ours(name, description) and (task := task_of_node(name)) is not None
    )


def _from_script(own: _Own, master: MasterRecord, tenant: TenantName, asked_at: float) -> Look:
    if master.direct_url and own.session != master.session:
        raise MasterError("down", "another process has its place; it is about to tell where it is")
    _check_counts(len(own.items), len(own.nodes))
    items = tuple(
        FoundItem(QueueItem(one.item, one.in_queue_since_ms), one.task, one.task_url, one.label or "")
        for one in own.items
        if one.buildable
    )
    everything = frozenset(QueueItem(one.item, one.in_queue_since_ms) for one in own.items)
    nodes = _ours((one.name, one.description, not one.offline, one.idle) for one in own.nodes)
    return Look(own.session, items, MasterObserved(tenant, asked_at, everything, nodes))


async def _from_rest(ask: Asker, master: MasterRecord, *, labels: bool) -> tuple[frozenset[QueueItem], list[FoundItem]]:
    queue = await _decoded(await ask(QUEUE_PATH), _QUEUE)
    _check_counts(len(queue.items))
    prefix = path_of(master.url).rstrip("/") + "/"
    items = [
        FoundItem(
            QueueItem(one.id, one.in_queue_since),
            one.task.full_display_name or one.task.name,
            path_of(one.task.url).removeprefix(prefix),
            _label(one),
        )
        for one in queue.items
        if one.buildable and not one.pending and not one.task.kind.endswith(_FLYWEIGHT)
    ]
    if labels and any(one.label is None for one in items):
        told = await _labels(ask)
        items = [
            msgspec.structs.replace(one, label=told.get(str(one.item.number))) if one.label is None else one
            for one in items
        ]
    return frozenset(QueueItem(one.id, one.in_queue_since) for one in queue.items), items


def _label(item: _Item) -> str | None:
    """A Pipeline's ``node`` step has no expression of its own in REST; why it waits sometimes names it."""
    expression = item.task.label_expression
    if not isinstance(expression, msgspec.UnsetType):
        return expression or ""
    found = _UNSERVED.search(item.why or "")
    return found[1] if found else None


async def _labels(ask: Asker) -> dict[str, str]:
    """By an item's number; empty where the master lets us run no scripts."""
    try:
        answer = await ask(LABELS_PATH, _LABELS_SCRIPT)
        return _LABELS.decode(answer.body)
    except MasterError as error:
        if error.kind != "refused":
            raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    return {}


def decoded(answer: Answer, decoder: msgspec.json.Decoder[T]) -> T:
    """Raises MasterError."""
    if answer.status != 200:
        raise MasterError("odd", f"it does not tell what it holds (HTTP {answer.status})")
    try:
        return decoder.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MasterError("odd", "it answers other JSON than Jenkins does") from error


async def _decoded(answer: Answer, decoder: msgspec.json.Decoder[T]) -> T:
    if len(answer.body) > THREAD_BYTES:
        return await asyncio.to_thread(decoded, answer, decoder)
    return decoded(answer, decoder)


def _check_counts(items: int = 0, nodes: int = 0) -> None:
    if items > MAX_ITEMS:
        raise MasterError("odd", f"its queue holds more than {MAX_ITEMS} items")
    if nodes > MAX_NODES:
        raise MasterError("odd", f"it has more than {MAX_NODES} nodes")
