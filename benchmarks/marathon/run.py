"""The server on a real Mesos whose tasks only pretend: what it does in a second, and what its callers wait for.

Every app has one instance, a port, and a health check that its Mesos executor makes; a task that pretends starts no
process, runs at once and is healthy. So what is measured is the server, Mesos, and the way between them. The Mesos
executors, one a host, start with the first tasks: that is part of the time from nothing.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import Cluster, Say, interruptible, temporary_cluster
from benchmarks.figures import percentile, rounded
from benchmarks.marathon.client import Client
from benchmarks.marathon.rolling import broken_orders, fewest_healthy
from benchmarks.marathon.subscribers import StuckSubscriber, Subscribers
from benchmarks.memory import resident
from framework.errors import UnavailableError
from framework.local.spec import HostShape

APPS = 2000
HOSTS = 317
SCALE_TO = 1000
ROLLED = 200
SUBSCRIBERS = 100
READS = 200
CAPACITY = 0.9

CREATORS = 8
"""Connections that apps are created over."""
TASK_CPUS, TASK_MEM_MIB = 0.05, 16
PORTS_PER_HOST, CPUS_PER_PORT, MEM_MIB_PER_PORT = 100, 0.16, 164
MOST_CPUS = 1024
POLL_S = 0.5
SAY_EVERY_S = 5.0
HEALTHY_BASE_S, HEALTHY_PER_TASK_S = 120.0, 0.5
DEPLOYMENT_BASE_S, DEPLOYMENT_PER_TASK_S = 120.0, 1.0

ROLLED_ID, SCALED_ID, MARK_ID = "/bench/rolled", "/bench/scaled", "/bench/mark"
COUNTS = "/v2/apps?embed=apps.counts"


def run(apps: int, hosts: int, scale_to: int, rolled: int, subscribers: int, console: Console) -> dict[str, Any]:
    """Measures and returns the figures; ``console`` gets the progress.

    Raises InputError, UnavailableError or ButleryError where it cannot be measured, Interrupted on a signal.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    settings = {"local": {"hosts": [_shape(hosts, apps + scale_to + rolled)], "marathon": {"pretend": True}}}
    with interruptible():
        with temporary_cluster(settings, say, scheduler=False) as cluster:
            bench = _Bench(cluster, say)
            try:
                figures = bench.launch(apps)
                figures |= bench.read()
                figures |= bench.change(scale_to, rolled, subscribers)
            finally:
                bench.client.close()
            memory = resident(bench.pid())
    return {
        **figures,
        "rss_mib": round(memory["VmHWM"], 1),
        "settled_mib": round(memory["VmRSS"], 1),
        "apps": apps,
        "hosts": hosts,
    }


class _Bench:
    """One run against the server of ``cluster``."""

    def __init__(self, cluster: Cluster, say: Say) -> None:
        status = cluster.status
        if status.marathon_url is None or status.marathon_credentials is None:
            raise UnavailableError("the Marathon-compatible server is not running")
        self._url = status.marathon_url
        self._credentials = Path(status.marathon_credentials).read_text().strip()
        self._cluster, self._say = cluster, say
        self.client = Client(self._url, self._credentials)

    def pid(self) -> int:
        """Raises UnavailableError where it is not the one that was started: memory of a second tells nothing."""
        status = self._cluster.now()
        if status.marathon_pid is None or status.marathon_restarts:
            raise UnavailableError(f"the server was started again {status.marathon_restarts} times")
        return status.marathon_pid

    def launch(self, count: int) -> dict[str, Any]:
        """From no app to ``count`` that are healthy; the time is that from the first call."""
        self._say(f"{count} apps, over {CREATORS} connections")
        started = time.monotonic()
        stop = threading.Event()

        def create(part: int) -> int:
            client = Client(self._url, self._credentials, stop)
            try:
                for number in range(part, count, CREATORS):
                    if stop.is_set():
                        break
                    client.change("POST", "/v2/apps", _app(f"/bench/team-{number % 40}/app-{number}"))
                return client.refusals
            finally:
                client.close()

        with ThreadPoolExecutor(CREATORS) as pool:
            try:
                creating = [pool.submit(create, part) for part in range(CREATORS)]
                healthy = self._until_healthy(count, started, creating)
            finally:
                stop.set()
            refusals = sum(done.result() for done in creating)
        healthy_s = time.monotonic() - started
        self._until_no_deployments(count)
        shown = self.client.get(f"{COUNTS}&embed=apps.lastTaskFailure")["apps"]
        failed = sum("lastTaskFailure" in app or app["tasksHealthy"] != app["instances"] for app in shown)
        self._say(f"{healthy} healthy after {healthy_s:.1f} s")
        return {
            "healthy": healthy,
            "apps_per_s": round(count / healthy_s, 2),
            "healthy_s": round(healthy_s, 1),
            "failed": failed,
            "refusals": refusals,
        }

    def read(self) -> dict[str, Any]:
        """What one caller waits for, one call after the other, while nothing else is under way."""
        ids = [app["id"] for app in self.client.get("/v2/apps")["apps"]]
        chance = random.Random(1)
        paths: dict[str, Callable[[], str]] = {
            "apps_with_tasks": lambda: "/v2/apps?embed=apps.tasks",
            "one_app": lambda: f"/v2/apps/{chance.choice(ids)}",
            "groups": lambda: "/v2/groups",
        }
        figures: dict[str, Any] = {}
        for name, path in paths.items():
            took_ms = [self.client.read(path()) * 1000 for _ in range(READS)]
            p50, p99 = (rounded(percentile(took_ms, share), 1) for share in (0.5, 0.99))
            figures[name] = {"p50_ms": p50, "p99_ms": p99, "max_ms": rounded(max(took_ms), 1), "count": len(took_ms)}
            self._say(f"{name}: p50 {p50} ms, p99 {p99} ms")
        return figures

    def change(self, scale_to: int, rolled: int, subscribers: int) -> dict[str, Any]:
        """One app up and down, another rolled, while subscribers listen and one of them reads nothing."""
        self._deploy("PUT", ROLLED_ID, _rolled(rolled, "1"), rolled)
        self._deploy("PUT", SCALED_ID, _app(SCALED_ID), 1)
        client = self.client
        first, last = f"{MARK_ID}-first", f"{MARK_ID}-last"
        listening = Subscribers(client.host, client.port, client.authorization, subscribers, first, last)
        listening.start()
        stuck = StuckSubscriber(client.host, client.port, client.authorization)
        try:
            self._deploy("PUT", first, _app(first, instances=0), 0)
            begun = {task["id"] for task in client.get(f"/v2/apps{ROLLED_ID}/tasks")["tasks"]}
            up_s = self._deploy("PUT", SCALED_ID, {"instances": scale_to}, scale_to)
            down_s = self._deploy("PUT", SCALED_ID, {"instances": 1}, scale_to)
            roll_s = self._deploy("PUT", ROLLED_ID, _rolled(rolled, "2"), rolled)
            left = {task["id"] for task in client.get(f"/v2/apps{ROLLED_ID}/tasks")["tasks"]}
            self._deploy("PUT", last, _app(last, instances=0), 0)
            listening.wait()
            cut = stuck.was_cut()
        finally:
            listening.leave()
            stuck.close()
        events = listening.events()
        return {
            "scale_up_s": up_s,
            "scale_down_s": down_s,
            "roll_s": roll_s,
            "rolled": len(left - begun),
            "fewest_healthy": fewest_healthy(events, ROLLED_ID, rolled),
            "subscribers": _of_subscribers(listening) | {"stuck_cut": cut, "out_of_order": broken_orders(events)},
        }

    def _deploy(self, method: str, app_id: str, change: Mapping[str, Any], tasks: int) -> float:
        """Seconds until the deployment has ended. Raises UnavailableError where it does not."""
        started = time.monotonic()
        deployment_id = self.client.change(method, f"/v2/apps{app_id}", change)["deploymentId"]
        deadline = started + DEPLOYMENT_BASE_S + DEPLOYMENT_PER_TASK_S * tasks
        self._until(deadline, lambda: self._ended(deployment_id), f"the deployment of {app_id}")
        took_s = round(time.monotonic() - started, 1)
        if tasks > 1:
            self._say(
                f"{app_id}: {', '.join(f'{name} {value}' for name, value in change.items() if name == 'instances')}"
                f" after {took_s} s"
            )
        return took_s

    def _ended(self, deployment_id: str) -> bool:
        return all(one["id"] != deployment_id for one in self.client.get("/v2/deployments"))

    def _until_no_deployments(self, tasks: int) -> None:
        deadline = time.monotonic() + DEPLOYMENT_BASE_S + DEPLOYMENT_PER_TASK_S * tasks
        self._until(deadline, lambda: self.client.get("/v2/deployments") == [], "the end of all deployments")

    def _until_healthy(self, count: int, started: float, creating: Sequence[Future[int]]) -> int:
        """How many are when all are, or when it takes too long. Raises what creating them raises."""
        told = started
        while True:
            healthy = sum(int(app["tasksHealthy"]) for app in self.client.get(COUNTS)["apps"])
            now = time.monotonic()
            for done in creating:
                if done.done():
                    done.result()
            if healthy >= count or now > started + HEALTHY_BASE_S + HEALTHY_PER_TASK_S * count:
                return healthy
            if now > told + SAY_EVERY_S:
                told = now
                self._say(f"{healthy} of {count} are healthy after {now - started:.0f} s")
            time.sleep(POLL_S)

    @staticmethod
    def _until(deadline: float, condition: Callable[[], bool], what: str) -> None:
        while not condition():
            if time.monotonic() > deadline:
                raise UnavailableError(f"{what} did not come about in time")
            time.sleep(POLL_S)


def _of_subscribers(listening: Subscribers) -> dict[str, Any]:
    reference = listening.seen[0]
    doubled = sum(times - 1 for times in Counter(listening.kept).values())
    return {
        "count": len(listening.seen),
        "complete": sum(seen.ended and seen == reference for seen in listening.seen),
        "events": reference.events,
        "doubled": doubled,
    }


def _app(app_id: str, instances: int = 1) -> dict[str, Any]:
    return {
        "id": app_id,
        "cmd": "exec sleep 86400",
        "cpus": TASK_CPUS,
        "mem": TASK_MEM_MIB,
        "disk": 0,
        "instances": instances,
        "portDefinitions": [{"port": 0, "name": "web"}],
        "healthChecks": [{"protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 300}],
        "labels": {"made-by": "bench"},
    }


def _rolled(instances: int, release: str) -> dict[str, Any]:
    return {
        **_app(ROLLED_ID, instances),
        "env": {"RELEASE": release},
        "upgradeStrategy": {"minimumHealthCapacity": CAPACITY, "maximumOverCapacity": 0},
    }


def _shape(hosts: int, tasks: int) -> dict[str, Any]:
    """Room enough that no task waits for any, also while those end that it replaces."""
    ports = max(PORTS_PER_HOST, 2 * math.ceil(tasks / hosts))
    cpus, mem_mib = min(MOST_CPUS, ports * CPUS_PER_PORT), ports * MEM_MIB_PER_PORT
    return HostShape(count=hosts, cpus=cpus, mem_mib=mem_mib, ports=ports).model_dump(exclude_none=True)


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table(box=None, show_header=False, pad_edge=False)
    listeners = figures["subscribers"]
    rows: Sequence[tuple[str, str]] = (
        ("healthy", f"{figures['healthy']} of {figures['apps']} after {figures['healthy_s']:g} s"),
        ("", f"{figures['apps_per_s']:g} apps/s, {figures['failed']} failed"),
        ("resident set, at most", f"{figures['rss_mib']:g} MiB"),
        *(
            (name, f"p50 {figures[key]['p50_ms']:g} ms, p99 {figures[key]['p99_ms']:g} ms")
            for name, key in (("all apps with tasks", "apps_with_tasks"), ("one app", "one_app"), ("groups", "groups"))
        ),
        ("scaled up, down", f"{figures['scale_up_s']:g} s, {figures['scale_down_s']:g} s"),
        (
            "rolled",
            f"{figures['rolled']} in {figures['roll_s']:g} s, never fewer than {figures['fewest_healthy']} healthy",
        ),
        ("subscribers", f"{listeners['complete']} of {listeners['count']} got all of {listeners['events']} events"),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)
