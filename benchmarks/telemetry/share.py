"""What telemetry takes of a scheduler's CPU time, at 30 builds a second on a real Mesos, into either sink.

The builds come by the API and pass at once: a build of a master's queue costs the scheduler more beside telemetry, and
that costs the same, so its share would be smaller.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from agents.spec import HostPolicy
from benchmarks.api import Api
from benchmarks.cluster import Say, ended
from benchmarks.figures import rounded
from benchmarks.telemetry.writer import BUILDS_PER_S
from framework.errors import UnavailableError
from framework.local import isolation, mesos_package
from framework.local.cluster import MesosCluster, free_port, get_json
from framework.local.spec import HostShape, LocalSettings, hosts_of
from framework.secret_files import ADMIN_TOKEN_VARIABLE

HOSTS = 20
SUBMITTERS = 4
WARM_UP_S = 8
"""Of builds that come before it is measured."""
READY_TIMEOUT_S = 90.0
END_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.2
PREFIX = "share"
TENANTS = 20


def measure(url: str, directory: Path, seconds: int, say: Say) -> dict[str, Any]:
    """The figures; ``seconds`` of builds for each sink. Raises UnavailableError."""
    told: dict[str, Any] = {"seconds": seconds, "builds_per_s": BUILDS_PER_S}
    with _mesos(directory / "mesos", say) as mesos_url:
        sinks: dict[str, dict[str, Any]] = {
            "sqlite": {"sink": "sqlite"},
            "elasticsearch": {
                "sink": "elasticsearch",
                "elasticsearch": {"urls": [url], "prefix": PREFIX, "replicas": 0},
            },
        }
        for name, sink in sinks.items():
            say(f"{name}: {BUILDS_PER_S} builds a second for {seconds} s")
            place = directory / f"share-{name}"
            place.mkdir(parents=True)
            with _scheduler(place, mesos_url, sink) as (api, spent):
                told[name] = _measured(api, spent, seconds)
    told["cpu_share"] = max(told[name]["cpu_share"] for name in sinks)
    return told


@contextmanager
def _mesos(directory: Path, say: Say) -> Iterator[str]:
    """Its address."""
    hosts = hosts_of(LocalSettings(hosts=[HostShape(count=HOSTS, cpus=8, mem_mib=8192)]))
    held = isolation.resolve(HostPolicy(isolation="watchdog"))
    directory.mkdir(mode=0o755, parents=True)
    cluster = MesosCluster(directory, hosts, held, mesos_package.ensure(say), port=free_port(), say=say)
    try:
        cluster.start()
        cluster.wait_ready()
        yield cluster.url
    finally:
        cluster.stop()


def _measured(api: Api, spent: Path, seconds: int) -> dict[str, Any]:
    for tenant in range(TENANTS):
        api.set_tenant(f"team-{tenant}")
    warm_up_s = min(WARM_UP_S, seconds)
    count = (warm_up_s + seconds) * BUILDS_PER_S
    begun = time.monotonic()
    with ThreadPoolExecutor(SUBMITTERS) as pool:
        parts = [pool.submit(_submit, api, part, count, begun) for part in range(SUBMITTERS)]
        time.sleep(max(0.0, begun + warm_up_s - time.monotonic()))
        before = json.loads(spent.read_text())
        for part in parts:
            part.result()
    after = json.loads(spent.read_text())
    _until_told(api, count)
    parts_s = {name: after["parts_s"][name] - before["parts_s"][name] for name in after["parts_s"]}
    process_s = after["process_s"] - before["process_s"]
    builds = seconds * BUILDS_PER_S
    return {
        "cpu_share": rounded(sum(parts_s.values()) / process_s, 4),
        "telemetry_ms_per_build": rounded(1000 * sum(parts_s.values()) / builds),
        "scheduler_ms_per_build": rounded(1000 * process_s / builds),
        "parts_ms_per_build": {name: rounded(1000 * each / builds) for name, each in parts_s.items() if each},
    }


def _submit(api: Api, part: int, count: int, begun: float) -> None:
    own = Api(api.url, api.token)
    for number in range(part, count, SUBMITTERS):
        time.sleep(max(0.0, begun + number / BUILDS_PER_S - time.monotonic()))
        own.submit(
            {
                "tenant": f"team-{number % TENANTS}",
                "name": f"build-{number % 200}",
                "command": "true",
                "cpus": 0.1,
                "mem_mib": 32,
                "mesos_executor": "shared",
            }
        )


def _until_told(api: Api, count: int) -> None:
    """Until all are in the history. Raises UnavailableError."""
    deadline = time.monotonic() + END_TIMEOUT_S
    while (taken := _taken(api)) < count:
        if time.monotonic() > deadline:
            raise UnavailableError(f"of {count} builds' records only {taken} were taken in {END_TIMEOUT_S:g} s")
        time.sleep(POLL_S)


def _taken(api: Api) -> int:
    """Records of all kinds."""
    return int(api.telemetry()["consumers"][0]["taken"])


@contextmanager
def _scheduler(directory: Path, mesos_url: str, telemetry: Mapping[str, Any]) -> Iterator[tuple[Api, Path]]:
    """Its API, and the file with what it spent. Raises UnavailableError with its last words."""
    port, token = free_port(), secrets.token_urlsafe(24)
    until, spent, config, log = (directory / name for name in ("until", "spent.json", "butlery.yaml", "scheduler.log"))
    until.touch()
    settings = {
        "mesos": {"url": mesos_url},
        "api": {"port": port},
        "state": {"path": str(directory / "state.db")},
        "agents": {"isolation": "watchdog"},
        "telemetry": dict(telemetry),
    }
    config.write_text(yaml.safe_dump(settings))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "benchmarks.telemetry.scheduler"),
                *(str(config), str(until), str(spent)),
            ],
            env={**os.environ, ADMIN_TOKEN_VARIABLE: token},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _await(process, f"http://127.0.0.1:{port}/v1/health", log)
        yield Api(f"http://127.0.0.1:{port}", token), spent
    finally:
        ended(process, STOP_TIMEOUT_S)


def _await(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if get_json(url)["role"] == "leader":
                return
        except UnavailableError:
            pass
        time.sleep(POLL_S)
    last = log.read_text(errors="replace").splitlines()[-3:]
    raise UnavailableError(f"the scheduler does not lead within {READY_TIMEOUT_S:g} s: {' / '.join(last)}")
