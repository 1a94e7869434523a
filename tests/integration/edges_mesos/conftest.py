"""One Mesos of two hosts for the tests of this folder, and a driver on it."""

from __future__ import annotations

import pytest

from framework.local.cluster import MesosCluster
from tests.integration.conftest import ClusterFactory


@pytest.fixture
def cluster(mesos_cluster: ClusterFactory) -> MesosCluster:
    return mesos_cluster(2)
