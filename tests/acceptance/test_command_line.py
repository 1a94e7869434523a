"""A newcomer's first minutes: a cluster comes up, a tenant is made, builds are submitted, followed and fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

UP_TIMEOUT_S = 300  # Mesos may have to be downloaded and its stand-ins built first
CALL_TIMEOUT_S = 60


class Butlery:
    """The program as a user runs it, with a cluster and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("BUTLERY_")}

    def __call__(self, *arguments: str, code: int = 0, timeout_s: float = CALL_TIMEOUT_S, token: str = "") -> str:
        """What it printed; it must end with ``code`` and show no traceback."""
        ended = subprocess.run(
            [sys.executable, "-m", "framework.cli", *arguments, "--dir", str(self.folder / "cluster")],
            env=self._environment | ({"BUTLERY_TOKEN": token} if token else {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in ended.stdout + ended.stderr
        assert ended.returncode == code, f"{arguments}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture(scope="module")
def butlery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Butlery]:
    folder = tmp_path_factory.mktemp("command-line")
    folder.parent.chmod(0o755)  # builds run as users of their own
    folder.chmod(0o755)
    settings = "api:\n  port: 0\nlocal:\n  ingress: false\ntemplates:\n  small:\n    cpus: 0.5\n    mem_mib: 64\n"
    (folder / "butlery.yaml").write_text(settings)
    found = Butlery(folder)
    try:
        found(
            "local", "up", "--detach", "--hosts", "2", "--config", str(folder / "butlery.yaml"), timeout_s=UP_TIMEOUT_S
        )
        yield found
    finally:
        found("local", "down", "--wipe")


def test_a_build_from_submit_to_its_artifacts(butlery: Butlery, tmp_path: Path) -> None:
    token = butlery("tenants", "set", "first", "--weight", "3").strip()
    script = tmp_path / "build.sh"
    script.write_text("#!/bin/sh\necho begun; mkdir -p out; echo $WORD > out/word.txt; echo $SECRET | wc -c; sleep 1\n")
    (tmp_path / "secret").write_text("hunter2-is-hidden\n")
    job = butlery(
        "jobs", "submit", "--name", "first", "--label", "small", "--script", str(script), "--env", "WORD=kept",
        "--secret-file", f"SECRET={tmp_path / 'secret'}", "--artifact", "out/*", token=token,
    ).strip()  # fmt: skip
    assert "begun\n18\n" in butlery("jobs", "logs", "-f", job, token=token)
    butlery("jobs", "wait", job, token=token)
    shown = butlery.json("jobs", "show", job)
    assert shown["result"]["result_class"] == "passed"
    assert shown["resources"] == {"cpus": 0.5, "mem_mib": 64, "disk_mib": 0, "gpus": 0, "ports": 0}
    assert "hunter2" not in json.dumps(shown)
    butlery("jobs", "artifacts", job, "--to", str(tmp_path / "kept"), token=token)
    assert (tmp_path / "kept" / "out" / "word.txt").read_text() == "kept\n"


def test_a_build_that_fails(butlery: Butlery) -> None:
    butlery("tenants", "set", "second")
    job = ("jobs", "submit", "--tenant", "second", "--name", "failing", "--label", "small")
    failed = butlery.json(*job, "--command", "exit 3", "--wait", code=1)
    assert (failed["result"]["result_class"], failed["result"]["exit_code"]) == ("failed", 3)
    butlery(*job, "--command", "x", "--cpus", "900", code=2)
    butlery("jobs", "submit", "--tenant", "nobody-s", "--name", "a", "--command", "x", code=2)


def test_a_build_that_waits_says_why_and_can_be_cancelled(butlery: Butlery) -> None:
    butlery("tenants", "set", "third", "--builds", "1")
    job = ("jobs", "submit", "--tenant", "third", "--name", "long", "--label", "small", "--command", "sleep 60")
    running, waiting = butlery(*job).strip(), butlery(*job).strip()
    why = butlery.json("jobs", "why", waiting)
    assert why["waiting"]
    assert why["blockers"]
    butlery("jobs", "wait", waiting, "--timeout-s", "0.1", code=124)
    assert {tenant["name"]: tenant["waiting"] for tenant in butlery.json("top")["tenants"]}["third"] == 1
    assert "third" in butlery("top", "--once")
    butlery("jobs", "cancel", running, waiting)
    butlery("jobs", "wait", running, waiting, code=1)
    assert [job["result"]["result_class"] for job in butlery.json("jobs", "list", "--tenant", "third")["jobs"]] == [
        "cancelled",
        "cancelled",
    ]
