"""``python -m framework.edges.mesos.install_pymesos``: installs the extra ``butlery[pymesos]`` into this Python.

``pip install butlery[pymesos]`` alone fails on Python 3.11 and later: pymesos needs http-parser, whose newest release
(0.9.0, of 2019) is built by a setup.py that imports what Python no longer has, from C that Cython made for older ones.
Here its C is made anew from its Cython source; where there is no C compiler its parser in Python serves.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PYMESOS = "pymesos==0.3.15"
HTTP_PARSER = "http-parser==0.9.0"
HTTP_PARSER_SHA256 = "441d3a57c6227230f98aa97539da006fda0f8f4880bc4c5cd895ff2138a52621"
"""Of its archive, as first fetched when this was written."""
TIMEOUT_S = 900
_SETUP = """
from setuptools import Extension, setup

sources = ["http_parser/parser.pyx", "http_parser/http_parser.c"]
extension = Extension("http_parser.parser", sources, include_dirs=["http_parser"], optional=True)
setup(name="http-parser", version="0.9.0", packages=["http_parser"], ext_modules=[extension])
"""
_PYPROJECT = """
[build-system]
requires = ["setuptools", "cython>=3"]
build-backend = "setuptools.build_meta"
"""


def installed() -> bool:
    """Whether pymesos can be imported, as far as can be told without doing so (it takes SIGINT over when it is)."""
    return all(importlib.util.find_spec(name) is not None for name in ("pymesos", "http_parser", "addict"))


def main() -> int:
    """The exit code: 0 where it is installed in the end, 1 where it is not."""
    argparse.ArgumentParser(prog="install_pymesos", description="Installs pymesos into this Python.").parse_args()
    if installed():
        return 0
    with tempfile.TemporaryDirectory(prefix="butlery-pymesos-") as name:
        try:
            _install(Path(name))
        except (subprocess.SubprocessError, OSError) as error:
            sys.stderr.write(f"install_pymesos: {error}\n")
            return 1
    return 0


def _install(work: Path) -> None:
    requirements = work / "requirements.txt"
    requirements.write_text(f"{HTTP_PARSER} --hash=sha256:{HTTP_PARSER_SHA256}\n")
    wanted = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--requirement", str(requirements)]
    # pip downloads nothing without running a package's setup.py, which fails here from Python 3.12 on; --no-clean keeps
    # what it unpacked before.
    log = _pip(["download", "--no-clean", "--dest", str(work / "archive"), *wanted], work, may_fail=True)
    grammar = next(work.rglob("http_parser/parser.pyx"), None)
    if grammar is None:
        archive = next(work.rglob("http-parser-*.tar.gz"), None)
        if archive is None:
            raise OSError(f"{HTTP_PARSER} cannot be fetched: {log}")
        with tarfile.open(archive) as opened:
            opened.extractall(work / "unpacked", filter="data")
        grammar = next(work.rglob("http_parser/parser.pyx"))
    (grammar.parent / "parser.c").unlink()
    source = grammar.parents[1]
    (source / "setup.py").write_text(_SETUP)
    (source / "pyproject.toml").write_text(_PYPROJECT)
    _pip(["install", "--no-deps", str(source)], work)
    _pip(["install", PYMESOS, "addict"], work)


def _pip(arguments: list[str], work: Path, *, may_fail: bool = False) -> str:
    """What pip said last. Raises OSError where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--retries", "5", *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(work)},
        timeout=TIMEOUT_S,
    )
    said = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "nothing")
    if done.returncode != 0 and not may_fail:
        raise OSError(f"pip {arguments[0]} failed: {said}")
    return said


if __name__ == "__main__":
    sys.exit(main())
