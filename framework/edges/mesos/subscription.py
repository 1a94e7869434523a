"""What every subscription to Mesos has in common, whoever speaks on the wire: from its beginning until it is lost."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from framework.core.ids import HostId
from framework.edges.mesos import wire
from framework.edges.mesos.access import Access
from framework.edges.mesos.addresses import Address, redirect_target
from framework.edges.mesos.connection import Answer
from framework.errors import FrameworkRemovedError, FrameworkTakenError, MesosRefusedError, UnavailableError
from framework.log import get_logger
from framework.mesos_ports import Operation

log = get_logger(__name__)

PATH = "/api/v1/scheduler"
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0
"""For GET /version, SUBSCRIBE and the first event; a master that is recovering takes seconds."""

MAX_PENDING_CALLS = 200_000
"""Calls not answered yet: eight times the acknowledgements of 8000 tasks' three updates each."""

TICK_S = 5.0
UNANSWERED_TICKS = 4
"""Twenty seconds in which no call is answered, though one was made: a master with much to do answers some."""

SETTLE_TIMEOUT_S = 2.0
SETTLE_LOOK_S = 0.005
"""For the answers to the last calls, which take a master milliseconds."""

MAX_SHOWN_CHARS = 200

_NOT_OF_THE_CALL = (401, 407, 408, 429)  # said of whoever calls, or by a proxy

_FINAL = {  # Mesos' words (master.cpp, 1.11)
    "Framework has been removed": FrameworkRemovedError,  # torn down, or away for too long
    "Framework failed over": FrameworkTakenError,
}

_ABOUT_IT = frozenset({wire.Subscribed, wire.Error})
"""Events that tell of the subscription itself."""

_Result = TypeVar("_Result")


class NotMesosError(UnavailableError):
    """What answers does not speak Mesos' v1 API, or does not yet: a master that starts says 404 for a moment."""


class RedirectedError(UnavailableError):
    """Another master leads."""

    def __init__(self, leader: Address) -> None:
        super().__init__(f"another Mesos master leads: {leader}")
        self.leader = leader


class Sent(NamedTuple):
    """A call on its way."""

    kind: str
    host_id: HostId | None = None
    operations: Sequence[Operation] = ()  # of an ACCEPT
    answered: asyncio.Future[Answer] | None = None  # for those who wait; else only refusals are told


class Subscription(ABC):
    """``open`` it, then ``send`` until it is ``lost``. To be used on one event loop's thread.

    ``on_event`` gets SUBSCRIBED first and no event after the loss; ``on_refused`` the calls that Mesos refused;
    ``on_lost`` the reason, once, where a subscription stood.
    """

    def __init__(
        self,
        master: Address,
        access: Access,
        on_event: Callable[[wire.Event], None],
        on_refused: Callable[[Sent, int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.master = master
        self._access = access
        self._on_event = on_event
        self._on_refused = on_refused
        self._on_lost = on_lost
        self.standing = False
        """Between SUBSCRIBED and the loss: calls may be sent."""
        self._over = False
        self._answers = self._answers_at_tick = 0
        self._heard_at_tick = 0
        self._silent_ticks = self._unanswered_ticks = 0
        self._subscribed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tearing_down = False
        self.refusal: MesosRefusedError | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done with the reason when the subscription is over."""

    @abstractmethod
    async def open(self, subscribe: bytes) -> None:
        """Connects and subscribes; returns when SUBSCRIBED has come.

        Raises UnavailableError, of which RedirectedError and NotMesosError are kinds, and MesosRefusedError.
        """

    @abstractmethod
    def send(self, sent: Sent, body: bytes) -> None:
        """Puts a call on the wire. Where too many are unanswered the subscription is lost instead."""

    @abstractmethod
    async def drain(self) -> None:
        """Returns once Mesos has taken most of the calls made, or the subscription is lost."""

    @abstractmethod
    def close(self) -> None:
        """Ends the subscription once the calls made are sent, and tells nobody."""

    @abstractmethod
    def _heard(self) -> int:
        """Grows with whatever comes on the event stream."""

    @abstractmethod
    def _waiting(self) -> bool:
        """Whether a call is not answered yet."""

    @abstractmethod
    def _probe(self) -> None:
        """Asks for what Mesos always answers."""

    @abstractmethod
    def _begin(self) -> None:
        """SUBSCRIBED has come, and calls may follow at once."""

    async def settled(self) -> None:
        """Returns once every call is answered, or the subscription is lost; within ``SETTLE_TIMEOUT_S``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                while self.standing and self._waiting():  # noqa: ASYNC110 - once in a subscription's life
                    await asyncio.sleep(SETTLE_LOOK_S)

    def _untold(self, reason: str) -> UnavailableError | MesosRefusedError:
        """What to raise where the subscription is lost for ``reason`` before what is waited for came."""
        return UnavailableError(f"Mesos at {self.master.url}: {reason}")

    async def _before_loss(self, future: asyncio.Future[_Result]) -> _Result:
        either: set[asyncio.Future[Any]] = {future, self.lost}
        await asyncio.wait(either, timeout=ANSWER_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if self.refusal is not None:
            raise self.refusal
        if self.lost.done():
            raise self._untold(self.lost.result())
        raise TimeoutError(f"no answer in {ANSWER_TIMEOUT_S:g} s")

    async def teardown(self, body: bytes) -> None:
        """Sends a TEARDOWN and waits for its answer. Raises UnavailableError, MesosRefusedError."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._tearing_down = True
        self.send(Sent("TEARDOWN", answered=answered), body)
        try:
            answer = await self._before_loss(answered)
        except TimeoutError as error:
            raise UnavailableError(f"Mesos at {self.master} does not answer TEARDOWN: {error}") from error
        if answer.status != 202:
            raise MesosRefusedError(f"Mesos refuses TEARDOWN ({answer.status}): {shown(answer.body)}")

    def tick(self, heartbeats_missed: int, silent_ticks: int) -> None:
        """To be called every ``TICK_S``: loses the subscription where no event has come for ``silent_ticks``, in which

        so many heartbeats were due, or calls go unanswered; and makes a call where none was made, to see it answered.
        Ticks are counted rather than time taken, so that a jump of the clock or a suspended machine loses nothing.
        """
        if not self.standing:
            return
        heard, waiting, quiet = self._heard(), self._waiting(), self._answers == self._answers_at_tick
        self._silent_ticks = self._silent_ticks + 1 if heard == self._heard_at_tick else 0
        self._unanswered_ticks = self._unanswered_ticks + 1 if waiting and quiet else 0
        self._heard_at_tick, self._answers_at_tick = heard, self._answers
        if self._silent_ticks >= silent_ticks:
            self.lose(f"{heartbeats_missed} heartbeats were missed")
        elif self._unanswered_ticks >= UNANSWERED_TICKS:
            self.lose("calls are not answered")
        elif quiet and not waiting:
            self._probe()

    def _lose_for_room(self) -> None:
        """Where one call more would be more than ``MAX_PENDING_CALLS``."""
        self.lose(f"{MAX_PENDING_CALLS} calls are not answered")

    def lose(self, reason: str) -> None:
        """Ends the subscription, and tells why where it stood."""
        if self._over:
            return
        stood = self.standing
        self._end(reason)
        if stood:
            self._on_lost(reason)

    def _stream_lost(self, reason: str) -> None:
        # Mesos ends the stream before it answers TEARDOWN on the other connection (seen with 1.11).
        if not self._tearing_down:
            self.lose(reason)

    def _end(self, reason: str) -> None:
        self.standing, self._over = False, True
        self.lost.set_result(reason)

    def _take(self, event: wire.Event) -> None:
        if type(event) in _ABOUT_IT:
            self._heed(event)
        if self.standing:
            self._on_event(event)

    def _heed(self, event: wire.Event) -> None:
        if type(event) is wire.Error:
            # All of Mesos' errors are final: removed, not authorised, invalid, or another scheduler subscribed as us.
            kinds = (kind for words, kind in _FINAL.items() if words in event.error.message)
            kind = next(kinds, MesosRefusedError)
            self.refusal = kind(f"Mesos at {self.master}: {event.error.message}")
            self.lose(event.error.message)
        elif type(event) is wire.Subscribed and not self.standing and not self._over:
            # Here, as the answer's head and its first events may have come in one piece, and events lead to calls.
            self._begin()
            self.standing = True
            self._subscribed.set_result(None)

    def _refused(self, sent: Sent, answer: Answer) -> None:
        if not 400 <= answer.status < 500 or answer.status in _NOT_OF_THE_CALL:
            self.lose(f"Mesos answers {sent.kind} with {answer.status}")
            return
        # Mesos' explanation may quote the call, which for these two may hold secrets.
        explanation = None if sent.kind in ("ACCEPT", "MESSAGE") else shown(answer.body)
        log.warning("Mesos refused a call", call=sent.kind, status=answer.status, explanation=explanation)
        self._on_refused(sent, answer.status)
        if answer.status == 403 or b"stream ID" in answer.body or b"Framework cannot be found" in answer.body:
            self.lose(f"Mesos no longer knows the subscription: {sent.kind} is answered with {answer.status}")


def not_subscribed(master: Address, access: Access, answer: Answer) -> UnavailableError | MesosRefusedError:
    """What it means that SUBSCRIBE is answered like this, and not with events."""
    status, text = answer.status, shown(answer.body)
    if status in (302, 307):
        leader = redirect_target(answer.headers.get("location", ""), master)
        if leader is None:
            return UnavailableError(f"{master} redirects, but not to a Mesos master")
        if master.secure and not leader.secure:
            return UnavailableError(f"{master.url} redirects to {leader.url}, which is not followed: no TLS there")
        return RedirectedError(leader)
    if status >= 500 and status != 501:  # which is how servers say that they know no POST
        return UnavailableError(f"Mesos at {master} answers {status}: {text}")
    if status in (400, 401, 403, 409):
        fix = refusal_fix(status, access)
        return MesosRefusedError(f"Mesos at {master} refuses the subscription ({status}): {text}{fix}")
    return NotMesosError(f"{master} has no v1 scheduler API: {PATH} answers {status}, {text}")


def report_unread(record: bytes | memoryview, error: msgspec.DecodeError) -> None:
    """Tells of an event that ``wire.read_event`` cannot read."""
    try:
        kind = wire.any_event_decoder.decode(record).type
    except msgspec.DecodeError:
        kind = ""
    if kind in wire.EVENT_TYPES or not kind:
        log.warning("an event of Mesos cannot be read", event=kind, error=str(error))
    else:
        log.debug("an event of Mesos is not used", event=kind)


def refusal_fix(status: int, access: Access) -> str:
    """What to mend, as the end of a sentence that tells Mesos' refusal."""
    if status == 401 and access.authorization is None:
        return "; it wants to know who asks: set mesos.principal and mesos.secret_file"
    if status == 401:
        return "; mesos.principal and the secret of mesos.secret_file must be a pair that its credentials file holds"
    if status == 403:
        return "; its ACLs must let mesos.principal do so, with the roles of the settings"
    if status == 409:
        return "; it is at odds with what Mesos knows of this framework: its master's log says how"
    return ""


def shown(body: bytes) -> str:
    """The beginning of an answer, for an error's text."""
    text = body[: 4 * MAX_SHOWN_CHARS].decode("utf-8", "replace").strip()
    return repr(text[:MAX_SHOWN_CHARS])
