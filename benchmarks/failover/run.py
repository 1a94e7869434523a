"""kill -9 of the scheduler that leads, with builds running and one standby.

A real Mesos and a real ZooKeeper on this machine, two schedulers as processes of their own, ZooKeeper's session timeout
as it is by default. The builds pretend (nothing runs but the Mesos executors, one a host), so that a thousand fit.
They are submitted at a steady pace, during which ZooKeeper's own count of its transactions tells what a launch costs
there; then all run, the leader is killed, and the time runs until the standby has launched a build that came after.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from agents.spec import HostPolicy
from benchmarks.api import Api
from benchmarks.cluster import Say, ended, interruptible
from framework.errors import UnavailableError
from framework.local import isolation, mesos_package
from framework.local.cluster import MesosCluster, free_port, get_json
from framework.local.spec import HostShape, LocalSettings, hosts_of
from framework.local.zookeeper import ZooKeeperServer
from framework.secret_files import ADMIN_TOKEN_VARIABLE
from framework.settings import StateSettings

BUILDS = 1000
LAUNCHES_PER_S = 30.0
BUILDS_PER_HOST = 50
BUILD_CPUS, BUILD_MEM_MIB = 0.1, 32
TENANT = "failover"
SUBMITTERS = 4
POLL_S = 0.1
READY_TIMEOUT_S = 90.0
RUN_TIMEOUT_S = 120.0
TAKEOVER_TIMEOUT_S = 120.0
END_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0


def run(builds: int, console: Console) -> dict[str, Any]:
    """The figures; ``console`` gets the progress. Raises ButleryError where it cannot be measured."""

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with interruptible(), ExitStack() as parts:
        directory = Path(tempfile.mkdtemp(prefix="butlery-"))
        directory.chmod(0o755)
        parts.callback(shutil.rmtree, directory, ignore_errors=True)
        mesos = parts.enter_context(_mesos(directory / "mesos", builds, say))
        zookeeper = parts.enter_context(_zookeeper(directory / "zookeeper"))
        return _measured(directory, builds, mesos, zookeeper, parts, say)


def _measured(
    directory: Path, builds: int, mesos: MesosCluster, zookeeper: ZooKeeperServer, parts: ExitStack, say: Say
) -> dict[str, Any]:
    token, until = secrets.token_urlsafe(24), directory / "until"
    leader = parts.enter_context(_scheduler(directory / "one", mesos, zookeeper, token, until))
    leader.wait_for("leader")
    standby = parts.enter_context(_scheduler(directory / "other", mesos, zookeeper, token, until))
    standby.wait_for("standby")
    leader.api.set_tenant(TENANT)
    say(f"{builds} builds, {LAUNCHES_PER_S:g} a second")
    ids, writes_per_s = _paced(leader.api, zookeeper, builds)
    _until(lambda: leader.api.status()["running"] == builds, f"{builds} builds running", RUN_TIMEOUT_S)
    say("kill -9 of the leader")
    killed_at = time.monotonic()
    leader.process.kill()
    after, answering_s = _first_taken(standby.api, killed_at)
    _until(lambda: standby.api.job(after)["state"] == "running", "a launch by the standby", TAKEOVER_TIMEOUT_S)
    acting_s = time.monotonic() - killed_at
    say(f"the standby has launched after {acting_s:.1f} s; all builds end")
    of_mesos = _requests_of_tasks(mesos)
    until.touch()
    passed, retried = _ended(standby.api, ids)
    doubled = retried | {request for request, tasks in of_mesos.items() if tasks > 1}
    return {
        "standby_acting_s": round(acting_s, 2),
        "standby_answering_s": round(answering_s, 2),
        "accounted": len(passed & ids),
        "doubled": len(doubled),
        "builds": builds,
        "zk_writes_per_s": round(writes_per_s, 1),
        "launches_per_s": LAUNCHES_PER_S,
        "session_timeout_s": StateSettings().session_timeout_s,
    }


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, key, unit in (
        ("the standby has launched", "standby_acting_s", "s after the kill"),
        ("it has taken a build", "standby_answering_s", "s after the kill"),
        ("accounted for", "accounted", f"of {figures['builds']} builds"),
        ("run twice", "doubled", "builds"),
        ("ZooKeeper's writes", "zk_writes_per_s", f"a second, at {figures['launches_per_s']:g} launches a second"),
    ):
        table.add_row(name, f"{figures[key]:g} {unit}")
    console.print(table)


@contextmanager
def _mesos(directory: Path, builds: int, say: Say) -> Iterator[MesosCluster]:
    count = -(-builds // BUILDS_PER_HOST) + 1
    room = BUILDS_PER_HOST + 1
    shape = HostShape(count=count, cpus=room * BUILD_CPUS + 1, mem_mib=room * BUILD_MEM_MIB + 256)
    hosts = hosts_of(LocalSettings(hosts=[shape]))
    held = isolation.resolve(HostPolicy(isolation="watchdog"))
    directory.mkdir(mode=0o755)
    cluster = MesosCluster(directory, hosts, held, mesos_package.ensure(say), port=free_port(), say=say)
    try:
        cluster.start()
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def _zookeeper(directory: Path) -> Iterator[ZooKeeperServer]:
    server = ZooKeeperServer(directory)
    try:
        server.start()
        server.wait_ready()
        yield server
    finally:
        server.stop()


class _Scheduler:
    """One of the two, running."""

    def __init__(self, process: subprocess.Popen[bytes], api: Api, log: Path) -> None:
        self.process = process
        self.api = api
        self._log = log

    def wait_for(self, role: str) -> None:
        """Raises UnavailableError with its last words where it does not come to that."""
        try:
            _until(lambda: self._is_well_as(role), f"a {role}", READY_TIMEOUT_S)
        except UnavailableError as error:
            last = self._log.read_text(errors="replace").splitlines()[-3:]
            raise UnavailableError(f"{error}: {' / '.join(last)}") from error

    def _is_well_as(self, role: str) -> bool:
        if self.process.poll() is not None:
            raise UnavailableError(f"the scheduler ended with {self.process.poll()}")
        try:
            return bool(get_json(f"{self.api.url}/v1/health")["role"] == role)
        except UnavailableError:
            return False


@contextmanager
def _scheduler(
    directory: Path, mesos: MesosCluster, zookeeper: ZooKeeperServer, token: str, until: Path
) -> Iterator[_Scheduler]:
    directory.mkdir(mode=0o755)
    port = free_port()
    settings = {
        "mesos": {"url": mesos.url},
        "api": {"port": port},
        # The same path for both: what hosts have running of the one must be what the other launches.
        "state": {
            "zookeeper": f"zk://{zookeeper.address}/butlery",
            "path": str(directory.parent / "executor" / "no.db"),
        },
        "telemetry": {"path": str(directory / "telemetry")},
        "agents": {"isolation": "watchdog"},
    }
    config, log = directory / "butlery.yaml", directory / "scheduler.log"
    config.write_text(yaml.safe_dump(settings))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.failover.scheduler", str(config), str(until)],
            env={**os.environ, ADMIN_TOKEN_VARIABLE: token},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield _Scheduler(process, Api(f"http://127.0.0.1:{port}", token), log)
    finally:
        ended(process, STOP_TIMEOUT_S)


def _paced(api: Api, zookeeper: ZooKeeperServer, builds: int) -> tuple[set[str], float]:
    """Ids of what was submitted, and ZooKeeper's transactions a second meanwhile."""
    written, started = zookeeper.written(), time.monotonic()

    def submit(part: int) -> list[str]:
        own = Api(api.url, api.token)
        ids = []
        for number in range(part, builds, SUBMITTERS):
            time.sleep(max(0.0, started + number / LAUNCHES_PER_S - time.monotonic()))
            ids.append(str(own.submit(_job(f"build-{number}"))["id"]))
        return ids

    with ThreadPoolExecutor(SUBMITTERS) as pool:
        ids = {each for done in [pool.submit(submit, part) for part in range(SUBMITTERS)] for each in done.result()}
    return ids, (zookeeper.written() - written) / (time.monotonic() - started)


def _job(name: str) -> dict[str, Any]:
    return {
        "tenant": TENANT,
        "name": name,
        "command": "true",
        "cpus": BUILD_CPUS,
        "mem_mib": BUILD_MEM_MIB,
        "mesos_executor": "shared",
        "timeout_s": 3600.0,
    }


def _first_taken(api: Api, since: float) -> tuple[str, float]:
    """The first build that the standby takes, and when."""
    deadline = time.monotonic() + TAKEOVER_TIMEOUT_S
    while True:
        try:
            return str(api.submit(_job("after-the-kill"))["id"]), time.monotonic() - since
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(POLL_S / 2, POLL_S))


def _requests_of_tasks(mesos: MesosCluster) -> Counter[str]:
    """How many tasks Mesos had of each request; none of the builds has ended, so it remembers all."""
    tasks = get_json(f"{mesos.url}/tasks?limit=100000")["tasks"]
    return Counter(task["id"].partition(".")[0] for task in tasks)


def _ended(api: Api, ids: set[str]) -> tuple[set[str], set[str]]:
    """Those that passed, and those that took more than one attempt, once all have ended or the time is up."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while True:
        jobs = [job for job in api.jobs() if job["id"] in ids]
        if all(job["state"] == "ended" for job in jobs) or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    passed = {job["id"] for job in jobs if (job["result"] or {}).get("result_class") == "passed"}
    return passed, {job["id"] for job in jobs if job["attempt"] > 1}


def _until(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Raises UnavailableError where it does not come about in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise UnavailableError(f"{what} did not come about within {timeout_s:g} s")
        time.sleep(POLL_S)
