"""Which builds the demo submits, for whom, and how each should end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.demo import repository
from framework.local.spec import HostShape, default_shape

TENANTS = {"payments": 300, "web": 200, "mobile": 100}
"""Weights by name: while all wait, payments gets three builds started for each of mobile's."""

CLASSES = ("passed", "failed", "oom", "timeout")

HOSTS = 3
HOST_CPUS = 2.0
HOST_MAX_MEM_MIB = 1024
CPUS = 0.3  # so that a host of 2 holds five with their Mesos executors, and on two real cores they still get on
MEM_MIB = 128
TIMEOUT_S = 120.0
HOG_TIMEOUT_S = 4.0
GRACE_S = 2.0

COMMAND = "python3 -m unittest discover -v -s tests"

LABEL = "python"
AGENT_MEM_MIB = 256  # a real agent.jar has some 140 MiB, and the build comes on top
AGENT_HEAP = "-Xmx48m"
TEMPLATES = {
    LABEL: {"cpus": CPUS, "mem_mib": AGENT_MEM_MIB, "timeout_s": TIMEOUT_S, "jvm_options": [AGENT_HEAP]},
}
"""What the agents are made of that serve the masters' builds."""


@dataclass(frozen=True)
class PlannedBuild:
    """One build before it is submitted: to the queue of its tenant's master where it is ``queued``, else to the API."""

    tenant: str
    name: str
    ref: str
    expected: str  # one of CLASSES
    timeout_s: float = TIMEOUT_S
    queued: bool = False

    def job(self, url: str) -> dict[str, Any]:
        """As the API takes it."""
        return {
            "tenant": self.tenant,
            "name": self.name,
            "command": COMMAND,
            "git": {"url": url, "ref": self.ref},
            "cpus": CPUS,
            "mem_mib": MEM_MIB,
            "timeout_s": self.timeout_s,
            "grace_s": GRACE_S,
            "env": {"PYTHONDONTWRITEBYTECODE": "1"},
        }


def plan(count: int, queued: bool) -> list[PlannedBuild]:
    """``count`` builds, the tenants' in turn. One outgrows its memory, one its time, every tenth fails.

    Those two are jobs of the API; all others are ``queued`` in masters where there are such.
    """
    tenants = list(TENANTS)
    passing = (repository.MAIN, repository.SLOW, repository.RELEASE)
    planned: list[PlannedBuild] = []
    for index in range(count):
        tenant = tenants[index % len(tenants)]
        if index == 1:
            planned.append(PlannedBuild(tenant, "search", repository.TIME_HOG, "timeout", HOG_TIMEOUT_S))
        elif index == 3:
            planned.append(PlannedBuild(tenant, "cache", repository.MEMORY_HOG, "oom"))
        elif index % 10 == 4:
            planned.append(PlannedBuild(tenant, "subtraction", repository.BROKEN, "failed", queued=queued))
        else:
            ref = passing[index // len(tenants) % len(passing)]
            planned.append(PlannedBuild(tenant, "suite", ref, "passed", queued=queued))
    return planned


def host_shape(master_cpus: float, master_mem_mib: int) -> HostShape:
    """Three hosts on three racks, which a machine of two cores and 4 GB can play, each with room for a master too."""
    mem_mib = min(HOST_MAX_MEM_MIB, default_shape(HOSTS).mem_mib) + master_mem_mib
    attributes: dict[str, str | list[str]] = {"rack": ["r1", "r2", "r3"], "pool": "demo"}
    return HostShape(count=HOSTS, cpus=HOST_CPUS + master_cpus, mem_mib=mem_mib, attributes=attributes)
