"""Builds in the queues of the tenants' masters: jobs are made there and queued, as people do, and looked at."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.api import Api
from benchmarks.demo.builds import COMMAND, LABEL, TENANTS, PlannedBuild
from benchmarks.demo.watch import LATER, Seen
from benchmarks.jenkins_client import Jenkins, freestyle, parameter_of
from framework.core.ids import task_of_node

QUEUE_EVERY_S = 0.6
"""Between two builds, so that what is told is how soon agents come and not how small the machine is."""
CLASS_OF = {"SUCCESS": "passed", "FAILURE": "failed"}
"""Of a build by its result, as Jenkins spells it."""
SCRIPT = """\
export PYTHONDONTWRITEBYTECODE=1
git clone --quiet --depth 1 --branch "$REF" {url} roman
cd roman
{command}
"""


class QueuedBuilds:
    """Of all tenants, by their numbers, which are those of ``planned`` that are queued."""

    def __init__(
        self, admin: Api, addresses: Mapping[str, Mapping[str, Any]], url: str, planned: Sequence[PlannedBuild]
    ) -> None:
        """``addresses`` of the masters by tenant, ``url`` of the repository. Makes the jobs."""
        self._masters: dict[str, Jenkins] = {}
        for tenant in TENANTS:
            access = admin.master(tenant)
            self._masters[tenant] = Jenkins(addresses[tenant]["url"], access["user"], access["api_token"])
        self._planned = planned
        self._items: list[int] = []  # of those that are queued
        script = SCRIPT.format(url=url, command=COMMAND)
        self._jobs = {(build.tenant, build.name): None for build in planned}
        for tenant, name in self._jobs:
            self._masters[tenant].create_job(name, freestyle(LABEL, script, ("N", "REF")))
        self._began = time.monotonic()

    def look(self) -> list[Seen]:
        """One of each, in their order; those whose time has come are queued before."""
        due = int((time.monotonic() - self._began) / QUEUE_EVERY_S) + 1
        for number, build in [*enumerate(self._planned)][len(self._items) : due]:
            self._items.append(self._masters[build.tenant].queue(build.name, N=str(number), REF=build.ref))
        found = self._found()
        return [
            Seen(
                build.tenant,
                _state(found.get(number)) if number < len(self._items) else LATER,
                CLASS_OF.get(str((found.get(number) or {}).get("result"))),
            )
            for number, build in enumerate(self._planned)
        ]

    def _found(self) -> dict[int, dict[str, Any]]:
        """Those that have begun."""
        found = {}
        for tenant, name in self._jobs:
            for build in self._masters[tenant].builds(name):
                found[int(parameter_of(build, "N") or -1)] = build
        return found

    def told(self) -> list[dict[str, Any]]:
        """Of each that was queued: its ``state``, ``result``, the ``request`` of its agent, its output as ``log``

        and ``queue_to_online_s``, from when it was in the queue until it began on its agent.
        """
        found = self._found()
        queued = self._planned[: len(self._items)]
        return [self._one(number, build, found.get(number)) for number, build in enumerate(queued)]

    def _one(self, number: int, planned: PlannedBuild, build: dict[str, Any] | None) -> dict[str, Any]:
        master, item = self._masters[planned.tenant], self._items[number]
        told: dict[str, Any] = {"id": f"{planned.tenant}: item {item}", "state": _state(build), "result": None}
        if build is None:
            return {**told, "request": None, "queue_to_online_s": None, "log": master.item(item)["why"] or ""}
        since_ms = master.item(item)["inQueueSince"]
        task = task_of_node(build["builtOn"] or "")
        return {
            **told,
            "result": build["result"],
            "request": None if task is None else task.partition(".")[0],
            "queue_to_online_s": (build["timestamp"] - since_ms) / 1000,
            "log": master.log(planned.name, build["number"]),
        }

    def close(self) -> None:
        for master in self._masters.values():
            master.close()


def _state(build: Mapping[str, Any] | None) -> str:
    if build is None:
        return "waiting"
    return "ended" if build["result"] else "running"
