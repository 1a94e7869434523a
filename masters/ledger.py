"""What Marathon forgets of masters: boots, volumes of deleted tenants, bulk operations, good versions, backups.

One SQLite file that commands and the tenants' service have at once. If it is lost, nothing breaks but these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masters.ports import Backup
from masters.records import Done


@dataclass(frozen=True, slots=True)
class KnownVolume:
    """A volume that a master has, or had until ``gone_at``."""

    tenant: str
    volume: str  # kind and name, as Policy.volume
    size_mib: int | None
    since: float  # unix s
    gone_at: float | None  # unix s; None: in use


@dataclass(frozen=True, slots=True)
class Journal:
    """A bulk operation: what it was to do with whom, and what came of it so far."""

    id: str
    kind: str  # ``upgrade``
    started_at: float  # unix s
    ended_at: float | None  # None: it was stopped, or runs
    tenants: tuple[str, ...]  # in the order it goes
    options: Mapping[str, Any]  # it was begun with
    done: Mapping[str, Done]


class Ledger:
    """Raises StoreError where the file cannot serve, saying what to do. Safe to use from many threads."""

    def __init__(self, path: Path) -> None: ...

    def close(self) -> None: ...

    def boots(self) -> dict[str, float]:
        """Seconds of each tenant's last boot."""
        raise NotImplementedError

    def save_boots(self, boots: Mapping[str, float]) -> None:
        raise NotImplementedError

    def volumes(self, *, orphans: bool = False) -> list[KnownVolume]:
        """By tenant; with ``orphans`` those alone that no master uses any more."""
        raise NotImplementedError

    def volumes_used(self, used: Mapping[str, tuple[str, int | None]], now: float) -> None:
        """By tenant its volume and size; in use from now on. ``now``: unix s."""
        raise NotImplementedError

    def volume_left(self, tenant: str, now: float) -> None:
        """The tenant's master is gone; its volumes are orphans. ``now``: unix s."""
        raise NotImplementedError

    def forget_volume(self, volume: str) -> bool:
        """The operator has wiped it; whether it was an orphan."""
        raise NotImplementedError

    def good_versions(self) -> dict[str, str]:
        """By app id the last version that became healthy."""
        raise NotImplementedError

    def save_good(self, versions: Mapping[str, str]) -> None:
        raise NotImplementedError

    def backups(self, tenant: str) -> list[Backup]:
        """Newest first, as last told by the tenant's masters."""
        raise NotImplementedError

    def save_backups(self, tenant: str, backups: Sequence[Backup]) -> None:
        """All that there are; others are forgotten."""
        raise NotImplementedError

    def forget(self, tenant: str) -> None:
        """Boots, good version and backups of a deleted tenant; its volumes stay known."""
        raise NotImplementedError

    @contextmanager
    def bulk(self, kind: str) -> Iterator[None]:
        """One bulk operation at a time, over all processes; StoreError naming the one that runs."""
        raise NotImplementedError

    def begin(self, kind: str, tenants: Sequence[str], options: Mapping[str, Any], now: float) -> Journal:
        raise NotImplementedError

    def note(self, journal: str, done: Done) -> None:
        """What came of one tenant, on disk when this returns."""
        raise NotImplementedError

    def end(self, journal: str, now: float) -> None:
        raise NotImplementedError

    def journal(self, journal: str) -> Journal | None:
        raise NotImplementedError

    def journals(self, kind: str) -> list[Journal]:
        """Newest first."""
        raise NotImplementedError
