"""The driver on pymesos keeps the contract of every driver."""

from __future__ import annotations

import getpass
from collections.abc import Sequence

import pytest

from framework.core.ids import FrameworkId
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.pymesos_driver import PymesosDriver
from framework.local.cluster import MesosCluster
from framework.ports import SchedulerDriver
from tests.contract.driver_tests import ROLE
from tests.contract.scheduler_driver import SchedulerDriverContract
from tests.fakes.driving import FastClock, SeededChance
from tests.integration.conftest import ClusterFactory


class TestPymesosDriver(SchedulerDriverContract):
    @pytest.fixture
    def cluster(self, mesos_cluster: ClusterFactory) -> MesosCluster:
        return mesos_cluster(2)

    @pytest.fixture
    def own_cluster(self, mesos_cluster: ClusterFactory) -> MesosCluster:
        return mesos_cluster(2, fresh=True)

    def make(
        self, masters: Sequence[str], name: str, framework_id: FrameworkId | None, roles: tuple[str, ...] = (ROLE,)
    ) -> SchedulerDriver:
        framework = FrameworkSettings(name, getpass.getuser(), roles, 60.0, "localhost")
        return PymesosDriver(masters, framework, FastClock(), SeededChance(), framework_id)
