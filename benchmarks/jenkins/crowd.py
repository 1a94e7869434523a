"""Thousands of builds of hundreds of masters at once, on as many real Mesos agents as the reference installation had.

Agents only pretend, and speak to the masters by the agents' protocol. What is counted is asked of the masters and of
Mesos, not of the scheduler.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents import pack
from benchmarks.api import Api
from benchmarks.cluster import Cluster, Say, temporary_cluster
from benchmarks.figures import percentile, rounded
from benchmarks.jenkins import pretending
from benchmarks.jenkins.masters import running
from benchmarks.jenkins_client import Jenkins, freestyle, parameter_of
from benchmarks.memory import resident
from framework.core.ids import task_of_node
from framework.errors import UnavailableError
from framework.local.cluster import get_json
from framework.local.spec import HostShape

AGENTS_EACH = 10
"""That fit on a host: far fewer in all than are asked for at once."""
CPUS, MEM_MIB = 0.1, 64
OVERHEAD_CPUS, OVERHEAD_MEM_MIB = 0.1, 64
RUNNER_MEM_MIB = 16
"""Room for what a shared Mesos executor asks for each agent beside it."""
BUILD_S = 1.0
LABEL = "pretended"
BURST_SHARE = 10
"""Of all items, so many less are queued in one master at once before."""
QUEUERS = 8
BASE_S, PER_ITEM_S = 120.0, 0.1
AFTER_S = 30.0
POLL_S = 0.5
PROBE_S = 0.1
SAMPLE_S = 0.25
PROBE_TIMEOUT_S = 30.0
_LAUNCHED = "/operations/launch"
"""Of Mesos' own counters, one a framework: tasks, not calls."""
_LIVE = ("staging", "starting", "running", "killing")


def measure(masters: int, items: int, hosts: int, say: Say) -> dict[str, Any]:
    """The figures. Raises UnavailableError where nothing more happens for too long."""
    shape = HostShape(
        count=hosts,
        cpus=OVERHEAD_CPUS + AGENTS_EACH * CPUS,
        mem_mib=OVERHEAD_MEM_MIB + AGENTS_EACH * (MEM_MIB + RUNNER_MEM_MIB),
        ports=0,
    )
    agent = {"cpus": CPUS, "mem_mib": MEM_MIB, "mesos_executor": "shared", "connect_timeout_s": 600}
    with pretending_executor() as executor:
        settings = {
            "local": {"hosts": [shape.model_dump(exclude_none=True)]},
            "agents": {"executor": str(executor), "isolation": "watchdog"},
            "templates": {LABEL: agent},
        }
        with temporary_cluster(settings, say) as cluster:
            say(f"{masters} masters on {hosts} hosts")
            with running(cluster.api(), masters, cluster.directory / "masters") as found:
                return _Crowd(cluster, found, say).measure(items)


@contextmanager
def pretending_executor() -> Iterator[Path]:
    """The executor with ``pretending`` in the place of its builds, as hosts are given it."""
    with tempfile.TemporaryDirectory(prefix="butlery-") as made:
        directory = Path(made)
        directory.chmod(0o755)
        target = directory / f"pretending-{pack.NAME}"
        replaced = {"agents/executor/builds.py": Path(pretending.__file__).read_bytes()}
        with zipfile.ZipFile(pack.build_pyz(directory)) as real, zipfile.ZipFile(target, "w") as archive:
            for member in real.namelist():
                if member.removesuffix("c") not in replaced:
                    archive.writestr(member, real.read(member))
            for name, source in replaced.items():
                archive.writestr(name, source)
        target.chmod(0o755)
        yield target


class _Crowd:
    """One cluster with its masters."""

    def __init__(self, cluster: Cluster, masters: Sequence[Jenkins], say: Say) -> None:
        pid = cluster.status.scheduler_pid
        if pid is None or cluster.status.mesos_url is None:
            raise UnavailableError("the scheduler is not running")
        self._pid, self._mesos = pid, cluster.status.mesos_url
        self._api = cluster.api()
        self._masters, self._say = masters, say

    def measure(self, items: int) -> dict[str, Any]:
        for master in self._masters:
            master.create_job(LABEL, freestyle(LABEL, f"sleep {BUILD_S:g}"))
        burst = max(1, items // BURST_SHARE)
        alone = self._burst(burst)
        self._settled("the burst")
        cpu_before = _cpu_s(self._pid)
        started = time.monotonic()
        others = self._masters
        self._say(f"{items - burst} builds of {len(others)} masters at once")
        self._queue([(others[number % len(others)], f"m{number}") for number in range(items - burst)])
        queued_s = time.monotonic() - started
        self._until_built(items)
        took_s = time.monotonic() - started
        cpu_s = _cpu_s(self._pid) - cpu_before
        nodes, tasks = self._settled("all builds")
        counted = self._counted()
        return {
            **counted,
            "leaked_nodes": nodes,
            "leaked_tasks": tasks,
            **alone,
            "items": items,
            "queued_s": round(queued_s, 1),
            "took_s": round(took_s, 1),
            "builds_per_s": round((items - burst) / took_s, 1),
            "rss_mib": round(resident(self._pid)["VmHWM"], 1),
            "cpu_s": round(cpu_s, 1),
            "cpu_ms_per_build": round(1000 * cpu_s / (items - burst), 2),
        }

    def _queue(self, what: Sequence[tuple[Jenkins, str]]) -> None:
        """Each master's in turn, on a connection of one thread."""
        of_masters: dict[str, list[tuple[Jenkins, str]]] = {}
        for one in what:
            of_masters.setdefault(one[0].url, []).append(one)

        def queue(mine: Sequence[tuple[Jenkins, str]]) -> None:
            for master, number in mine:
                master.queue(LABEL, N=number)

        with ThreadPoolExecutor(QUEUERS) as pool:
            for done in [pool.submit(queue, mine) for mine in of_masters.values()]:
                done.result()

    def _burst(self, count: int) -> dict[str, Any]:
        """All at once on one master, which must go on answering, and have no more nodes than there are claims."""
        master = self._masters[0]
        self._say(f"{count} builds of one master at once")
        watch = _Watch(self._api, master)
        watch.start()
        try:
            started = time.monotonic()
            self._queue([(master, f"b{number}") for number in range(count)])
            self._until_built(count)
            took_s = time.monotonic() - started
        finally:
            watch.stop()
        return {
            "burst_items": count,
            "burst_s": round(took_s, 1),
            "most_nodes": watch.most_nodes,
            "nodes_beyond_claims": watch.beyond,
            "master_unanswered": watch.unanswered,
            "master_p50_ms": rounded(1000 * (percentile(watch.answers_s, 0.5) or 0.0), 1),
            "master_p99_ms": rounded(1000 * (percentile(watch.answers_s, 0.99) or 0.0), 1),
            "master_max_ms": rounded(1000 * max(watch.answers_s, default=0.0), 1),
        }

    def _until_built(self, count: int) -> None:
        """Until ``count`` items in all have their builds. Raises UnavailableError where none comes for too long."""
        patience_s = BASE_S + PER_ITEM_S * count
        last, deadline, told = -1, time.monotonic() + patience_s, time.monotonic()
        while True:
            built = sum(len([1 for one in builds if one["result"]]) for builds in self._builds())
            if built >= count:
                return
            now = time.monotonic()
            if built > last:
                last, deadline = built, now + patience_s
            elif now > deadline:
                raise UnavailableError(f"{built} of {count} builds have ended, and no more within {patience_s:g} s")
            if now - told > 10:
                told = now
                self._say(f"{built} of {count} builds have ended")
            time.sleep(POLL_S)

    def _builds(self) -> list[list[dict[str, Any]]]:
        return [master.builds(LABEL) for master in self._masters]

    def _settled(self, what: str) -> tuple[int, int]:
        """Nodes and tasks that are left once all is over, within ``AFTER_S``."""
        deadline = time.monotonic() + AFTER_S
        while True:
            nodes = sum(len(master.nodes()) for master in self._masters)
            tasks = self._tasks()
            if nodes + tasks == 0 or time.monotonic() > deadline:
                self._say(f"after {what}: {nodes} nodes and {tasks} tasks are left")
                return nodes, tasks
            time.sleep(POLL_S)

    def _metrics(self) -> dict[str, float]:
        found: dict[str, float] = get_json(f"{self._mesos}/metrics/snapshot", PROBE_TIMEOUT_S)
        return found

    def _tasks(self) -> int:
        """That live."""
        metrics = self._metrics()
        return int(sum(metrics.get(f"master/tasks_{state}", 0) for state in _LIVE))

    def _counted(self) -> dict[str, Any]:
        """What the masters built, each item by its number, and what of Mesos' tasks served none."""
        served: Counter[str] = Counter()
        agents: Counter[str] = Counter()
        results: Counter[str] = Counter()
        for builds in self._builds():
            for build in builds:
                results[str(build["result"])] += 1
                served[str(parameter_of(build, "N"))] += build["result"] == "SUCCESS"
                agents[build["builtOn"]] += 1
        launched = int(sum(value for name, value in self._metrics().items() if name.endswith(_LAUNCHED)))
        return {
            "served": sum(times > 0 for times in served.values()),
            "served_twice": sum(times > 1 for times in served.values()) + sum(times > 1 for times in agents.values()),
            "over_provisioned": launched - len(agents),
            "launched": launched,
            "results": dict(results),
        }


class _Watch(threading.Thread):
    """Asks one master for its page and its nodes, again and again."""

    def __init__(self, api: Api, master: Jenkins) -> None:
        super().__init__(name="watch", daemon=True)
        authorization = master.user, master.api_token
        self._page, self._nodes = Jenkins(master.url, *authorization), Jenkins(master.url, *authorization)
        self._api = Api(api.url, api.token)
        self._over = threading.Event()
        self.answers_s: list[float] = []
        self.unanswered = 0
        self.most_nodes = 0
        self.beyond = 0

    def run(self) -> None:
        sampling = threading.Thread(target=self._sample, name="nodes", daemon=True)
        sampling.start()
        while not self._over.wait(PROBE_S):
            began = time.monotonic()
            try:
                self._page.get("api/json?tree=mode,quietingDown")
            except UnavailableError:
                self.unanswered += 1
            else:
                self.answers_s.append(time.monotonic() - began)
        sampling.join(PROBE_TIMEOUT_S)

    def _sample(self) -> None:
        """A node is beyond claims where its request waits for one, after the node was seen and before it is again."""
        while not self._over.wait(SAMPLE_S):
            nodes = self._nodes.nodes()
            self.most_nodes = max(self.most_nodes, len(nodes))
            listed = {job["id"] for job in self._api.jobs(state="waiting")}  # as saved: claims are not
            waiting = {node for node in nodes if (request := _request_of(node)) in listed and self._waits(request)}
            if waiting:
                self.beyond = max(self.beyond, len(waiting.intersection(self._nodes.nodes())))

    def _waits(self, request_id: str) -> bool:
        return bool(self._api.job(request_id)["state"] == "waiting")

    def stop(self) -> None:
        self._over.set()
        self.join(2 * PROBE_TIMEOUT_S)
        self._page.close()
        self._nodes.close()


def _request_of(node: str) -> str:
    return str(task_of_node(node)).partition(".")[0]


def _cpu_s(pid: int) -> float:
    """User and system time of the process so far. Raises UnavailableError."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError as error:
        raise UnavailableError(f"the scheduler (pid {pid}) is gone") from error
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
