"""Directories of YAML that describe as many tenants as are asked for, no two alike."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

WARS = ("2.440.3", "2.452.4", "2.462.3")
SIZES = ((0.1, 768), (0.25, 1024), (0.5, 1536), (1.0, 2048))
"""CPUs and MiB."""


def write_pretending(folder: Path, count: int, seed: int = 1) -> None:
    """One file a tenant, as an operator keeps them: what all have in common is in ``defaults.yaml``."""
    defaults = {
        "image": "jenkins/jenkins",
        "volume": {"host_path": "/srv/jenkins/{tenant}", "shared": True},
        "health": {"grace_s": 300},
        "plugins": [
            "configuration-as-code:1810.v9b_c30a_249a_4c",
            "workflow-aggregator:600.vb_57cdd26fdd7",
            "git:5.5.2",
        ],
        "stop_timeout_s": 30,
        "labels": {"made-by": "bench"},
    }
    _write(folder / "defaults.yaml", defaults)
    chance = random.Random(seed)
    for number in range(count):
        cpus, mem_mib = SIZES[chance.randrange(len(SIZES))]
        tenant: dict[str, Any] = {
            "version": f"{chance.choice(WARS)}-lts-jdk17",
            "cpus": cpus,
            "mem_mib": mem_mib,
            "jvm": {"heap_percent": 35},
            "env": {"TEAM": f"{number}", "COST_CENTRE": str(chance.randrange(10_000))},
            "weight": chance.randint(50, 300),
            "quota": {"cpus": chance.randint(4, 64), "builds": chance.randint(4, 200)},
        }
        if number % 3 == 0:
            tenant["hibernate"] = {"after_idle_min": 60}
        if number % 4 == 0:
            tenant["backup"] = {"to": "/srv/backups", "every_h": 24}
        if number % 5 == 0:
            tenant["ports"] = {"agents": True}
        _write(folder / f"{name_of(number)}.yaml", tenant)


def write_small(folder: Path, count: int, command: str, homes: Path) -> None:
    """Masters that are processes of next to no size, all in one file."""
    tenants = [{"name": name_of(number)} for number in range(count)]
    defaults = {
        "command": command,
        "cpus": 0.05,
        "mem_mib": 64,
        "volume": {"host_path": f"{homes}/{{tenant}}", "shared": True},
        "health": {"interval_s": 1, "timeout_s": 10, "grace_s": 60, "failures": 30},
        "stop_timeout_s": 2,
    }
    _write(folder / "defaults.yaml", defaults)
    _write(folder / "teams.yaml", {"tenants": tenants})


def name_of(number: int) -> str:
    return f"team-{number:04}"


def _write(path: Path, document: Any) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
