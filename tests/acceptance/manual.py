"""Pages of the manual, whose commands are run as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.acceptance.masters_cluster import STAND_IN

DOCS = Path(__file__).parents[2] / "docs"
_WAR = re.compile(r"^war: .*\nversion: .*\n", re.MULTILINE)


def blocks(page: str, language: str = "bash") -> list[str]:
    """The page's blocks of code in that language."""
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", (DOCS / page).read_text(), re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in found]


def with_stand_in(script: str, up: str) -> str:
    """The script with a stand-in for its one Jenkins, and without its one line ``up``, as the cluster is there."""
    assert script.count(up) == 1
    assert len(_WAR.findall(script)) == 1
    return _WAR.sub(f"command: {STAND_IN}\nhealth: {{interval_s: 1}}\nstop_timeout_s: 5\n", script).replace(up, "")


def write_butlery(folder: Path, options: str, plain: str = "") -> None:
    """A program ``butlery`` in ``folder`` that knows what the test started by ``options``.

    Without them where its words match ``plain``, a pattern of the shell's ``case``.
    """
    butlery = f'exec {sys.executable} -m framework.cli "$@"'
    program = folder / "butlery"
    program.write_text(f'#!/bin/sh\ncase "$*" in {plain or "never"}) {butlery} ;; esac\n{butlery} {options}\n')
    program.chmod(0o755)


def run(script: str, folder: Path, programs: Path, timeout_s: float, **variables: str) -> str:
    """What it said, run in ``folder`` with ``programs`` first; nothing in it may fail."""
    done = subprocess.run(
        ["bash", "-c", f"set -euxo pipefail\n{script}"],
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
    return done.stdout
