"""What dies while many masters are made: the command itself, Marathon, the tenants' service. They are small ones."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.masters import small_master
from tests.acceptance.masters_cluster import Tenants, tenants_cluster
from tests.acceptance.scheduler_process import eventually

COUNT = 12
NAMES = [f"team-{number}" for number in range(COUNT)]
STOPPED_S = 3.0
"""Marathon, before it is killed: calls to it are under way then."""


@pytest.fixture(scope="module")
def tenants() -> Iterator[Tenants]:
    with tenants_cluster(parallel=3) as tenants:
        yield tenants


@pytest.fixture(autouse=True)
def no_masters(tenants: Tenants) -> Iterator[None]:
    write(tenants)
    yield
    tenants.run("delete", "--all", "--force", "--yes")


def write(tenants: Tenants, **fields: Any) -> None:
    program = shlex.join([sys.executable, "-S", "-E", small_master.__file__])
    tenants.write("defaults", **{**tenants.defaults(), "command": f"exec {program}", "mem_mib": 64, **fields})
    tenants.write("teams", tenants=[{"name": name} for name in NAMES])


def applying(tenants: Tenants) -> subprocess.Popen[bytes]:
    """The command as it runs, once some of its masters do."""
    process = subprocess.Popen(
        tenants.command("apply", str(tenants.folder), "--yes"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: len(tenants.tasks()) >= 4, "the first masters")
    assert process.poll() is None, "it had nothing left to do"
    return process


def test_apply_that_was_killed_goes_on_where_it_was(tenants: Tenants) -> None:
    process = applying(tenants)
    process.kill()
    process.wait(30)
    begun = tenants.tasks()
    assert len(begun) < COUNT
    came = tenants.apply()
    assert set(came.values()) == {"done"}
    assert tenants.states() == dict.fromkeys(NAMES, "on")
    after = tenants.tasks()
    assert all(after[name]["id"] == task["id"] for name, task in begun.items())
    assert tenants.apply() == {}
    for name in NAMES:
        app = tenants.json("show", name)
        assert len((tenants.homes / name / "starts").read_text().splitlines()) == 1, app  # each was started but once


def test_apply_outlives_a_marathon_that_hangs_and_dies(tenants: Tenants) -> None:
    process = applying(tenants)
    pid = tenants.cluster.now().marathon_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(pid, signal.SIGKILL)
    assert process.wait(120) == 0
    assert tenants.states() == dict.fromkeys(NAMES, "on")
    assert tenants.apply() == {}


def test_haproxy_serves_on_while_the_service_is_dead_and_the_next_one_takes_it_over(tenants: Tenants) -> None:
    tenants.apply("--only", NAMES[0])
    before = tenants.wait_session(NAMES[0])
    pid = tenants.cluster.now().ingress_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert tenants.session(NAMES[0]) == before
    eventually(lambda: tenants.cluster.now().ingress_pid not in (None, pid), "another service")
    task = tenants.tasks()[NAMES[0]]
    tenants.marathon("POST", "/v2/tasks/delete", {"ids": [task["id"]]})
    tenants.wait_session(NAMES[0], before)
    logs = tenants.cluster.directory / "log"
    said = (logs / "supervisor.log").read_text() + (logs / "ingress.log").read_text()
    assert tenants.cluster.now().ingress_restarts == 1, said
