"""Moving an executor out of the way in a cgroup v2 group that was delegated to it."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.executor import cgroup_v2
from tests.integration.agents.conftest import PYTHON, until

pytestmark = pytest.mark.root

# As an executor does for its builds: a parent with children, each of which finds them all in its way.
MOVERS = """
import os, sys
sys.path.insert(0, sys.argv[2])
from agents.executor import cgroup_v2
children = [os.fork() or os._exit(0 if cgroup_v2.move_into_leaf(sys.argv[1]) else 1) for _ in range(5)]
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.fixture
def group() -> Iterator[Path]:
    (point,) = [
        Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"
    ]
    made = point / f"butlery-test-{secrets.token_hex(4)}"
    made.mkdir()
    yield made
    until(lambda: not (made / "cgroup.procs").read_text(), "the group to be empty")
    if (made / cgroup_v2.OWN_LEAF).exists():
        (made / cgroup_v2.OWN_LEAF).rmdir()
    made.rmdir()


def start(group: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [PYTHON, "-c", MOVERS, str(group), str(Path(cgroup_v2.__file__).parents[2])],
        preexec_fn=lambda: (group / "cgroup.procs").write_text("0"),
        timeout=30,
        check=False,
    )


def test_builds_of_one_executor_move_it_together(group: Path) -> None:
    assert start(group).returncode == 0


def test_a_group_with_somebody_elses_processes_is_left_alone(group: Path) -> None:
    with subprocess.Popen(["sleep", "60"], preexec_fn=lambda: (group / "cgroup.procs").write_text("0")) as other:
        assert start(group).returncode == 5
        assert (group / "cgroup.procs").read_text().split() == [str(other.pid)]
        other.kill()
