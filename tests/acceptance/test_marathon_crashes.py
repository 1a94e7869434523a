"""kill -9 of the Marathon-compatible server, of Mesos, of both, whatever is under way: the same end, nothing twice."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from framework.errors import InputError
from framework.local.cluster import MesosCluster, get_json
from framework.local.credentials import Credentials
from framework.local.spec import HostShape
from tests.acceptance.marathon_process import MarathonProcess
from tests.acceptance.marathon_server import MarathonApi, checked, names, sleeper
from tests.acceptance.scheduler_process import eventually
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=3, cpus=8, mem_mib=2048)]
MANY = 6
HALF = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5}
LIVE = ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNREACHABLE")


@pytest.fixture(scope="module")
def server(mesos_cluster: ClusterFactory) -> Iterator[MarathonProcess]:
    server = MarathonProcess(mesos_cluster(shapes=SHAPES, secured=True, fresh=True))
    server.start()
    yield server
    server.stop()


class Tasks:
    """All that Mesos ever ran of one app, since it was looked at first."""

    def __init__(self, server: MarathonProcess, name: str) -> None:
        self._server = server
        self._name = name
        self._before = {task["id"] for task in server.tasks(name)}

    def ever(self) -> Counter[str]:
        """How many of each state."""
        return Counter(task["state"] for task in self._server.tasks(self._name) if task["id"] not in self._before)

    def live(self) -> set[str]:
        return {task["id"] for task in self._server.tasks(self._name) if task["state"] in LIVE}


def begin_start(api: MarathonApi) -> None:
    api.change("POST", "/v2/apps", checked("/crash", MANY))


def begin_scale_up(api: MarathonApi) -> None:
    api.change("PUT", "/v2/apps/crash", {"instances": MANY})


def begin_scale_down(api: MarathonApi) -> None:
    api.change("PUT", "/v2/apps/crash", {"instances": 1})


def begin_roll(api: MarathonApi) -> None:
    api.change("PUT", "/v2/apps/crash", {"env": {"RELEASE": "2"}, "upgradeStrategy": HALF})


def begin_stop(api: MarathonApi) -> None:
    api.change("DELETE", "/v2/apps/crash")


def begin_revert(api: MarathonApi) -> None:
    """Of a roll that cannot end, as nothing of it fits anywhere."""
    changed = api.change("PUT", "/v2/apps/crash", {"cpus": 1000, "upgradeStrategy": HALF})
    api.change("DELETE", f"/v2/deployments/{changed['deploymentId']}")


KINDS = {
    "start": (0, begin_start, MANY, MANY),
    "scale up": (1, begin_scale_up, MANY, MANY),
    "scale down": (MANY, begin_scale_down, 1, MANY),
    "roll": (MANY, begin_roll, MANY, 2 * MANY),
    "stop": (MANY, begin_stop, 0, MANY),
    "revert": (MANY, begin_revert, MANY, None),
}


@pytest.mark.parametrize("pause_s", [0.0, 0.4])
@pytest.mark.parametrize(("before", "begin", "after", "ever"), KINDS.values(), ids=KINDS)
def test_kill_9_again_and_again_in_the_middle(
    api: MarathonApi,
    server: MarathonProcess,
    before: int,
    begin: Callable[[MarathonApi], None],
    after: int,
    ever: int | None,
    pause_s: float,
) -> None:
    tasks = Tasks(server, "crash")
    if before:
        api.deploy("POST", "/v2/apps", checked("/crash", before))
    begin(api)
    for _ in range(2):
        time.sleep(pause_s)
        server.kill9()
    api.wait_deployed()
    eventually(lambda: len(tasks.live()) == after, f"{after} tasks on Mesos")
    told = api.get("/v2/tasks")["tasks"]
    assert names(told) == tasks.live()
    assert {task["state"] for task in told} <= {"TASK_RUNNING"}
    states = tasks.ever()
    assert set(states) <= {"TASK_RUNNING", "TASK_KILLED"}, states
    if ever is not None:
        assert states.total() == ever, f"{states}: something was launched twice"
    if after:
        app = api.wait_for("/crash", lambda app: app["tasksHealthy"] == after, "all to be healthy")
        assert (app["instances"], app["tasksRunning"], app["cpus"]) == (after, after, 0.1)
    else:
        assert api.get("/v2/apps")["apps"] == []


def reserved(server: MarathonProcess) -> list[str]:
    """What Mesos holds for somebody's tasks, the ids of volumes among it."""
    authorization = Credentials(server.mesos.directory).operator.authorization()
    hosts = get_json(f"{server.mesos.url}/slaves", 30.0, authorization)["slaves"]
    told = [one for host in hosts for of_role in host["reserved_resources_full"].values() for one in of_role]
    return [one.get("disk", {}).get("persistence", {}).get("id", one["name"]) for one in told]


def test_kill_9_while_volumes_are_made_found_again_and_wiped(api: MarathonApi, server: MarathonProcess) -> None:
    resident = sleeper(
        "/volumes/db",
        instances=3,
        role="volumes",
        cmd="echo $MESOS_TASK_ID >> data/tasks; exec sleep 600",
        container={
            "type": "MESOS",
            "volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": 16}}],
        },
        upgradeStrategy={"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0},
    )

    def written() -> list[int]:
        return [len(path.read_text().split()) for path in server.mesos.directory.rglob("roles/volumes/*/tasks")]

    api.change("POST", "/v2/apps", resident)
    server.kill9()
    api.wait_deployed()
    eventually(lambda: written() == [1, 1, 1], "the first words of all")
    volumes = {one for one in reserved(server) if "#" in one}
    assert len(volumes) == 3
    api.change("POST", "/v2/apps/volumes/db/restart")
    server.kill9()
    api.wait_deployed()
    eventually(lambda: written() == [2, 2, 2], "the next words of all, where the first ones are")
    assert {one for one in reserved(server) if "#" in one} == volumes
    api.change("DELETE", "/v2/apps/volumes/db")
    server.kill9()
    api.wait_deployed()
    eventually(lambda: not reserved(server), "the end of all that was reserved, the Mesos executors' share too")


def _restart(mesos: MesosCluster) -> None:
    """Who tries to reach it meanwhile may, for a moment, hold its port."""

    def restarted() -> bool:
        with suppress(InputError):
            mesos.restart()
            return True
        return False

    eventually(restarted, "Mesos to be back")


@pytest.mark.parametrize("both", [False, True], ids=["Mesos", "Mesos and the server"])
def test_kill_9_of_mesos_in_the_middle_of_a_roll(api: MarathonApi, server: MarathonProcess, both: bool) -> None:
    tasks = Tasks(server, "crash")
    api.deploy("POST", "/v2/apps", checked("/crash", MANY))
    begin_roll(api)
    if both:
        server.end9()
    server.mesos.kill9()
    _restart(server.mesos)
    if both:
        server.start()
    api.wait_deployed()
    eventually(lambda: len(tasks.live()) == MANY, "as many tasks as are wanted")
    app = api.wait_for("/crash", lambda app: app["tasksHealthy"] == MANY, "all to be healthy")
    assert {task["version"] for task in app["tasks"]} == {app["version"]}
    assert names(app["tasks"]) == tasks.live()


def test_while_mesos_is_away_it_starts_answers_and_goes_on_when_it_is_back(
    api: MarathonApi, server: MarathonProcess
) -> None:
    api.deploy("POST", "/v2/apps", checked("/stays"))
    before = names(api.tasks("/stays"))
    server.end9()
    server.mesos.kill9()
    server.start(ready=False)
    eventually(lambda: _answers(server), "its answers")
    assert names(api.tasks("/stays")) == before
    api.change("POST", "/v2/apps", checked("/later"))
    assert api.app("/later")["tasksRunning"] == 0
    _restart(server.mesos)
    api.wait_deployed()
    assert names(api.tasks("/stays")) == before
    assert api.app("/later")["tasksHealthy"] == 1


def _answers(server: MarathonProcess) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{server.url}/ping", trust_env=False, timeout=5).status_code == 200
    return False


def test_while_its_file_is_locked_changes_are_refused_and_tasks_run_on(
    api: MarathonApi, server: MarathonProcess
) -> None:
    api.deploy("POST", "/v2/apps", checked("/stays", 2))
    before = names(api.tasks("/stays"))
    state = server.files / "state.db"
    with closing(sqlite3.connect(state, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = api.call("POST", "/v2/apps", json=sleeper("/refused"), timeout=90)
        assert answer.status_code == 503
        assert "cannot be saved now" in answer.json()["message"]
        assert api.call("PUT", "/v2/apps/stays", json={"instances": 3}).status_code == 503
        assert names(api.tasks("/stays")) == before
        other.execute("ROLLBACK")
    eventually(lambda: _scaled(api, 3), "its state to be saved again")
    api.wait_deployed()
    assert names(api.tasks("/stays")) > before


@pytest.mark.root
def test_on_a_full_disk_nothing_is_lost(api: MarathonApi, server: MarathonProcess, tmp_path: Path) -> None:
    api.deploy("POST", "/v2/apps", checked("/stays", 2))
    before = names(api.tasks("/stays"))
    server.stop()
    subprocess.run(["cp", "-a", f"{server.files}/.", str(tmp_path)], check=True, timeout=30)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(server.files)], check=True, timeout=30)
    try:
        subprocess.run(["cp", "-a", f"{tmp_path}/.", str(server.files)], check=True, timeout=30)
        server.start()
        filler = server.files / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        answer = api.call("POST", "/v2/apps", json=sleeper("/refused", labels={"l": "x" * 200_000}), timeout=90)
        assert answer.status_code == 503
        assert "state.db: cannot be saved now" in answer.json()["message"]
        assert names(api.tasks("/stays")) == before
        filler.unlink()
        eventually(lambda: _scaled(api, 3), "its state to be saved again")
        api.wait_deployed()
        assert names(api.tasks("/stays")) > before
        server.kill9()
        assert len(api.tasks("/stays")) == 3
        server.stop()
        subprocess.run(["cp", "-a", f"{server.files}/.", str(tmp_path)], check=True, timeout=30)
    finally:
        subprocess.run(["umount", "-l", str(server.files)], check=True, timeout=30)
    subprocess.run(["cp", "-a", f"{tmp_path}/.", str(server.files)], check=True, timeout=30)
    server.start()


def _scaled(api: MarathonApi, instances: int) -> bool:
    return api.call("PUT", "/v2/apps/stays", json={"instances": instances}).status_code == 200
