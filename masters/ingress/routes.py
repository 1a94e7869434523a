"""Which address leads to which master, from what Marathon tells of them. Pure.

HAProxy looks a request's key up in one map: ``HOST/FIRST-SEGMENT``, then ``HOST``, then ``/FIRST-SEGMENT``. The
value is ``TENANT|ADDRESS|PORT``, or ``TENANT|hold|0`` where the request is to wait for its master.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from masters.records import ObservedMaster, ObservedTask

ROUTES_MAP = "routes.map"
AGENTS_MAP = "agents.map"
HOLD = "hold"

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_PATH = re.compile(r"/[A-Za-z0-9._~-]{1,100}")
_TENANT = re.compile(r"[a-z0-9-]{1,64}")


class Endpoint(NamedTuple):
    """``address`` is an IP address."""

    address: str
    port: int

    def url(self) -> str:
        return f"http://[{self.address}]:{self.port}" if ":" in self.address else f"http://{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """Of one tenant. ``to`` is None where requests are held; ``agents_port`` is the public port of its agents."""

    tenant: str
    host: str | None
    path: str | None
    to: Endpoint | None = None
    task_id: str | None = None
    agents_port: int | None = None
    agents_to: Endpoint | None = None

    @property
    def key(self) -> str:
        return f"{self.host or ''}{self.path or ''}"

    @property
    def value(self) -> str:
        return f"{self.tenant}|{self.to.address}|{self.to.port}" if self.to else f"{self.tenant}|{HOLD}|0"


@dataclass(frozen=True, slots=True)
class Routes:
    """By tenant; ``problems`` says which masters have none, and why."""

    by_tenant: Mapping[str, Route] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def http_map(self) -> dict[str, str]:
        return {route.key: route.value for route in self.by_tenant.values()}

    def agents_map(self) -> dict[str, str]:
        return {
            str(route.agents_port): f"{route.agents_to.address}|{route.agents_to.port}"
            for route in self.by_tenant.values()
            if route.agents_port is not None and route.agents_to is not None
        }


def serving_task(master: ObservedMaster, answered: Container[str] = ()) -> ObservedTask | None:
    """The task that requests go to: the newest that runs and was healthy once, or answered us (``answered``: ids).

    One whose checks fail now is kept until Marathon ends it: it may answer, and what cannot connect is held all the
    same. An app without health checks is taken as healthy once it runs.
    """
    checked = bool(master.document.get("healthChecks"))
    fit = [task for task in _running(master) if not checked or _was_healthy(task) or task.id in answered]
    return max(fit, key=lambda task: (bool(task.healthy), task.started_at or 0, task.id), default=None)


def starting_task(master: ObservedMaster) -> ObservedTask | None:
    """The newest that runs and was never healthy; None where one was, or none is checked."""
    running = _running(master)
    if not master.document.get("healthChecks") or any(_was_healthy(task) for task in running):
        return None
    return max(running, key=lambda task: (task.started_at or 0, task.id), default=None)


def _running(master: ObservedMaster) -> list[ObservedTask]:
    if master.wanted != "on":
        return []
    return [task for task in master.tasks if task.state == "TASK_RUNNING" and task.ports]


def _was_healthy(task: ObservedTask) -> bool:
    return bool(task.healthy) or task.healthy_at is not None


def routes_of(
    masters: Mapping[str, ObservedMaster],
    addresses: Mapping[str, str],
    agent_ports: tuple[int, int] | None = None,
    taken: Mapping[str, int] | None = None,
    held: Iterable[str] = (),
    answered: Container[str] = (),
) -> Routes:
    """``addresses``: IP address of each that tasks tell; a task whose is not known there is not led to.

    ``taken``: the agents' ports that tenants have already. ``held``: tenants whose requests are to be held whatever
    Marathon says. ``answered``: ids of tasks that answer, though Marathon does not call them healthy yet. Where two
    masters claim one address, the tenant that comes first by name has it.
    """
    ports = assigned_ports([name for name, found in masters.items() if found.policy.agents], agent_ports, taken or {})
    holding = frozenset(held)
    found: dict[str, Route] = {}
    owners: dict[str, str] = {}
    problems = []
    for tenant, master in sorted(masters.items()):
        host, path = _host(master.policy.host), master.policy.path
        reason = _unfit(tenant, host, path)
        if reason is None and (other := owners.get(f"{host or ''}{path or ''}")) is not None:
            reason = f"{host or ''}{path or ''} is {other}'s address already"
        if reason is not None:
            problems.append(f"{tenant}: {reason}")
            continue
        task = None if tenant in holding else serving_task(master, answered)
        address = addresses.get(task.address) if task is not None else None
        route = Route(tenant, host, path, agents_port=ports.get(tenant))
        if task is not None and address is not None:
            to = Endpoint(address, task.ports[0])
            agents_to = Endpoint(address, task.ports[1]) if len(task.ports) > 1 and master.policy.agents else None
            route = Route(tenant, host, path, to, task.id, ports.get(tenant), agents_to)
        found[tenant] = route
        owners[route.key] = tenant
        if master.policy.agents and tenant not in ports:
            problems.append(f"{tenant}: no port of masters.ingress.agent_ports is left for its agents")
    return Routes(found, tuple(problems))


def _host(host: str | None) -> str | None:
    return host.lower().rstrip(".") if host else None


def _unfit(tenant: str, host: str | None, path: str | None) -> str | None:
    """What of it cannot stand in a map."""
    if not _TENANT.fullmatch(tenant):
        return "its name cannot be routed"
    if host is None and path is None:
        return "it has no address"
    if host is not None and not _HOST.fullmatch(host):
        return "its host name cannot be one"
    if path is not None and not _PATH.fullmatch(path):
        return "its path cannot be one"
    return None


def assigned_ports(
    tenants: Iterable[str], agent_ports: tuple[int, int] | None, taken: Mapping[str, int]
) -> dict[str, int]:
    """A public port for each tenant's agents: the one it has, else by its name, else the next that is free.

    Those that have one keep it, whoever comes or goes; new ones are dealt out in the order of their names.
    """
    if agent_ports is None:
        return {}
    first, last = agent_ports
    count = last - first + 1
    names = sorted(set(tenants))
    ports: dict[str, int] = {}
    used: set[int] = set()
    for name in names:
        port = taken.get(name)
        if port is not None and first <= port <= last and port not in used:
            ports[name] = port
            used.add(port)
    for name in names:
        if name in ports or len(used) >= count:
            continue
        at = zlib.crc32(name.encode()) % count
        while first + at in used:
            at = (at + 1) % count
        ports[name] = first + at
        used.add(first + at)
    return ports


def map_text(entries: Mapping[str, str]) -> str:
    """A map as HAProxy reads it when it starts."""
    return "".join(f"{key} {value}\n" for key, value in sorted(entries.items()))


def commands(name: str, before: Sequence[tuple[str, str]], after: Mapping[str, str]) -> list[str]:
    """What makes HAProxy's map ``name``, which holds ``before``, hold ``after``. What is new comes before what goes.

    A key that is there twice, of which HAProxy would take either, is made anew.
    """
    seen: dict[str, str] = {}
    twice: set[str] = set()
    for key, value in before:
        if key in seen:
            twice.add(key)
        seen[key] = value
    made = []
    for key, value in sorted(after.items()):
        if key in twice:
            made += [f"del map {name} {key}", f"add map {name} {key} {value}"]
        elif key not in seen:
            made.append(f"add map {name} {key} {value}")
        elif seen[key] != value:
            made.append(f"set map {name} {key} {value}")
    return made + [f"del map {name} {key}" for key in sorted(seen) if key not in after]
