"""For acceptance tests: a real Mesos, the scheduler as a process of its own, the real Mesos executor."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from framework.local.cluster import MesosCluster
from tests.acceptance.jenkins_masters import MasterProcess
from tests.acceptance.marathon_server import MarathonApi, MarathonServer, marathon_api
from tests.acceptance.scheduler_process import SchedulerProcess
from tests.integration.conftest import mesos_cluster, mesos_package_dir

__all__ = ["mesos_cluster", "mesos_package_dir"]


class SchedulerFactory(Protocol):
    """Makes a scheduler for the cluster (or the Mesos at a URL), not started yet.

    ``sections`` go over the settings that the tests use.
    """

    def __call__(self, mesos: MesosCluster | str, **sections: dict[str, Any]) -> SchedulerProcess: ...


@pytest.fixture
def api(server: MarathonServer) -> Iterator[MarathonApi]:
    """Of the Marathon-compatible server that the module's ``server`` is."""
    with marathon_api(server) as api:
        yield api


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user may enter and write to, for builds run as users of their own."""
    directory = Path(tempfile.mkdtemp(prefix="butlery-acceptance-"))
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def scheduler(open_dir: Path) -> Iterator[SchedulerFactory]:
    made: list[SchedulerProcess] = []

    def make(mesos: MesosCluster | str, **sections: dict[str, Any]) -> SchedulerProcess:
        directory = open_dir / f"scheduler-{len(made) + 1}"
        directory.mkdir(mode=0o755)
        made.append(SchedulerProcess(directory, mesos, sections))
        return made[-1]

    yield make
    for process in made:
        process.finish()


class MasterFactory(Protocol):
    """Makes a tenant and starts its master, a stand-in for Jenkins."""

    def __call__(self, scheduler: SchedulerProcess, tenant: str, **settings: Any) -> MasterProcess: ...


@pytest.fixture
def master(open_dir: Path) -> Iterator[MasterFactory]:
    made: list[MasterProcess] = []

    def make(scheduler: SchedulerProcess, tenant: str, **settings: Any) -> MasterProcess:
        made.append(MasterProcess(open_dir, tenant, scheduler, **settings))
        made[-1].start()
        return made[-1]

    yield make
    for process in made:
        process.finish()
