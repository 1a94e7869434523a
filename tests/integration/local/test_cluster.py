"""The one-machine cluster, with a real Mesos."""

from __future__ import annotations

from framework.local.cluster import MesosCluster
from framework.local.spec import HostShape
from tests.integration.conftest import ClusterFactory

SHAPES = [
    HostShape(name="big", count=2, cpus=16, mem_mib=60_000, attributes={"rack": ["r1", "r2"], "pool": "builds"}),
    HostShape(name="small", cpus=0.5, mem_mib=64, disk_mib=0, ports=0),
]


def ids(cluster: MesosCluster) -> dict[str, str]:
    return {host["hostname"]: host["id"] for host in cluster.hosts()}


def test_hosts_have_the_shapes_and_attributes_configured(mesos_cluster: ClusterFactory) -> None:
    hosts = mesos_cluster(shapes=SHAPES).hosts()
    assert [host["hostname"] for host in hosts] == ["big-1", "big-2", "small-1"]
    assert [host["attributes"] for host in hosts] == [
        {"rack": "r1", "pool": "builds"},
        {"rack": "r2", "pool": "builds"},
        {},
    ]
    assert [(host["resources"]["cpus"], host["resources"]["mem"]) for host in hosts] == [
        (16.0, 60_000.0),
        (16.0, 60_000.0),
        (0.5, 64.0),
    ]
    assert [host["resources"].get("ports") for host in hosts] == ["[31000-31099]", "[31100-31199]", None]


def test_the_same_hosts_come_back_after_kill_9(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(shapes=SHAPES, fresh=True)
    before, url = ids(cluster), cluster.url
    cluster.kill9()
    cluster.restart()
    assert (ids(cluster), cluster.url) == (before, url)
