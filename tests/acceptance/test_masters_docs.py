"""The commands of docs/masters.rst run as printed, but that their masters are stand-ins for Jenkins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.acceptance.masters_cluster import STAND_IN, tenants_cluster

PAGE = Path(__file__).parents[2] / "docs" / "masters.rst"
TIMEOUT_S = 240
UP = "butlery local up --detach\n"


def script() -> str:
    blocks = re.findall(r"^\.\. code-block:: bash\n\n((?:   .*\n|\n)+)", PAGE.read_text(), re.MULTILINE)
    text = "".join(textwrap.dedent(block) for block in blocks)
    assert len(blocks) >= 7
    assert text.count(UP) == 1
    real = re.compile(r"^war: .*\nversion: .*\n", re.MULTILINE)
    assert len(real.findall(text)) == 1
    return real.sub(f"command: {STAND_IN}\nhealth: {{interval_s: 1}}\nstop_timeout_s: 5\n", text).replace(UP, "")


def test_examples_run_as_printed(tmp_path: Path) -> None:
    with tenants_cluster() as tenants:
        # Which finds the cluster of the tests, and not this user's own; the schema is of no cluster.
        program = tmp_path / "butlery"
        butlery = f"{sys.executable} -m framework.cli"
        program.write_text(
            f'#!/bin/sh\ncase $2 in schema) exec {butlery} "$@" ;; esac\n'
            f'exec {butlery} "$@" --dir {tenants.cluster.directory}\n'
        )
        program.chmod(0o755)
        folder = tenants.cluster.directory / "docs"
        folder.mkdir()
        done = subprocess.run(
            ["bash", "-c", f"set -euxo pipefail\n{script()}"],
            cwd=folder,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        assert "Traceback" not in done.stderr
        for words in ("1 to create", "env.TZ: (none) -> Europe/Vienna", "payments.localhost", "1 done"):
            assert words in done.stdout, done.stdout[-6000:]
        assert tenants.states() == {"payments": "on"}
