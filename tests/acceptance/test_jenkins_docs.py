"""The commands of docs/jenkins.rst run as printed, but that the master is a stand-in for Jenkins."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from benchmarks.jenkins_client import Jenkins, freestyle
from tests.acceptance.manual import blocks, run, with_stand_in, write_butlery
from tests.acceptance.masters_cluster import PATIENCE_S, Tenants, tenants_cluster
from tests.acceptance.scheduler_process import eventually

TIMEOUT_S = 240
SETTINGS = re.compile(r"^cat > butlery.yaml <<END\n(.*?)^END\n", re.MULTILINE | re.DOTALL)


def test_examples_run_as_printed(tmp_path: Path) -> None:
    printed, second = blocks("jenkins.rst")
    first = with_stand_in(printed, up="butlery local up --detach --config butlery.yaml\n")
    (settings,) = SETTINGS.findall(first)
    with tenants_cluster(sections=yaml.safe_load(settings)) as tenants:
        # Which finds the cluster of the tests, and not this user's own; a settings file is of no cluster.
        write_butlery(tmp_path, f"--dir {tenants.cluster.directory}", plain="validate*")
        folder = tenants.cluster.directory / "docs"
        folder.mkdir()
        said = run(first, folder, tmp_path, TIMEOUT_S)
        for words in ("1 done", "/payments", "maven"):
            assert words in said, said[-6000:]
        build(tenants)
        said = run(second, folder, tmp_path, TIMEOUT_S)
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
