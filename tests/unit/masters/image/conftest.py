"""The scripts of a master, run by sh in a home and a place for backups of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

IMAGE = Path(__file__).parents[4] / "masters" / "image"
TIMEOUT_S = 30.0
TENANT = "payments"


@dataclass
class Master:
    """``env`` is beside what every master has."""

    home: Path
    place: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def backups(self) -> Path:
        return self.place / TENANT

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "JENKINS_HOME": str(self.home),
            "BUTLERY_TENANT": TENANT,
            "BUTLERY_BACKUP_TO": str(self.place),
            "BUTLERY_BACKUP_KEEP": "3",
            **self.env,
            **more,
        }

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", IMAGE / script, *arguments],
            env=self.environment(**more),
            text=True,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def begin(self, script: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/sh", IMAGE / script, *arguments],
            env=self.environment(**more),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def done(self, script: str, *arguments: str, **more: str) -> str:
        """What it said; it must not fail."""
        ran = self.run(script, *arguments, **more)
        assert ran.returncode == 0, ran.stderr
        return ran.stderr

    def failed(self, script: str, *arguments: str, **more: str) -> str:
        """What it said; it must end with 1, and with one line."""
        ran = self.run(script, *arguments, **more)
        assert ran.returncode == 1, (ran.returncode, ran.stderr)
        return ran.stderr

    def listed(self) -> list[dict[str, Any]]:
        ran = self.run("backup", "--list")
        assert ran.returncode == 0, ran.stderr
        found: list[dict[str, Any]] = json.loads(ran.stdout)
        return found

    def tree(self) -> dict[str, str]:
        """Files of the home and what is in them, but for the scripts' own."""
        found = {}
        for path in self.home.rglob("*"):
            name = str(path.relative_to(self.home))
            if not name.startswith(".butlery"):
                found[name] = (
                    f"-> {path.readlink()}" if path.is_symlink() else path.read_text() if path.is_file() else ""
                )
        return found


@pytest.fixture
def master(tmp_path: Path) -> Master:
    """With what a home has, names with blanks and umlauts among it."""
    home, place = tmp_path / "home", tmp_path / "backups"
    place.mkdir()
    for name, text in {
        "config.xml": "<hudson/>",
        "secrets/master.key": "key",
        "jobs/naïve job/config.xml": "<project/>",
        "jobs/naïve job/builds/1/log": "line\n" * 1000,
        "jobs/naïve job/workspace/big": "x",
        "workspace/other/file": "x",
        "caches/git-1/pack": "x",
        "war/WEB-INF/web.xml": "x",
        ".hidden": "h",
        "plugins/git.jpi": "PK",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / "jobs/naïve job/builds/lastSuccessfulBuild").symlink_to("1")
    return Master(home, place)
