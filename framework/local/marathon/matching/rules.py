"""What an app demands of a host, and what bars it from one apart from room there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from framework.core.constraints import Spread, allows, counts, parse, value_of
from framework.core.offers import Window
from framework.core.resources import Resources
from framework.core.templates import Constraint, Operator
from framework.local.marathon.definition.app import App, PersistentVolume
from framework.local.marathon.matching.ports import Asked, asked_by
from framework.local.marathon.records import Instance, Site

UNRESERVED = "*"
GPU_LABEL = "GPU_SCHEDULING_BEHAVIOR"
"""Label by which an app without GPUs takes hosts that have some: ``unrestricted``. Else they are left to others."""


class MatchSettings(msgspec.Struct, frozen=True):
    """What of the server's settings matters to where instances go. Defaults but the first are Marathon's own.

    ``overhead``: of each task's Mesos executor, on top of what the app asks for; an app's ``executorResources`` stand
    in for it.
    """

    overhead: Resources
    default_accepted_roles: tuple[str, ...] = ()  # empty: what is reserved and what is not


class Demand(NamedTuple):
    """What of an app matters to where it goes."""

    need: Resources  # of the task, ports left out
    overhead: Resources  # of its Mesos executor
    total: Resources
    asked: Asked
    free: bool  # whether what is not reserved will do
    reserved: bool  # whether what is reserved for its role will do
    fixed: tuple[Constraint | None, ...]  # judged by the host alone; None: one that no host satisfies
    counted: tuple[Constraint, ...]  # judged by where the other instances are too
    volumes: tuple[tuple[str, PersistentVolume], ...]  # by container path
    spares_gpus: bool  # whether hosts with GPUs are left to others
    same_config_since: str  # instances of this version and later count for ``counted``; empty without any


def demand_of(app: App, role: str, settings: MatchSettings) -> Demand:
    """``role``: of the instance, which keeps its own where the app's was changed since."""
    accepted = app.accepted_resource_roles or settings.default_accepted_roles or (UNRESERVED, role)
    constraints = _constraints(app.constraints)
    counted = tuple([each for each in constraints if each is not None and counts(each)])
    volumes = app.container.volumes if app.container else ()
    restricted = app.labels.get(GPU_LABEL, "restricted") == "restricted"
    need = Resources(amount_millis(app.cpus), math.ceil(app.mem), math.ceil(app.disk), app.gpus)
    overhead = overhead_of(app, settings.overhead)
    return Demand(
        need=need,
        overhead=overhead,
        total=need + overhead,
        asked=asked_by(app),
        free=UNRESERVED in accepted,
        reserved=role != UNRESERVED and role in accepted,
        fixed=tuple([each for each in constraints if each is None or not counts(each)]),
        counted=counted,
        volumes=tuple([(each.container_path, each.persistent) for each in volumes if each.persistent is not None]),
        spares_gpus=restricted and not app.gpus,
        same_config_since=app.version_info.last_config_change_at if counted else "",
    )


def overhead_of(app: App, overhead: Resources) -> Resources:
    """What its Mesos executor takes on top: what the app says of it, else ``overhead``."""
    own = app.executor_resources
    return overhead if own is None else Resources(amount_millis(own.cpus), math.ceil(own.mem), math.ceil(own.disk))


def amount_millis(amount: float) -> int:
    """Thousandths, as Mesos keeps them."""
    return round(amount * 1000)


@lru_cache(maxsize=1024)
def _constraints(all_parts: tuple[tuple[str, ...], ...]) -> tuple[Constraint | None, ...]:
    """None for one that cannot be used, such as a regular expression that RE2 does not know."""
    result: list[Constraint | None] = []
    for parts in all_parts:
        try:
            result.append(parse(_as_used(parts)))
        except ValueError:
            result.append(None)
    return tuple(result)


def _as_used(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Without a value that Marathon does not mind and we do: any of UNIQUE, and GROUP_BY's 0 for no number at all."""
    valueless = parts[1:2] == (Operator.UNIQUE.value,) or parts[1:] == (Operator.GROUP_BY.value, "0")
    return parts[:2] if valueless else parts


def fixed_met(demand: Demand, site: Site) -> bool:
    """Whether the host satisfies the constraints that depend on it alone."""
    for each in demand.fixed:
        if each is None or not allows(each, value_of(each.field, site.hostname, site.attributes)):
            return False
    return True


def counted_met(demand: Demand, site: Site, spreads: Mapping[str, Spread]) -> bool:
    """Whether one more instance may go there as the others are spread, by the constraints' fields."""
    for each in demand.counted:
        if not allows(each, value_of(each.field, site.hostname, site.attributes), spreads[each.field]):
            return False
    return True


def members(demand: Demand, instance: Instance, siblings: Sequence[Instance]) -> Iterator[Instance]:
    """The instances that count for its constraints: those that run, or keep a place, with the same configuration.

    Those of older ones do not, so that a roll can go where they still are (mesosphere/mesos/ResourceMatcher.scala).
    """
    for one in siblings:
        if (
            one.site is not None
            and one.id != instance.id
            and one.version >= demand.same_config_since
            and (one.reserved or not one.condition.terminal)
        ):
            yield one


def spreads_of(demand: Demand, placed: Sequence[Instance]) -> dict[str, Spread]:
    """How the members are spread over each field that is counted."""
    spreads: dict[str, Spread] = {}
    for constraint in demand.counted:
        field = constraint.field
        if field not in spreads:
            spreads[field] = Spread(
                value_of(field, one.site.hostname, one.site.attributes) for one in placed if one.site is not None
            )
    return spreads


def in_maintenance(window: Window, now: float) -> bool:
    """``now`` in seconds since the epoch."""
    return now >= window.start_at and not window.over(now)
