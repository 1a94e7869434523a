"""Our agent.jar, compiled from java/ when it is first asked for and kept in a directory of its source's digest."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

_SOURCES = Path(__file__).parent / "java"
_COMPILE_S = 120.0


def agent_jar() -> Path:
    """Where it is.

    Raises OSError where there is no JDK (package default-jdk-headless), or where it cannot be written or is another
    user's.
    """
    sources = sorted(_SOURCES.glob("*.java"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    directory = Path(tempfile.gettempdir()) / f"butlery-stand-in-agent-{os.getuid()}-{digest}"
    jar = directory / "agent.jar"
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.lstat().st_uid != os.getuid():
        raise PermissionError(f"{directory} is another user's")
    if jar.exists():
        return jar
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        classes = Path(scratch) / "classes"
        _run("javac", "--release", "11", "-d", str(classes), *map(str, sources))
        made = Path(scratch) / "agent.jar"
        _run("jar", "--create", "--file", str(made), "--main-class", "butlery.agent.Launcher", "-C", str(classes), ".")
        made.replace(jar)  # of several masters that make it at once, one's stays
    return jar


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_S, check=False)
    if done.returncode != 0:
        raise OSError(f"{command[0]} failed: {done.stdout}{done.stderr}")
