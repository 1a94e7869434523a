"""A master as commands show it: its app, its task, its route, what is known of it beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from framework.errors import ButleryError
from masters.apply.failures import healthy, why_not
from masters.comparing import SECRET
from masters.edges import Edges
from masters.ingress.state import ask
from masters.names import LABEL_FAILED
from masters.operations.backups import known_backups
from masters.operations.brief import brief
from masters.operations.selecting import one
from masters.records import ObservedMaster
from masters.settings import MastersContext


def details(edges: Edges, name: str) -> dict[str, Any]:
    """Raises InputError where the tenant has no master, UnavailableError where Marathon does not answer."""
    master = one(edges.marathon, name)
    document, policy = master.document, master.policy
    task = master.newest_task
    route, route_unknown = _route(edges.context, name)
    return {
        "name": name,
        **brief(edges.context, master),
        "why_not": "" if healthy(master) else why_not(master, edges.marathon.waiting_reasons(master.app_id)),
        "left_off": document.get("labels", {}).get(LABEL_FAILED),
        "route": route,
        "route_unknown": route_unknown,
        "runs": _runs(document),
        "task": task.id if task is not None else None,
        "boot_s": edges.ledger.boots().get(name),
        "volume": policy.volume,
        "volume_mib": policy.volume_mib,
        "hibernates_after_s": policy.idle_s,
        "backup_every_s": policy.backup_every_s,
        "backups": [backup._asdict() for backup in known_backups(edges, master)],
        "builds": _builds(edges, name),
        "last_failure": _failure(master),
        "deployments": list(master.deployments),
        "app": master.app_id,
        "app_version": master.version,
        "env": _env(document, policy.hidden),
    }


def _route(context: MastersContext, name: str) -> tuple[dict[str, Any] | None, str]:
    """As the tenants' service tells; else why there is none."""
    try:
        found = ask(context)
    except ButleryError as error:
        return None, str(error)
    if found is None:
        return None, "no tenants' service runs here; `butlery tenants serve` does"
    route = found.routes.get(name)
    if route is None:
        return None, "the tenants' service has none yet"
    told: dict[str, Any] = msgspec.to_builtins(route)
    return told, ""


def _runs(document: Mapping[str, Any]) -> str:
    docker = (document.get("container") or {}).get("docker") or {}
    lines = (document.get("cmd") or "").splitlines() or [""]
    return str(docker.get("image") or lines[-1])


def _builds(edges: Edges, name: str) -> int | None:
    try:
        return edges.scheduler.building(name)
    except ButleryError:
        return None


def _failure(master: ObservedMaster) -> dict[str, Any] | None:
    if master.last_failure is None:
        return None
    message, at = master.last_failure
    return {"message": message, "at": at}


def _env(document: Mapping[str, Any], hidden: tuple[str, ...]) -> dict[str, str]:
    """Without what is secret, and without what only programs read."""
    found = {}
    for variable, value in document.get("env", {}).items():
        secret = variable in hidden or not isinstance(value, str)
        found[variable] = SECRET if secret else value if len(value) <= 200 else f"({len(value)} characters)"
    return found
