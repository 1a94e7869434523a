"""Tenants read from a directory of YAML, with every fault of every file at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from masters.spec.model import TenantSpec


@dataclass(frozen=True, slots=True)
class ReadTenant:
    """A tenant and where each of its keys stands."""

    spec: TenantSpec
    file: Path
    lines: Mapping[str, int]  # by dotted key, ``""`` the tenant itself
    defaults: Path | None  # the file merged beneath
    default_lines: Mapping[str, int]

    def where(self, key: str = "") -> str:
        """``tenants/payments.yaml:7 volume.size_mib``; the place of its parent where the key itself is not written."""
        raise NotImplementedError

    def base(self, key: str) -> Path:
        """Folder of the file that ``key`` stands in, from which paths in its value start."""
        raise NotImplementedError


def read_tenants(path: Path, domain: str) -> list[ReadTenant]:
    """All tenants of a directory, or of one file, by name; ``domain`` is ``masters.ingress.domain``.

    Raises InputError with every fault of every file.
    """
    raise NotImplementedError
