"""The shortest framework on our driver: ``python -m benchmarks.wire.ours URL NAME``; runs until it is killed.

Its process is set up as the scheduler's is.
"""

from __future__ import annotations

import itertools
import sys

import uvloop

from benchmarks.wire.messages import ROLE
from framework.core import events
from framework.core.effects import Acknowledge, Decline
from framework.core.ids import TaskId
from framework.core.resources import Resources
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.mesos_ports import LaunchTasks, MesosExecutor, TaskLaunch
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.garbage import look_seldom

_TASK = Resources(250, 768)
_OWN = Resources(50, 32)


async def _run(url: str, name: str) -> None:
    settings = FrameworkSettings(name=name, user="root", roles=(ROLE,), failover_timeout_s=60.0, hostname="localhost")
    driver = MesosDriver([url], settings, SystemClock(), SystemChance())
    numbers = itertools.count()

    def emit(event: events.Event) -> None:
        if isinstance(event, events.OffersReceived):
            if len(event.offers) > 1:
                driver.decline(Decline(tuple([offer.id for offer in event.offers]), 5.0))
            else:
                offer, task_id = event.offers[0], f"ours.{next(numbers)}"
                executor = MesosExecutor(task_id, "bench", _OWN, "exec /usr/bin/true")
                launch = TaskLaunch(TaskId(task_id), "bench", _TASK, executor, data=b"{}", labels={"tenant": "bench"})
                driver.accept([offer.id], offer.host_id, [LaunchTasks((launch,))])
        elif isinstance(event, events.TaskUpdate) and event.uuid and event.host_id is not None:
            driver.acknowledge(Acknowledge(event.task_id, event.host_id, event.uuid))

    await driver.run(emit)


if __name__ == "__main__":
    look_seldom()
    uvloop.run(_run(*sys.argv[1:3]))
