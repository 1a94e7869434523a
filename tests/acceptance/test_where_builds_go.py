"""Rules on where builds go, as a user gives them, on a real Mesos: kept by what is placed, named by what waits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from framework.local.spec import HostShape
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.scheduler_process import TENANT, SchedulerProcess
from tests.integration.conftest import ClusterFactory

SHAPES = [
    HostShape(count=3, cpus=4, mem_mib=2000, ports=4, attributes={"rack": ["ra", "rb", "ra"], "os": "debian-12"}),
]
UNTIL = 'while [ ! -e "{}" ]; do sleep 0.1; done\necho "ports $PORTS first ${{PORT0:-none}}"'


@pytest.fixture
def butlery(mesos_cluster: ClusterFactory, scheduler: SchedulerFactory) -> SchedulerProcess:
    made = scheduler(mesos_cluster(shapes=SHAPES))
    made.start()
    made.make_tenant()
    return made


def where(butlery: SchedulerProcess, job_id: str) -> Any:
    return butlery.job(job_id)["attempts"][0]


def test_builds_go_where_their_rules_let_them(butlery: SchedulerProcess, open_dir: Path) -> None:
    hosts = {host["hostname"]: host["attributes"]["rack"] for host in butlery.get("/v1/hosts")["hosts"]}
    go = open_dir / "go"

    def submit(name: str, **rules: Any) -> str:
        return butlery.submit(name, UNTIL.format(go), **rules)

    unique = [submit("unique", constraints=[["hostname", "UNIQUE"]]) for _ in range(3)]
    spread = [submit("spread", constraints=[["rack", "GROUP_BY", "2"]]) for _ in range(4)]
    picky = submit("picky", constraints=[["rack", "UNLIKE", "r[a]"], ["os", "LIKE", r"debian-\d+"]])
    db = submit("db", labels={"app": "db"}, constraints=[["rack", "IS", "rb"]])
    butlery.wait_running([*unique, *spread, picky, db])
    web = [submit("web", near=[{"labels": {"app": "db"}}]) for _ in range(2)]
    away = submit("away", apart=[{"labels": {"app": "db"}, "field": "rack"}])
    ported = [submit("ported", ports=2, mesos_executor="shared", constraints=[["rack", "IS", "rb"]]) for _ in range(2)]
    butlery.wait_running([*web, away, *ported])

    assert len({where(butlery, each)["host"] for each in unique}) == 3
    assert Counter(hosts[where(butlery, each)["host"]] for each in spread) == {"ra": 2, "rb": 2}
    assert hosts[where(butlery, picky)["host"]] == "rb"
    assert {where(butlery, each)["host"] for each in web} == {where(butlery, db)["host"]}
    assert hosts[where(butlery, away)["host"]] == "ra"
    ports = [port for each in ported for port in where(butlery, each)["ports"]]
    assert len(set(ports)) == 4

    waits = submit("unique", constraints=[["hostname", "UNIQUE"]])
    full = submit("full", ports=1, constraints=[["rack", "IS", "rb"]])
    assert butlery.get(f"/v1/jobs/{waits}/why")["turned_away"]["constraint:hostname UNIQUE"] == 3
    why = butlery.get(f"/v1/jobs/{full}/why")
    assert why["turned_away"]["constraint:rack IS rb"] == 2, why

    go.touch()
    for job_id in (*unique, *spread, picky, db, *web, away, *ported, waits, full):
        assert butlery.wait_ended(job_id)["result"]["result_class"] == "passed", butlery.job(job_id)
    for job_id in ported:
        mine = where(butlery, job_id)["ports"]
        assert f"ports {mine[0]},{mine[1]} first {mine[0]}" in butlery.logged(job_id)


def test_what_no_host_can_ever_satisfy_is_refused_field_by_field(butlery: SchedulerProcess) -> None:
    rules = {"constraints": [["hostname", "UNIQUE"], ["rack", "IS", "rz"], ["zone", "GROUP_BY"]]}
    job = {"tenant": TENANT, "name": "never", "command": "true", "gpus": 1, **rules}
    answer = butlery.call("POST", "/v1/jobs", json=job)
    assert answer.status_code == 422, answer.text
    told = {fault["where"]: fault["message"] for fault in answer.json()["faults"]}
    assert set(told) == {"constraints[1]", "constraints[2]", "gpus"}, told
    assert "whose rack is 'ra', 'rb'" in told["constraints[1]"]
    assert "there are hostname, os, rack" in told["constraints[2]"]
