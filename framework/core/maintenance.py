"""Hosts that Mesos wants back: builds are told in time, those that cannot end by themselves are ended and tried again.

A host's window comes from the list of hosts, from its offers and from inverse offers; it may move or be called off.
"""

from __future__ import annotations

from collections.abc import Mapping

from framework.core.effects import AcceptInverse, DeclineInverse, Effect, Tell
from framework.core.endings import grace, kill
from framework.core.ids import HostId, OfferId
from framework.core.offers import Host, InverseOffer, Offer, Window
from framework.core.state import Announced, State
from framework.core.tasks import FailureClass, Task, TaskState

_ANNOUNCED_S = 60.0
"""How long a word of an offer counts. Mesos asks again about every 6 s while we use the host and the window stands: its

default filter of 5 s and the next allocation (1.11, hierarchical.cpp, updateInverseOffer).
"""


def asked_back(state: State, offers: tuple[InverseOffer, ...], now: float) -> list[Effect]:
    """Accepts what we shall be out of in time, and declines where that cannot be any more; Mesos asks again then."""
    in_time: list[OfferId] = []
    late: list[OfferId] = []
    for offer in offers:
        _announce(state, offer.host_id, Announced(offer.window, now + _ANNOUNCED_S, offer.id), now)
        left_s = offer.window.start_at - now
        tasks = state.tasks_on.get(offer.host_id, {}).values()
        (late if any(grace(state, task) > left_s for task in tasks) else in_time).append(offer.id)
    effects: list[Effect] = []
    if in_time:
        effects.append(AcceptInverse(tuple(in_time)))
    if late:
        effects.append(DeclineInverse(tuple(late), state.config.refuse_s))
    return effects


def taken_back(state: State, offer_id: OfferId, now: float) -> None:
    """An inverse offer is rescinded: its window is called off, or moves and Mesos asks again."""
    for host_id, announced in list(state.announced.items()):
        if announced.inverse_offer == offer_id:
            del state.announced[host_id]
            look_soon(state, host_id, now)


def offered(state: State, offer: Offer, now: float) -> None:
    """Every offer of a host tells its window, or that there is none."""
    if offer.window is not None:
        _announce(state, offer.host_id, Announced(offer.window, now + _ANNOUNCED_S), now)
    elif state.announced.pop(offer.host_id, None) is not None:
        look_soon(state, offer.host_id, now)


def observed(state: State, before: Mapping[HostId, Host], now: float) -> None:
    """The hosts were listed anew: where a window has changed since ``before``, no older word of it counts."""
    for host_id in before.keys() | state.hosts.keys():
        old, new = before.get(host_id), state.hosts.get(host_id)
        if (old.window if old else None) != (new.window if new else None):
            state.announced.pop(host_id, None)
            look_soon(state, host_id, now)


def look_soon(state: State, host_id: HostId, now: float) -> None:
    """Has the host looked at in this turn, as its window or its tasks have changed."""
    state.deadlines.set("maintenance", host_id, now)


def look(state: State, host_id: HostId, now: float) -> list[Effect]:
    """Tells and ends those builds of the host whose time for it has come, and notes when to look again."""
    announced = state.announced.get(host_id)
    if announced is not None and announced.until <= now:
        del state.announced[host_id]
    state.dirty = True  # what may be placed there is not the same any more
    window = state.window_of(host_id, now)
    tasks = list(state.tasks_on.get(host_id, {}).values())
    if window is None:
        return _called_off(state, tasks)
    effects: list[Effect] = []
    for task in tasks:
        if task.state in (TaskState.LAUNCHING, TaskState.RUNNING):
            effects += _prepare(state, task, window, now)
    again = _next_look(state, host_id, window, now)
    if again is not None:
        state.deadlines.set("maintenance", host_id, again)
    return effects


def _announce(state: State, host_id: HostId, announced: Announced, now: float) -> None:
    before = state.window_of(host_id, now)
    state.announced[host_id] = announced
    if state.window_of(host_id, now) != before or not state.deadlines.has("maintenance", host_id):
        look_soon(state, host_id, now)


def _prepare(state: State, task: Task, window: Window, now: float) -> list[Effect]:
    """What is due now for a task that lives while its host's maintenance comes near."""
    if now < window.start_at - state.config.maintenance_warn_s and now < _kill_at(state, task, window):
        return []
    left_s = max(0.0, window.start_at - now)
    coming = f"host {task.hostname} goes into maintenance" + (f" in {left_s:.0f} s" if left_s else " now")
    if _ends_before(state, task, window, now):
        return _tell(state, task, window, f"{coming}; this build's time is over before that")
    kill_in_s = _kill_at(state, task, window) - now
    if kill_in_s > 0:
        text = f"{coming}; this build is ended in {kill_in_s:.0f} s unless it is done, and tried again elsewhere"
        return _tell(state, task, window, text)
    told = _tell(state, task, window, f"{coming}; this build is ended and tried again elsewhere")
    return [*told, *kill(state, task, FailureClass.INFRASTRUCTURE, coming, now, spares_retry=True)]


def _tell(state: State, task: Task, window: Window, text: str) -> list[Effect]:
    if task.state is not TaskState.RUNNING or state.warned.get(task.id) == window.start_at:
        return []
    state.warned[task.id] = window.start_at
    return [Tell(task.id, task.host_id, task.mesos_executor_id or task.id, text)]


def _called_off(state: State, tasks: list[Task]) -> list[Effect]:
    effects: list[Effect] = []
    for task in tasks:
        if state.warned.pop(task.id, None) is not None and task.state is TaskState.RUNNING:
            text = f"the maintenance of host {task.hostname} is called off or over; this build goes on"
            effects.append(Tell(task.id, task.host_id, task.mesos_executor_id or task.id, text))
    return effects


def _kill_at(state: State, task: Task, window: Window) -> float:
    return window.start_at - grace(state, task) - state.config.timeout_slack_s


def _ends_before(state: State, task: Task, window: Window, now: float) -> bool:
    """Whether its own timeout has ended it by the start."""
    began = now if task.running_at is None else task.running_at
    template = state.requests[task.request_id].template
    return began + template.timeout_s + template.grace_s <= window.start_at


def _next_look(state: State, host_id: HostId, window: Window, now: float) -> float | None:
    times = [window.start_at - state.config.maintenance_warn_s]
    times += [_kill_at(state, task, window) for task in state.tasks_on.get(host_id, {}).values()]
    announced = state.announced.get(host_id)
    if announced is not None:
        times.append(announced.until)
    if window.duration_s is not None:
        times.append(window.start_at + window.duration_s)
    return min((each for each in times if each > now), default=None)
