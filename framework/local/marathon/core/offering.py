"""What becomes of offers: instances are launched on them, or they are held for a while and then declined."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from framework.core.effects import Decline, Revive, Suppress
from framework.core.ids import HostId, OfferId
from framework.core.offers import HostOffers, Offer
from framework.local.marathon.core.effects import Free, Launch, Placement
from framework.local.marathon.core.frame import Frame
from framework.local.marathon.core.queue import Waiting, delay_of
from framework.local.marathon.core.state import State
from framework.local.marathon.definition.app import App
from framework.local.marathon.matching.match import Placed, Refused, Round
from framework.local.marathon.records import Condition, Instance

FREE_AGAIN_S = 10.0
"""What nobody wants on a host is given back at most so often, should Mesos refuse it."""


def take_in(frame: Frame, offers: Iterable[Offer]) -> None:
    """Holds them for a while (``hold_s``); ``conclude`` then uses them or gives them back."""
    state = frame.state
    until = frame.now + state.config.hold_s
    for offer in offers:
        state.seen[offer.host_id] = (offer, frame.now)
        state.offers.add(offer, until)
        state.fresh.add(offer.host_id)
        state.deadlines.set("host", offer.host_id, until)


def lose_all(state: State) -> None:
    """The connection they came by is lost, and with it every offer."""
    for host_id in state.offers.hosts():
        state.deadlines.drop("host", host_id)
    state.offers.clear()
    state.fresh.clear()


def _give_back(frame: Frame, host_ids: Iterable[HostId]) -> None:
    state = frame.state
    offer_ids = [each for host_id in host_ids for each in state.offers.take(host_id)]
    if offer_ids:
        frame.call(Decline(tuple(offer_ids), state.config.refuse_s))


def conclude(frame: Frame, stale: Iterable[HostId] = ()) -> None:
    """Ends a turn: launches what can go, then asks for offers or wants no more of them.

    ``stale``: hosts whose offers have been held as long as they may be, so that they serve now or go back.
    """
    state = frame.state
    if not state.connected:
        return
    for host_id in sorted(state.fresh):
        for held in state.offers.of(host_id):
            _free(frame, held)
    if state.eager or state.fresh:
        _round(frame)
    _give_back(frame, stale)
    _appetite(frame)


def _free(frame: Frame, held: HostOffers) -> None:
    """Gives back what is reserved on the host for instances that nobody wants any more."""
    state = frame.state
    if not any(offer.pieces or offer.reserved_pieces for offer in held.offers.values()):
        return
    if frame.now < state.freed.get(held.host_id, -FREE_AGAIN_S) + FREE_AGAIN_S:
        return
    volumes, reserved = state.matching.leftovers(held, state.keeps)
    if not volumes and not reserved:
        return
    state.freed[held.host_id] = frame.now
    frame.call(Free(_use(state, held.host_id, held.role), held.host_id, volumes, reserved))
    gone = {one.volume.id for one in volumes if one.volume is not None}
    for instance in state.garbage.get(held.host_id, {}).values():
        if any(one.persistence_id in gone for one in instance.volumes):
            # What its Mesos executor had of the reservation is offered only when that has ended, after its task.
            state.deadlines.set("garbage", instance.id, frame.now + state.config.rest_s)


def _use(state: State, host_id: HostId, role: str) -> tuple[OfferId, ...]:
    offer_ids = state.offers.take(host_id, role)
    if not state.offers.of(host_id):
        state.deadlines.drop("host", host_id)
    return offer_ids


def _round(frame: Frame) -> None:
    """Every app that waits is looked at for new offers, and one that has only now begun to wait for all that are held.

    A round launches a bounded number, so that a turn's frame stays small; what is left follows in the next turn.
    """
    state = frame.state
    hosts = state.offers.hosts() if state.eager else [one for one in state.fresh if state.offers.of(one)]
    new = dict(state.eager)
    apps = {**new, **state.waiting} if state.fresh else new
    state.eager.clear()
    state.fresh.clear()
    ready = [app_id for app_id in apps if app_id in state.waiting and not _backs_off(frame, app_id)]
    if not hosts or not ready:
        return
    placing = _Placing(frame, [held for host_id in sorted(hosts) for held in state.offers.of(host_id)])
    for index, app_id in enumerate(ready):
        placing.app(app_id)
        if placing.left <= 0:
            state.eager.update(dict.fromkeys(one for one in (*ready[index + 1 :], app_id) if one in state.waiting))
            state.deadlines.set("round", "", frame.now)
            break
    placing.launch()
    state.unserved = state.unserved and any(one in state.waiting and one not in state.delayed for one in new)


def _backs_off(frame: Frame, app_id: str) -> bool:
    """Whether the app has to wait; it is then looked at again when that is over."""
    state = frame.state
    book = state.book(app_id)
    delay_s = delay_of(state, state.spec(book.instances[next(iter(book.scheduled))]), frame.now)
    if delay_s <= 0:
        state.delayed.pop(app_id, None)
        return False
    state.delayed[app_id] = None
    state.deadlines.set("delay", app_id, frame.now + delay_s)
    return True


class _Placing:
    """One round over some hosts' offers."""

    def __init__(self, frame: Frame, offers: list[HostOffers]) -> None:
        self.left = frame.state.config.max_launches
        self._frame = frame
        self._round: Round = frame.state.matching.make_round(offers, frame.now)
        self._offers = sum(len(held.offers) for held in offers)
        self._launches: dict[tuple[HostId, str], list[Placement]] = {}

    def app(self, app_id: str) -> None:
        """Places what waits of the app, as far as the offers and the bound of a round go."""
        state = self._frame.state
        book, stats = state.book(app_id), state.waiting[app_id]
        siblings: list[Instance] | None = None
        for instance_id in list(book.scheduled)[: self.left]:
            instance = book.instances[instance_id]
            app = state.spec(instance)
            if siblings is None:
                siblings = state.placed(app) if app.constraints else []
            others = [one for one in siblings if one.id != instance_id] if instance.reserved else siblings
            found = self._round.place(app, instance, others)
            self._count(stats, found)
            if isinstance(found, Placed):
                placed = self._place(app, instance, found)
                if app.constraints:
                    siblings.append(placed)
            elif not instance.reserved:
                break  # the others are just like it; one with a reservation has a host of its own to go to

    def _count(self, stats: Waiting, found: Placed | Refused) -> None:
        now = self._frame.now
        stats.processed += self._offers
        if isinstance(found, Placed):
            stats.last_used_at = now
            stats.unused += self._offers - len(found.offer_ids)
        else:
            stats.last_unused_at = now
            stats.unused += self._offers

    def _place(self, app: App, instance: Instance, found: Placed) -> Instance:
        frame = self._frame
        instance = replace(
            instance,
            condition=Condition.PROVISIONED,
            since=frame.now,
            attempt=instance.attempt + 1,
            site=found.site,
            ports=found.ports,
            staged_at=frame.now,
            started_at=None,
            mesos_state=None,
            addresses=(),
            healthy=None,
            ready=False if app.readiness_checks else None,
            volumes=found.volumes or instance.volumes,
            kill_asked_at=None,
        )
        frame.put(instance)
        frame.state.deadlines.set("launch", instance.id, frame.now + frame.state.config.launch_timeout_s)
        key = found.site.host_id, found.role
        self._launches.setdefault(key, []).append(Placement(app, instance, found))
        self.left -= 1
        return instance

    def launch(self) -> None:
        for (host_id, role), placements in self._launches.items():
            offer_ids = _use(self._frame.state, host_id, role)
            self._frame.call(Launch(offer_ids, host_id, tuple(placements)))


def _appetite(frame: Frame) -> None:
    state = frame.state
    hungry = len(state.waiting) > len(state.delayed) or bool(state.garbage)
    if hungry and (state.suppressed or state.unserved):
        again_at = state.revived_at + state.config.revive_interval_s
        if frame.now >= again_at:
            frame.call(Revive())
            state.suppressed, state.unserved, state.revived_at = False, False, frame.now
            state.deadlines.drop("revive", "")
        else:
            state.deadlines.set("revive", "", again_at)
    elif not hungry and not state.suppressed and not len(state.offers):
        frame.call(Suppress())
        state.suppressed = True
