"""The ingress as a whole: what Marathon tells becomes routes, HAProxy is kept alive with them, they are verified."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.log import get_logger
from framework.ports import Chance, Clock, jittered
from framework.urls import bracketed
from masters.app import public_url
from masters.ingress import haproxy
from masters.ingress.config import Options, configuration
from masters.ingress.haproxy import HaProxy
from masters.ingress.holder import Holder, Standing
from masters.ingress.maps import Maps
from masters.ingress.places import Places
from masters.ingress.routes import Endpoint, Route, Routes, routes_of, starting_task
from masters.ingress.runtime import Runtime
from masters.ingress.starting import AT_ONCE, Start, Starting
from masters.ingress.state import IngressState, RouteState
from masters.ingress.uses import Uses
from masters.ingress.verification import Verifier
from masters.ingress.watch import Source, Watch
from masters.records import ObservedMaster
from masters.settings import IngressSettings, MastersSettings

log = get_logger(__name__)

ALIVE_EVERY_S = 0.25
TEND_EVERY_S = 5.0
REPAIR_EVERY_S = 30.0
REMEMBER_EVERY_S = 60.0
CERTIFICATES_EVERY_S = 12 * 3600.0
CERTIFICATE_LEFT_S = 14 * 86_400.0
"""Less than this, and its end is told: those that are renewed by themselves are so a month before."""
SILENT_TIMES = 3
"""So often HAProxy may not answer its socket, at TEND_EVERY_S, until it is ended and started anew."""
RESTART_BASE_S = 0.2
RESTART_CAP_S = 15.0
WAKERS = 8
"""Masters that Marathon is asked at once to wake."""
WAKE_BASE_S = 0.5
WAKE_CAP_S = 10.0
WAKE_SEEN_S = 15.0
"""How long what Marathon took may stay unseen before a master is woken again."""


class Ingress:
    """On one asyncio loop. ``wake`` makes a master that sleeps start; it blocks and raises ButleryError."""

    def __init__(
        self,
        marathon: Source,
        settings: MastersSettings,
        places: Places,
        wake: Callable[[ObservedMaster], object],
        clock: Clock,
        chance: Chance,
    ) -> None:
        """Raises InputError where HAProxy is not installed."""
        self._settings: IngressSettings = settings.ingress
        self._places = places
        self._wake = wake
        self._clock = clock
        self._chance = chance
        self._remembered = places.remembered()
        self._runtime = Runtime(places)
        self._haproxy = HaProxy(places, self._settings.haproxy)
        self._options: Options | None = None
        self._watch = Watch(marathon, settings.group, clock, chance)
        self._maps = Maps(places, self._runtime, self._settings.agent_ports is not None)
        self._routes = Routes()
        self._holding: set[str] = set()
        self._waking: dict[str, asyncio.Task[None]] = {}
        self._dirty = asyncio.Event()
        self._moved = asyncio.Event()
        self._certificates: tuple[tuple[str, int, int], ...] = ()
        self._uses = Uses(self._runtime, clock, self._remembered.last_use)
        self._starting = Starting(self._dirty.set)
        self._verifier = Verifier(places, self._remembered.check_key, clock, self._maps.repair)
        self._holder = Holder(
            self,
            hold_s=self._settings.hold_s,
            held_requests=self._settings.held_requests,
            chance=chance,
        )
        self._wakers = ThreadPoolExecutor(WAKERS, thread_name_prefix="wake")
        self.restarts = 0
        self.quieted: set[str] = set(self._remembered.quieted)

    async def open(self) -> None:
        """Listens, and has HAProxy serve what was known last. Raises InputError, UnavailableError, OSError."""
        remembered, settings = self._remembered, self._settings
        try:
            remembered.holder_port = await self._holder.start(remembered.holder_port)
        except OSError:  # somebody else has it now; HAProxy is told of the new one
            remembered.holder_port = await self._holder.start(0)
        self._places.remember(remembered)
        self._maps.prepare()
        self._options = self._options_now()
        if settings.certificate is not None and (faults := haproxy.certificate_faults(settings.certificate)):
            raise InputError(faults)
        self._certificates = _signature(settings.certificate)
        text = configuration(self._options)
        self._refuse_taken_ports(self._options)
        if await self._haproxy.adopt_or_start(text):
            log.info("HAProxy ran on, and is taken over", pid=self._haproxy.pid)
        log.info("the ingress serves", url=self.url, haproxy_pid=self._haproxy.pid)

    def _refuse_taken_ports(self, options: Options) -> None:
        """HAProxy itself would share a port with another HAProxy. Raises InputError."""
        ranges = [("http_port", options.http_port, options.http_port)]
        if options.https_port is not None:
            ranges.append(("https_port", options.https_port, options.https_port))
        if options.agent_ports is not None:
            ranges.append(("agent_ports", *options.agent_ports))
        faults: list[Fault] = []
        for name, first, last in ranges:
            faults += haproxy.port_faults(self._places, options.host, f"masters.ingress.{name}", first, last)
        if faults:
            raise InputError(faults)

    def _options_now(self) -> Options:
        settings = self._settings
        listeners = 4 + (settings.agent_ports[1] - settings.agent_ports[0] + 1 if settings.agent_ports else 0)
        return Options(
            host=settings.host,
            http_port=settings.http_port,
            https_port=settings.https_port,
            certificate=settings.certificate,
            public_url=public_url(settings),
            agent_ports=settings.agent_ports,
            holder_port=self._remembered.holder_port,
            hold_s=settings.hold_s,
            check_key=self._remembered.check_key,
            maxconn=haproxy.most_connections(listeners),
            user=haproxy.unprivileged_user(),
        )

    async def run(self) -> None:
        """Until it is cancelled. What fails here is retried; HAProxy serves on with what it has."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.run(self._dirty.set))
            group.create_task(self._follow())
            group.create_task(self._keep_alive())
            group.create_task(self._tend())
            group.create_task(self._verifier.run())
            for _ in range(AT_ONCE):
                group.create_task(self._starting.work())

    async def close(self) -> None:
        """Ends our side; HAProxy is left to ``masters.ingress.haproxy.end``."""
        for task in self._waking.values():
            task.cancel()
        await asyncio.gather(*self._waking.values(), return_exceptions=True)
        self._remember()
        await self._holder.close()
        self._wakers.shutdown(wait=False, cancel_futures=True)

    # What the service asks.

    @property
    def url(self) -> str:
        return public_url(self._settings)

    @property
    def masters(self) -> dict[str, ObservedMaster]:
        """As last read, by tenant."""
        return self._watch.masters

    def hint(self, app_id: str) -> None:
        """Something was done to it."""
        self._watch.hint(app_id)

    async def count_uses(self) -> None:
        """Has ``last_use`` tell what is so now. Raises UnavailableError."""
        await self._uses.poll()

    def last_use(self, tenant: str) -> float | None:
        """Unix s of the last request, now where one is under way; at most TEND_EVERY_S old. None: none is known."""
        return self._uses.last.get(tenant)

    def held(self, tenant: str) -> int:
        """Requests that wait for it."""
        return self._holder.held[tenant]

    async def hold(self, tenant: str) -> None:
        """Has its requests held from now on, until ``release``. Raises UnavailableError, OSError."""
        self._holding.add(tenant)
        await self._apply()

    def release(self, tenant: str) -> None:
        self._holding.discard(tenant)
        self._dirty.set()

    def note_quieted(self, tenant: str, quieted: bool) -> None:
        """Remembers across a kill that it is told to quiet down by us. Raises OSError where that cannot be written."""
        if not quieted:
            self.quieted.discard(tenant)
            self._remember()  # in time: to be told once more that it may build does no harm
            return
        self._remembered.quieted = sorted(self.quieted | {tenant})
        self._places.remember(self._remembered)
        self.quieted.add(tenant)

    def state(self) -> IngressState:
        return IngressState(
            url=self.url,
            pid=os.getpid(),
            haproxy_pid=self._haproxy.pid,
            haproxy_restarts=self.restarts,
            observed_at=self._watch.observed_at,
            routes={tenant: self._route_state(route) for tenant, route in self._routes.by_tenant.items()},
            problems=list(self._routes.problems),
        )

    def _route_state(self, route: Route) -> RouteState:
        tenant, public = route.tenant, urlsplit(self.url)
        port = f":{public.port}" if public.port else ""
        base = f"{public.scheme}://{route.host}{port}" if route.host else self.url
        agents = None
        if route.agents_port is not None:
            agents = f"{route.host or bracketed(str(public.hostname))}:{route.agents_port}"
        return RouteState(
            tenant=tenant,
            url=f"{base}{route.path or ''}/",
            to=f"{bracketed(route.to.address)}:{route.to.port}" if route.to else None,
            agents=agents,
            verified_at=self._verifier.verified_at.get(tenant),
            problem=self._verifier.problems.get(tenant),
            held=self._holder.held[tenant],
            last_use=self._uses.last.get(tenant),
        )

    # What the holder asks.

    def standing(self, tenant: str) -> tuple[Standing, Endpoint | None]:
        master = self._watch.masters.get(tenant)
        if master is None:
            return ("comes" if self._watch.observed_at is None else "off"), None
        if master.wanted != "on":
            return master.wanted, None
        route = self._routes.by_tenant.get(tenant)
        return ("serves", route.to) if route is not None and route.to is not None else ("comes", None)

    def moved(self) -> asyncio.Event:
        return self._moved

    def wake(self, tenant: str) -> None:
        if tenant not in self._waking:
            task = asyncio.get_running_loop().create_task(self._wake_up(tenant))
            self._waking[tenant] = task
            task.add_done_callback(lambda _: self._waking.pop(tenant, None))

    async def _wake_up(self, tenant: str) -> None:
        attempt = 0
        while self.held(tenant) and (master := self._asleep(tenant)) is not None:
            log.info("a request wakes a master", tenant=tenant)
            try:
                await asyncio.get_running_loop().run_in_executor(self._wakers, self._wake, master)
            except ButleryError as error:
                log.warning("a master does not wake yet", tenant=tenant, error=str(error))
                self._watch.hint(master.app_id)
                await self._clock.sleep(jittered(self._chance, attempt, WAKE_BASE_S, WAKE_CAP_S))
                attempt += 1
                continue
            self._watch.hint(master.app_id)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAKE_SEEN_S):
                    while self._asleep(tenant) is not None:
                        await self._moved.wait()

    def _asleep(self, tenant: str) -> ObservedMaster | None:
        master = self._watch.masters.get(tenant)
        return master if master is not None and master.wanted == "asleep" else None

    # Its own work.

    async def _follow(self) -> None:
        attempt = 0
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._apply()
            except (UnavailableError, OSError) as error:
                if attempt == 0:
                    log.warning("routes cannot be changed now", error=str(error))
                await self._clock.sleep(jittered(self._chance, attempt, RESTART_BASE_S, 2.0))
                attempt += 1
                self._dirty.set()
            else:
                attempt = 0

    async def _apply(self) -> None:
        """Makes the routes of what is known now, and has HAProxy take them."""
        masters = self._watch.masters
        self._holding -= {tenant for tenant in self._holding if tenant not in masters}
        self._starting.take(self._starts())
        routes = routes_of(
            masters,
            self._watch.addresses,
            self._settings.agent_ports,
            self._remembered.agent_ports,
            self._holding,
            self._starting.answered,
        )
        if routes.problems != self._routes.problems:
            for problem in set(routes.problems) - set(self._routes.problems):
                log.warning("a master has no route", problem=problem)
        self._routes = routes
        ports = {name: route.agents_port for name, route in routes.by_tenant.items() if route.agents_port is not None}
        if self._watch.observed_at is None:
            return  # not all masters are known yet: what was known last is better
        if ports != self._remembered.agent_ports:
            self._remembered.agent_ports = ports
            self._remember()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        changed = await self._maps.apply(routes.http_map(), routes.agents_map())
        if changed:
            log.info("routes changed", entries=changed, masters=len(routes.by_tenant))
        self._verifier.take(
            {tenant: route for tenant, route in routes.by_tenant.items() if masters[tenant].policy.real}
        )
        self._uses.forget(self._uses.last.keys() - masters.keys())
        self.quieted &= masters.keys()

    def _starts(self) -> dict[str, Start]:
        """Of masters that only pretend there is none to ask."""
        found = {}
        for master in self._watch.masters.values():
            task = starting_task(master)
            address = self._watch.addresses.get(task.address) if task is not None else None
            if task is not None and address is not None and master.policy.real:
                path = str(master.document["healthChecks"][0].get("path", "/"))
                found[task.id] = Start(Endpoint(address, task.ports[0]), path)
        return found

    async def _keep_alive(self) -> None:
        attempt = 0
        alive_since = self._clock.now()
        while True:
            await self._clock.sleep(ALIVE_EVERY_S)
            if self._haproxy.pid is not None:
                if attempt and self._clock.now() - alive_since > RESTART_CAP_S:
                    attempt = 0
                continue
            self.restarts += 1
            log.error("HAProxy ended; it is started anew")
            if attempt:
                await self._clock.sleep(jittered(self._chance, attempt - 1, RESTART_BASE_S, RESTART_CAP_S))
            attempt += 1  # the first one at once
            alive_since = self._clock.now()
            assert self._options is not None  # noqa: S101 - for the type checker; open() makes them
            try:
                await self._haproxy.start(configuration(self._options))
            except (UnavailableError, OSError) as error:
                log.error("HAProxy does not start", error=str(error))
                continue
            self._maps.forget()
            self._dirty.set()

    async def _tend(self) -> None:
        """What is done now and then: uses read, maps compared, certificates looked at, all that remembered."""
        silent = 0
        repair_at = remember_at = certificates_at = self._clock.now()
        while True:
            await self._clock.sleep(TEND_EVERY_S)
            now = self._clock.now()
            try:
                await self._uses.poll()
                if now >= repair_at:
                    repair_at = now + REPAIR_EVERY_S
                    mended = await self._maps.repair()
                    if mended:
                        log.warning("HAProxy's routes were not ours, and are again", entries=mended)
                if await self._renew_certificates() or now >= certificates_at:
                    certificates_at = now + CERTIFICATES_EVERY_S
                    await self._warn_of_certificates()
                silent = 0
            except InputError as error:
                log.error("the new certificates are of no use; the old ones stay", error=str(error))
            except (UnavailableError, OSError) as error:
                silent += 1
                log.warning("HAProxy does not answer", error=str(error))
                if silent >= SILENT_TIMES:
                    silent = 0
                    await asyncio.to_thread(haproxy.end, self._places)
            if now >= remember_at:
                remember_at = now + REMEMBER_EVERY_S
                self._remember()

    async def _warn_of_certificates(self) -> None:
        """Raises UnavailableError."""
        for file, ends_at in (await self._runtime.certificates()).items():
            left_s = ends_at - self._clock.now()
            if left_s <= 0:
                log.error("a certificate has ended; clients refuse it", file=file)
            elif left_s < CERTIFICATE_LEFT_S:
                log.warning("a certificate ends soon", file=file, days_left=round(left_s / 86_400, 1))

    async def _renew_certificates(self) -> bool:
        """Whether there were other ones. Raises InputError, UnavailableError."""
        path = self._settings.certificate
        found = _signature(path)
        if path is None or found == self._certificates:
            return False
        self._certificates = found
        faults = haproxy.certificate_faults(path)
        if faults:
            raise InputError(faults)
        assert self._options is not None  # noqa: S101 - for the type checker; open() makes them
        await self._haproxy.reload(configuration(self._options))
        self._maps.forget()
        self._dirty.set()
        return True

    def _remember(self) -> None:
        self._remembered.last_use = self._uses.last
        self._remembered.quieted = sorted(self.quieted)
        try:
            self._places.remember(self._remembered)
        except OSError as error:
            log.warning("what a later service is to know cannot be written", error=str(error))


def _signature(path: Path | None) -> tuple[tuple[str, int, int], ...]:
    """What tells whether certificates were replaced."""
    if path is None:
        return ()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    except OSError:
        return ()
