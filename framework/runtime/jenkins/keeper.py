"""Makes and removes nodes in tenants' masters, beside the loop; a master that is slow or away slows its own tenant."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from framework.core.effects import PrepareNode, RemoveNode
from framework.core.events import NodeFailed, NodeReady
from framework.core.ids import TaskId, TenantName, task_of_node
from framework.errors import DeposedError
from framework.jenkins_ports import (
    OURS,
    SIZED_FOR,
    AgentAccess,
    MasterEdge,
    MasterError,
    MasterRecord,
    NewNode,
    NodeTakenError,
)
from framework.log import get_logger
from framework.mesos_ports import Emit
from framework.ports import Chance, Clock, jittered
from framework.runtime.confirming import Confirming
from framework.runtime.jenkins.troubles import Troubles
from framework.runtime.waiting import until_due

log = get_logger(__name__)

MAX_REMOVALS = 20_000
"""Of one master that wait; what is dropped the next sweep finds."""
TELL_TRIES = 5
"""Times that a master is told why an agent ended, which must not keep the agent's node there."""
REMOTE_ROOT = "agent"
"""Where an agent builds: Jenkins takes it from the directory that agent.jar was started in."""
UNKNOWN_S = 5.0
"""Until a master that has not told how it is spoken to may have done so."""

_PAUSES_S = {
    "down": (1.0, 30.0),
    "full": (1.0, 30.0),
    "slow": (2.0, 60.0),
    "odd": (5.0, 60.0),
    "refused": (10.0, 300.0),
}
"""First and longest, by a MasterError's kind."""
_LONGEST_S = max(longest for _, longest in _PAUSES_S.values())


class _Removal(msgspec.Struct):
    effect: RemoveNode
    tells: int = 0
    told: bool = False


class _Master(msgspec.Struct):
    """Of one tenant: what is to be done there, and what is being done."""

    tenant: TenantName
    record: MasterRecord | None = None
    jar: str = ""  # of its agent.jar, as far as it is known
    prepares: dict[str, PrepareNode] = {}  # by node, as the others
    removals: dict[str, _Removal] = {}
    preparing: set[str] = set()
    removing: set[str] = set()
    failures: int = 0  # one after the other
    away_until: float = 0.0  # seconds since the epoch; it is left alone until then
    problem: str = ""

    @property
    def calls(self) -> int:
        return len(self.preparing) + len(self.removing)


class Keeper:
    """A ``framework.jenkins_ports.NodeKeeper``. What is asked before ``run`` waits for it."""

    def __init__(
        self,
        edge: MasterEdge,
        emit: Emit,
        look_at: Callable[[TenantName], None],
        troubles: Troubles,
        calls_at_once: int,
        clock: Clock,
        chance: Chance,
        confirming: Confirming | None = None,
    ) -> None:
        """``calls_at_once`` to one master. ``confirming``: None where nobody else may lead."""
        self._edge = edge
        self._emit = emit
        self._look_at = look_at
        self._troubles = troubles
        self._calls_at_once = calls_at_once
        self._clock = clock
        self._chance = chance
        self._confirming = confirming
        self._masters: dict[TenantName, _Master] = {}
        self._access: dict[TaskId, AgentAccess] = {}
        self._due: list[tuple[float, TenantName]] = []
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    # What the performer asks.

    def prepare(self, effect: PrepareNode) -> None:
        master = self._master(effect.request.tenant)
        if effect.node not in master.removing:
            master.removals.pop(effect.node, None)  # it is wanted again; the one that stands is taken as it is
        master.prepares[effect.node] = effect
        self._pump(master)

    def remove(self, effect: RemoveNode) -> None:
        master = self._master(effect.tenant)
        master.prepares.pop(effect.node, None)
        task = task_of_node(effect.node)
        if task is not None:
            self._access.pop(task, None)
        known = master.removals.get(effect.node)
        if known is None and len(master.removals) >= MAX_REMOVALS:
            log.warning("too many nodes wait to be removed; a sweep has to find this one", tenant=effect.tenant)
            return
        if known is None or known.effect.cordon or (effect.reason and not known.effect.reason and not effect.cordon):
            master.removals[effect.node] = _Removal(effect)
        self._pump(master)

    def look_at(self, tenant: TenantName) -> None:
        self._look_at(tenant)

    def access(self, task_id: TaskId) -> AgentAccess | None:
        return self._access.get(task_id)

    def forget(self, task_id: TaskId) -> None:
        self._access.pop(task_id, None)

    # What the desk tells.

    def know(self, tenant: TenantName, record: MasterRecord | None) -> None:
        """How the tenant's master is spoken to from now on; None: it is gone, and what was to be done there with it."""
        master = self._master(tenant)
        master.failures, master.away_until, master.problem = 0, 0.0, ""
        if record is None:
            master.removals = {node: one for node, one in master.removals.items() if node in master.removing}
        if record is None or master.record is None or record.session != master.record.session:
            master.jar = ""
        master.record = record
        self._pump(master)

    async def run(self) -> None:
        """Until it is cancelled; a call under way may have been done then or not, which the next sweep finds.

        Raises DeposedError where another leads.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                for master in list(self._masters.values()):
                    self._pump(master)
                while True:
                    await until_due(self._wake, self._clock, self._due[0][0] if self._due else None)
                    self._wake.clear()
                    self._pump_due()
            finally:
                self._group = None

    # One master.

    def _master(self, tenant: TenantName) -> _Master:
        return self._masters.setdefault(tenant, _Master(tenant))

    def _pump_due(self) -> None:
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            _, tenant = heapq.heappop(self._due)
            if (master := self._masters.get(tenant)) is not None:
                self._pump(master)

    def _pump(self, master: _Master) -> None:
        """Begins what may be begun; where the master is away, who waits for a node is told so."""
        if self._group is None:
            return
        if master.record is None:
            pause_s = self._chance.uniform(UNKNOWN_S / 2, UNKNOWN_S)
            self._turn_away(master, f"the Jenkins of {master.tenant} has not told yet how it is spoken to", pause_s)
            master.removals = {node: one for node, one in master.removals.items() if node in master.removing}
            self._drop_idle(master)
            return
        away_s = master.away_until - self._clock.now()
        if 0 < away_s <= _LONGEST_S:  # else the clock was set
            self._turn_away(master, master.problem, away_s)
            return
        limit = 1 if master.failures else self._calls_at_once  # one finds out whether it is back
        while master.calls < limit and (work := self._next(master, limit)) is not None:
            self._group.create_task(work)

    def _next(self, master: _Master, limit: int) -> Coroutine[Any, Any, None] | None:
        """Nodes that somebody waits for go first, but the removal of others never stands still."""
        prepare = next((one for node, one in master.prepares.items() if node not in master.removing), None)
        remove = next((one for node, one in master.removals.items() if _is_free(master, node)), None)
        if prepare is not None and (remove is None or len(master.preparing) < max(1, limit - 1)):
            del master.prepares[prepare.node]
            master.preparing.add(prepare.node)
            return self._prepare(master, prepare)
        if remove is not None:
            master.removing.add(remove.effect.node)
            return self._remove(master, remove)
        return None

    async def _prepare(self, master: _Master, effect: PrepareNode) -> None:
        try:
            access = await self._made(master, effect)
        except NodeTakenError as error:
            self._answers(master)
            self._emit(NodeFailed(effect.task_id, f"the Jenkins of {master.tenant}: {error}", name_taken=True))
        except MasterError as error:
            self._fails(master, error)
            self._emit(NodeFailed(effect.task_id, master.problem, max(0.0, master.away_until - self._clock.now())))
        else:
            self._answers(master)
            if effect.node not in master.removals:
                self._access[effect.task_id] = access
                self._emit(NodeReady(effect.task_id))
        finally:
            master.preparing.discard(effect.node)
            self._pump(master)

    async def _made(self, master: _Master, effect: PrepareNode) -> AgentAccess:
        record, side = master.record, effect.request.jenkins
        if record is None or side is None:
            raise MasterError("odd", "it is forgotten")
        if not master.jar:
            master.jar = await self._edge.jar(record)
        sized = effect.request.template.sized
        node = NewNode(
            effect.node,
            side.node_labels,
            f"{OURS}agent of task {effect.task_id}" + ("" if sized is None else f"{SIZED_FOR}{sized.job}"),
            REMOTE_ROOT,
            exclusive=bool(side.label),
            web_socket=side.web_socket,
            tunnel=side.tunnel,
        )
        return AgentAccess(record.url, effect.node, await self._edge.create_node(record, node), master.jar)

    async def _remove(self, master: _Master, removal: _Removal) -> None:
        effect, record = removal.effect, master.record
        try:
            if self._confirming is not None:  # else it might be the node of an agent that another has launched since
                await self._confirming.until_known()
            if record is not None and effect.cordon:
                await self._edge.cordon(record, effect.node, effect.reason)
                self._look_at(master.tenant)
            elif record is not None:
                await self._tell(record, removal)
                await self._edge.remove_node(record, effect.node)
            if master.removals.get(effect.node) is removal:
                del master.removals[effect.node]
            self._answers(master)
        except MasterError as error:
            known = master.removals.pop(effect.node, None)
            if known is not None and effect.node not in master.prepares:  # else it is wanted again
                master.removals[effect.node] = known  # behind the others, which may fare better
            self._fails(master, error)
        except DeposedError:
            self._group = None  # which ends now, so that nothing more is begun
            raise
        finally:
            master.removing.discard(effect.node)
            self._pump(master)

    async def _tell(self, record: MasterRecord, removal: _Removal) -> None:
        """Once, and never in the way of the removal where the master does not want to be told."""
        effect = removal.effect
        if removal.told or not effect.reason:
            return
        removal.tells += 1
        try:
            await self._edge.tell(record, effect.node, effect.reason, resubmit=effect.resubmit)
        except MasterError as error:
            if error.kind == "down" or (error.kind in ("slow", "full") and removal.tells < TELL_TRIES):
                raise
            log.info("a master is not told why its agent ended", tenant=effect.tenant, reason=str(error))
        removal.told = True

    def _answers(self, master: _Master) -> None:
        master.failures, master.away_until, master.problem = 0, 0.0, ""
        self._troubles.over(master.tenant)

    def _fails(self, master: _Master, error: MasterError) -> None:
        """Calls that fail together count once."""
        self._troubles.note(master.tenant, error)
        master.problem = f"the Jenkins of {master.tenant}: {error}"
        now = self._clock.now()
        if now < master.away_until <= now + _LONGEST_S:
            return
        level = "debug" if master.failures else "info"
        log.at(level, "a master fails", tenant=master.tenant, kind=error.kind, reason=str(error))
        base_s, cap_s = _PAUSES_S[error.kind]
        master.away_until = now + jittered(self._chance, master.failures, base_s, cap_s)
        master.failures += 1
        heapq.heappush(self._due, (master.away_until, master.tenant))
        self._wake.set()

    def _turn_away(self, master: _Master, reason: str, retry_after_s: float) -> None:
        for effect in master.prepares.values():
            self._emit(NodeFailed(effect.task_id, reason, retry_after_s))
        master.prepares.clear()

    def _drop_idle(self, master: _Master) -> None:
        if not master.calls and not master.prepares and not master.removals:
            self._masters.pop(master.tenant, None)


def _is_free(master: _Master, node: str) -> bool:
    return node not in master.removing and node not in master.preparing
