"""A small Python project in git, made on the spot, and the daemon that serves it to the builds."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.local.cluster import free_port

NAME = "roman.git"
GIT_TIMEOUT_S = 60
SERVING_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
START_ATTEMPTS = 3
MAX_CONNECTIONS = 64

NUMERALS = '''\
"""Roman numerals, from 1 to 3999."""

SYMBOLS = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"),
    (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)


def to_roman(number):
    if not 0 < number < 4000:
        raise ValueError(f"{number} has no Roman numeral")
    text = ""
    for value, symbol in SYMBOLS:
        while number >= value:
            text += symbol
            number -= value
    return text


def from_roman(text):
    number, rest = 0, text
    for value, symbol in SYMBOLS:
        while rest.startswith(symbol):
            number += value
            rest = rest[len(symbol):]
    if rest or not 0 < number < 4000 or to_roman(number) != text:
        raise ValueError(f"{text!r} is no Roman numeral")
    return number
'''

PROGRAM = """\
import sys

from roman import to_roman

print(*(to_roman(int(word)) for word in sys.argv[1:]))
"""

UNIT_TESTS = """\
import unittest

from roman import from_roman, to_roman


class Numerals(unittest.TestCase):
    def test_known_numbers(self):
        for number, text in ((1, "I"), (4, "IV"), (9, "IX"), (1990, "MCMXC"), (2026, "MMXXVI"), (3999, "MMMCMXCIX")):
            self.assertEqual(to_roman(number), text)

    def test_there_and_back(self):
        for number in range(1, 4000):
            self.assertEqual(from_roman(to_roman(number)), number)

    def test_what_is_no_numeral(self):
        for text in ("", "IIII", "IC", "MMMM", "ABC"):
            with self.assertRaises(ValueError):
                from_roman(text)
"""

PROGRAM_TESTS = """\
import subprocess
import sys
import unittest


class Program(unittest.TestCase):
    def test_prints_what_it_is_given(self):
        done = subprocess.run([sys.executable, "-m", "roman", "7", "40"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "VII XL\\n"))
"""

SLOW_TESTS = """\
import http.client
import http.server
import threading
import time
import unittest

from roman import to_roman


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(0.2)  # a database would not be faster
        body = to_roman(int(self.path[1:])).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class OverHttp(unittest.TestCase):
    def test_numbers(self):
        server = http.server.HTTPServer(("127.0.0.1", 0), Service)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            for number, text in ((1, "I"), (14, "XIV"), (90, "XC"), (400, "CD"), (1066, "MLXVI")):
                connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
                connection.request("GET", f"/{number}")
                self.assertEqual(connection.getresponse().read().decode(), text)
                connection.close()
        finally:
            server.shutdown()
            server.server_close()
"""

# Each piece is written to, so that it is resident; and it ends by itself far below what a small machine has.
MEMORY_TESTS = """\
import time
import unittest

from roman import to_roman


class Cache(unittest.TestCase):
    def test_keeps_every_answer(self):
        kept = []
        for number in range(1, 65):
            kept.append(to_roman(number).encode().ljust(8 << 20, b"."))
            time.sleep(0.02)
        time.sleep(10)
        self.assertEqual(len(kept), 64)
"""

TIME_TESTS = """\
import time
import unittest

from roman import to_roman


class Search(unittest.TestCase):
    def test_finds_the_numeral_of_zero(self):
        numbers, until = iter(range(1, 4000)), time.monotonic() + 120
        while "" not in {to_roman(number) for number in numbers} and time.monotonic() < until:
            numbers = iter(range(1, 4000))
"""

MAIN = "main"
RELEASE = "v1.0"
SLOW = "feature/http"
BROKEN = "fix/subtraction"
MEMORY_HOG = "feature/cache"
TIME_HOG = "feature/zero"

_PROJECT = {
    "README": "Roman numerals. `python3 -m unittest discover -s tests` runs the tests.\n",
    "roman/__init__.py": NUMERALS,
    "roman/__main__.py": PROGRAM,
    "tests/test_numerals.py": UNIT_TESTS,
    "tests/test_program.py": PROGRAM_TESTS,
}
_BRANCHES: dict[str, dict[str, str]] = {
    SLOW: {"tests/test_http.py": SLOW_TESTS},
    BROKEN: {"roman/__init__.py": NUMERALS.replace('(4, "IV"), ', "")},
    MEMORY_HOG: {"tests/test_cache.py": MEMORY_TESTS},
    TIME_HOG: {"tests/test_zero.py": TIME_TESTS},
}


def require_git() -> str:
    """The git program. Raises InputError where there is none."""
    git = shutil.which("git")
    if git is None:
        raise InputError([Fault("git", "is not installed; `apt-get install git`")])
    return git


def make_repository(path: Path) -> None:
    """A bare repository with the refs above. Raises InputError where there is no git, ButleryError where it fails."""
    git = require_git()
    stream = [_commit(f"refs/heads/{MAIN}", "Roman numerals", _PROJECT, mark=1)]
    stream.append(f"reset refs/tags/{RELEASE}\nfrom :1\n\n".encode())
    for name, files in _BRANCHES.items():
        stream.append(_commit(f"refs/heads/{name}", name.replace("/", ": "), files, parent=1))
    environment = _environment()
    _run([git, "init", "-q", "--bare", f"--initial-branch={MAIN}", str(path)], environment)
    _run([git, f"--git-dir={path}", "fast-import", "--quiet", "--done"], environment, b"".join([*stream, b"done\n"]))


def _commit(
    ref: str, message: str, files: Mapping[str, str], mark: int | None = None, parent: int | None = None
) -> bytes:
    """One commit in the form of git-fast-import(1), which makes them all in one process."""
    lines = [f"commit {ref}\n".encode()]
    if mark is not None:
        lines.append(f"mark :{mark}\n".encode())
    lines.append(b"committer Demo <demo@localhost> 1767225600 +0000\n")
    lines.append(_data(message))
    if parent is not None:
        lines.append(f"from :{parent}\n".encode())
    for path, text in files.items():
        lines += [f"M 100644 inline {path}\n".encode(), _data(text)]
    return b"".join([*lines, b"\n"])


def _data(text: str) -> bytes:
    raw = text.encode()
    return b"data %d\n%s\n" % (len(raw), raw)


def _environment() -> dict[str, str]:
    """None of the user's own configuration: hooks, signing or templates have no place here."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}


def _run(command: list[str], environment: Mapping[str, str], given: bytes = b"") -> None:
    try:
        done = subprocess.run(
            command, input=given, env=environment, capture_output=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ButleryError(f"{command[0]} {command[1]} takes longer than {GIT_TIMEOUT_S} s") from error
    if done.returncode:
        raise ButleryError(f"{command[0]} {command[1]} failed: {done.stderr.decode(errors='replace').strip()[-500:]}")


class _Daemon(NamedTuple):
    process: subprocess.Popen[bytes]
    port: int


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serves the repository below ``directory`` on a free port of 127.0.0.1; gives its URL. Raises UnavailableError.

    Over git's own protocol, since git refuses a repository in the file system that belongs to another user.
    """
    daemon: _Daemon | None = None
    try:
        daemon = _start(directory)
        yield f"git://127.0.0.1:{daemon.port}/{NAME}"
    finally:
        if daemon is not None:
            _stop(daemon.process)


def _start(directory: Path) -> _Daemon:
    log = directory / "daemon.log"
    for _ in range(START_ATTEMPTS):
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # it must not outlive a demo that was killed
                    str(_git_daemon()),
                    "--listen=127.0.0.1",
                    f"--port={port}",
                    "--export-all",
                    "--informative-errors",
                    f"--max-connections={MAX_CONNECTIONS}",
                    f"--base-path={directory}",
                    str(directory),
                ],
                env={**_environment(), **_trusting(directory / NAME)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            if _answers(process, port):
                return _Daemon(process, port)
        except BaseException:
            _stop(process)
            raise
        _stop(process)
    raise UnavailableError(f"git daemon does not start: {log.read_text(errors='replace').strip()[-500:]}")


def _git_daemon() -> Path:
    """The program itself: `git daemon` would be a parent of it, and hear alone of our end."""
    where = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True, timeout=GIT_TIMEOUT_S)
    return Path(where.stdout.strip()) / "git-daemon"


def _trusting(repository: Path) -> dict[str, str]:
    """git looks whether the repository is the user's own, which under sudo it may not be."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(repository)}


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + SERVING_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.02)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The daemon and the children that serve one connection each."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
            break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
