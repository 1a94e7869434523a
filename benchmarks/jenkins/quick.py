"""How soon an agent comes: real executors and JVMs, hosts free, builds one after another at a modest rate.

What is told is the master's own view, as a tenant has it: from when its queue has the item, buildable at once, until
its build begins on an agent, which it does as the agent comes online.
"""

from __future__ import annotations

import random
import time
from typing import Any

from benchmarks.cluster import OWN_PORTS, Say, temporary_cluster
from benchmarks.figures import spread
from benchmarks.jenkins.masters import running
from benchmarks.jenkins_client import Jenkins, freestyle
from framework.errors import UnavailableError
from framework.local.spec import HostShape

MASTERS = 6
HOSTS = 4
EVERY_S = 1.2
"""Between two builds, in the mean: on two cores a JVM's start is most of one."""
SPARES = 6
FIRST = 4
"""Not counted: they have the stand-in's agent.jar made, and fetched by each host."""
COLD, WARM = "cold", "warm"
PATIENCE_S = 120.0
POLL_S = 0.1
SPARES_TIMEOUT_S = 60.0

AGENT = {"cpus": 0.2, "mem_mib": 256, "connect_timeout_s": 60}


def measure(builds: int, warm: int, say: Say) -> dict[str, Any]:
    """Figures in seconds; ``builds`` of agents that are made when they are asked for, then ``warm`` of spares."""
    shape = HostShape(count=HOSTS, cpus=16, mem_mib=16384)
    settings = {
        "local": {"hosts": [shape.model_dump(exclude_none=True)], "first_port": OWN_PORTS},
        "templates": {COLD: AGENT, WARM: {**AGENT, "spares": SPARES}},
    }
    with (
        temporary_cluster(settings, say) as cluster,
        running(cluster.api(), MASTERS, cluster.directory / "masters") as masters,
    ):
        for master in masters:
            for label in (COLD, WARM):
                master.create_job(label, freestyle(label, "true"))
        _served(masters, COLD, FIRST, say)
        say(f"{builds} builds, one every {EVERY_S:g} s")
        cold = spread(_served(masters, COLD, builds, say))
        say(f"agents online after {cold['p50_s']} s, p99 {cold['p99_s']} s; {warm} builds on warm spares")
        found = spread(_served(masters, WARM, warm, say)) if warm else spread([])
    return {
        "p50_s": cold["p50_s"],
        "p99_s": cold["p99_s"],
        "max_s": cold["max_s"],
        "samples": cold["count"],
        "warm_p50_s": found["p50_s"],
        "warm_p99_s": found["p99_s"],
        "warm_samples": found["count"],
    }


def _served(masters: list[Jenkins], job: str, count: int, say: Say) -> list[float]:
    """Seconds from the queue to the agent of each build. Raises UnavailableError where one does not end."""
    chance = random.Random(count)
    queued: list[tuple[Jenkins, int]] = []
    for number in range(count):
        master = chance.choice(masters)
        queued.append((master, master.queue(job, N=f"{count}-{number}")))
        time.sleep(chance.uniform(0.5, 1.5) * EVERY_S)
        if number % 20 == 19:
            say(f"{number + 1} of {count} queued")
    deadline = time.monotonic() + PATIENCE_S
    return [_waited_s(master, job, item, deadline) for master, item in queued]


def _waited_s(master: Jenkins, job: str, number: int, deadline: float) -> float:
    while True:
        item = master.item(number)
        build = item.get("executable")
        if build is not None:
            found = master.get(f"job/{job}/{build['number']}/api/json?tree=timestamp,result")
            if found["result"] is not None:
                return float(found["timestamp"] - item["inQueueSince"]) / 1000
        if time.monotonic() > deadline:
            raise UnavailableError(f"{master.url} has not had its build of {job}: {item['why'] or 'it does not end'}")
        time.sleep(POLL_S)
