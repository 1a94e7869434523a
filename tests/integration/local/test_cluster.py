"""The one-machine cluster, with a real Mesos."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from framework.errors import InputError, UnavailableError
from framework.local import processes
from framework.local.cluster import MesosCluster, cgroups_root
from framework.local.isolation import CGROUP_V1, V1_CONTROLLERS
from framework.local.spec import HostShape, LocalSettings, hosts_of
from tests.integration.conftest import ClusterFactory
from tests.integration.local.tiny_framework import PRETENDING, TinyFramework
from tests.workers import FIRST_PORT

SHAPES = [
    HostShape(name="big", count=2, cpus=16, mem_mib=60_000, attributes={"rack": ["r1", "r2"], "pool": "builds"}),
    HostShape(name="small", cpus=0.5, mem_mib=64, disk_mib=0, ports=0),
]
DEADLINE_S = 30.0
ISOLATORS = (pytest.mark.root, pytest.mark.cgroup_v1)


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
    first, second = FIRST_PORT, FIRST_PORT + 100
    assert [host["resources"].get("ports") for host in hosts] == [
        f"[{first}-{first + 99}]",
        f"[{second}-{second + 99}]",
        None,
    ]


def test_the_same_hosts_come_back_after_kill_9(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(shapes=SHAPES, fresh=True)
    before, url = ids(cluster), cluster.url
    cluster.kill9()
    cluster.restart()
    assert (ids(cluster), cluster.url) == (before, url)


def test_a_changed_host_begins_anew_and_the_others_stay(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(shapes=SHAPES, fresh=True)
    before = ids(cluster)
    cluster.stop()
    shapes = [SHAPES[0], SHAPES[1].model_copy(update={"cpus": 1.0})]
    said: list[str] = []
    hosts = hosts_of(LocalSettings(hosts=shapes, first_port=FIRST_PORT))
    changed = MesosCluster(cluster.directory, hosts, cluster.isolation, cluster.package, say=said.append)
    try:
        changed.start()
        changed.wait_ready()
        after = ids(changed)
    finally:
        changed.stop()
    assert {name: after[name] == before[name] for name in after} == {"big-1": True, "big-2": True, "small-1": False}
    assert any("small-1" in line for line in said)


@pytest.mark.parametrize("mode", [pytest.param("mesos", marks=ISOLATORS), "watchdog"])
def test_a_running_task_outlives_kill_9_of_mesos(mesos_cluster: ClusterFactory, mode: str) -> None:
    cluster = mesos_cluster(hosts=2, isolation=mode, fresh=True)
    with TinyFramework(cluster.url) as framework:
        offer = framework.launch(data={"run_s": None})
        task_id = framework.status("TASK_RUNNING")["task_id"]["value"]
    cluster.kill9()
    cluster.restart()
    with TinyFramework(cluster.url, framework.framework_id) as framework:
        framework.reconcile()
        assert framework.status("TASK_RUNNING")["task_id"]["value"] == task_id
        framework.message(offer, task_id, "the end")
        framework.status("TASK_FINISHED")


@pytest.mark.root
@pytest.mark.cgroup_v1
def test_mesos_holds_a_task_to_its_memory(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(isolation="mesos")
    hog = f"exec {sys.executable} -c 'import time; hog = bytearray(512 << 20); time.sleep(60)'"
    with TinyFramework(cluster.url) as framework:
        framework.launch(hog, mem_mib=96)
        status = framework.status("TASK_FAILED")
    assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
    assert "Memory limit exceeded" in status["message"]


@pytest.mark.root
@pytest.mark.cgroup_v1
def test_stop_leaves_no_process_and_no_control_group(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(isolation="mesos", fresh=True)
    with TinyFramework(cluster.url) as framework:
        # A child in a session of its own, that looks in no way like one of a build but for its control group.
        detached = f"env -i setsid {sys.executable} -c 'import time, os; os.chdir(\"/\"); time.sleep(600)' &"
        framework.launch(f"{detached} exec {sys.executable} -c 'import time; time.sleep(600)'")
        group = CGROUP_V1 / "memory" / cgroups_root(cluster.directory)
        held = _wait_for_processes(group, 2)
    cluster.stop()
    assert [pid for pid in held if processes.ProcessId.of(pid) is not None] == []
    assert not any((CGROUP_V1 / name / cgroups_root(cluster.directory)).exists() for name in V1_CONTROLLERS)
    cluster.stop()  # again does nothing


def _wait_for_processes(group: Path, count: int) -> set[int]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = {int(pid) for procs in group.rglob("cgroup.procs") for pid in procs.read_text().split()}
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"fewer than {count} processes in {group}")


def test_a_taken_port_is_named_with_its_holder_and_setting(mesos_cluster: ClusterFactory) -> None:
    running = mesos_cluster()
    other = MesosCluster(
        running.directory / "other",
        hosts_of(LocalSettings()),
        running.isolation,
        running.package,
        port=running.port,
    )
    with pytest.raises(InputError, match=rf"local\.port: port {running.port} .* mesos-local \(pid {running.pid}\)"):
        other.start()


def test_a_stale_pid_file_ends_nobody_else(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(fresh=True)
    cluster.stop()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        identity = processes.ProcessId.of(bystander.pid)
        assert identity is not None
        identity._replace(start_ticks=identity.start_ticks - 1).save(cluster.directory / "mesos" / "mesos.pid")
        cluster.start()
        cluster.wait_ready()
        assert bystander.poll() is None
    finally:
        cluster.stop()
        bystander.kill()
        bystander.wait()


def test_mesos_last_words_are_told_where_it_does_not_start(mesos_cluster: ClusterFactory, tmp_path: Path) -> None:
    running = mesos_cluster()
    (tmp_path / "mesos" / "work").mkdir(parents=True)
    (tmp_path / "mesos" / "work" / "master").write_text("no directory")
    cluster = MesosCluster(tmp_path, hosts_of(LocalSettings()), running.isolation, running.package)
    with pytest.raises(UnavailableError, match=r"Mesos ended with .*master"):
        try:
            cluster.start()
            cluster.wait_ready()
        finally:
            cluster.stop()


def test_uris_are_fetched_into_the_sandbox(mesos_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = mesos_cluster(isolation="watchdog")
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    with TinyFramework(cluster.url) as framework:
        framework.launch(f"exec ./program {PRETENDING}", uris=[{"value": str(program), "executable": True}])
        framework.status("TASK_FINISHED")


def test_a_uri_to_be_cached_does_not_take_mesos_down(mesos_cluster: ClusterFactory, tmp_path: Path) -> None:
    cluster = mesos_cluster(isolation="watchdog")
    (tmp_path / "program").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    files = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as server, TinyFramework(cluster.url) as framework:
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/program"
            uri = {"value": url, "executable": True, "cache": True}
            framework.launch(f"exec ./program {PRETENDING}", uris=[uri])
            framework.status("TASK_FINISHED")
        finally:
            server.shutdown()


def test_a_uri_that_is_not_there_fails_the_task_with_its_name(mesos_cluster: ClusterFactory) -> None:
    cluster = mesos_cluster(isolation="watchdog")
    with TinyFramework(cluster.url) as framework:
        framework.launch("exit 0", uris=[{"value": "/nowhere/program"}])
        status = framework.status("TASK_FAILED")
    assert "fetch" in status["message"]
