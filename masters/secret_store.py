"""Secrets of tenants: resolved from where their YAML says they are, and kept where Marathon's own store reads them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from framework.errors import Fault, InputError, StoreError
from framework.local.files import PRIVATE, write_whole
from framework.log import protect
from framework.secret_files import read_private, resolved
from masters.names import secret_source
from masters.spec.files import ReadTenant
from masters.spec.rules import VARIABLE_MAX_BYTES

_SOURCE = re.compile(r"[a-z0-9][a-z0-9-]*/(token|admin-password|env-[A-Za-z_][A-Za-z0-9_]*)")


class SecretStore:
    """A directory with a file for each secret, ``TENANT/NAME``, for its owner alone; what else is in it is left."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, source: str, value: str) -> bool:
        """Whether it was another before. In one step: who reads it gets the old one or the new. Raises StoreError."""
        protect(value)
        path = self._path(source)
        if self.read(source) == value:
            return False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, value, PRIVATE)
        except OSError as error:
            raise StoreError(f"secret {source}: {path} cannot be written: {error.strerror}") from error
        return True

    def read(self, source: str) -> str | None:
        """None where there is none. Raises StoreError."""
        path = self._path(source)
        try:
            value = read_private(path, VARIABLE_MAX_BYTES).decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"secret {source}: {path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise StoreError(f"secret {source}: {path} is not UTF-8 text") from None
        except ValueError as error:
            raise StoreError(f"secret {source}: {path}: {error}") from error
        protect(value)
        return value

    def digests(self) -> dict[str, str]:
        """SHA-256 (hex) of each secret, by source. Raises StoreError."""
        found = ((source, self.read(source)) for source in self._sources())
        return {source: digest(value) for source, value in found if value is not None}

    def forget(self, tenant: str) -> None:
        """Removes all of a tenant's. Raises StoreError."""
        folder = self._path(secret_source(tenant, "token")).parent
        try:
            for source in list(self._sources(folder)):
                self._path(source).unlink(missing_ok=True)
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        except OSError as error:
            raise StoreError(f"secrets of {tenant} in {folder} cannot be removed: {error.strerror}") from error

    def _sources(self, only: Path | None = None) -> Iterator[str]:
        """Of secrets that are there and ours. Raises StoreError."""
        try:
            folders = [only] if only is not None else sorted(self._directory.iterdir())
            for folder in folders:
                for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                    source = f"{folder.name}/{file.name}"
                    if _SOURCE.fullmatch(source):
                        yield source
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{error.filename} cannot be read: {error.strerror}") from error

    def _path(self, source: str) -> Path:
        if _SOURCE.fullmatch(source) is None:
            raise StoreError(f"{source!r} is no name of a tenant's secret")
        return self._directory / source


def resolve(tenants: Sequence[ReadTenant], environ: Mapping[str, str]) -> dict[str, str]:
    """What the secrets of all tenants hold that are files or variables, by source such as ``payments/env-DB_PASSWORD``.

    Raises InputError with every fault at once; no text of it holds any of a secret.
    """
    faults: list[Fault] = []
    values: dict[str, str] = {}
    for tenant in tenants:
        for name, secret in tenant.spec.secrets.items():
            if secret.marathon is not None:
                continue
            key = f"secrets.{name}.{'file' if secret.file is not None else 'env'}"
            try:
                value = _from_file(secret.file, tenant.base(key)) if secret.file else environ.get(secret.env or "")
                values[secret_source(tenant.spec.name, f"env-{name}")] = _checked(value)
            except OSError as error:
                faults.append(Fault(tenant.where(key), f"{secret.file}: cannot be read: {error.strerror}"))
            except ValueError as error:
                faults.append(Fault(tenant.where(key), f"{secret.file or f'the variable {secret.env}'}: {error}"))
    if faults:
        raise InputError(list(dict.fromkeys(faults)))
    for value in values.values():
        protect(value)
    return values


def digest(value: str) -> str:
    """As ``SecretStore.digests`` has it."""
    return hashlib.sha256(value.encode()).hexdigest()


def _from_file(name: str, base: Path) -> str:
    """Without the line break at its end. Raises OSError and ValueError."""
    try:
        return read_private(resolved(name, base), VARIABLE_MAX_BYTES).decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None  # whose own error quotes what is in it


def _checked(value: str | None) -> str:
    if value is None:
        raise ValueError("not set where this command runs")
    if not value:
        raise ValueError("empty")
    if "\0" in value:
        raise ValueError("holds the character NUL, which no variable can")
    if len(value.encode(errors="surrogateescape")) > VARIABLE_MAX_BYTES:
        raise ValueError(f"has more than {VARIABLE_MAX_BYTES >> 10} KiB")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("not UTF-8 text") from None
    return value
