"""Debian packages that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.errors import ButleryError, InputError
from framework.local import debian


def program(directory: Path, name: str, body: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory programs are found in."""
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "ldconfig", "echo '	libz.so.1 (libc6,x86-64) => /lib/libz.so.1'")
    return tmp_path


def test_what_is_missing_is_named_by_its_package(path: Path) -> None:
    assert debian.missing() == ["binutils", "g++", "libapr1", "libsasl2-2", "libsasl2-modules", "libsvn1"]
    for name in ("g++", "nm"):
        program(path, name, "")
    assert debian.missing() == ["libapr1", "libsasl2-2", "libsasl2-modules", "libsvn1"]


def test_without_root_the_exact_command_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    program(path, "apt-get", "exit 1")
    with pytest.raises(InputError, match=r"sudo apt-get install -y binutils g\+\+ libapr1 .* libsvn1"):
        debian.ensure(lambda _: None)
    program(path, "sudo", "exit 1")  # one that asks for a password
    with pytest.raises(InputError, match="sudo apt-get install"):
        debian.ensure(lambda _: None)


def test_root_installs_after_saying_so_and_updates_old_lists(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    body = f'echo "$1" >> {path}/calls\n[ "$1" = update ] && : > {path}/updated\n[ -e {path}/updated ]'
    program(path, "apt-get", body)
    said: list[str] = []
    debian.ensure(said.append)
    assert said[0].startswith("running apt-get install -y --no-install-recommends binutils g++")
    assert (path / "calls").read_text().split() == ["install", "update", "install"]


def test_apt_gets_last_words_are_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    program(path, "apt-get", "echo 'E: disk full' >&2; exit 100")
    with pytest.raises(ButleryError, match="100: E: disk full"):
        debian.ensure(lambda _: None)
