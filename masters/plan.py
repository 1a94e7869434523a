"""What is to be done so that what is observed becomes what is desired. Pure.

Marathon replaces a running task whenever anything of its app changes but the number of instances: labels and health
checks too (AppDefinition.isUpgrade of Marathon 1.9; ``is_upgrade`` of the embedded server). So every change of an app
restarts its master where it runs, and what may wait for the next start anyway, the learned grace, is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from framework.errors import Fault
from masters.app import AppContext
from masters.records import Change, Observed
from masters.spec.model import TenantSpec


@dataclass(frozen=True, slots=True)
class Desired:
    """One tenant as its YAML has it."""

    spec: TenantSpec
    where: Callable[[str], str]  # the place of a key, for faults: ``tenants/payments.yaml:7 volume.size_mib``
    configuration: str | None = None  # packed files of configuration-as-code
    secrets: Mapping[str, str | None] = field(default_factory=dict)
    """SHA-256 by source of what the store is to hold; None: drawn by ``apply`` where there is none."""
    clear: Mapping[str, str] = field(default_factory=dict)
    """What secrets hold, by source, where there is no store."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``changes`` by tenant; ``faults`` of what cannot be done, in which case nothing is to be."""

    changes: tuple[Change, ...]
    faults: tuple[Fault, ...]
    unchanged: int


def plan(
    desired: Sequence[Desired], observed: Observed, context: AppContext, *, only: Collection[str] | None = None
) -> Plan:
    """``only``: names of tenants to look at; of others nothing is told, not even that they are gone."""
    raise NotImplementedError
