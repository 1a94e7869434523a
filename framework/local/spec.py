"""The ``local:`` section of the settings: which hosts the one-machine cluster has."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MAX_HOSTS = 2000
FIRST_PORT = 31000
LAST_PORT = 65000
DEFAULT_HOSTS = 3
DEFAULT_PORTS = 100

# Mesos parses attributes from text: ";" and ":" part them, and a value that looks like a number becomes one.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,127}")


class HostShape(BaseModel):
    """``count`` equal hosts. CPU may be promised over what the machine has: it is shared out by weight."""

    model_config = ConfigDict(extra="forbid")

    count: Annotated[int, Field(ge=1, le=MAX_HOSTS)] = 1
    name: str = "host"
    cpus: Annotated[float, Field(gt=0, le=1024)]
    mem_mib: Annotated[int, Field(ge=64, le=16 * 1024 * 1024)]
    disk_mib: Annotated[int, Field(ge=0, le=1024 * 1024 * 1024)] = 10_000
    ports: Annotated[int, Field(ge=0, le=LAST_PORT - FIRST_PORT)] | None = None
    """How many ports each host offers; unset: 100, or fewer where the hosts are many. Hosts never share a port."""
    attributes: dict[str, str | list[str]] = Field(default_factory=dict)
    """Such as rack, pool, os. A list is dealt out over the hosts of the shape in turn."""

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no host name: letters, digits, '.', '_' and '-', at most 63")
        return name

    @field_validator("attributes")
    @classmethod
    def _attributes(cls, attributes: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for name, value in attributes.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an attribute: letters, digits, '.', '_' and '-', at most 63")
            values = value if isinstance(value, list) else [value]
            wrong = [one for one in values if not _VALUE.fullmatch(one)]
            if wrong or not values:
                raise ValueError(f"{name}: {wrong or 'an empty list'} must be text that begins with a letter")
        return attributes


class LocalSettings(BaseModel):
    """The one-machine cluster. ``hosts`` is a count of equal hosts or a list of shapes."""

    model_config = ConfigDict(extra="forbid")

    hosts: Annotated[int, Field(ge=1, le=MAX_HOSTS)] | list[HostShape] = DEFAULT_HOSTS
    port: Annotated[int, Field(ge=1024, le=65535)] | None = None
    """Port of Mesos on 127.0.0.1; unset: a free one, kept with the work directory."""
    allocation_interval_s: Annotated[float, Field(gt=0, le=60)] = 0.25
    """How often Mesos' allocator makes offers; Mesos' own default, made for large clusters, is 1 s."""
    directory: Path | None = None
    """Where state is kept; unset: ``$XDG_STATE_HOME/butlery/local``."""

    @model_validator(mode="after")
    def _fits(self) -> LocalSettings:
        if isinstance(self.hosts, list):
            if not self.hosts:
                raise ValueError("hosts: at least one host is needed")
            count = sum(shape.count for shape in self.hosts)
            if count > MAX_HOSTS:
                raise ValueError(f"hosts: {count} hosts, at most {MAX_HOSTS} run on one machine")
            asked = sum(shape.count * (shape.ports or 0) for shape in self.hosts)
            if asked > LAST_PORT - FIRST_PORT:
                raise ValueError(f"hosts: {asked} ports in all, at most {LAST_PORT - FIRST_PORT} can be given out")
        return self


@dataclass(frozen=True)
class Host:
    """One Mesos agent to be run."""

    name: str
    cpus: float
    mem_mib: int
    disk_mib: int
    ports: tuple[int, int] | None  # first and last
    attributes: tuple[tuple[str, str], ...]

    def resources_text(self) -> str:
        """Mesos' text form; Mesos counts ``mem`` and ``disk`` in MiB."""
        ports = f"{self.ports[0]}-{self.ports[1]}" if self.ports else ""
        return f"cpus:{self.cpus:g};mem:{self.mem_mib};disk:{self.disk_mib};ports:[{ports}]"

    def attributes_text(self) -> str:
        return ";".join(f"{name}:{value}" for name, value in self.attributes)


def default_shape(hosts: int) -> HostShape:
    """Equal hosts that together promise no more memory than 70 % of what the machine has; the rest is for Mesos itself,
    the scheduler and the executors. CPU may be over-promised: a small machine shows more of a cluster that way."""
    machine_mem_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)
    mem_mib = max(64, machine_mem_mib * 7 // 10 // hosts // 64 * 64)
    cpus = max(4, -(-2 * (os.cpu_count() or 1) // hosts))
    attributes: dict[str, str | list[str]] = {"rack": ["r1", "r2", "r3"], "pool": "default", "os": "linux"}
    return HostShape(count=hosts, cpus=cpus, mem_mib=mem_mib, attributes=attributes)


def hosts_of(settings: LocalSettings) -> list[Host]:
    """Every host that ``settings`` describes, named ``host-1`` and so on, in an order that only they decide."""
    shapes: Sequence[HostShape] = (
        settings.hosts if isinstance(settings.hosts, list) else [default_shape(settings.hosts)]
    )
    unset = sum(shape.count for shape in shapes if shape.ports is None)
    asked = sum(shape.count * (shape.ports or 0) for shape in shapes)
    spare = min(DEFAULT_PORTS, (LAST_PORT - FIRST_PORT - asked) // unset) if unset else 0
    hosts: list[Host] = []
    port = FIRST_PORT
    numbers: dict[str, int] = {}
    for shape in shapes:
        for index in range(shape.count):
            numbers[shape.name] = numbers.get(shape.name, 0) + 1
            ports = spare if shape.ports is None else shape.ports
            hosts.append(
                Host(
                    name=f"{shape.name}-{numbers[shape.name]}",
                    cpus=shape.cpus,
                    mem_mib=shape.mem_mib,
                    disk_mib=shape.disk_mib,
                    ports=(port, port + ports - 1) if ports else None,
                    attributes=tuple(
                        (name, value[index % len(value)] if isinstance(value, list) else value)
                        for name, value in sorted(shape.attributes.items())
                    ),
                )
            )
            port += ports
    return hosts
