"""Commands that benchmarks run end with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.leftovers import wait_for_none

# The program that is run stands in for `butlery`: it says that it runs, and then waits.
PARENT = """
import sys
from benchmarks.command import Butlery
sys.executable = sys.argv[1]
Butlery(None).run("tenants", "apply")
"""
CHILD = """#!/bin/sh
echo running > "$MARK"
exec sleep 60
"""


def test_a_command_does_not_outlive_who_runs_it(tmp_path: Path) -> None:
    child, mark = tmp_path / "child", tmp_path / "mark"
    child.write_text(CHILD)
    child.chmod(0o755)
    os.mkfifo(mark)
    with subprocess.Popen([sys.executable, "-c", PARENT, str(child)], env={**os.environ, "MARK": str(mark)}) as parent:
        assert mark.read_text() == "running\n"
        parent.kill()
    assert parent.returncode == -signal.SIGKILL
    wait_for_none(str(tmp_path))
