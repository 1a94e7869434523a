"""Secrets are the operator's files: read with care, never told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framework.local.marathon.secret_store import MAX_BYTES, SecretError, SecretFiles


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    (tmp_path / "dir").mkdir()
    return SecretFiles(tmp_path)


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.parametrize("source", ["dir/name", "/dir/name"])
def test_it_is_what_the_file_holds(files: SecretFiles, tmp_path: Path, source: str) -> None:
    put(tmp_path / "dir" / "name", "p\u00e4ss wort\n\n".encode())
    assert files.read(source) == "p\u00e4ss wort\n\n"


@pytest.mark.parametrize("source", ["", "/", "..", "dir/../../x", "dir//name", "a\0b", "./x"])
def test_only_names_below_the_directory(files: SecretFiles, source: str) -> None:
    with pytest.raises(SecretError, match="is no name"):
        files.read(source)


def test_what_cannot_be_read_is_said_without_what_is_in_it(files: SecretFiles, tmp_path: Path) -> None:
    put(tmp_path / "open", b"hidden words", 0o644)
    put(tmp_path / "binary", b"\xff\xfe")
    put(tmp_path / "large", b"x" * (MAX_BYTES + 1))
    os.mkfifo(tmp_path / "fifo", 0o600)
    for source, words in {
        "none": "No such file",
        "dir": "Is a directory",
        "open": "everyone on this machine",
        "binary": "not UTF-8",
        "large": "more than 1024 KiB",
        "fifo": "not a file",
    }.items():
        with pytest.raises(SecretError, match=words) as error:
            files.read(source)
        assert "hidden" not in str(error.value)
