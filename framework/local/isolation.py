"""Which means this machine has to hold a build to its limits, decided once for all hosts of the cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agents.executor import cgroup_v2, docker_engine
from agents.executor.wire import WireError
from agents.spec import ISOLATIONS, HostPolicy
from framework.errors import Fault, InputError

DOCKER_TIMEOUT_S = 5
CGROUP_V1 = Path("/sys/fs/cgroup")
V1_CONTROLLERS = ("memory", "cpu", "cpuacct")  # what Mesos' isolators cgroups/cpu and cgroups/mem make groups in


class Isolation(NamedTuple):
    """``mode`` is one of agents.spec.ISOLATIONS but never ``auto``; ``reason`` is a sentence for people."""

    mode: str
    reason: str

    def mesos_flags(self) -> dict[str, str]:
        """The agents' flags. Mesos knows cgroup v1 only; in the other modes the Mesos executor holds the limits."""
        mesos = self.mode == "mesos"
        flags = {"MESOS_ISOLATION": "cgroups/cpu,cgroups/mem" if mesos else "posix/cpu,posix/mem"}
        if mesos and (CGROUP_V1 / "memory" / "memory.memsw.limit_in_bytes").exists():
            flags["MESOS_CGROUPS_LIMIT_SWAP"] = "true"
        return flags


class Answer(NamedTuple):
    """Whether a mode is possible here, and the sentence that says why or why not."""

    possible: bool
    sentence: str


def resolve(policy: HostPolicy) -> Isolation:
    """The mode to use: what ``policy.isolation`` names, or for ``auto`` the first that is possible, the best first.

    Raises InputError where the named mode is unknown or not possible here.
    """
    modes: dict[str, Callable[[], Answer]] = {
        "docker": lambda: docker_answers(policy.docker_socket),
        "mesos": mesos_cgroups,
        "cgroup2": cgroup2_groups,
        "watchdog": lambda: Answer(True, "the Mesos executor watches the tree of processes"),
    }
    wanted = policy.isolation
    if wanted not in ISOLATIONS:
        raise InputError([Fault("agents.isolation", f"{wanted!r} is none of {', '.join(ISOLATIONS)}")])
    if wanted != "auto":
        answer = modes[wanted]()
        if not answer.possible:
            raise InputError(
                [Fault("agents.isolation", f"{wanted} is not possible on this machine: {answer.sentence}")]
            )
        return Isolation(wanted, f"as configured; {answer.sentence}")
    refused: list[str] = []
    for mode, ask in modes.items():
        answer = ask()
        if answer.possible:
            return Isolation(mode, "; ".join([answer.sentence, *refused]))
        refused.append(f"not {mode}: {answer.sentence}")
    raise AssertionError("the watchdog is always possible")


def docker_answers(path: str) -> Answer:
    if not Path(path).exists():
        return Answer(False, f"there is no {path}")
    try:
        version = docker_engine.Engine(path).ping(DOCKER_TIMEOUT_S)
    except (docker_engine.EngineError, WireError) as error:
        return Answer(False, f"no Docker engine answers on {path} ({error})")
    return Answer(True, f"a Docker engine (API {version}) answers on {path}")


def mesos_cgroups() -> Answer:
    if os.geteuid() != 0:
        return Answer(False, "Mesos' cgroup isolators need root")
    missing = [name for name in V1_CONTROLLERS if not (CGROUP_V1 / name / "cgroup.procs").exists()]
    if missing:
        return Answer(False, f"there is no cgroup v1 hierarchy for {', '.join(missing)} below {CGROUP_V1}")
    locked = [name for name in V1_CONTROLLERS if not os.access(CGROUP_V1 / name, os.W_OK)]
    if locked or _read_only():
        return Answer(False, f"cgroup v1 is read-only below {CGROUP_V1}")
    return Answer(True, "run as root with cgroup v1, so Mesos' own isolators hold CPU and memory")


def _read_only() -> bool:
    return any(os.statvfs(CGROUP_V1 / name).f_flag & os.ST_RDONLY for name in V1_CONTROLLERS)


def cgroup2_groups() -> Answer:
    """Asks the code that makes the groups, which for this makes the group that they will be in."""
    try:
        return Answer(True, f"cgroup v2 groups may be made below {cgroup_v2.find_parent()}")
    except (cgroup_v2.NoGroupError, OSError) as error:
        return Answer(False, str(error))
