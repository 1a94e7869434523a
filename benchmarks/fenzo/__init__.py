"""Netflix Fenzo, the peer that placement is held against: fetched once with Maven, run as a Java program beside us.

``Peer.java`` is a program of ours around ``com.netflix.fenzo:fenzo-core:1.0.1``, with its own fitness for packing CPU
and memory. One process serves all rounds, so that its machine code is as good as it gets; it times ``scheduleOnce``
alone, and starts each round with a scheduler that knows nothing. The cache holds::

    fenzo-1.0.1/lib-HASH/     fenzo-core and what it depends on, by the hash of pom.xml
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from framework.core.offers import Host
from framework.core.resources import Resources
from framework.errors import ButleryError, Fault, InputError
from framework.local import maven
from framework.local.caches import cache_of

VERSION = "1.0.1"
FENZO_SHA256 = "e3cbb92cbb4b9e85b6bced896debdc9e7551fc7501bab69d587ea53e5b730dca"  # of the jar, as first fetched
ROUND_TIMEOUT_S = 120
END_TIMEOUT_S = 10

_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"
_JAVA_OPTIONS = ("-Xms512m", "-Xmx2g")


class Round(NamedTuple):
    """One round of Fenzo's."""

    duration_s: float
    placed: int
    hosts_used: int


def ensure(say: Callable[[str], None], cache: Path | None = None) -> Path:
    """The directory with Fenzo's libraries; fetched where they are missing.

    Raises InputError where Java or Maven is missing, UnavailableError where they cannot be fetched, ButleryError where
    what came is not Fenzo 1.0.1.
    """
    missing = [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]
    if missing:
        fix = "install a JDK 17 or later and Maven; on Debian: apt-get install default-jdk-headless maven"
        raise InputError([Fault("peer", f"{', '.join(missing)} cannot be found; {fix}")])
    cache = cache_of(f"fenzo-{VERSION}") if cache is None else cache
    libraries = cache / f"lib-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]}"
    if not libraries.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        say(f"fetching Netflix Fenzo {VERSION} (3 MiB) through Maven, once")
        _fetch(libraries)
    return libraries


def _fetch(libraries: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=libraries.parent) as name:
        fetched = Path(name) / "lib"
        maven.fetch(_POM, fetched, "Fenzo", f"fenzo-core-{VERSION}.jar", FENZO_SHA256)
        try:
            fetched.rename(libraries)
        except OSError:
            if not libraries.is_dir():  # else another process was first
                raise


class Fenzo:
    """A running peer program, loaded with hosts and requests."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self._process = process
        self._errors = errors
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def round(self) -> Round:
        """Has Fenzo place all once. Raises ButleryError where the program ended or takes longer than 120 s."""
        self._write("round\n")
        try:
            line = self._lines.get(timeout=ROUND_TIMEOUT_S)
        except queue.Empty:
            raise ButleryError(f"Fenzo took longer than {ROUND_TIMEOUT_S} s for one round") from None
        if not line:
            raise self._ended()
        nanoseconds, placed, hosts_used = map(int, line.split())
        return Round(nanoseconds / 1e9, placed, hosts_used)

    def load(self, hosts: Sequence[Host], needs: Sequence[Resources]) -> None:
        lines = [f"host {host.id} {host.total.cpu_millis} {host.total.mem_mib}\n" for host in hosts]
        lines += [f"request r{i:05d} {need.cpu_millis} {need.mem_mib}\n" for i, need in enumerate(needs)]
        self._write("".join(lines))

    def end(self) -> None:
        self._process.kill()
        self._process.wait(END_TIMEOUT_S)
        self._reader.join(END_TIMEOUT_S)
        with contextlib.suppress(BrokenPipeError):  # what it did not read any more
            assert self._process.stdin is not None  # noqa: S101 - for the type checker; it was asked for
            self._process.stdin.close()

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - for the type checker; it was asked for
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker; it was asked for
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _ended(self) -> ButleryError:
        said = [line for line in self._errors.read_text(errors="replace").splitlines() if not line.startswith("SLF4J")]
        return ButleryError(f"the peer program with Fenzo ended: {said[0] if said else 'it said nothing'}")


@contextlib.contextmanager
def running(libraries: Path, hosts: Sequence[Host], needs: Sequence[Resources]) -> Iterator[Fenzo]:
    """Fenzo with these hosts, all free, and these requests; ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="butlery-fenzo-") as name:
        errors = Path(name) / "errors"
        with errors.open("w") as output:
            process = subprocess.Popen(
                ["java", *_JAVA_OPTIONS, "-cp", f"{libraries}/*", str(_HERE / "Peer.java")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        with process:
            fenzo = Fenzo(process, errors)
            try:
                fenzo.load(hosts, needs)
                yield fenzo
            finally:
                fenzo.end()
