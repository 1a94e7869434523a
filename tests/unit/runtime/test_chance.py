"""Time and chance as they really are, and the ids made of them."""

from __future__ import annotations

import re
import time

from framework.runtime.chance import SystemChance, SystemClock, new_request_id
from tests.fakes.clockwork import ManualClock
from tests.fakes.driving import SeededChance


def test_request_ids_sort_by_time_and_are_names() -> None:
    clock, chance = ManualClock(1_700_000_000.0), SeededChance()
    made = []
    for _ in range(200):
        made.append(new_request_id(clock, chance))
        clock.advance(0.001)
    assert made == sorted(made)
    assert all(re.fullmatch(r"[0-9a-z]{16}", request_id) for request_id in made)
    clock.advance(100 * 365 * 86400.0)
    assert new_request_id(clock, chance) > made[-1]


def test_request_ids_of_one_millisecond_differ() -> None:
    clock, chance = ManualClock(), SystemChance()
    assert len({new_request_id(clock, chance) for _ in range(1000)}) == 1000


async def test_the_systems_own() -> None:
    clock, chance = SystemClock(), SystemChance()
    before = clock.now()
    await clock.sleep(0.0)
    assert before <= clock.now() <= time.time()
    assert 1.0 <= chance.uniform(1.0, 2.0) <= 2.0
    assert len(chance.token()) >= 32  # 192 bits in base64
    number = chance.uuid4()
    assert (len(number), number[6] >> 4, number[8] >> 6) == (16, 4, 2)
