"""``butlery local up``, ``status`` and ``down``, with a real Mesos and, but for being a process, no real scheduler."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from framework.errors import InputError, UnavailableError
from framework.local import control, processes
from framework.local.cluster import free_port
from framework.local.credentials import Credentials
from framework.local.processes import ProcessId
from framework.local.status import Paths, Status, read
from framework.local.supervisor import CONFIG_PLACE, Request, Supervisor
from tests.integration.local.tiny_framework import PRETENDING, TinyFramework

REPOSITORY = Path(__file__).parents[3]
SCHEDULER = (sys.executable, str(REPOSITORY / "tests" / "fakes" / "tiny_scheduler.py"), CONFIG_PLACE)
DEADLINE_S = 60.0


def quiet(_: str) -> None: ...


@pytest.fixture
def directory(mesos_package_dir: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="butlery-up-"))
    yield path
    control.down(path, quiet)
    alive = processes.of_directory(path)
    shutil.rmtree(path)
    assert alive == set()


def request(directory: Path, **fields: Any) -> Request:
    if not (directory / "api.port").exists():  # not the usual ports, which others may be after
        directory.mkdir(exist_ok=True)
        (directory / "api.port").write_text(str(free_port()))
    usual = {"hosts": 2, "port": _mesos_port(directory), "scheduler_command": SCHEDULER}
    fields = {**usual, "marathon_command": (), **fields}
    return control.request_for(directory=directory, **fields)


def _mesos_port(directory: Path) -> int:
    try:
        return int((directory / "mesos" / "port").read_text())
    except FileNotFoundError:
        return free_port()


def butlery(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from framework.cli.local import local_app; local_app()", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY, timeout=DEADLINE_S)


def ids(status: Status) -> dict[str, str]:
    return {host["name"]: host["id"] for host in status.hosts}


def tiny(directory: Path, status: Status, framework_id: str | None = None) -> TinyFramework:
    assert status.mesos_url is not None
    return TinyFramework(status.mesos_url, framework_id, Credentials(directory).scheduler.authorization())


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def alive(*pids: int | None) -> list[int]:
    return [pid for pid in pids if pid is not None and ProcessId.of(pid) is not None]


def test_up_status_and_down(directory: Path) -> None:
    status = control.up_detached(request(directory), quiet)
    assert status.state == "up"
    assert [host["registered"] for host in status.hosts] == [True, True]
    with urllib.request.urlopen(f"{status.api_url}/v1/health", timeout=10) as answer:
        assert answer.status == 200

    config = yaml.safe_load((directory / "butlery.yaml").read_text())
    assert config["mesos"]["url"] == status.mesos_url
    assert config["agents"]["isolation"] == status.isolation
    assert config["state"]["path"] == str(directory / "state.db")
    assert stat.S_IMODE((directory / "admin.token").stat().st_mode) == 0o600
    token = (directory / "admin.token").read_text().strip()
    assert len(token) >= 32

    told = butlery("status", "--dir", str(directory), "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout)["mesos_pid"] == status.mesos_pid
    assert token not in told.stdout
    table = butlery("status", "--dir", str(directory))
    assert "host-2" in table.stdout
    assert str(status.isolation) in table.stdout

    said: list[str] = []
    assert control.up_detached(request(directory), said.append).supervisor_pid == status.supervisor_pid
    assert "already up" in said[0]

    assert butlery("down", "--dir", str(directory)).returncode == 0
    assert alive(status.supervisor_pid, status.mesos_pid, status.scheduler_pid) == []
    down = butlery("status", "--dir", str(directory), "--json")
    assert (down.returncode, json.loads(down.stdout)["state"]) == (3, "down")
    assert butlery("down", "--dir", str(directory)).returncode == 0

    again = control.up_detached(request(directory), quiet)
    assert (ids(again), again.mesos_url, again.api_url) == (ids(status), status.mesos_url, status.api_url)
    assert (directory / "admin.token").read_text().strip() == token


def test_up_takes_over_after_kill_9_of_the_supervisor_and_of_mesos(directory: Path) -> None:
    before = control.up_detached(request(directory), quiet)
    assert before.supervisor_pid is not None
    assert before.mesos_pid is not None
    with tiny(directory, before) as framework:
        offer = framework.launch(data={"run_s": None})
        task_id = framework.status("TASK_RUNNING")["task_id"]["value"]
    os.kill(before.supervisor_pid, signal.SIGKILL)
    os.kill(before.mesos_pid, signal.SIGKILL)
    until(lambda: read(directory).state == "crashed")
    assert butlery("status", "--dir", str(directory)).returncode == 3

    after = control.up_detached(request(directory), quiet)
    assert (ids(after), after.mesos_url, after.api_url) == (ids(before), before.mesos_url, before.api_url)
    assert alive(before.mesos_pid, before.scheduler_pid) == []
    with tiny(directory, before, framework.framework_id) as framework:
        framework.reconcile()
        framework.status("TASK_RUNNING")
        framework.message(offer, task_id, "the end")
        framework.status("TASK_FINISHED")


def test_what_dies_is_started_again(directory: Path) -> None:
    before = control.up_detached(request(directory), quiet)
    assert before.mesos_pid is not None
    assert before.scheduler_pid is not None
    os.kill(before.mesos_pid, signal.SIGKILL)
    os.kill(before.scheduler_pid, signal.SIGKILL)

    def back() -> bool:
        now = read(directory)
        pids = {now.mesos_pid, now.scheduler_pid}
        return not pids & {None, before.mesos_pid, before.scheduler_pid} and ids(now) == ids(before)

    until(back)
    after = read(directory)
    assert (after.state, after.mesos_restarts, after.scheduler_restarts) == ("up", 1, 1)


def test_down_after_kill_9_of_the_supervisor_ends_builds_too_and_wipes(directory: Path) -> None:
    status = control.up_detached(request(directory), quiet)
    assert status.supervisor_pid is not None
    with tiny(directory, status) as framework:
        framework.launch(data={"run_s": None})
        framework.status("TASK_RUNNING")
    os.kill(status.supervisor_pid, signal.SIGKILL)
    builds = processes.of_directory(directory / "mesos")
    assert len(builds) > 1
    assert butlery("down", "--dir", str(directory), "--wipe").returncode == 0
    assert alive(status.mesos_pid, status.scheduler_pid, *builds) == []
    assert not directory.exists()
    assert butlery("down", "--dir", str(directory)).returncode == 0
    directory.mkdir()  # for the fixture


def test_a_scheduler_that_cannot_start_is_told_and_nothing_is_left(directory: Path) -> None:
    with pytest.raises(UnavailableError, match="the state file is broken"):
        control.up_detached(request(directory, scheduler_command=(*SCHEDULER, "the state file is broken")), quiet)
    assert processes.of_directory(directory) == set()
    status = read(directory)
    assert status.state == "failed"
    assert "broken" in str(status.error)


def test_taken_ports_and_faulty_settings_are_faults_with_their_setting(directory: Path, tmp_path: Path) -> None:
    status = control.up_detached(request(directory), quiet)
    other = directory / "other"
    config = tmp_path / "butlery.yaml"
    port = str(status.mesos_url).rpartition(":")[2]
    config.write_text(f"local: {{port: {port}}}\n")
    with pytest.raises(InputError) as caught:
        control.up_detached(request(other, config=config, port=None), quiet)
    assert caught.value.faults[0].where == "local.port"

    config.write_text(f"api: {{port: {str(status.api_url).rpartition(':')[2]}}}\n")
    with pytest.raises(InputError) as caught:
        control.up_detached(request(other, config=config), quiet)
    assert caught.value.faults[0].where == "api.port"

    config.write_text("local: {hosts: 0}\n")
    with pytest.raises(InputError, match="hosts"):
        request(other, config=config, hosts=None)


def test_only_one_supervisor_has_a_directory(directory: Path) -> None:
    status = control.up_detached(request(directory), quiet)
    with pytest.raises(InputError, match=rf"in use .*pid {status.supervisor_pid}"):
        Supervisor(request(directory), quiet).run(lambda _: None)
    assert read(directory).state == "up"


def test_wipe_removes_no_directory_that_is_not_a_clusters(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="holds no cluster"):
        control.down(tmp_path, quiet, wipe=True)
    assert (tmp_path / "mine").exists()


def test_in_the_foreground_until_interrupted(directory: Path) -> None:
    script = f"""
from pathlib import Path
from framework.local import control
directory = Path({str(directory)!r})
request = control.request_for(directory=directory, hosts=1, scheduler_command={SCHEDULER!r}, marathon_command=())
control.up(request, print, lambda status: print("ready", flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        until(lambda: process.stdout is not None and process.stdout.readline() == "ready\n")
        assert read(directory).state == "up"
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    assert read(directory).state == "down"
    assert processes.of_directory(directory) == set()


NOBODY = 65534
# This repository and its Python may be where only root may look.
READ_ALL = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def test_without_root(directory: Path, mesos_package_dir: Path) -> None:
    """As ``nobody`` where the tests run as root, who could do what others cannot."""
    shutil.copytree(
        mesos_package_dir.parent, directory / "cache" / "butlery" / mesos_package_dir.parent.name, symlinks=True
    )
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *READ_ALL]
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "PYTHONPATH": str(REPOSITORY),
    }
    script = f"""
from framework.local import control
request = control.request_for(hosts=1, scheduler_command={SCHEDULER!r}, marathon_command=())
print(control.up_detached(request, lambda _: None).directory)
"""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        timeout=DEADLINE_S,
    )
    cluster = directory / ".local" / "state" / "butlery" / "local"
    try:
        assert (done.stdout.strip(), done.stderr) == (str(cluster), "")
        status = read(cluster)
        assert status.isolation in ("docker", "cgroup2", "watchdog")
        assert "not mesos: Mesos' cgroup isolators need root" in str(status.isolation_reason)
        assert status.mesos_pid is not None
        owner = Path(f"/proc/{status.mesos_pid}").stat().st_uid
        with tiny(cluster, status) as framework:
            framework.launch(f"id -u > {cluster}/uid; exec /usr/bin/env python3 {PRETENDING}")
            framework.status("TASK_FINISHED")
        assert int((cluster / "uid").read_text()) == owner != 0
    finally:
        control.down(cluster, quiet)
    assert Paths(cluster).supervisor_pid.exists() is False


def test_elasticsearch_runs_beside_it_where_it_is_asked_for(directory: Path, elasticsearch_package: Path) -> None:
    status = control.up_detached(request(directory, elasticsearch=True), quiet)
    assert status.elasticsearch_url is not None
    with urllib.request.urlopen(status.elasticsearch_url, timeout=DEADLINE_S) as answer:
        assert json.load(answer)["version"]["number"].startswith("7.17.")
    telemetry = yaml.safe_load(Paths(directory).config.read_text())["telemetry"]
    assert telemetry == {"sink": "elasticsearch", "elasticsearch": {"urls": [status.elasticsearch_url], "replicas": 0}}
    before = read(directory)
    assert before.elasticsearch_pid is not None
    os.kill(before.elasticsearch_pid, signal.SIGKILL)
    until(lambda: read(directory).elasticsearch_pid not in (None, before.elasticsearch_pid))
    after = read(directory)
    assert after.elasticsearch_restarts == 1
    control.down(directory, quiet)
    assert alive(after.elasticsearch_pid, after.mesos_pid) == []
