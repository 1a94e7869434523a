"""Which files of a directory are tenants'."""

from __future__ import annotations

import os
from pathlib import Path

from framework.errors import Fault

DEFAULTS = "defaults.yaml"
SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILES = 20_000
"""Ten times the tenants that this is built for; more is the wrong directory."""
MAX_DEPTH = 32


def tenant_files(path: Path) -> tuple[list[Path], list[Fault]]:
    """The files in the order of their names, ``defaults.yaml`` left out; what is hidden (``.git``) is not looked at."""
    if not path.is_dir():
        return ([], [fault]) if (fault := _fault_of(path)) else ([path], [])
    files: list[Path] = []
    faults: list[Fault] = []
    _walk(path, (), files, faults)
    if len(files) > MAX_FILES:
        return [], [*faults, Fault(str(path), f"holds more than {MAX_FILES} files; is it the right directory?")]
    defaults = path / DEFAULTS
    misplaced = f"counts only at the top, in {path}; name it otherwise if it is a tenant"
    faults += [Fault(str(file), misplaced) for file in files if file.name == DEFAULTS and file != defaults]
    return [file for file in files if file.name != DEFAULTS], faults


def defaults_of(path: Path) -> Path | None:
    """Of a directory its own; of a file the nearest in its folder or above. None where there is none."""
    above = () if path.is_absolute() else Path.cwd().parents
    folders = [path] if path.is_dir() else [*path.parents, *above]
    return next((folder / DEFAULTS for folder in folders if (folder / DEFAULTS).is_file()), None)


def _walk(folder: Path, above: tuple[tuple[int, int], ...], files: list[Path], faults: list[Fault]) -> None:
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        faults.append(Fault(str(folder), f"cannot be read: {error.strerror}"))
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        faults.append(Fault(str(folder), "is a link to a folder that it is in itself"))
        return
    if len(above) > MAX_DEPTH:
        faults.append(Fault(str(folder), f"is nested deeper than {MAX_DEPTH} folders"))
        return
    for entry in entries:
        if entry.name.startswith(".") or len(files) > MAX_FILES:
            continue
        path = folder / entry.name
        if path.is_dir():
            _walk(path, (*above, here), files, faults)
        elif path.suffix in SUFFIXES:
            fault = _fault_of(path)
            if fault is not None:
                faults.append(fault)
            else:
                files.append(path)


def _fault_of(path: Path) -> Fault | None:
    """Of what is to be a file: a pipe, for one, would be waited for for ever."""
    try:
        path.stat()
    except OSError as error:
        return Fault(str(path), f"cannot be read: {error.strerror}")
    except ValueError as error:  # NUL in the name
        return Fault(repr(str(path)), f"is no file name: {error}")
    return None if path.is_file() else Fault(str(path), "is not a file")
