"""The ``local:`` section of the settings: which hosts the one-machine cluster has."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from framework.documents import DocumentModel
from framework.local.marathon.settings import MarathonSettings
from framework.setting_types import LocalPath

MAX_HOSTS = 2000
FIRST_PORT = 31000
LAST_PORT = 65000
DEFAULT_HOSTS = 3
DEFAULT_PORTS = 100

# Mesos parses attributes from text: ";" and ":" part them, and a value that looks like a number becomes one.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,127}")


class HostShape(DocumentModel):
    """``count`` equal hosts. CPU may be promised over what the machine has: it is shared out by weight."""

    count: Annotated[int, Field(ge=1, le=MAX_HOSTS)] = Field(default=1, description="How many hosts.")
    name: str = Field(default="host", description="Start of their names: ``host`` makes host-1, host-2 and so on.")
    cpus: Annotated[float, Field(gt=0, le=1024)] = Field(description="CPUs each promises to Mesos.")
    mem_mib: Annotated[int, Field(ge=64, le=16 << 20)] = Field(description="Memory each promises to Mesos.")
    disk_mib: Annotated[int, Field(ge=0, le=1 << 30)] = Field(
        default=10_000, description="Disk each promises to Mesos."
    )
    ports: Annotated[int, Field(ge=0, le=LAST_PORT - FIRST_PORT)] | None = Field(
        default=None,
        description="How many ports each promises; 100, or fewer where the hosts are many. Hosts never share a port.",
    )
    attributes: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="Such as rack, pool, os. A list is dealt out over the hosts of the shape in turn.",
    )

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:60]!r} is no host name: letters, digits, '.', '_' and '-', at most 63")
        return name

    @field_validator("attributes")
    @classmethod
    def _attributes(cls, attributes: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for name, value in attributes.items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name[:60]!r} is no name of an attribute: letters, digits, '.', '_' and '-'")
            values = value if isinstance(value, list) else [value]
            wrong = [one[:60] for one in values if not _VALUE.fullmatch(one)]
            if wrong or not values:
                raise ValueError(
                    f"{name}: {wrong or 'an empty list'} must begin with a letter; letters, digits, '.', '_', '-' and "
                    "'/' follow, at most 127"
                )
        return attributes


def _shapes(value: object) -> object:
    """A count means as many equal hosts, sized for this machine."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_HOSTS:
            raise ValueError(f"must be 1 to {MAX_HOSTS} hosts, not {value}")
        return [default_shape(value)]
    if not isinstance(value, list):
        raise ValueError("must be a count of hosts or a list of shapes")  # noqa: TRY004 - pydantic takes ValueError
    return value


class LocalSettings(DocumentModel):
    """The one-machine cluster."""

    hosts: Annotated[list[HostShape], BeforeValidator(_shapes)] = Field(
        default=DEFAULT_HOSTS,
        validate_default=True,
        description="A count of equal hosts, or a list of shapes. One machine plays them all.",
    )
    port: Annotated[int, Field(ge=1024, le=65535)] | None = Field(
        default=None,
        description="Port of Mesos on 127.0.0.1. By default 5050 where that is free, else any; kept for restarts.",
    )
    first_port: Annotated[int, Field(ge=1024, lt=LAST_PORT)] = Field(
        default=FIRST_PORT,
        description="The first of the ports that hosts promise to tasks. Two clusters of one machine want ports apart.",
    )
    allocation_interval_s: Annotated[float, Field(ge=0.05, le=60)] = Field(
        default=0.25,
        description="How often Mesos' allocator makes offers. Mesos' own default, made for large clusters, is 1 s.",
    )
    directory: LocalPath | None = Field(
        default=None,
        description="Where the cluster keeps its state; by default /var/lib/butlery/local for root, whose home the "
        "users of builds may not enter, else ~/.local/state/butlery/local.",
    )
    marathon: MarathonSettings = Field(
        default_factory=MarathonSettings, description="The Marathon-compatible server, for apps beside the builds."
    )

    ingress: bool = Field(
        default=True,
        description="Whether the tenants' service runs too, beside the Marathon-compatible server: the one address of "
        "all masters, their waking and going to sleep, their backups. It needs HAProxy; where that is not installed, "
        "``up`` says so. What it does is in the section ``masters``.",
    )

    elasticsearch: bool = Field(
        default=False,
        description="Whether an Elasticsearch runs too, as with ``--elasticsearch``, for the scheduler's telemetry. It "
        "is fetched once with Maven, needs Java, and takes up to 512 MiB for its heap.",
    )

    @model_validator(mode="after")
    def _fits(self) -> LocalSettings:
        count = sum(shape.count for shape in self.hosts)
        if not 1 <= count <= MAX_HOSTS:
            raise ValueError(f"hosts: {count} hosts, but 1 to {MAX_HOSTS} can run on one machine")
        asked = sum(shape.count * (shape.ports or 0) for shape in self.hosts)
        if asked > LAST_PORT - self.first_port:
            raise ValueError(f"hosts: {asked} ports in all, but at most {LAST_PORT - self.first_port} can be given out")
        return self


def default_directory() -> Path:
    """Where a cluster keeps its state unless told otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/butlery/local")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "butlery" / "local"


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
    shapes = settings.hosts
    unset = sum(shape.count for shape in shapes if shape.ports is None)
    asked = sum(shape.count * (shape.ports or 0) for shape in shapes)
    spare = min(DEFAULT_PORTS, (LAST_PORT - settings.first_port - asked) // unset) if unset else 0
    hosts: list[Host] = []
    port = settings.first_port
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
