"""A master's files of configuration-as-code, packed into one variable of its environment."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

from framework.documents import read_document
from framework.errors import Fault, InputError
from masters.spec.files import ReadTenant

MAX_BYTES = 64 << 10
"""Of what goes into the variable: Linux refuses more than 128 KiB in one, Marathon's bodies are to stay small."""
SUFFIXES = (".yaml", ".yml")
"""What Jenkins' plugin reads of a folder."""


def packed_all(tenants: Sequence[ReadTenant]) -> dict[str, str]:
    """By tenant, of those that have any: base64 of a .tar.gz, the same for the same files.

    Raises InputError with every fault of all.
    """
    faults: list[Fault] = []
    packs: dict[tuple[Path, tuple[str, ...]], str | list[Fault]] = {}
    found: dict[str, str] = {}
    for tenant in tenants:
        names = tuple(tenant.spec.configuration)
        if not names:
            continue
        base = tenant.base("configuration")
        if (base, names) not in packs:  # those of the defaults are every tenant's
            packs[base, names] = _pack(tenant, base, names)
        pack = packs[base, names]
        if isinstance(pack, str):
            found[tenant.spec.name] = pack
        else:
            faults += pack
    if faults:
        raise InputError(list(dict.fromkeys(faults)))
    return found


def _pack(tenant: ReadTenant, base: Path, names: Sequence[str]) -> str | list[Fault]:
    faults: list[Fault] = []
    files: dict[str, bytes] = {}
    for index, name in enumerate(names):
        try:
            files[name] = _read(base, name)
        except InputError as error:
            faults += error.faults
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            faults.append(Fault(tenant.where(f"configuration[{index}]"), f"{name} {reason}"))
    if faults:
        return faults
    text = base64.b64encode(_archive(files)).decode()
    if len(text) > MAX_BYTES:
        size = f"{-(-len(text) // 1024)} KiB packed, and {MAX_BYTES >> 10} at most go into a master's environment"
        return [Fault(tenant.where("configuration"), f"{size}; put the rest where the master fetches it itself")]
    return text


def _read(base: Path, name: str) -> bytes:
    """Raises InputError for what is not YAML, OSError, and ValueError for what is not to be read."""
    path = base / name
    if path.suffix not in SUFFIXES:
        raise ValueError(f"is no file of configuration-as-code: its name ends with {' or '.join(SUFFIXES)}")
    if not path.resolve(strict=True).is_relative_to(base.resolve()):
        raise ValueError(f"is a link that leads out of {base}")
    if not path.is_file():  # a pipe would be waited for for ever
        raise ValueError("is not a file")
    read_document(path)
    return path.read_bytes()


def _archive(files: dict[str, bytes]) -> bytes:
    """Of the same bytes for the same files: without times and owners, in the order of their names."""
    whole = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=whole, mode="wb", mtime=0) as packed_file,
        tarfile.open(fileobj=packed_file, mode="w") as archive,
    ):
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return whole.getvalue()
