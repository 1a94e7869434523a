"""What happens in a simulation, drawn by chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple


class Action(NamedTuple):
    name: str
    a: int
    b: int


def drawn(names: Sequence[str], seed: int, length: int) -> list[Action]:
    """Drawn from a seed: an order of magnitude more of it, and more of what is rare, than drawn choice by choice."""
    chance = random.Random(seed)
    return [Action(chance.choice(names), chance.randrange(256), chance.randrange(256)) for _ in range(length)]
