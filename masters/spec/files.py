"""Tenants read from a directory of YAML, with every fault of every file at once.

Every ``*.yaml``, ``*.yml`` and ``*.json`` file below the directory is one tenant, named as the file is unless it says
otherwise, or a list of them under ``tenants``. What ``defaults.yaml`` at the top holds is merged beneath each: mappings
are merged, lists and scalars are replaced, ``null`` takes away. Files that a tenant names (configuration-as-code,
secrets) are none of tenants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from framework.documents import Document, KeyPath, check, dotted, read_document
from framework.errors import Fault, InputError
from masters.spec.folders import DEFAULTS, defaults_of, tenant_files
from masters.spec.model import TenantSpec
from masters.spec.uniqueness import repeated

LIST = "tenants"
_SOUND = {
    "image": "any",
    "volume": {"persistent": True, "size_mib": 1024},
    "constraints": [["hostname", "IS", "any"]],
}
"""What a tenant needs beside what it owns."""


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
        file, line = self._place(key)
        return f"{file}:{line} {key}".rstrip()

    def base(self, key: str) -> Path:
        """Folder of the file that ``key`` stands in, from which paths in its value start."""
        return self._place(key)[0].parent

    def _place(self, key: str) -> tuple[Path, int]:
        while key:
            if key in self.lines:
                return self.file, self.lines[key]
            if self.defaults is not None and key in self.default_lines:
                return self.defaults, self.default_lines[key]
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return self.file, self.lines.get("", 1)


@dataclass(frozen=True, slots=True)
class _Raw:
    """One tenant as it is written: values, and lines by key path from its own top."""

    file: Path
    data: Any
    lines: Mapping[KeyPath, int]
    name: str | None  # where it says none itself


def read_tenants(path: Path, domain: str) -> list[ReadTenant]:
    """All tenants of a directory, or of one file, by name; ``domain`` is ``masters.ingress.domain``.

    For one file the ``defaults.yaml`` of its folder, or of the nearest above, counts. Raises InputError with every
    fault of every file.
    """
    files, faults = tenant_files(path)
    defaults, default_faults = _defaults(defaults_of(path))
    faults += default_faults
    documents: dict[Path, Document] = {}
    unread: dict[Path, list[Fault]] = {}
    for file in files:
        try:
            documents[file] = read_document(file)
        except InputError as error:
            unread[file] = error.faults
    raws = [raw for file, document in documents.items() for raw in _split(file, document, faults)]
    del documents
    named = {place for raw in (*raws, *filter(None, [defaults])) for place in _files_named(raw)}
    for file, found in unread.items():
        faults += found if file.resolve() not in named else []
    if named:
        raws = [raw for raw in raws if raw.file.resolve() not in named]
    if not raws and not faults:
        faults.append(Fault(str(path), "holds no tenants: no *.yaml, *.yml or *.json file with one"))
    tenants = _checked(raws, defaults, faults)
    faults += repeated(tenants, domain)
    if faults:
        raise InputError(list(dict.fromkeys(faults)))
    return sorted(tenants, key=lambda tenant: tenant.spec.name)


def _defaults(file: Path | None) -> tuple[_Raw | None, list[Fault]]:
    if file is None:
        return None, []
    try:
        document = read_document(file)
    except InputError as error:
        return None, error.faults
    if not isinstance(document.data, dict):
        return None, [Fault(document.where(()), "must be a mapping of keys to values")]
    faults = [
        Fault(document.where((key,)), f"{key} is no default: it is each tenant's own")
        for key in ("name", LIST)
        if key in document.data
    ]
    return _Raw(file, document.data, document.lines, None), faults


def _split(file: Path, document: Document, faults: list[Fault]) -> Iterator[_Raw]:
    data = document.data
    if not isinstance(data, dict) or LIST not in data:
        yield _Raw(file, data, document.lines, file.stem)
        return
    alone = f"stands beside `{LIST}`, where nothing else may; what is for all goes into {DEFAULTS}"
    faults += [Fault(document.where((key,)), alone) for key in data if key != LIST]
    if not isinstance(data[LIST], list):
        faults.append(Fault(document.where((LIST,)), "must be a list"))
        return
    lines: list[dict[KeyPath, int]] = [{} for _ in data[LIST]]
    for key_path, line in document.lines.items():
        if len(key_path) >= 2:
            lines[int(key_path[1])][key_path[2:]] = line
    for item, item_lines in zip(data[LIST], lines, strict=True):
        yield _Raw(file, item, item_lines, None)


def _files_named(raw: _Raw) -> Iterator[Path]:
    """Those of configuration-as-code and of secrets, wherever they are."""
    data = raw.data if isinstance(raw.data, dict) else {}
    secrets, configuration = data.get("secrets"), data.get("configuration")
    given = list(configuration) if isinstance(configuration, list) else []
    if isinstance(secrets, dict):
        given += [secret.get("file") for secret in secrets.values() if isinstance(secret, dict)]
    for name in given:
        if isinstance(name, str) and name and "\0" not in name:
            yield (raw.file.parent / name).resolve()


def _checked(raws: list[_Raw], defaults: _Raw | None, faults: list[Fault]) -> list[ReadTenant]:
    default_file = None if defaults is None else defaults.file
    default_lines = {} if defaults is None else {dotted(key): line for key, line in defaults.lines.items()}
    tenants: list[ReadTenant] = []
    names: dict[str, str] = {}
    for raw in raws:
        document = _merged(raw, defaults)
        name = document.data.get("name") if isinstance(document.data, dict) else None
        if isinstance(name, str):
            where = document.where(("name",))
            if name in names:
                faults.append(Fault(where, f"there are two tenants {name}; the other is at {names[name]}"))
            names.setdefault(name, where)
        try:
            spec: TenantSpec | None = check(document, TenantSpec)
        except InputError as error:
            faults += error.faults
            spec = _owning(document.data)
        if spec is not None:
            lines = {dotted(key): line for key, line in raw.lines.items()}
            tenants.append(ReadTenant(spec, raw.file, lines, default_file, default_lines))
    return tenants


def _owning(data: Any) -> TenantSpec | None:
    """A faulty tenant, as far as it can be held against others: what two share is told along with all that is wrong."""
    for keys in (("address", "ports", "volume"), ("address",)) if isinstance(data, dict) else ():
        with suppress(ValidationError):
            return TenantSpec.model_validate(_SOUND | {key: data[key] for key in ("name", *keys) if key in data})
    return None


def _merged(raw: _Raw, defaults: _Raw | None) -> Document:
    data = raw.data
    if isinstance(data, dict) and raw.name is not None:
        data = {"name": raw.name} | data
    if defaults is None or not isinstance(data, dict):
        return Document(str(raw.file), data, raw.lines)
    origin = str(defaults.file)
    origins = {key: origin for key in defaults.lines if key not in raw.lines}
    return Document(str(raw.file), _over(defaults.data, data), {**defaults.lines, **raw.lines}, origins)


def _over(beneath: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    whole = beneath | own
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(beneath.get(key), dict):
            whole[key] = _over(beneath[key], value)
        elif value is None and key in beneath:
            del whole[key]
    return whole
