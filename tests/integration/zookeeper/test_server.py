"""The starter of the real ZooKeeper that other tests stand on."""

from __future__ import annotations

from framework.local.zookeeper import ZooKeeperServer
from tests.fakes.zookeeper_server import ZooKeeperFactory


def test_a_server_keeps_its_port_and_data_over_a_kill(own_zookeeper: ZooKeeperFactory) -> None:
    (server,) = own_zookeeper()
    port = server.port
    server.kill9()
    assert not server.serving()
    server.restart()
    assert server.port == port
    assert server.serving()


def test_the_shared_server_serves(zookeeper_server: ZooKeeperServer) -> None:
    assert "standalone" in zookeeper_server.command("mntr")


def test_an_ensemble_serves_while_most_of_it_lives(own_zookeeper: ZooKeeperFactory) -> None:
    servers = own_zookeeper(3)
    modes = sorted(server.command("srvr").rpartition("Mode: ")[2].split()[0] for server in servers)
    assert modes == ["follower", "follower", "leader"]
