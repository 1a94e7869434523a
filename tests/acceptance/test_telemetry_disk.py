"""A disk of telemetry that is full costs no build, and no record of one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.scheduler_process import SchedulerProcess, eventually
from tests.integration.conftest import ClusterFactory

pytestmark = pytest.mark.root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0755", "tmpfs", path], check=True, timeout=30)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True, timeout=30)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    return ballast


def built(butlery: SchedulerProcess, *names: str) -> None:
    for job_id in [butlery.submit(name, "true") for name in names]:
        assert butlery.wait_ended(job_id)["result"]["result_class"] == "passed"


def past(butlery: SchedulerProcess) -> list[str]:
    return sorted(build["job"] for build in butlery.get("/v1/builds/past")["builds"])


def told(butlery: SchedulerProcess) -> Any:
    return butlery.get("/v1/telemetry")


def test_a_full_disk_is_a_notice_and_all_is_recorded_once_there_is_room(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, small_disk: Path
) -> None:
    butlery = scheduler(mesos_cluster(), telemetry={"path": str(small_disk / "telemetry")})
    butlery.start()
    butlery.make_tenant()
    built(butlery, "a")
    eventually(lambda: past(butlery) == ["a"], "the first in the history", 30)

    ballast = fill(small_disk)
    built(butlery, "b", "c")
    eventually(lambda: told(butlery)["notices"], "a notice", 30)
    assert butlery.get("/v1/status")["notices"]
    butlery.kill9()
    butlery.start()  # where there is no room for anything yet
    built(butlery, "d")

    ballast.unlink()
    eventually(lambda: past(butlery) == ["a", "b", "c", "d"], "all in the history", 60)
    eventually(lambda: not told(butlery)["notices"], "the end of the notice", 60)
    butlery.stop()


def test_a_disk_that_is_full_from_the_first_start_on_keeps_nothing_from_starting(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, small_disk: Path
) -> None:
    ballast = fill(small_disk)
    butlery = scheduler(mesos_cluster(), telemetry={"path": str(small_disk / "telemetry")})
    butlery.start()
    butlery.make_tenant()
    built(butlery, "a")
    assert butlery.call("GET", "/v1/builds/past").status_code == 503
    ballast.unlink()
    eventually(lambda: butlery.call("GET", "/v1/builds/past").status_code == 200, "a history", 60)
    eventually(lambda: past(butlery) == ["a"], "the build in it", 60)
    butlery.stop()
