"""A rig whose parts run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.runtime.jenkins.rig import BLOG, PAYMENTS, Rig, stop


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Its keeper runs and knows both masters."""
    rig = Rig()
    rig.know(PAYMENTS, BLOG)
    running = asyncio.create_task(rig.keeper.run())
    await asyncio.sleep(0)
    yield rig
    await stop(running)
