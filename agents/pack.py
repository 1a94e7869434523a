"""Packing the executor into one file that any Linux host with Python 3.8 or later can run."""

import hashlib
import os
import py_compile
import shlex
import tempfile
import zipfile
from pathlib import Path
from typing import Dict, Tuple

from agents.shared import SHARED_EXECUTOR_ID

NAME = "butlery-executor.pyz"
SHEBANG = b"#!/usr/bin/env python3\n"
PYTHON = "/usr/bin/python3"

_MAIN = "import sys\nfrom agents.executor.main import main\nsys.exit(main(sys.argv[1:]))\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip archive knows: the same sources make the same bytes
_START = "import sys; sys.path.insert(0, %r); from agents.executor.main import main; sys.exit(main(sys.argv[1:]))"


def build_pyz(target: Path) -> Path:
    """Makes the executor at ``target``, a file or a directory to put it in, and returns its path. Raises OSError.

    Each module is in it as source and as the byte code of this Python, which a host with the same one imports without
    compiling. The bytes are the same for the same sources and Python.
    """
    path = target / NAME if target.is_dir() else target
    path.parent.mkdir(parents=True, exist_ok=True)
    here = Path(__file__).parent
    sources = [here / name for name in ("__init__.py", "service_spec.py", "shared.py", "spec.py")]
    sources += sorted((here / "executor").glob("*.py"))
    members: Dict[str, bytes] = {"__main__.py": _MAIN.encode()}
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources:
            name = "agents/%s" % source.relative_to(here).as_posix()
            members[name] = source.read_bytes()
            # UNCHECKED_HASH: zipimport would otherwise compare times, which a reproducible archive does not carry.
            compiled = py_compile.compile(
                str(source),
                cfile=str(Path(scratch) / "module.pyc"),
                dfile=name,
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            if compiled is None:
                raise OSError("%s cannot be compiled" % source)
            members[name + "c"] = Path(compiled).read_bytes()
    handle, scratch_name = tempfile.mkstemp(dir=str(path.parent), prefix=NAME)
    with open(handle, "wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, data in members.items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    os.chmod(scratch_name, 0o755)  # noqa: S103 - read and run by the users that Mesos starts executors as
    Path(scratch_name).replace(path)
    return path


def build_named(directory: Path) -> Path:
    """The executor in ``directory``, under a name that tells its content: those at work import from the file they began

    with, so another version must not take its place. Raises OSError.
    """
    made = build_pyz(directory / NAME)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()[:12]
    return made.replace(made.with_name("%s-%s%s" % (made.stem, digest, made.suffix)))


def as_hosts_find(place: str) -> Tuple[str, Tuple[str, ...]]:
    """By which path a host starts the executor at ``place``, and what it fetches first: that, where it is a URL."""
    if "://" in place:
        return "./" + place.rsplit("/", 1)[-1], (place,)
    return place, ()


def shared_id(*started: object) -> str:
    """Id of a shared executor that is ``started`` in this way: the same for as long as that is the same."""
    return "%s~%s" % (SHARED_EXECUTOR_ID, hashlib.sha256(repr(started).encode()).hexdigest()[:12])


def command(pyz: str, python: str = PYTHON, *, service: bool = False) -> str:
    """The shell command that starts the executor at ``pyz`` the fastest, for Mesos' CommandInfo.value.

    ``service``: it is for one service (agents.service_spec), and weighs the less for knowing it from the start.

    Measured: 4 ms less than running the archive itself, for which Python imports runpy, and 26 ms less than without
    -S and -E, with which it neither looks for site packages nor heeds PYTHON* variables.
    """
    return "exec %s -S -E -c %s%s" % (shlex.quote(python), shlex.quote(_START % pyz), " --service" if service else "")
