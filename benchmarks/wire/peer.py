"""The shortest framework on pymesos: ``python -m benchmarks.wire.peer URL NAME [addict]``; runs until it is killed."""

from __future__ import annotations

import base64
import itertools
import sys
from typing import Any

from pymesos import MesosSchedulerDriver, Scheduler

from benchmarks.wire.messages import ROLE


def _scalars(cpus: float, mem: float) -> list[dict[str, Any]]:
    return [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": ROLE}}
        for name, value in (("cpus", cpus), ("mem", mem))
    ]


class Launcher(Scheduler):  # type: ignore[misc]
    """Launches one task on an offer that comes alone, declines others; acknowledging is pymesos' own."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def resourceOffers(self, driver: Any, offers: Any) -> None:  # noqa: N802 - pymesos' name
        if len(offers) > 1:
            driver.declineOffer([offer["id"] for offer in offers], {"refuse_seconds": 5.0})
            return
        offer, task_id = offers[0], f"peer.{next(self._numbers)}"
        task = {
            "name": "bench",
            "task_id": {"value": task_id},
            "agent_id": offer["agent_id"],
            "resources": _scalars(0.25, 768),
            "executor": {
                "type": "CUSTOM",
                "executor_id": {"value": task_id},
                "framework_id": offer["framework_id"],
                "name": "bench",
                "resources": _scalars(0.05, 32),
                "command": {"value": "exec /usr/bin/true"},
            },
            "data": base64.b64encode(b"{}").decode(),
            "labels": {"labels": [{"key": "tenant", "value": "bench"}]},
        }
        driver.launchTasks(offer["id"], [task], {"refuse_seconds": 0.0})

    def statusUpdate(self, driver: Any, update: Any) -> None:  # noqa: N802
        pass


def main(url: str, name: str, *options: str) -> None:
    framework = {
        "user": "root",
        "name": name,
        "roles": [ROLE],
        "hostname": "localhost",
        "checkpoint": True,
        "capabilities": [{"type": "MULTI_ROLE"}],
    }
    MesosSchedulerDriver(
        Launcher(), framework, url.removeprefix("http://"), use_addict="addict" in options, failover=True
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
