"""``butlery scheduler teardown``: the one command that ends the framework, and with it every build of it."""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress

from framework.cli.service import core_config, mesos_access, mesos_framework, open_store
from framework.core.effects import SaveFrameworkId, SaveRequest, SaveTask
from framework.core.events import Event, FrameworkRemoved, Subscribed
from framework.core.ids import FrameworkId
from framework.core.state import restore
from framework.core.step import step
from framework.edges.mesos.driver import MesosDriver
from framework.errors import ButleryError, Fault, FrameworkRemovedError, InputError, MesosRefusedError, UnavailableError
from framework.log import configure
from framework.ports import Snapshot
from framework.runtime.chance import SystemChance, SystemClock
from framework.settings import Settings

SUBSCRIBE_TIMEOUT_S = 30.0
"""Mesos takes a subscription within milliseconds; a master's failover takes some seconds."""
REASON = "torn down by the operator"


def run(settings: Settings, agreed: bool) -> tuple[str | None, int]:
    """Ends the framework; its id (None where there is none) and how many tasks it had. What ran waits again, as often

    as its retries say, for the next start. Raises InputError without ``agreed`` and while a scheduler runs,
    UnavailableError where Mesos does not answer.
    """
    configure("warning", settings.log.format)
    with closing(open_store(settings)) as store:
        found = store.load()
        if found.framework_id is None:
            return None, 0
        if not agreed:
            text = f"ends framework {found.framework_id} and its {len(found.tasks)} builds; say so with --yes"
            raise InputError([Fault("--yes", text)])
        try:
            asyncio.run(_tear_down(settings, found.framework_id))
        except FrameworkRemovedError:
            pass  # by an earlier try whose answer was lost, or by the operator of Mesos
        except MesosRefusedError as error:
            raise InputError([Fault("mesos.url", str(error))]) from error
        store.commit(_frame(settings, found))
        return found.framework_id, len(found.tasks)


async def _tear_down(settings: Settings, framework_id: FrameworkId) -> None:
    """Raises UnavailableError, MesosRefusedError."""
    subscribed = asyncio.Event()

    def emit(event: Event) -> None:
        if isinstance(event, Subscribed):
            subscribed.set()

    driver = MesosDriver(
        settings.mesos.urls,
        mesos_framework(settings),
        SystemClock(),
        SystemChance(),
        framework_id,
        access=mesos_access(settings),
    )
    running = asyncio.create_task(driver.run(emit))
    waiting = asyncio.create_task(subscribed.wait())
    try:
        await asyncio.wait({running, waiting}, timeout=SUBSCRIBE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            await running
        if not subscribed.is_set():
            raise UnavailableError(f"Mesos at {settings.mesos.url} took no subscription in {SUBSCRIBE_TIMEOUT_S:g} s")
        await driver.teardown()
    finally:
        waiting.cancel()
        await driver.stop()
        with suppress(ButleryError, TimeoutError):  # Mesos may tell this way too that it is done
            await asyncio.wait_for(running, SUBSCRIBE_TIMEOUT_S)


def _frame(settings: Settings, found: Snapshot) -> list[SaveFrameworkId | SaveRequest | SaveTask]:
    """What the core makes of it."""
    now = SystemClock().now()
    tenants = [record.tenant for record in found.tenants]
    state = restore(core_config(settings), found.framework_id, tenants, found.requests, found.tasks, now)
    effects = step(state, FrameworkRemoved(REASON), now)
    return [effect for effect in effects if isinstance(effect, SaveFrameworkId | SaveRequest | SaveTask)]
