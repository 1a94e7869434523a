"""Both drivers keep the contract of every driver: the same tests, on a real Mesos."""

from __future__ import annotations

import getpass
from collections.abc import Sequence

import pytest

from framework.core.ids import FrameworkId
from framework.edges.mesos.access import Access
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.pymesos_driver import PymesosDriver
from framework.local.cluster import MesosCluster
from framework.local.credentials import SCHEDULER
from framework.mesos_ports import SchedulerDriver
from tests.contract.driver_operations import OperationsContract
from tests.contract.driver_tests import ROLE
from tests.contract.scheduler_driver import SchedulerDriverContract
from tests.fakes.driving import FastClock, SeededChance
from tests.integration.conftest import ClusterFactory


class _OnMesos(SchedulerDriverContract):
    kind: type[MesosDriver]

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
        return self.kind(masters, framework, FastClock(), SeededChance(), framework_id)


class TestMesosDriver(_OnMesos):
    kind = MesosDriver


class TestPymesosDriver(_OnMesos):
    kind = PymesosDriver


class TestSecured(OperationsContract):
    """What is reserved and kept is its principal's, on a Mesos that asks everybody who they are."""

    principal = SCHEDULER

    @pytest.fixture
    def cluster(self, mesos_cluster: ClusterFactory) -> MesosCluster:
        cluster = mesos_cluster(2, secured=True)
        assert cluster.credentials is not None
        self.access = Access(cluster.credentials.scheduler.authorization())
        return cluster

    def make(
        self, masters: Sequence[str], name: str, framework_id: FrameworkId | None, roles: tuple[str, ...] = (ROLE,)
    ) -> SchedulerDriver:
        framework = FrameworkSettings(name, getpass.getuser(), roles, 60.0, "localhost", principal=self.principal)
        return MesosDriver(masters, framework, FastClock(), SeededChance(), framework_id, access=self.access)
