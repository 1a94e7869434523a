"""The scheduler driver: our side of Mesos' v1 scheduler API over asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from framework.core import events
from framework.core.effects import AcceptInverse, Acknowledge, Decline, DeclineInverse, Kill, Reconcile
from framework.core.ids import FrameworkId, HostId, OfferId, TaskId
from framework.core.offers import Offer
from framework.core.resources import Resources
from framework.edges.mesos import decode, wire
from framework.edges.mesos.accept import Accepting, Executors
from framework.edges.mesos.access import Access
from framework.edges.mesos.addresses import Address
from framework.edges.mesos.detector import Masters, detector_of
from framework.edges.mesos.encode import CallEncoder, FrameworkSettings, subscribe
from framework.edges.mesos.purse import Purse
from framework.edges.mesos.session import Session
from framework.edges.mesos.subscription import TICK_S, NotMesosError, RedirectedError, Sent, Subscription
from framework.errors import MesosRefusedError, UnavailableError
from framework.log import get_logger
from framework.mesos_ports import Emit, LaunchGroup, LaunchTasks, Operation
from framework.ports import Chance, Clock, jittered

log = get_logger(__name__)

RETRY_BASE_S = 0.5
RETRY_CAP_S = 15.0
"""A master's own failover takes longer than a few seconds, and 15 s is its heartbeat."""

MAX_REDIRECTS = 3
"""In a row without a wait; two masters that point at each other must not make a storm."""

NOT_MESOS_PATIENCE = 5
"""Answers in a row that are not Mesos' before giving up: with the waits between them 4 to 8 s, as a master that starts

answers 404 for a moment.
"""

MAX_FAILURES_TOLD = 16
"""Reasons that are logged aloud between two subscriptions, lest one that is never the same twice fills the log."""

DRAIN_TIMEOUT_S = 30.0
"""A master that takes nothing for so long is lost soon, by ``connection.USER_TIMEOUT_MS`` or its heartbeats."""


UNREAD_REFUSE_S = 60.0
"""For how long a host whose offer cannot be read is not offered again; its attributes may have been mended by then."""


class SupersededError(UnavailableError):
    """While we spoke with a master, another one was elected."""

    def __init__(self) -> None:
        super().__init__("another Mesos master leads now")


def _nobody(_: events.Event) -> None:
    """Before ``run`` nothing happens."""


_ACKNOWLEDGE = Sent("ACKNOWLEDGE")
_DECLINE = Sent("DECLINE")


class MesosDriver:
    """A ``framework.mesos_ports.SchedulerDriver``. To be used on one event loop's thread only."""

    def __init__(
        self,
        masters: Sequence[str],
        framework: FrameworkSettings,
        clock: Clock,
        chance: Chance,
        framework_id: FrameworkId | None = None,
        heartbeats_missed: int = 5,
        access: Access | None = None,
    ) -> None:
        """``masters`` as ``detector.detector_of`` takes them; without ``access`` we tell nobody who we are.

        Raises InputError.
        """
        self._access = access or Access()
        self._detector = detector_of(masters, self._access)
        self._framework = framework
        self._framework_id = framework_id
        self._clock = clock
        self._chance = chance
        self._heartbeats_missed = heartbeats_missed
        self._stopped = asyncio.Event()
        self._emit: Emit = _nobody
        self._running = False
        self._opening: Subscription | None = None
        self._session: Subscription | None = None  # where a subscription stands
        self._encoder = CallEncoder(framework_id or FrameworkId(""))
        self._roles = framework.roles
        self._suppressed: frozenset[str] = frozenset()
        self._subscribed_once = False
        self._failures_told: set[str] = set()  # since a subscription stood
        self._interval_s = 15.0
        self._live: dict[OfferId, decode.Live] = {}
        self._offer_reader = decode.OfferReader()
        self._executors = Executors()

    @property
    def connected(self) -> bool:
        return self._session is not None

    async def run(self, emit: Emit) -> None:
        """As the port says. Raises MesosRefusedError."""
        if self._running:
            raise RuntimeError("a driver runs once")
        self._running = True
        self._emit = emit
        stopper: asyncio.Future[Any] = asyncio.ensure_future(self._stopped.wait())
        try:
            await self._run(stopper)
        finally:
            stopper.cancel()
            await self._detector.close()

    async def _run(self, stopper: asyncio.Future[Any]) -> None:
        turn = retries = redirects = not_mesos = 0
        several, version = 1, 0
        leader: Address | None = None
        while not self._stopped.is_set():
            try:
                found = await self._find(stopper)
                if found is None:
                    return
                if found.version != version:  # so that whoever led before does not now
                    version, leader = found.version, None
                several = len(found.addresses)
                master = leader or found.addresses[turn % several]
                leader = None
                stood = await self._subscribe_once(master, found.version, stopper)
                retries, redirects, not_mesos = 0 if stood else retries, 0, 0
                leader = master if stood else None  # most often it is back first
            except RedirectedError as error:
                redirects += 1
                if redirects <= MAX_REDIRECTS:
                    leader = error.leader
                    continue
                self._tell_failure(error)
                redirects = 0
            except SupersededError:
                retries = 0
                continue
            except UnavailableError as error:
                not_mesos = not_mesos + 1 if isinstance(error, NotMesosError) else 0
                if not_mesos >= NOT_MESOS_PATIENCE and not self._subscribed_once:
                    raise MesosRefusedError(str(error)) from error
                self._tell_failure(error)
            turn += 1
            pause_s = jittered(self._chance, retries // several, RETRY_BASE_S, RETRY_CAP_S)
            retries += 1
            await self._pause(pause_s, stopper)

    async def _find(self, stopper: asyncio.Future[Any]) -> Masters | None:
        """None where the driver is stopped first. Raises UnavailableError."""
        finding = asyncio.ensure_future(self._detector.masters())
        try:
            await asyncio.wait({finding, stopper}, return_when=asyncio.FIRST_COMPLETED)
            return finding.result() if finding.done() else None
        finally:
            finding.cancel()

    async def _subscribe_once(self, master: Address, version: int, stopper: asyncio.Future[Any]) -> bool:
        """Whether the subscription stood for a heartbeat's interval.

        Raises as ``Subscription.open``, and SupersededError.
        """
        session = self._opening = self._subscription(master)
        opening: asyncio.Future[Any] = asyncio.ensure_future(
            session.open(subscribe(self._framework, self._framework_id, self._roles, self._suppressed))
        )
        superseded: asyncio.Future[Any] = asyncio.ensure_future(self._detector.superseded(master, version))
        try:
            await asyncio.wait({opening, stopper, superseded}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
            ticks, silent_ticks = 0, math.ceil(self._heartbeats_missed * self._interval_s / TICK_S)
            while session.standing and not (stopper.done() or superseded.done()):
                await self._pause(TICK_S, session.lost, stopper, superseded)
                session.tick(self._heartbeats_missed, silent_ticks)
                ticks += session.standing
            if session.refusal is not None:
                raise session.refusal
            if superseded.done() and not stopper.done():
                session.lose(str(SupersededError()))
                raise SupersededError
            return ticks * TICK_S >= self._interval_s
        finally:
            opening.cancel()
            superseded.cancel()
            session.close()
            self._session = None

    def _subscription(self, master: Address) -> Subscription:
        return Session(master, self._access, self._on_event, self._on_refused, self._on_lost)

    async def _pause(self, seconds: float, *unless: asyncio.Future[Any]) -> None:
        """Waits until the time is over or one of ``unless`` is done."""
        sleeper: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({sleeper, *unless}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()

    def _tell_failure(self, error: UnavailableError) -> None:
        # Each reason once aloud, then quietly: a master may be away for hours.
        reason = str(error)
        aloud = reason not in self._failures_told and len(self._failures_told) < MAX_FAILURES_TOLD
        if aloud:
            self._failures_told.add(reason)
        tell = log.warning if aloud else log.debug
        tell("Mesos cannot be subscribed to; trying on", error=reason)
        self._emit(events.NotSubscribed(reason))

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            # Where events end first Mesos takes the offers back, and refuses launches that it has not read yet.
            await session.settled()
            session.close()
        self._stopped.set()

    async def teardown(self) -> None:
        """As the port says; returns when Mesos has said that it is done.

        Raises UnavailableError where no subscription stands or no answer comes, MesosRefusedError.
        """
        if self._session is None:
            raise UnavailableError("no subscription stands, so the framework cannot be torn down now")
        await self._session.teardown(self._encoder.bare("TEARDOWN"))
        log.info("the framework is torn down", framework_id=self._framework_id)
        await self.stop()

    def accept(
        self,
        offer_ids: Sequence[OfferId],
        host_id: HostId,
        operations: Sequence[Operation],
        refuse_s: float = 0.0,
    ) -> None:
        lives = [live for live in map(self._spent, offer_ids) if live is not None]
        role = lives[0].role if lives else self._roles[0]
        purse: Purse | None = None
        running: frozenset[str] = frozenset()
        if len(self._roles) > 1 or self._executors.any_on(host_id) or not _are_plain(lives, operations):
            purse = Purse([live.held for live in lives], role)
            running = frozenset().union(*map(decode.executor_ids, lives))

        def making(framework: wire.Value) -> Accepting:
            own = purse.copy() if purse is not None else None
            return Accepting(framework, host_id, role, own, running, self._executors)

        body, made = self._encoder.accept(offer_ids, operations, refuse_s, making)
        if made.started:
            self._executors.remember(host_id, made.started)
        if self._session is not None:
            self._session.send(Sent("ACCEPT", host_id, operations), body)

    def _spent(self, offer_id: OfferId) -> decode.Live | None:
        return self._live.pop(offer_id, None)

    def decline(self, call: Decline) -> None:
        forget = self._live.pop
        for offer_id in call.offer_ids:
            forget(offer_id, None)
        self._send(_DECLINE, self._encoder.decline(call))

    def accept_inverse(self, call: AcceptInverse) -> None:
        self._send(Sent("ACCEPT_INVERSE_OFFERS"), self._encoder.accept_inverse(call))

    def decline_inverse(self, call: DeclineInverse) -> None:
        self._send(Sent("DECLINE_INVERSE_OFFERS"), self._encoder.decline_inverse(call))

    def revive(self, roles: Sequence[str] = ()) -> None:
        self._suppressed = self._suppressed.difference(roles) if roles else frozenset()
        self._send(Sent("REVIVE"), self._encoder.revive(roles))

    def suppress(self, roles: Sequence[str] = ()) -> None:
        self._suppressed = self._suppressed.union(roles or self._roles)
        self._send(Sent("SUPPRESS"), self._encoder.suppress(roles))

    def request_resources(self, resources: Sequence[Resources]) -> None:
        self._send(Sent("REQUEST"), self._encoder.request(resources))

    def update_framework(self, roles: Sequence[str], suppressed: Sequence[str] = ()) -> None:
        self._roles, self._suppressed = tuple(roles), frozenset(suppressed)
        body = self._encoder.update_framework(self._framework, self._roles, self._suppressed)
        self._send(Sent("UPDATE_FRAMEWORK"), body)

    def shutdown(self, host_id: HostId, executor_id: str) -> None:
        self._send(Sent("SHUTDOWN"), self._encoder.shutdown(host_id, executor_id))

    def kill(self, call: Kill) -> None:
        self._send(Sent("KILL"), self._encoder.kill(call))

    def acknowledge(self, call: Acknowledge) -> None:
        if self._session is not None:
            self._session.send(_ACKNOWLEDGE, self._encoder.acknowledge(call))

    def reconcile(self, call: Reconcile) -> None:
        self._send(Sent("RECONCILE"), self._encoder.reconcile(call))

    def acknowledge_operation(self, update: events.OperationUpdate) -> None:
        self._send(Sent("ACKNOWLEDGE_OPERATION_STATUS"), self._encoder.acknowledge_operation(update))

    def reconcile_operations(self, operations: Sequence[tuple[str, HostId]]) -> None:
        self._send(Sent("RECONCILE_OPERATIONS"), self._encoder.reconcile_operations(operations))

    def message(self, host_id: HostId, executor_id: str, data: bytes) -> None:
        self._send(Sent("MESSAGE"), self._encoder.message(host_id, executor_id, data))

    async def drain(self) -> None:
        if self._session is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    await self._session.drain()

    def _send(self, sent: Sent, body: bytes) -> None:
        if self._session is not None:
            self._session.send(sent, body)

    def _on_event(self, event: wire.Event) -> None:
        if type(event) is wire.Update:  # most are
            self._emit(decode.task_update(event.update.status))
            return
        told = self._told(event)
        if told is not None:
            self._emit(told)

    def _told(self, event: wire.Event) -> events.Event | None:
        """The most frequent first."""
        match event:
            case wire.Offers():
                return self._offers(event.offers)
            case wire.Rescind():
                offer_id = OfferId(event.rescind.offer_id.value)
                self._spent(offer_id)
                return events.OfferRescinded(offer_id)
            case wire.Failure():
                return self._failure(event.failure)
            case wire.Message():
                raw = event.message
                return events.ExecutorMessage(HostId(raw.agent_id.value), raw.executor_id.value, raw.data)
            case wire.UpdateOperation():
                return decode.operation_update(event.update_operation_status.status)
            case wire.InverseOffers():
                inverse = [decode.inverse_offer(raw) for raw in event.inverse_offers.inverse_offers]
                return events.InverseOffersReceived(tuple([offer for offer in inverse if offer is not None]))
            case wire.RescindInverse():
                return events.InverseOfferRescinded(OfferId(event.rescind_inverse_offer.inverse_offer_id.value))
            case wire.Subscribed():
                return self._subscribed(event.subscribed)
        return None

    def _offers(self, raw: wire.OffersBody) -> events.OffersReceived:
        offers: list[Offer] = []
        unread = [OfferId(each) for each in raw.unread]
        for each in raw.offers:
            try:
                offer, live = self._offer_reader.read(each)
            except (ValueError, OverflowError):
                unread.append(OfferId(each.id.value))
            else:
                offers.append(offer)
                self._live[offer.id] = live
        if unread:
            log.warning("offers of Mesos cannot be read and are declined", offers=unread[:10], count=len(unread))
            self.decline(Decline(tuple(unread), UNREAD_REFUSE_S))
        return events.OffersReceived(tuple(offers))

    def _failure(self, raw: wire.FailureBody) -> events.Event | None:
        failure = decode.failure(raw)
        if isinstance(failure, events.HostLost):
            self._executors.forget(failure.host_id)
            self._offer_reader.forget(failure.host_id)
        elif failure is not None:
            self._executors.forget(failure.host_id, failure.executor_id)
        return failure

    def _subscribed(self, raw: wire.SubscribedBody) -> events.Subscribed:
        framework_id = self._framework_id = FrameworkId(raw.framework_id.value)
        self._encoder = CallEncoder(framework_id)
        self._interval_s = raw.heartbeat_interval_seconds
        self._live.clear()
        self._offer_reader = decode.OfferReader()
        self._subscribed_once = True
        self._failures_told.clear()
        self._session = self._opening
        log.info("subscribed to Mesos", framework_id=framework_id)
        return events.Subscribed(framework_id)

    def _on_refused(self, sent: Sent, status: int) -> None:
        for operation in sent.operations:
            if isinstance(operation, (LaunchTasks, LaunchGroup)):
                message = f"Mesos refused the launch ({status})"
                for task in operation.tasks:
                    self._emit(_dropped(task.task_id, sent.host_id, message))
            elif operation.operation_id is not None:  # one that asks for an update
                message = f"Mesos refused the operation ({status})"
                update = events.OperationUpdate(
                    operation.operation_id, "OPERATION_DROPPED", sent.host_id, message=message
                )
                self._emit(update)

    def _on_lost(self, reason: str) -> None:
        self._session = None
        self._live.clear()
        log.warning("the connection to Mesos is lost", reason=reason)
        self._emit(events.Disconnected(reason))


_LAUNCHES = frozenset({LaunchTasks, LaunchGroup})


def _are_plain(lives: Iterable[decode.Live], operations: Iterable[Operation]) -> bool:
    """Whether nothing is reserved or to be changed, so that no pieces need be told apart."""
    for live in lives:
        if not live.held.plain:
            return False
    return _LAUNCHES.issuperset(map(type, operations))


def _dropped(task_id: TaskId, host_id: HostId | None, message: str) -> events.TaskUpdate:
    return events.TaskUpdate(task_id, "TASK_DROPPED", host_id, source="SOURCE_MASTER", message=message)
