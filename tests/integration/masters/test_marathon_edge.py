"""The edge on the Marathon-compatible server and a real Mesos."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from masters import names
from masters.errors import ChangedError, MarathonRefusedError
from masters.marathon import MarathonEdge
from masters.ports import Deployed
from masters.records import MasterState, ObservedMaster, Policy
from masters.settings import MastersContext, MastersSettings
from tests.acceptance.marathon_server import MarathonServer, marathon_server
from tests.acceptance.scheduler_process import eventually
from tests.contract.marathon_api.proxy import checking_proxy

GROUP = "/butlery/masters"


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server(max_running_deployments=4) as server:
        yield server


def edge_to(server: MarathonServer, url: str) -> MarathonEdge:
    context = MastersContext(
        marathon_urls=[url],
        marathon_credentials=(server.user, server.password),
        scheduler_url="http://127.0.0.1:1",
        secrets=None,
        state=Path("/nonexistent/masters.db"),
        kit="file:///nonexistent/kit.tar.gz",
        settings=MastersSettings.model_validate({"group": GROUP}),
    )
    return MarathonEdge(context)


@pytest.fixture
def edge(server: MarathonServer) -> Iterator[MarathonEdge]:
    """Every exchange is held against Marathon's own description of its API."""
    with checking_proxy(server.url) as proxy:
        yield edge_to(server, proxy.url)


def app(tenant: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": names.app_id(GROUP, tenant, 64),
        "cmd": "exec python3 -m http.server $PORT0",
        "cpus": 0.1,
        "mem": 32,
        "disk": 0,
        "instances": 1,
        "constraints": [],
        "container": {"type": "MESOS", "volumes": []},
        "env": {"GIT_DEPTH": "1"},
        "portDefinitions": [{"name": "http", "port": 0}],
        "labels": {
            names.LABEL_TENANT: tenant,
            names.LABEL_STATE: "on",
            names.LABEL_POLICY: msgspec.json.encode(Policy(host=tenant)).decode(),
        },
        "taskKillGracePeriodSeconds": 1,
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
        "healthChecks": [
            {"protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "delaySeconds": 0, "intervalSeconds": 1}
        ],
        **fields,
    }


def ended(edge: MarathonEdge, deployed: Deployed) -> None:
    eventually(lambda: deployed.deployment not in edge.deployments(), "the deployment's end")


def there(edge: MarathonEdge, app_id: str) -> ObservedMaster:
    master = edge.master(app_id)
    assert master is not None
    return master


def test_a_master_from_its_first_start_to_its_end(edge: MarathonEdge) -> None:
    over = threading.Event()
    seen: list[str] = []
    listener = threading.Thread(target=lambda: seen.extend(edge.events(over.is_set)), daemon=True)
    listener.start()
    document = app("payments")
    app_id = document["id"]
    first = edge.put(app_id, document, expect=None)
    ended(edge, first)
    master = there(edge, app_id)
    assert (master.version, master.state) == (first.version, MasterState.ON)
    (task,) = master.tasks
    assert task.address == "127.0.0.1"
    assert httpx.get(f"http://{task.address}:{task.ports[0]}/", trust_env=False).status_code == 200
    assert task.started_at is not None
    assert task.healthy_at is not None
    assert edge.masters() == {"payments": master}
    assert edge.put(app_id, document, expect=None).version == first.version  # it is so already

    asleep = {**document["labels"], names.LABEL_STATE: "asleep"}
    ended(edge, edge.scale(app_id, 0, asleep))
    master = there(edge, app_id)
    assert (master.wanted, master.tasks) == ("asleep", ())
    back = edge.put(app_id, {"version": first.version}, expect=master.version)
    ended(edge, back)
    again = edge.restart(app_id)
    ended(edge, again)
    assert there(edge, app_id).tasks[0].id != task.id
    assert edge.versions(app_id)[0] == again.version
    assert edge.versions(app_id)[-1] == first.version
    assert edge.document_at(app_id, first.version)["env"] == {"GIT_DEPTH": "1"}
    with pytest.raises(ChangedError):
        edge.put(app_id, app("payments", cpus=0.2), expect=first.version)

    edge.delete(app_id)
    edge.delete(app_id)
    eventually(lambda: not edge.masters(), "its end")
    over.set()
    listener.join(10)
    assert not listener.is_alive()
    assert seen[0] == "*"
    assert set(seen) == {"*", app_id}


def test_more_at_once_than_marathon_deploys(edge: MarathonEdge) -> None:
    """While it deploys as many as it may; some are changed again while they still start."""
    tenants = [f"team-{number}" for number in range(8)]
    again = tenants[:2]

    def made(tenant: str) -> None:
        document = app(tenant)
        first = edge.put(document["id"], document, expect=None)
        if tenant in again:
            edge.put(document["id"], {**document, "env": {"GIT_DEPTH": "2"}}, expect=first.version)

    workers = [threading.Thread(target=made, args=(tenant,), daemon=True) for tenant in tenants]
    for each in workers:
        each.start()
    for each in workers:
        each.join(120)
    eventually(lambda: not edge.deployments(), "the end of all deployments")
    found = edge.masters()
    assert sorted(found) == sorted(tenants)
    assert [one for one in tenants if found[one].document["env"]["GIT_DEPTH"] == "2"] == again
    assert {one.state for one in found.values()} == {MasterState.ON}
    for tenant in tenants:
        edge.delete(found[tenant].app_id)
    eventually(lambda: not edge.masters() and not edge.deployments(), "the end of all")


def test_what_cannot_be_is_told(edge: MarathonEdge) -> None:
    wrong = app("wrong", cpus=-1, mem=-1)
    with pytest.raises(MarathonRefusedError) as raised:
        edge.put(wrong["id"], wrong, expect=None)
    assert {fault.where for fault in raised.value.faults} == {"/cpus", "/mem"}
    large = app("large", cpus=1000)
    deployed = edge.put(large["id"], large, expect=None)
    reasons = eventually(lambda: edge.waiting_reasons(large["id"]), "reasons")
    assert reasons == ["on 3 of 3 offered hosts too few CPUs are free"]
    edge.cancel(deployed.deployment)
    edge.cancel(deployed.deployment)
    assert deployed.deployment not in edge.deployments()
    edge.delete(large["id"])


def test_a_marathon_that_goes_away_meanwhile(server: MarathonServer) -> None:
    edge = edge_to(server, server.url)
    document = app("lasting")
    first = edge.put(document["id"], document, expect=None)
    ended(edge, first)
    pid = server.cluster.now().marathon_pid
    assert pid is not None
    killer = threading.Thread(target=os.kill, args=(pid, signal.SIGKILL))
    killer.start()
    changed = edge.restart(document["id"])
    killer.join(10)
    ended(edge, changed)
    assert len(edge.versions(document["id"])) == 2
    edge.delete(document["id"])
    eventually(lambda: not edge.deployments(), "the end of all deployments")
