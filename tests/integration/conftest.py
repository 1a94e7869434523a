"""Real parts for the tests: started on free ports of 127.0.0.1, stopped at the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from agents.spec import HostPolicy
from framework.local import isolation, mesos_package
from framework.local.cluster import MesosCluster, free_port
from framework.local.credentials import Credentials
from framework.local.spec import HostShape, LocalSettings, default_shape, hosts_of
from tests.workers import FIRST_PORT


class ClusterFactory(Protocol):
    """Starts a real Mesos, or gives the one that an earlier test started with the same arguments.

    ``hosts`` equal hosts or the given ``shapes``; ``isolation`` as in agents.spec. ``secured``: it asks everybody who
    they are. ``fresh``: a cluster that no other test gets, for those that break it.
    """

    def __call__(
        self,
        hosts: int = 1,
        *,
        shapes: list[HostShape] | None = None,
        isolation: str = "auto",
        secured: bool = False,
        fresh: bool = False,
    ) -> MesosCluster: ...


@pytest.fixture(scope="session")
def mesos_package_dir() -> Path:
    """Where Mesos is, fetched and built if this machine does not have it yet."""
    return mesos_package.ensure(print)


@pytest.fixture(scope="session")
def mesos_cluster(mesos_package_dir: Path) -> Iterator[ClusterFactory]:
    started: dict[str, MesosCluster] = {}
    all_of_them: list[MesosCluster] = []

    def start(
        hosts: int = 1,
        *,
        shapes: list[HostShape] | None = None,
        isolation: str = "auto",
        secured: bool = False,
        fresh: bool = False,
    ) -> MesosCluster:
        settings = LocalSettings(hosts=shapes or [default_shape(hosts)], first_port=FIRST_PORT)
        key = f"{settings.model_dump_json()} {isolation} {secured}"
        if not fresh and key in started and started[key].exit_code() is None:
            return started[key]
        cluster = _new(settings, isolation, mesos_package_dir, secured)
        all_of_them.append(cluster)
        cluster.start()
        cluster.wait_ready()
        if not fresh:
            started[key] = cluster
        return cluster

    yield start
    for cluster in all_of_them:
        cluster.stop()
        shutil.rmtree(cluster.directory)


def _new(settings: LocalSettings, mode: str, package: Path, secured: bool) -> MesosCluster:
    # Not below pytest's own directory, which only this user may enter: builds run as users of their own.
    directory = Path(tempfile.mkdtemp(prefix="butlery-mesos-"))
    directory.chmod(0o755)
    held = isolation.resolve(HostPolicy(isolation=mode))
    # Not the usual port, which others may be after in the moment of a restart.
    credentials = Credentials(directory) if secured else None
    return MesosCluster(directory, hosts_of(settings), held, package, port=free_port(), credentials=credentials)
