"""Builds that misbehave, beside one that does not, on one host: each ends with its class, harms nobody, and is gone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from framework.local.spec import HostShape
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.scheduler_process import SchedulerProcess, eventually
from tests.integration.conftest import ClusterFactory

GONE_WITHIN_S = 5.0
PIDS = 64
LOG_MIB = 1

MEMORY_HOG = 'exec python3 -c "kept = []\nwhile True:\n    kept.append(bytearray(1 << 20))"'
CPU_HOG = "while :; do :; done &\nwhile :; do :; done &\nwhile :; do :; done"
FORK_BOMB = 'while :; do sh "$0" & sh "$0" & sleep 0.2; done'  # as fast as its limit lets it and this machine bears
ENDLESS_LOG = "yes a line of a log that never ends"
BACKGROUND_CHILD = "sleep 600 &\nsetsid sh -c 'sleep 600 & sleep 600' &\n(env -i setsid sleep 600 &)\necho done"

NEIGHBOUR = """#!/usr/bin/env python3
import hashlib, os, time
from pathlib import Path
directory = Path({directory!r})
kept = os.urandom(24 << 20)
digest = hashlib.sha256(kept).hexdigest()
ticks = 0
while not (directory / "go").exists():
    ticks += 1
    (directory / "ticks.new").write_text(str(ticks))
    (directory / "ticks.new").replace(directory / "ticks")
    time.sleep(0.1)
assert hashlib.sha256(kept).hexdigest() == digest
"""


class Hog(NamedTuple):
    """A misbehaving build and what must become of it."""

    script: str
    result_class: str
    message: str
    check: Callable[[Any], bool] = lambda _: True
    timeout_s: float = 120.0
    mem_mib: int = 64


HOGS = {
    "memory": Hog(
        MEMORY_HOG,
        "oom",
        "limit 64 MiB",
        # The watchdog, which looks from time to time, may see more than the limit; the kernel grants no more.
        lambda result: (
            result["limit_mem_mib"] == 64
            and result["peak_mem_mib"] >= 60
            and (result["peak_mem_mib"] <= 80 or result["isolation"] == "watchdog")
        ),
    ),
    "cpu": Hog(CPU_HOG, "timeout", "over its time of 3 s", lambda result: result["cpu_s"] > 0.1, timeout_s=3.0),
    "fork-bomb": Hog(FORK_BOMB, "pids", f"{PIDS} processes", mem_mib=256),
    "endless-log": Hog(ENDLESS_LOG, "log_limit", "more output than"),
    "background-child": Hog(BACKGROUND_CHILD, "passed", "", lambda result: result["leftover_processes"] == 5),
}


def of_build(task_id: str, uid: int) -> list[int]:
    """Processes alive that the task started: by what it was called with, and where builds have user ids by those."""
    marker = f"BUTLERY_TASK_ID={task_id}\0".encode()
    own = uid == os.geteuid()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            environment = (directory / "environ").read_bytes()
            status = (directory / "status").read_text()
        except OSError:
            continue  # it ended, or is somebody else's
        uids = status.split("Uid:")[1].split()[:4]
        zombie = "State:\tZ" in status
        if not zombie and (marker in environment or (not own and str(uid) in uids)):
            found.append(int(directory.name))
    return found


@pytest.fixture
def butlery(mesos_cluster: ClusterFactory, scheduler: SchedulerFactory) -> SchedulerProcess:
    """With one host for all builds."""
    made = scheduler(
        mesos_cluster(shapes=[HostShape(count=1, cpus=8, mem_mib=4000)]), agents={"pids": PIDS, "log_mib": LOG_MIB}
    )
    made.start()
    made.make_tenant()
    return made


@pytest.mark.parametrize("hog", HOGS.values(), ids=HOGS.keys())
def test_a_hog_ends_with_its_class_harms_no_neighbour_and_is_gone(
    hog: Hog, butlery: SchedulerProcess, open_dir: Path
) -> None:
    witness = open_dir / "witness"
    witness.mkdir()
    witness.chmod(0o1777)

    def ticks() -> int:
        return int((witness / "ticks").read_text()) if (witness / "ticks").exists() else 0

    neighbour = butlery.submit("neighbour", NEIGHBOUR.format(directory=str(witness)), cpus=1.0, mem_mib=128)
    eventually(ticks, "the neighbour's start")
    script = f"[ -e {witness}/uid ] || id -u > {witness}/uid\n{hog.script}"
    job_id = butlery.submit("hog", script, mem_mib=hog.mem_mib, timeout_s=hog.timeout_s, grace_s=1.0)
    uid = int(eventually(lambda: (witness / "uid").exists() and (witness / "uid").read_text(), "the hog's start"))
    job = butlery.wait_ended(job_id)
    eventually(lambda: not of_build(f"{job_id}.1", uid), "the end of all its processes", GONE_WITHIN_S)

    result = job["result"]
    assert result["result_class"] == hog.result_class, job
    assert hog.message in result["message"], job
    assert hog.check(result), job
    assert len(job["attempts"]) == 1, job
    before = ticks()
    eventually(lambda: ticks() > before, "the neighbour's next tick")
    (witness / "go").touch()
    beside = butlery.wait_ended(neighbour)
    assert beside["result"]["result_class"] == "passed", beside
    assert len(beside["attempts"]) == 1
    assert len(butlery.logged(job_id)) <= (LOG_MIB << 20) + 4096
    butlery.stop()
