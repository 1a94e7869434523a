"""Apps of the Marathon-compatible server that do something: health, readiness, volumes, Docker, limits."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster import interruptible, temporary_cluster
from masters.app import app_of
from masters.kit import write_kit
from tests.acceptance.marathon_server import MarathonApi, MarathonServer, sleeper
from tests.acceptance.scheduler_process import eventually
from tests.fakes.plans import CLEAR, spec
from tests.integration.agents.conftest import DockerDaemon, docker_daemon

__all__ = ["docker_daemon"]  # the fixture of that name

pytestmark = pytest.mark.root

HOST = {"count": 2, "cpus": 4, "mem_mib": 1024, "disk_mib": 1024, "ports": 50}
SERVE = "exec python3 -m http.server --bind 127.0.0.1 $PORT0"


@pytest.fixture(scope="module")
def server(docker_daemon: DockerDaemon) -> Iterator[MarathonServer]:
    sections = {
        "agents": {"docker_socket": docker_daemon.socket},
        "local": {"hosts": [HOST], "allocation_interval_s": 0.1, "marathon": {"role": "apps"}},
    }
    with interruptible(), temporary_cluster(sections, print, scheduler=False) as cluster:
        yield MarathonServer(cluster)


def check(protocol: str, **fields: Any) -> dict[str, Any]:
    times = {"gracePeriodSeconds": 60, "intervalSeconds": 1, "timeoutSeconds": 5, "maxConsecutiveFailures": 2}
    return {"protocol": protocol, "portIndex": 0, **times, **fields}


def test_the_servers_own_health_and_readiness_checks(api: MarathonApi) -> None:
    web = sleeper(
        "/web",
        cmd=f"touch index.html; {SERVE}",
        portDefinitions=[{"port": 0, "name": "http"}],
        healthChecks=[check("HTTP", path="/index.html"), check("TCP")],
        readinessChecks=[{"name": "up", "portName": "http", "path": "/index.html", "intervalSeconds": 2,
                          "timeoutSeconds": 1, "preserveLastResponse": True}],
    )  # fmt: skip
    api.deploy("POST", "/v2/apps", web)
    app = api.wait_for("/web", lambda app: app["tasksHealthy"] == 1, "is healthy")
    (task,) = app["tasks"]
    assert [one["alive"] for one in task["healthCheckResults"]] == [True, True]
    port = task["ports"][0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=10) as answer:
        assert answer.status == 200


def test_a_sick_one_is_replaced(api: MarathonApi) -> None:
    cmd = "touch well; (sleep 3; rm -f well) & exec sleep 600"
    command = check("COMMAND", command={"value": "test -e well"}, delaySeconds=0)
    del command["portIndex"]
    api.deploy("POST", "/v2/apps", sleeper("/sick", cmd=cmd, healthChecks=[command]))
    (first,) = api.tasks("/sick")
    api.wait_for("/sick", lambda app: [one["id"] for one in app["tasks"]] not in ([first["id"]], []), "another")


def test_one_over_its_memory_backs_off_with_its_reason(api: MarathonApi) -> None:
    hog = 'python3 -c "x = bytearray(200 << 20)"; sleep 600'
    api.change("POST", "/v2/apps", sleeper("/hog", cmd=hog))
    app = api.wait_for("/hog", lambda app: app.get("lastTaskFailure"), "fails")
    assert app["lastTaskFailure"]["message"] == "out of memory: peak 32 MiB, limit 32 MiB"


@pytest.mark.parametrize("kind", ["processes", "container"])
def test_a_volume_outlives_its_task(api: MarathonApi, docker_daemon: DockerDaemon, kind: str) -> None:
    container: dict[str, Any] = {
        "type": "MESOS",
        "volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": 16}}],
    }
    inside = "$MESOS_SANDBOX/data"
    if kind == "container":
        container["type"], container["docker"] = "DOCKER", {"image": docker_daemon.image}
        container["volumes"] += [{"containerPath": "/deep/data", "hostPath": "data", "mode": "RW"}]
        inside = "/deep/data"
    resident = sleeper(
        "/resident",
        cmd=f"echo $MESOS_TASK_ID >> {inside}/tasks; exec sleep 600",
        container=container,
        upgradeStrategy={"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
    )

    def written_by(task_id: str) -> list[str]:
        """All that is in the volume once the task has written to it: it runs before its command does anything."""

        def found() -> list[str]:
            files = Path(api.server.cluster.directory).rglob("roles/apps/*/tasks")
            return next((ids for ids in (path.read_text().split() for path in files) if task_id in ids), [])

        ids: list[str] = eventually(found, f"what {task_id} writes")
        return ids

    api.deploy("POST", "/v2/apps", resident)
    (first,) = api.tasks("/resident")
    assert written_by(first["id"]) == [first["id"]]
    api.deploy("POST", "/v2/apps/resident/restart")
    (second,) = api.tasks("/resident")
    assert written_by(second["id"]) == [first["id"], second["id"]]


def test_docker(api: MarathonApi, docker_daemon: DockerDaemon) -> None:
    web = sleeper(
        "/team/web",
        cmd="mkdir /www; echo $FOO > /www/index.html; exec httpd -f -p 8000 -h /www",
        env={"FOO": "bar"},
        networks=[{"mode": "container", "name": "apps"}],
        container={
            "type": "DOCKER",
            "docker": {"image": docker_daemon.image, "parameters": [{"key": "hostname", "value": "deep"}]},
            "portMappings": [{"containerPort": 8000, "hostPort": 0, "name": "http"}],
        },
        healthChecks=[check("HTTP"), check("MESOS_HTTP", delaySeconds=0)],
    )
    docker = docker_of(docker_daemon)
    docker("network", "create", "apps")
    try:
        api.deploy("POST", "/v2/apps", web)
        (task,) = api.wait_for("/team/web", lambda app: app["tasksHealthy"] == 1, "is healthy")["tasks"]
        with urllib.request.urlopen(f"http://127.0.0.1:{task['ports'][0]}/", timeout=10) as answer:
            assert answer.read() == b"bar\n"
        (name,) = docker_daemon.names()
        shown = docker("inspect", name)
        assert json.loads(shown)[0]["Config"]["Hostname"] == "deep"
        addresses = [one["ipAddress"] for one in task["ipAddresses"]]
        assert json.loads(shown)[0]["NetworkSettings"]["Networks"]["apps"]["IPAddress"] in addresses
        api.deploy("DELETE", "/v2/apps/team/web")
        assert docker_daemon.names() == []
    finally:
        api.clear()
        docker("network", "rm", "apps")


def test_containers_find_each_other_and_what_they_keep(
    api: MarathonApi, docker_daemon: DockerDaemon, tmp_path: Path
) -> None:
    docker = docker_of(docker_daemon)
    docker("network", "create", "apps")
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    image = {"type": "DOCKER", "docker": {"image": docker_daemon.image}}
    kept = {"name": "butlery-kept", "provider": "dvdi", "options": {"dvdi/driver": "local"}}
    volumes = [
        {"containerPath": "/told", "hostPath": str(tmp_path), "mode": "RW"},
        {"containerPath": "/fixed", "hostPath": str(fixed), "mode": "RO"},
        {"containerPath": "/kept", "mode": "RW", "external": kept},
    ]
    more: dict[str, Any] = {"networks": [{"mode": "container", "name": "apps"}]}
    asks = "until wget -q -O /kept/page http://web.team:8000/; do sleep 0.2; done; "
    asks += "touch /fixed/mine || echo refused >/told/refused; echo done >/told/client; exec sleep 600"
    keeping = {**image, "volumes": volumes}
    try:
        serve = "mkdir /www; echo here >/www/index.html; exec httpd -f -p 8000 -h /www"
        api.deploy("POST", "/v2/apps", sleeper("/team/web", cmd=serve, container=image, **more))
        api.deploy("POST", "/v2/apps", sleeper("/team/client", cmd=asks, container=keeping, **more))
        eventually(lambda: (tmp_path / "client").exists(), "the client's page")
        assert (tmp_path / "refused").exists()
        assert not list(fixed.iterdir())
        api.deploy("DELETE", "/v2/apps/team/client")
        reads = "cat /kept/page >/told/kept; exec sleep 600"
        api.deploy("POST", "/v2/apps", sleeper("/reader", cmd=reads, container=keeping, **more))
        eventually(
            lambda: (tmp_path / "kept").exists() and (tmp_path / "kept").read_text() == "here\n", "what was kept"
        )
    finally:
        api.clear()
        docker("network", "rm", "apps")
        docker("volume", "rm", "-f", "butlery-kept")


def test_a_masters_home_outlives_its_task_whatever_its_volume(
    api: MarathonApi, docker_daemon: DockerDaemon, open_dir: Path
) -> None:
    docker, image = docker_of(docker_daemon), "butlery-test-master:1"
    at = "$MESOS_SANDBOX"
    seen = "$(busybox ls ${BUTLERY_BACKUP_TO:-/none} 2>/dev/null)"
    serve = (
        f"echo $MESOS_TASK_ID $(id -u) {seen} >>$JENKINS_HOME/tasks; exec busybox httpd -f -p 127.0.0.1:$PORT0 -h {at}"
    )
    run = f"ln -s $JENKINS_HOME/tasks {at}/login; {serve}"
    made = docker("create", docker_daemon.image, "sh", "-c", "busybox mkdir -m 1777 /var /var/jenkins_home").strip()
    docker("start", "-a", made)
    docker("commit", "--change", f"CMD {json.dumps(['sh', '-c', run])}", made, image)
    docker("rm", made)
    homes = {name: open_dir / name for name in ("host", "bound", "process")}
    for home in homes.values():
        home.mkdir()
        home.chmod(0o1777)
    for tenant in ("host", "another"):
        (open_dir / "backups" / tenant).mkdir(parents=True)
    bind = {"type": "none", "o": "bind,rw", "device": str(homes["bound"])}
    process = {"image": None, "command": run}
    persistent = {"persistent": True, "size_mib": 16}
    kinds: dict[str, dict[str, Any]] = {
        "host": {
            "image": image,
            "volume": {"host_path": str(open_dir / "{tenant}"), "shared": True},
            "backup": {"to": str(open_dir / "backups")},
        },
        "bound": {"image": image, "volume": {"docker": {"options": bind}}},
        "external": {"image": image, "volume": {"external": {"driver": "local"}}},
        "kept": {"image": image, "volume": persistent},
        "process": {**process, "uid": 1234, "volume": {"host_path": str(open_dir / "{tenant}"), "shared": True}},
        "keeping": {**process, "uid": 4321, "volume": persistent},
    }
    kit = open_dir / "kit.tar.gz"
    write_kit(kit)
    apps = {}
    try:
        for name, given in kinds.items():
            app = app_of(
                spec(name, **given, cpus=0.1, health={"interval_s": 1}, stop_timeout_s=1),
                replace(CLEAR, kit=kit.as_uri()),
            )
            apps[name] = app["id"]
            api.change("PUT", f"/v2/apps{app['id']}", {**app, "mem": 64})
        uids = {"process": "1234", "keeping": "4321"}
        before = {name: _tasks_of(api, app_id, 1) for name, app_id in apps.items()}
        assert {name: tasks[0].split()[1] for name, tasks in before.items()} == {
            name: uids.get(name, "1000") for name in kinds
        }
        assert before["host"][0].split()[2:] == ["host"]  # of all that have backups
        for app_id in apps.values():
            api.change("DELETE", f"/v2/apps{app_id}/tasks")
        for name, app_id in apps.items():
            assert _tasks_of(api, app_id, len(before[name]) + 1)[0] == before[name][0]
    finally:
        api.clear()
        docker("volume", "rm", "-f", "jenkins-bound", "jenkins-external")


def _tasks_of(api: MarathonApi, app_id: str, count: int) -> list[str]:
    """What the app's tasks have written to its home, as the healthy one serves it, once so many have or more."""

    def found() -> list[str]:
        for task in api.tasks(app_id):
            if any(one["alive"] for one in task.get("healthCheckResults", ())):
                url = f"http://127.0.0.1:{task['ports'][0]}/login"
                with suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
                    lines: list[str] = answer.read().decode().splitlines()
                    return lines if len(lines) >= count else []
        return []

    told: list[str] = eventually(found, f"task {count} of {app_id}")
    return told


def docker_of(daemon: DockerDaemon) -> Callable[..., str]:
    """Runs a command of the client of Docker, and gives its output."""

    def run(*arguments: str) -> str:
        command = ["docker", "-H", "unix://" + daemon.socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    return run


def test_an_image_that_does_not_exist_holds_nobody_else_up(api: MarathonApi) -> None:
    container = {"type": "DOCKER", "docker": {"image": "127.0.0.1:9/no/such:1"}}
    api.change("POST", "/v2/apps", sleeper("/missing", container=container))
    app = api.wait_for("/missing", lambda app: app.get("lastTaskFailure"), "fails")
    assert app["lastTaskFailure"]["message"].startswith("image 127.0.0.1:9/no/such:1 cannot be had: ")
    api.change("POST", "/v2/apps", sleeper("/other"))
    api.wait_for("/other", lambda app: app["tasksRunning"] == 1, "runs")
    (queued,) = [one for one in api.get("/v2/queue")["queue"] if one["app"]["id"] == "/missing"]
    assert queued["delay"]["timeLeftSeconds"] >= 0
