"""Services without an image under a real Mesos."""

from __future__ import annotations

import base64
import os
import pwd
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.pack import command
from agents.service_spec import ServiceCheck, ServiceMount, ServiceSpec
from framework.local.cluster import MesosCluster
from tests.integration.agents.conftest import KERNEL, assert_nothing_left, processes_marked, read, until
from tests.integration.agents.test_hogs import MEMORY_HOG
from tests.integration.agents.test_mesos import sandbox_of
from tests.integration.agents.test_mesos_shared import resources
from tests.integration.conftest import ClusterFactory
from tests.integration.local.tiny_framework import TinyFramework

pytestmark = pytest.mark.root

MARKER = "butlery-services-test"
LOOP = "while :; do sleep 0.05; done"


class Framework(TinyFramework):
    """Launches services, each with a Mesos executor of its own."""

    def __init__(self, url: str, pyz: Path, framework_id: str | None = None) -> None:
        super().__init__(url, framework_id)
        self._pyz = pyz
        self.offer: dict[str, Any] = {}

    def service(
        self, shell: str | None, *, more: list[dict[str, Any]] | None = None, uri: str | None = None, **wanted: Any
    ) -> str:
        """``more``: operations before the launch, whose last resources the task takes. Returns the task's id."""
        self.offer = self.wait("OFFERS")["offers"]["offers"][0]
        task_id = f"web.instance-{uuid.uuid4()}"
        given: dict[str, Any] = {"cpu_millis": 100, "mem_mib": 64, "grace_s": 5.0, **wanted}
        given["env"] = {"MARKER": MARKER, **given.get("env", {})}
        spec = ServiceSpec(task_id, shell=shell, **given)
        executor = {
            "type": "CUSTOM",
            "executor_id": {"value": task_id},
            "framework_id": {"value": self.framework_id},
            "command": {
                "value": command(str(self._pyz), service=True),
                "uris": [{"value": uri}] if uri is not None else [],
            },
            "resources": resources(cpus=0.1, mem=32),
        }
        task = {
            "name": "web",
            "task_id": {"value": task_id},
            "agent_id": self.offer["agent_id"],
            "executor": executor,
            "resources": resources(cpus=0.1, mem=spec.mem_mib),
            "data": base64.b64encode(spec.to_json()).decode(),
        }
        operations = list(more or [])
        for one in operations:
            task["resources"] = [*task["resources"], *one.get("create", {}).get("volumes", [])]
        operations.append({"type": "LAUNCH", "launch": {"task_infos": [task]}})
        self._call("ACCEPT", accept={"offer_ids": [self.offer["id"]], "operations": operations})
        return task_id

    def kill(self, task_id: str, grace_s: float | None = None) -> None:
        wanted: dict[str, Any] = {"task_id": {"value": task_id}, "agent_id": self.offer["agent_id"]}
        if grace_s is not None:
            wanted["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_s * 1e9)}}
        self._call("KILL", kill=wanted)


@pytest.fixture
def cluster(mesos_cluster: ClusterFactory) -> MesosCluster:
    return mesos_cluster(hosts=1, isolation=KERNEL)


@pytest.fixture
def framework(cluster: MesosCluster, pyz: Path) -> Iterator[Framework]:
    with Framework(cluster.url, pyz) as made:
        yield made
        made._call("TEARDOWN")
    assert_nothing_left(MARKER)


def executor_of(framework: Framework) -> tuple[int, int]:
    """Process ids of a service's guard, which is what Mesos knows, and its driver."""
    marked = processes_marked("MESOS_FRAMEWORK_ID=" + framework.framework_id)
    found = [pid for pid in marked if "main(sys.argv" in read(Path(f"/proc/{pid}/cmdline"))]
    return int(Path(f"/proc/{found[0]}/stat").read_text().rpartition(")")[2].split()[1]), found[0]


def test_a_service_runs_and_is_killed(cluster: MesosCluster, framework: Framework) -> None:
    task_id = framework.service(f"trap 'echo bye; exit 0' TERM; echo up; {LOOP}")
    framework.status("TASK_STARTING")
    framework.status("TASK_RUNNING")
    stdout = sandbox_of(cluster, task_id) / "stdout"
    until(lambda: "up" in read(stdout), "its output")
    framework.kill(task_id)
    framework.status("TASK_KILLING")
    final = framework.status("TASK_KILLED", "TASK_FINISHED")
    assert (final["state"], final["message"]) == ("TASK_KILLED", "Command exited with status 0")
    assert read(stdout).endswith("bye\n")


def test_one_that_ignores_term_is_killed_after_the_grace(cluster: MesosCluster, framework: Framework) -> None:
    task_id = framework.service(f"trap '' TERM; touch ready; {LOOP}", grace_s=60.0)
    framework.status("TASK_RUNNING")
    until((sandbox_of(cluster, task_id) / "ready").exists, "its trap")
    framework.kill(task_id, 0.3)
    assert framework.status("TASK_KILLED")["message"] == "Command terminated with signal Killed"


@pytest.mark.parametrize("beside", ["", "; sleep 600"])
def test_over_its_memory(cluster: MesosCluster, framework: Framework, beside: str) -> None:
    task_id = framework.service(f"({MEMORY_HOG}){beside}")
    final = framework.status("TASK_FAILED")
    assert final["message"] == "out of memory: peak 64 MiB, limit 64 MiB"
    assert final["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert "is left" not in read(sandbox_of(cluster, task_id) / "stderr")


def test_a_limit_of_its_own_lets_it_have_more_than_it_asked_for(framework: Framework) -> None:
    hog = 'python3 -c "x = bytearray(%d << 20)"; echo $?; %s'
    framework.service(f"{hog % (150, MEMORY_HOG)}", mem_limit_mib=200)
    assert framework.status("TASK_FAILED")["message"] == "out of memory: peak 200 MiB, limit 200 MiB"


@pytest.mark.parametrize(
    ("user", "told"), [("nobody", f"nobody\n{pwd.getpwnam('nobody').pw_dir}\n"), ("43210", "43210\n/\n")]
)
def test_its_user(cluster: MesosCluster, framework: Framework, open_dir: Path, user: str, told: str) -> None:
    (open_dir / "fetched").touch()
    shell = "id -un 2>/dev/null; echo $HOME; echo of > fetched && touch mine; sleep 600"
    task_id = framework.service(shell, user=user, uri=str(open_dir / "fetched"))
    framework.status("TASK_RUNNING")
    sandbox = sandbox_of(cluster, task_id)
    until(lambda: (sandbox / "mine").exists(), "its file")
    assert read(sandbox / "stdout") == told
    framework.kill(task_id)
    framework.status("TASK_KILLED")


def test_an_unknown_user(framework: Framework) -> None:
    framework.service("sleep 600", user="nosuch")
    assert framework.status("TASK_FAILED")["message"] == "user 'nosuch' is not known on this host"


def test_health_is_told_and_ends_it(cluster: MesosCluster, framework: Framework) -> None:
    check = ServiceCheck("command", command=["test -e well"], grace_s=0, interval_s=0.2, delay_s=0, max_failures=3)
    task_id = framework.service("touch well; sleep 600", health=[check])
    framework.status("TASK_RUNNING")
    well = framework.status("TASK_RUNNING")
    if not well["healthy"]:  # looked at before its first command
        well = framework.status("TASK_RUNNING")
    assert (well["healthy"], well["reason"]) == (True, "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED")
    (sandbox_of(cluster, task_id) / "well").unlink()
    assert [framework.status("TASK_RUNNING")["healthy"] for _ in range(3)] == [False] * 3
    framework.status("TASK_KILLING")
    final = framework.status("TASK_KILLED")
    assert final["healthy"] is False


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_executor_leaves_nothing(framework: Framework, victim: int) -> None:
    framework.service("(setsid setsid sleep 600 &); sleep 600")
    framework.status("TASK_RUNNING")
    os.kill(executor_of(framework)[victim], signal.SIGKILL)
    framework.status("TASK_FAILED", "TASK_KILLED", "TASK_KILLING")
    assert_nothing_left(MARKER)


def test_it_outlives_a_crash_of_its_mesos_agent(mesos_cluster: ClusterFactory, pyz: Path) -> None:
    cluster = mesos_cluster(hosts=1, isolation=KERNEL, fresh=True)
    with Framework(cluster.url, pyz) as before:
        task_id = before.service("while [ ! -e go ]; do sleep 0.1; done; exit 5")
        before.status("TASK_RUNNING")
        cluster.kill9()
    cluster.restart()
    cluster.wait_ready()
    with Framework(cluster.url, pyz, before.framework_id) as after:
        (sandbox_of(cluster, task_id) / "go").touch()
        assert after.status("TASK_FAILED")["message"] == "Command exited with status 5"
        after._call("TEARDOWN")
    assert_nothing_left(MARKER)


def test_a_persistent_volume_is_its_users(cluster: MesosCluster, framework: Framework) -> None:
    persistence_id = f"web#data#{uuid.uuid4()}"
    disk: dict[str, Any] = {
        "name": "disk",
        "type": "SCALAR",
        "scalar": {"value": 16.0},
        "reservations": [{"type": "DYNAMIC", "role": "tiny"}],
        "allocation_info": {"role": "tiny"},
    }
    volume = {
        **disk,
        "disk": {
            "persistence": {"id": persistence_id},
            "volume": {"container_path": "data", "mode": "RW"},
        },
    }
    task_id = framework.service(
        "id -un > data/who; sleep 600",
        user="nobody",
        mounts=[ServiceMount("data", "data")],
        more=[
            {"type": "RESERVE", "reserve": {"resources": [disk]}},
            {"type": "CREATE", "create": {"volumes": [volume]}},
        ],
    )
    framework.status("TASK_RUNNING")
    sandbox = sandbox_of(cluster, task_id)
    until(lambda: read(sandbox / "data" / "who") == "nobody\n", "what it wrote")
    framework.kill(task_id)
    framework.status("TASK_KILLED")
