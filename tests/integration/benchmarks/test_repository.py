"""The repository that the demo's builds check out, with the real git."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.demo import repository
from tests.leftovers import wait_for_none


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("git")
    repository.make_repository(directory / repository.NAME)
    with repository.served(directory) as served:
        yield served
    wait_for_none(str(directory))


@pytest.mark.parametrize(
    ("ref", "exit_code"),
    [(repository.MAIN, 0), (repository.RELEASE, 0), (repository.SLOW, 0), (repository.BROKEN, 1)],
)
def test_the_suite_of_each_ref_ends_as_the_demo_expects(url: str, ref: str, exit_code: int, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "-c", "advice.detachedHead=false", "clone", "-q", "--depth", "1", "--branch", ref, url, str(clone)],
        check=True,
        timeout=60,
    )
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "-s", "tests"],
        cwd=clone,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr.decode()
