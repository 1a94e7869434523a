"""A master's files of configuration-as-code, packed into one variable of its environment."""

from __future__ import annotations

from collections.abc import Sequence

from masters.spec.files import ReadTenant

MAX_BYTES = 64 << 10
"""Of what goes into the variable: Linux refuses more than 128 KiB in one, Marathon's bodies are to stay small."""


def packed(tenant: ReadTenant) -> str | None:
    """Base64 of a .tar.gz, the same for the same files; None without any. Raises InputError with every fault."""
    raise NotImplementedError


def packed_all(tenants: Sequence[ReadTenant]) -> dict[str, str]:
    """By tenant, those that have any. Raises InputError with the faults of all."""
    raise NotImplementedError
