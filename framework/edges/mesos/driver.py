"""The scheduler driver: our side of Mesos' v1 scheduler API over asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Sequence
from typing import Any

from framework.core import events
from framework.core.effects import AcceptInverse, Acknowledge, Decline, DeclineInverse, Kill, Reconcile
from framework.core.ids import FrameworkId, HostId, OfferId
from framework.core.offers import Offer
from framework.core.resources import Resources
from framework.edges.mesos import decode, wire
from framework.edges.mesos.access import Access
from framework.edges.mesos.addresses import Address
from framework.edges.mesos.detector import Masters, detector_of
from framework.edges.mesos.encode import CallEncoder, FrameworkSettings, subscribe
from framework.edges.mesos.purse import Purse, is_plain, merged, purse_of
from framework.edges.mesos.session import TICK_S, NotMesosError, RedirectedError, Sent, Session
from framework.errors import MesosRefusedError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, Emit, LaunchTasks, Operation, jittered

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

DRAIN_TIMEOUT_S = 30.0
"""A master that takes nothing for so long is lost soon, by ``connection.USER_TIMEOUT_MS`` or its heartbeats."""


class SupersededError(UnavailableError):
    """While we spoke with a master, another one was elected."""

    def __init__(self) -> None:
        super().__init__("another Mesos master leads now")


def _nobody(_: events.Event) -> None:
    """Before ``run`` nothing happens."""


_ACKNOWLEDGE = Sent("ACKNOWLEDGE")
_DECLINE = Sent("DECLINE")


class MesosDriver:
    """A ``framework.ports.SchedulerDriver``. To be used on one event loop's thread only."""

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
        self._opening: Session | None = None
        self._session: Session | None = None  # where a subscription stands
        self._encoder = CallEncoder(framework_id or FrameworkId(""), framework.role)
        self._subscribed_once = False
        self._interval_s = 15.0
        self._reserved: dict[OfferId, Purse] = {}  # of live offers, those with something reserved for our role

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
        several = 1
        leader: Address | None = None
        while not self._stopped.is_set():
            try:
                found = await self._find(stopper)
                if found is None:
                    return
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
                self._tell_failure(error, retries)
                redirects = 0
            except SupersededError:
                retries = 0
                continue
            except UnavailableError as error:
                not_mesos = not_mesos + 1 if isinstance(error, NotMesosError) else 0
                if not_mesos >= NOT_MESOS_PATIENCE and not self._subscribed_once:
                    raise MesosRefusedError(str(error)) from error
                self._tell_failure(error, retries)
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

        Raises as ``Session.open``, and SupersededError.
        """
        session = self._opening = Session(master, self._access, self._on_event, self._on_refused, self._on_lost)
        opening: asyncio.Future[Any] = asyncio.ensure_future(
            session.open(subscribe(self._framework, self._framework_id))
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

    async def _pause(self, seconds: float, *unless: asyncio.Future[Any]) -> None:
        """Waits until the time is over or one of ``unless`` is done."""
        sleeper: asyncio.Future[Any] = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({sleeper, *unless}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()

    def _tell_failure(self, error: UnavailableError, retries: int) -> None:
        # Once aloud, then quietly: a master may be away for hours.
        tell = log.debug if retries else log.warning
        tell("Mesos cannot be subscribed to; trying on", error=str(error))

    async def stop(self) -> None:
        self._stopped.set()
        if self._session is not None:
            self._session.close()
            self._session = None

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
        launches = [launch for each in operations if isinstance(each, LaunchTasks) for launch in each.tasks]
        purse = self._purse(offer_ids)
        sent = Sent("ACCEPT", host_id, tuple([launch.task_id for launch in launches]))
        self._send(sent, self._encoder.accept(offer_ids, host_id, launches, purse))

    def _purse(self, offer_ids: Sequence[OfferId]) -> Purse | None:
        """What the offers hold, where some of it is reserved; the offers are spent."""
        if not self._reserved:
            return None
        purses = [self._reserved.pop(offer_id, None) for offer_id in offer_ids]
        known = [purse for purse in purses if purse is not None]
        return merged(known) if known else None

    def decline(self, call: Decline) -> None:
        self._purse(call.offer_ids)
        self._send(_DECLINE, self._encoder.decline(call))

    def accept_inverse(self, call: AcceptInverse) -> None:
        self._send(Sent("ACCEPT_INVERSE_OFFERS"), self._encoder.accept_inverse(call))

    def decline_inverse(self, call: DeclineInverse) -> None:
        self._send(Sent("DECLINE_INVERSE_OFFERS"), self._encoder.decline_inverse(call))

    def revive(self, roles: Sequence[str] = ()) -> None:
        self._send(Sent("REVIVE"), self._encoder.revive(roles))

    def suppress(self, roles: Sequence[str] = ()) -> None:
        self._send(Sent("SUPPRESS"), self._encoder.suppress(roles))

    def request_resources(self, resources: Sequence[Resources]) -> None:
        self._send(Sent("REQUEST"), self._encoder.request(resources))

    def update_framework(self, roles: Sequence[str], suppressed: Sequence[str] = ()) -> None:
        pass

    def shutdown(self, host_id: HostId, executor_id: str) -> None:
        self._send(Sent("SHUTDOWN"), self._encoder.shutdown(host_id, executor_id))

    def kill(self, call: Kill) -> None:
        self._send(Sent("KILL"), self._encoder.kill(call))

    def acknowledge(self, call: Acknowledge) -> None:
        self._send(_ACKNOWLEDGE, self._encoder.acknowledge(call))

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
        emit = self._emit
        if isinstance(event, wire.Update):
            emit(decode.task_update(event.update.status))
        elif isinstance(event, wire.Offers):
            emit(events.OffersReceived(tuple([self._offer(raw) for raw in event.offers.offers])))
        elif isinstance(event, wire.Rescind):
            offer_id = OfferId(event.rescind.offer_id.value)
            self._reserved.pop(offer_id, None)
            emit(events.OfferRescinded(offer_id))
        elif isinstance(event, wire.Failure):
            failure = decode.failure(event.failure)
            if failure is not None:
                emit(failure)
        elif isinstance(event, wire.Subscribed):
            emit(self._subscribed(event.subscribed))

    def _subscribed(self, raw: wire.SubscribedBody) -> events.Subscribed:
        framework_id = self._framework_id = FrameworkId(raw.framework_id.value)
        self._encoder = CallEncoder(framework_id, self._framework.role)
        self._interval_s = raw.heartbeat_interval_seconds
        self._reserved.clear()
        self._subscribed_once = True
        self._session = self._opening
        log.info("subscribed to Mesos", framework_id=framework_id)
        return events.Subscribed(framework_id)

    def _offer(self, raw: wire.Offer) -> Offer:
        if not is_plain(raw.resources):
            self._reserved[OfferId(raw.id.value)] = purse_of(raw.resources)
        return decode.offer(raw)

    def _on_refused(self, sent: Sent, status: int) -> None:
        for task_id in sent.task_ids:
            message = f"Mesos refused the launch ({status})"
            self._emit(
                events.TaskUpdate(task_id, "TASK_DROPPED", sent.host_id, source="SOURCE_MASTER", message=message)
            )

    def _on_lost(self, reason: str) -> None:
        self._session = None
        self._reserved.clear()
        log.warning("the connection to Mesos is lost", reason=reason)
        self._emit(events.Disconnected(reason))
