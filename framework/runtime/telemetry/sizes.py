"""Agents of Jenkins get the size that their job's history says, where the operator wants that.

In doubt for the template: a job whose history does not tell, whose builds were killed or began to fail with another
size gets what its template gives. Nothing here waits for the history, which is asked beside the loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from framework.catalog.parts import AgentParts, sized
from framework.core.ids import TenantName
from framework.errors import ButleryError
from framework.log import get_logger
from framework.ports import Chance, Clock, jittered
from framework.runtime.telemetry.beside import beside
from framework.runtime.waiting import until_due
from framework.setting_types import DAY_S
from framework.telemetry.making import bounded_name
from framework.telemetry.records import BuildRecord
from framework.telemetry.sizing import (
    MAX_BUILDS,
    fewest,
    held_mem_mib,
    recommend,
    telling,
)
from framework.telemetry_ports import BuildPage, BuildQuery
from framework.telemetry_settings import SizingSettings

log = get_logger(__name__)

MAX_JOBS = 20_000
"""Whose sizes are known: those that were built last. Some 10 MiB."""
LOOK_EVERY_S = 600.0
"""At the history of each job that is built."""
TOLD_S = 3.0
"""Until a build that has just ended is in the history."""
SHARE = 0.02
PAUSE_S = 60.0
"""Of the time, at most, in which the history is asked, but for pauses of so long; with very many jobs each is looked at

less often.
"""
BASE_S, CAP_S = 5.0, 300.0
"""Between tries while the history cannot be asked."""
GROWTH = 2
"""Times the memory that a build was killed with, until its job's history tells more."""
SETTLE_S = 600.0
"""In which what a build has just told counts for more than the history, which may not have it yet."""
MAX_HELD_D = 30
_CLASSES = ("passed", "oom", "failed", "timeout")

_Key = tuple[TenantName, str, str]
"""Tenant, job, template."""


class _Known(msgspec.Struct):
    """Of one job. Times are seconds since the epoch."""

    look_at: float = 0.0
    mem_mib: int | None = None
    cpu_millis: int | None = None
    killed_mib: int = 0  # that builds were killed with lately, where nothing better is known
    killed_at: float = 0.0
    held_until: float = 0.0  # it gets what its template gives
    missing: int = 0  # measured builds that it takes yet


class SizeKeeper:
    """``framework.jenkins_ports.Sizes``; of the process, whoever leads. ``run`` it, and tell it of each record made."""

    def __init__(
        self, settings: SizingSettings, ask: Callable[[BuildQuery], BuildPage], clock: Clock, chance: Chance
    ) -> None:
        """``ask`` is that of ``framework.telemetry_ports.History.builds``."""
        self._settings = settings
        self._ask = ask
        self._clock = clock
        self._chance = chance
        self._tenants = frozenset(settings.tenants)
        self._jobs: OrderedDict[_Key, _Known] = OrderedDict()  # the one built last at the end
        self._news: OrderedDict[_Key, None] = OrderedDict()  # nobody has looked at yet
        self._wake = asyncio.Event()

    # By the loop's thread.

    def size(self, tenant: TenantName, job: str, parts: AgentParts) -> AgentParts:
        if self._tenants and tenant not in self._tenants:
            return parts
        known = self._known((tenant, bounded_name(job), parts.template.name))
        if known.held_until > self._clock.now():
            return parts
        given = {"cpu_millis": parts.spec.cpu_millis, "mem_mib": parts.spec.mem_mib}
        wanted = {"cpu_millis": known.cpu_millis, "mem_mib": known.mem_mib}
        if known.killed_mib >= given["mem_mib"]:
            wanted["mem_mib"] = GROWTH * known.killed_mib
        elif known.killed_mib:
            wanted["mem_mib"] = given["mem_mib"]
        made = {name: self._within(parts, name, value, wanted[name]) for name, value in given.items()}
        return sized(parts, job, made["cpu_millis"], made["mem_mib"])

    def told(self, record: BuildRecord) -> None:
        """Of a build that has ended: its job's next one heeds it at once."""
        known = self._jobs.get((TenantName(record.tenant), record.job, record.template))
        if known is None:
            return
        now = self._clock.now()
        if record.result_class == "oom":
            known.mem_mib, known.killed_mib = None, max(known.killed_mib, held_mem_mib(record))
            known.killed_at = now
        elif _failed_sized(record):
            known.held_until = max(known.held_until, now + DAY_S)
        elif known.missing and telling(record):
            known.missing -= 1
            if not known.missing:
                known.look_at = min(known.look_at, now + TOLD_S)
                self._wake.set()

    def _within(self, parts: AgentParts, name: str, given: int, wanted: int | None) -> int:
        """Within the settings' bounds, and the template's for what a job may ask for."""
        if wanted is None or name not in parts.sizable:
            return given
        most = max(given, min(int(given * self._settings.most), parts.most.get(name, 1 << 60)))
        return min(most, max(wanted, round(given * self._settings.least)))

    def _known(self, key: _Key) -> _Known:
        known = self._jobs.get(key)
        if known is None:
            known = self._jobs[key] = _Known()
            self._news[key] = None
            if len(self._jobs) > MAX_JOBS:
                gone, _ = self._jobs.popitem(last=False)
                self._news.pop(gone, None)
            self._wake.set()
        else:
            self._jobs.move_to_end(key)
        return known

    # Beside it.

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            key, due = self._next()
            if key is None:
                self._wake.clear()
                await until_due(self._wake, self._clock, due)
                continue
            began = self._clock.now()
            try:
                self._heed(key, await beside(partial(self._past, key, began)))
            except Exception as error:
                if not failures and isinstance(error, ButleryError):
                    log.warning("sizes cannot be looked up", reason=str(error))
                elif not failures:
                    log.exception("sizes cannot be looked up")
                pause_s = jittered(self._chance, failures, BASE_S, CAP_S)
                self._after_others(key, began + pause_s)
                await self._clock.sleep(pause_s)
                failures += 1
                continue
            failures = 0
            await self._clock.sleep(min(PAUSE_S, max(0.0, self._clock.now() - began) * (1 / SHARE - 1)))

    def _next(self) -> tuple[_Key | None, float | None]:
        """Whom to look at now; else when there is one."""
        if self._news:
            return next(iter(self._news)), None
        if not self._jobs:
            return None, None
        now = self._clock.now()
        key, known = min(self._jobs.items(), key=lambda one: one[1].look_at)
        return (key, None) if known.look_at <= now else (None, known.look_at)

    def _after_others(self, key: _Key, at: float) -> None:
        """Looks at it again then, once all others were: it may be the only one that cannot be looked at."""
        known = self._jobs.get(key)
        if known is not None:
            known.look_at = at
        if key in self._news:
            self._news.move_to_end(key)

    def _past(self, key: _Key, now: float) -> list[BuildRecord]:
        tenant, job, template = key
        query = BuildQuery(
            tenant=tenant,
            job=job,
            template=template,
            result_classes=_CLASSES,
            since_ms=round((now - self._settings.history_d * DAY_S) * 1000),
            limit=MAX_BUILDS,
        )
        return self._ask(query).builds

    def _heed(self, key: _Key, builds: Sequence[BuildRecord]) -> None:
        known, now = self._jobs.get(key), self._clock.now()
        self._news.pop(key, None)
        if known is None:
            return
        known.look_at = now + LOOK_EVERY_S * self._chance.uniform(0.9, 1.1)
        failed = [build for build in builds if _failed_sized(build)]
        if failed:
            held_s = DAY_S * min(MAX_HELD_D, 2 ** min(10, len(failed) - 1))
            known.held_until = max(known.held_until, failed[0].at_ms / 1000 + held_s)
        found = recommend(builds, self._settings.aim)
        mem_mib = None if found is None else found.mem_mib
        known.missing = fewest(self._settings.aim) if found is None else found.missing
        known.cpu_millis = None if found is None else found.cpu_millis
        if known.killed_mib and now < known.killed_at + SETTLE_S and (mem_mib or 0) <= known.killed_mib:
            return
        lately = [build for build in builds if telling(build)][: fewest(self._settings.aim)]
        killed = [held_mem_mib(build) for build in lately if build.result_class == "oom"]
        known.mem_mib, known.killed_mib = mem_mib, 0 if mem_mib is not None else max(killed, default=0)


def _failed_sized(build: BuildRecord) -> bool:
    """Whether it had its own size and failed, for which that may be to blame: a JVM without room ends by itself."""
    failed = build.result_class in ("failed", "timeout") or (
        build.result_class == "passed" and build.result == "FAILURE"
    )
    return failed and "~" in build.template_version
