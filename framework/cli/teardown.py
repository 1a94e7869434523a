"""``butlery scheduler teardown``: the one command that ends the framework, and with it every build of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from framework.cli.service import core_config, mesos_access, mesos_framework
from framework.cli.state import SharedState, open_state
from framework.core.effects import SaveFrameworkId, SaveRequest, SaveTask
from framework.core.events import Event, FrameworkRemoved, Subscribed
from framework.core.ids import FrameworkId
from framework.core.step import step
from framework.edges.mesos.driver import MesosDriver
from framework.errors import ButleryError, Fault, FrameworkRemovedError, InputError, MesosRefusedError, UnavailableError
from framework.log import configure
from framework.ports import Election, Snapshot
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.saved import restored
from framework.settings import Settings

SUBSCRIBE_TIMEOUT_S = 30.0
"""Mesos takes a subscription within milliseconds; a master's failover takes some seconds."""
LEAD_TIMEOUT_S = 5.0
"""An election where nobody else stands takes milliseconds."""
REASON = "torn down by the operator"


def run(settings: Settings, agreed: bool) -> tuple[str | None, int]:
    """Ends the framework; its id (None where there is none) and how many tasks it had. What ran waits again, as often

    as its retries say, for the next start. Raises InputError without ``agreed`` and while a scheduler runs,
    UnavailableError where Mesos does not answer.
    """
    configure("warning", settings.log.format)
    with open_state(settings, "", SystemClock(), SystemChance()) as state:
        return asyncio.run(_run(settings, state, agreed))


async def _run(settings: Settings, state: SharedState, agreed: bool) -> tuple[str | None, int]:
    store = state.store
    try:
        await _lead(state.election)
        found = await asyncio.to_thread(store.load)
        if found.framework_id is None:
            return None, 0
        if not agreed:
            text = f"ends framework {found.framework_id} and its {len(found.tasks)} builds; say so with --yes"
            raise InputError([Fault("--yes", text)])
        try:
            await _tear_down(settings, found.framework_id)
        except FrameworkRemovedError:
            pass  # by an earlier try whose answer was lost, or by the operator of Mesos
        except MesosRefusedError as error:
            raise InputError([Fault("mesos.url", str(error))]) from error
        await asyncio.to_thread(store.commit, _frame(settings, found))
        return found.framework_id, len(found.tasks)
    finally:
        await state.election.close()


async def _lead(election: Election) -> None:
    """Raises InputError while another scheduler leads or stands by, UnavailableError where nobody can be elected."""
    try:
        await asyncio.wait_for(election.lead(), LEAD_TIMEOUT_S)
    except TimeoutError as error:
        leader = election.leader
        if leader is None and not election.standbys:
            raise UnavailableError("state.zookeeper: elects nobody now") from error
        who = f"{leader.name} at {leader.url} leads" if leader is not None else "another stands by"
        raise InputError([Fault("state.zookeeper", f"{who}; stop every scheduler first")]) from error


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
    state = restored(core_config(settings), found, now)
    effects = step(state, FrameworkRemoved(REASON), now)
    return [effect for effect in effects if isinstance(effect, SaveFrameworkId | SaveRequest | SaveTask)]
