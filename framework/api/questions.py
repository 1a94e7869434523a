"""Questions about past builds: asked beside the loop, so many at once and for so long, and of which time."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from framework.api.auth import Principal
from framework.api.problems import ProblemError, unavailable
from framework.core.ids import TenantName
from framework.errors import Fault
from framework.telemetry_ports import History

if TYPE_CHECKING:
    from framework.api.context import Context

T = TypeVar("T")

MAX_AT_ONCE = 32
"""Of all, those among them that wait for a thread. A month's statistics of a million builds take about a second."""
MAX_OF_ONE = 8
"""For one tenant: a quarter, so that no tenant keeps the others from asking."""
THREADS = 4
TIMEOUT_S = 25.0
"""Of one question, its wait for a thread included: less than a client waits for an answer."""

_LENGTH = re.compile(r"(\d{1,9})([smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH = re.compile(r"\d{1,11}(\.\d{1,6})?")
MOMENT = (
    "Seconds since the epoch, a day or time in ISO 8601 (UTC where it names no zone), or a length of time back from "
    "now, such as `90m`, `12h`, `7d`, `4w`."
)


class Questions:
    """Bounds how many are asked at once."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "history")
        self._of: Counter[str] = Counter()

    async def ask(self, principal: Principal, question: Callable[[], T]) -> T:
        """The answer, of another thread. Raises ProblemError (503) where too many ask, or it is not there in time."""
        name = principal.tenant or ""
        if self._of.total() >= MAX_AT_ONCE or self._of[name] >= MAX_OF_ONE:
            raise unavailable("Too many questions about past builds are asked now; ask again later.")
        self._of[name] += 1
        running = self._threads.submit(question)
        asked = asyncio.wrap_future(running)
        asked.add_done_callback(lambda done: self._over(name, done))
        try:
            done, _ = await asyncio.wait({asked}, timeout=TIMEOUT_S)
        finally:
            running.cancel()  # which spares it where it has no thread yet; else it counts until it is over
        if not done:
            detail = f"The answer took longer than {TIMEOUT_S:g} s; ask for a shorter time, or later."
            raise unavailable(detail)
        return asked.result()

    def _over(self, name: str, asked: asyncio.Future[T]) -> None:
        self._of[name] -= 1
        if not self._of[name]:
            del self._of[name]
        if not asked.cancelled():
            asked.exception()  # so that one whom nobody waits for any more is no complaint


def past(context: Context) -> History:
    """Raises ProblemError (503)."""
    if context.telemetry is None:
        raise unavailable("This scheduler keeps no past builds.")
    return context.telemetry.history


def own_tenant(principal: Principal, asked: str | None) -> TenantName | None:
    """Whose builds are asked for: a tenant's token's own; None, all, for the administrator who names none.

    Raises ProblemError (403) where a tenant's token names another.
    """
    if asked is None or principal.tenant is None:
        return principal.tenant if asked is None else TenantName(asked)
    if asked != principal.tenant:
        raise ProblemError(403, "forbidden", f"This token is {principal.name}'s and can see no other tenant's.")
    return principal.tenant


def span_ms(since: str | None, until: str | None) -> tuple[int | None, int | None, list[Fault]]:
    """Begin and end, in milliseconds since the epoch, and what is wrong with them; as ``MOMENT`` says."""
    now = now_ms()
    faults: list[Fault] = []
    found: list[int | None] = []
    for where, text in (("since", since), ("until", until)):
        moment = None if text is None else _moment_ms(text, now)
        if text is not None and moment is None:
            faults.append(Fault(where, "must be seconds since the epoch, a time such as 2026-01-31T13:00Z, or 7d"))
        found.append(moment)
    begin, end = found
    if begin is not None and end is not None and begin >= end:
        faults.append(Fault("until", "must be after since"))
    return begin, end, faults


def whole_span_ms(since: str | None, until: str | None, default_s: float) -> tuple[int, int, list[Fault]]:
    """As ``span_ms``, with an end and a begin in any case: now, and ``default_s`` before the end."""
    begin, end, faults = span_ms(since, until)
    end = now_ms() if end is None else end
    begin = max(0, end - round(default_s * 1000)) if begin is None else begin
    if not faults and begin >= end:
        faults.append(Fault("since", "must be in the past"))
    return begin, end, faults


def now_ms() -> int:
    return round(time.time() * 1000)


def _moment_ms(text: str, now: int) -> int | None:
    length = _LENGTH.fullmatch(text)
    if length is not None:
        return max(0, now - int(length[1]) * _UNITS_S[length[2]] * 1000)
    if _EPOCH.fullmatch(text):
        return round(float(text) * 1000)
    try:
        moment = datetime.fromisoformat(text)
        return max(0, round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))
    except (ValueError, OverflowError):
        return None
