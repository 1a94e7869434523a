"""Backups that masters make of their homes, asked for and waited for."""

from __future__ import annotations

import time

from masters.edges import Edges
from masters.ports import Backup
from masters.records import ObservedMaster


def backup_name(tenant: str, now: float) -> str:
    """``payments-20261121T203000Z``."""
    return f"{tenant}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"


def start_backup(edges: Edges, master: ObservedMaster, now: float) -> str:
    """Its name. Raises UnavailableError where the master does not answer, ButleryError where it makes none."""
    name = backup_name(master.tenant, now)
    edges.jenkins(master).backup(name)
    return name


def backup_of(edges: Edges, master: ObservedMaster, name: str) -> Backup | None:
    """As the master tells of it; None where it knows none of that name. Raises as ``start_backup``."""
    return next((found for found in edges.jenkins(master).backups() if found.name == name), None)
