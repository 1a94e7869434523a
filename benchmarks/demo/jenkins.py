"""What the demo's masters are: a real Jenkins where its war can be had in a few seconds, else a stand-in."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from framework.errors import UnavailableError

VERSION = "2.462.3"
"""The last long-term release that Java 11, 17 and 21 all run."""
URL = f"https://get.jenkins.io/war-stable/{VERSION}/jenkins.war"
PATIENCE_S = 15.0
"""In all, for looking it up and downloading it."""
ANSWER_S = 5.0
CHUNK_BYTES = 1 << 20
MAX_BYTES = 400 << 20
JAVA_AT_LEAST = 11
REPOSITORY = Path(__file__).parents[2]
STAND_IN = "tests.fakes.jenkins"


class Kind(NamedTuple):
    """Of all three masters: the keys of their YAML that say what they are, and what that is in words."""

    fields: dict[str, object]
    what: str
    real: bool


def choose() -> Kind | None:
    """None where neither can be had: the demo runs outside of its repository, and Jenkins is out of reach."""
    try:
        war = _war()
    except UnavailableError as error:
        if not (REPOSITORY / STAND_IN.replace(".", "/")).is_dir():
            return None
        return Kind({"command": _stand_in(), **_SMALL}, f"a stand-in for Jenkins, as {error}", real=False)
    as_root = {"uid": 0} if os.geteuid() == 0 else {}  # which a master never is unasked
    return Kind({"war": str(war), **_LARGE, **as_root}, f"Jenkins {VERSION}, of {URL}", real=True)


_SMALL: dict[str, object] = {"mem_mib": 256, "cpus": 0.3}
_LARGE: dict[str, object] = {
    "mem_mib": 640,
    "cpus": 0.5,
    "jvm": {"heap_percent": 35, "metaspace_mib": 160, "code_cache_mib": 48, "threads": 96},
}
MEM_MIB = 640
"""Of the larger of both; ``CPUS`` too."""
CPUS = 0.5


def _stand_in() -> str:
    """Its program, from this repository, whatever directory and environment it runs in."""
    return f"exec env PYTHONPATH={shlex.quote(str(REPOSITORY))} {shlex.quote(sys.executable)} -m {STAND_IN}"


def _war() -> Path:
    """The war of an earlier demo, else downloaded now and held to the checksum beside it. Raises UnavailableError."""
    _require_java()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "butlery" / f"jenkins-{VERSION}.war"
    if path.is_file():
        return path
    deadline = time.monotonic() + PATIENCE_S
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        checksum = _fetch(f"{URL}.sha256", deadline).decode(errors="replace").split()[:1]
        content = _fetch(URL, deadline)
        if [hashlib.sha256(content).hexdigest()] != checksum:
            raise UnavailableError(f"{URL} is not what its checksum says")
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", None) or error
        reason = getattr(cause, "strerror", None) or cause
        raise UnavailableError(f"{URL} cannot be downloaded ({reason})") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _fetch(url: str, deadline: float) -> bytes:
    """Raises OSError, HTTPException, UnavailableError."""
    parts, size = [], 0
    with urllib.request.urlopen(url, timeout=min(ANSWER_S, max(0.1, deadline - time.monotonic()))) as answer:  # noqa: S310 https, ours
        while part := answer.read1(CHUNK_BYTES):
            size += len(part)
            if time.monotonic() > deadline or size > MAX_BYTES:
                raise UnavailableError(f"{url} has not come within {PATIENCE_S:g} s")
            parts.append(part)
    return b"".join(parts)


def _require_java() -> None:
    java = shutil.which("java")
    if java is None:
        raise UnavailableError("Java is not installed (`apt-get install default-jre-headless`)")
    try:
        told = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{java} does not run: {error}") from error
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < JAVA_AT_LEAST:
        raise UnavailableError(f"{java} is older than Java {JAVA_AT_LEAST}")
