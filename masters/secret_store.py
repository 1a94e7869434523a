"""Secrets of tenants: resolved from where their YAML says they are, and kept where Marathon's own store reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from masters.spec.files import ReadTenant


class SecretStore:
    """A directory with a file for each secret, ``TENANT/NAME``, for its owner alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, source: str, value: str) -> bool:
        """Whether it was another before. In one step: who reads it gets the old one or the new. Raises StoreError."""
        raise NotImplementedError

    def read(self, source: str) -> str | None:
        """None where there is none. Raises StoreError."""
        raise NotImplementedError

    def digests(self) -> dict[str, str]:
        """SHA-256 (hex) of each secret, by source. Raises StoreError."""
        raise NotImplementedError

    def forget(self, tenant: str) -> None:
        """Removes all of a tenant's. Raises StoreError."""
        raise NotImplementedError

    def drawn(self, tenant: str) -> dict[str, str]:
        """By source, those of the tenant that ``apply`` draws and that are there: ``token``, ``admin-password``."""
        raise NotImplementedError


def resolve(tenants: Sequence[ReadTenant], environ: Mapping[str, str]) -> dict[str, str]:
    """What the secrets of all tenants hold that are files or variables, by source such as ``payments/env-DB_PASSWORD``.

    Raises InputError with every fault at once; no text of it holds any of a secret.
    """
    raise NotImplementedError


def digest(value: str) -> str:
    """As ``SecretStore.digests`` has it."""
    raise NotImplementedError
