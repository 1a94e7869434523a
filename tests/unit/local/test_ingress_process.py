"""The tenants' service as a child of the one-machine cluster: what it needs, and what a killed one leaves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from framework.local import ingress_process


def test_haproxy_is_found_where_a_users_path_does_not_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(ingress_process, "SYSTEM_PATHS", (str(tmp_path / "sbin"),))
    assert not ingress_process.found()
    program = tmp_path / "sbin" / "haproxy"
    program.parent.mkdir()
    program.touch(0o755)
    assert ingress_process.found()


def test_what_a_killed_service_left_serving_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "ingress"
    folder.mkdir()
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleeper, cwd=folder) as left, subprocess.Popen(sleeper, cwd=tmp_path) as other:
        ingress_process.end_haproxy(tmp_path)
        assert left.wait(10) != 0
        assert other.poll() is None
        other.kill()
    ingress_process.end_haproxy(tmp_path)  # of which nothing is left
