"""Time and chance as they really are."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import uuid
from collections.abc import Callable

from framework.core.ids import RequestId
from framework.ports import Chance, Clock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


class SystemClock:
    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


class SystemChance:
    def uniform(self, low: float, high: float) -> float:
        return random.uniform(low, high)  # noqa: S311 - spreads retries, guards nothing

    def token(self) -> str:
        return secrets.token_urlsafe(24)

    def uuid4(self) -> bytes:
        return uuid.uuid4().bytes


def new_request_id(clock: Clock, chance: Chance) -> RequestId:
    """Sixteen characters that sort by time: milliseconds since the epoch, then 35 bits of chance."""
    number = (int(clock.now() * 1000) << 35) | (int.from_bytes(chance.uuid4()[9:16], "big") & (2**35 - 1))
    digits = []
    for _ in range(16):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return RequestId("".join(reversed(digits)))
