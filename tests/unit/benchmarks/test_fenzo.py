"""Fetching the peer, without fetching it: what is missing or wrong is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from benchmarks import fenzo
from framework.errors import ButleryError, InputError, UnavailableError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all the PATH, with a java and a javac that do nothing."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("java", "javac"):
        _program(directory / name, "exit 0")
    monkeypatch.setenv("PATH", f"{directory}:/bin:/usr/bin")
    monkeypatch.setattr("shutil.which", lambda name: str(directory / name) if (directory / name).exists() else None)
    return directory


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_what_has_to_be_installed_is_named(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mvn cannot be found; .*apt-get install default-jdk-headless maven"):
        fenzo.ensure(lambda _: None, tmp_path / "cache")


def test_what_maven_cannot_fetch_is_told_in_its_own_words(programs: Path, tmp_path: Path) -> None:
    _program(programs / "mvn", "echo '[INFO] hm'; echo '[ERROR] no such host'; exit 1")
    with pytest.raises(UnavailableError, match="no such host"):
        fenzo.ensure(lambda _: None, tmp_path / "cache")


def test_a_library_with_another_sum_is_not_kept(programs: Path, tmp_path: Path) -> None:
    _program(
        programs / "mvn",
        'for word in "$@"; do case $word in -DoutputDirectory=*) out=${word#*=};; esac; done\n'
        'mkdir -p "$out"; printf no > "$out/fenzo-core-1.0.1.jar"',
    )
    with pytest.raises(ButleryError, match=hashlib.sha256(b"no").hexdigest()):
        fenzo.ensure(lambda _: None, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
