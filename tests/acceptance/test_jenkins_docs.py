"""The commands of docs/jenkins.rst run as printed, but that the master is a stand-in for Jenkins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import yaml

from benchmarks.jenkins_client import Jenkins, freestyle
from tests.acceptance.masters_cluster import PATIENCE_S, STAND_IN, Tenants, tenants_cluster
from tests.acceptance.scheduler_process import eventually

PAGE = Path(__file__).parents[2] / "docs" / "jenkins.rst"
TIMEOUT_S = 240
UP = "butlery local up --detach --config butlery.yaml\n"
SETTINGS = re.compile(r"^cat > butlery.yaml <<END\n(.*?)^END\n", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    found = re.findall(r"^\.\. code-block:: bash\n\n((?:   .*\n|\n)+)", PAGE.read_text(), re.MULTILINE)
    texts = [textwrap.dedent(block) for block in found]
    assert len(texts) == 2
    assert texts[0].count(UP) == 1
    real = re.compile(r"^war: .*\nversion: .*\n", re.MULTILINE)
    assert len(real.findall(texts[0])) == 1
    stand_in = f"command: {STAND_IN}\nhealth: {{interval_s: 1}}\nstop_timeout_s: 5\n"
    return [real.sub(stand_in, texts[0]).replace(UP, ""), texts[1]]


def test_examples_run_as_printed(tmp_path: Path) -> None:
    first, second = blocks()
    (settings,) = SETTINGS.findall(first)
    with tenants_cluster(sections=yaml.safe_load(settings)) as tenants:
        # Which finds the cluster of the tests, and not this user's own; a settings file is of no cluster.
        program = tmp_path / "butlery"
        butlery = f"{sys.executable} -m framework.cli"
        program.write_text(
            f'#!/bin/sh\n[ $1 = validate ] && exec {butlery} "$@"\n'
            f'exec {butlery} "$@" --dir {tenants.cluster.directory}\n'
        )
        program.chmod(0o755)
        folder = tenants.cluster.directory / "docs"
        folder.mkdir()
        said = run(first, folder, tmp_path)
        for words in ("1 done", "/payments", "maven"):
            assert words in said, said[-6000:]
        build(tenants)
        said = run(second, folder, tmp_path)
        assert "hello" in said, said
        assert "butlery-" in said or "passed" in said, said


def build(tenants: Tenants) -> None:
    """One build of a job whose label is ``maven``, in the master at its path."""
    access = tenants.access("payments")
    with_path = Jenkins(
        f"{tenants.ingress.scheme}://{tenants.ingress.netloc}/payments/", access["user"], access["api_token"]
    )
    with_path.create_job("hello", freestyle("maven", "echo hello"))
    with_path.queue("hello", N="1")
    eventually(lambda: [one["result"] for one in with_path.builds("hello")] == ["SUCCESS"], "its build", PATIENCE_S)
    with_path.close()


def run(script: str, folder: Path, path: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", f"set -euxo pipefail\n{script}"],
        cwd=folder,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
    return done.stdout
