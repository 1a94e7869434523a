"""What an agent is made of, as far as deciding needs to know it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from framework.core.pieces import ReservedUse
from framework.core.resources import Resources


class Lifetime(StrEnum):
    """How many builds an agent of Jenkins serves."""

    ONE_SHOT = "one_shot"
    POOLED = "pooled"  # of one tenant, one after the other, until it was idle for ``Template.idle_s``


class Operator(StrEnum):
    """Marathon's constraint operators, with its meaning of each (docs/jobs.rst)."""

    CLUSTER = "CLUSTER"
    UNIQUE = "UNIQUE"
    GROUP_BY = "GROUP_BY"
    MAX_PER = "MAX_PER"
    LIKE = "LIKE"
    UNLIKE = "UNLIKE"
    IS = "IS"


class Constraint(msgspec.Struct, frozen=True):
    """A rule on a host's field: an attribute's name, or ``hostname``, ``@region``, ``@zone``."""

    field: str
    operator: Operator
    value: str = ""


class Neighbour(msgspec.Struct, frozen=True):
    """A rule on where other live builds of the same tenant are: those with all of these labels.

    ``near``: only where such a one is (or anywhere, where none is live and the request itself is such a one);
    else: only where none is. Where: on the same host, or on hosts with the same value of another ``field``.
    """

    labels: dict[str, str]
    near: bool
    field: str = "hostname"


class Container(msgspec.Struct, frozen=True):
    """One more container of an agent, beside the one that builds; all of them are placed on one host, or none."""

    name: str
    resources: Resources
    image: str | None = None


class Sized(msgspec.Struct, frozen=True):
    """That an agent has the size that the history of its job says, and serves that job alone."""

    job: str
    cpu_millis: int  # that its template gives the container that builds
    mem_mib: int


class Template(msgspec.Struct, frozen=True):
    """An agent's resources and what limits its choice of hosts."""

    resources: Resources  # of all its containers together
    image: str | None = None
    attributes: dict[str, str] = {}  # attributes a host must have, with these values
    timeout_s: float = 3600.0
    grace_s: float = 10.0
    constraints: tuple[Constraint, ...] = ()  # on hosts, among live builds of the same tenant and job
    labels: dict[str, str] = {}  # by which ``neighbours`` of other requests name it
    neighbours: tuple[Neighbour, ...] = ()
    reserved: ReservedUse = ReservedUse.LAST
    preemptible: bool = False  # may be ended, and tried again, for a tenant below its fair share
    shared: bool = False  # runs in the Mesos executor that its host's builds share, rather than in one of its own
    containers: tuple[Container, ...] = ()  # beside the one that builds
    name: str = ""  # in the catalogue, where it is of one; caps, spares and breakers go by it
    version: str = ""  # of its content there; behind a ``+``, of what the job changed of it; behind a ``~`` of its size
    connect_timeout_s: float | None = None  # of an agent of Jenkins, from TASK_RUNNING until it is online; else None
    lifetime: Lifetime = Lifetime.ONE_SHOT
    idle_s: float = 0.0  # of a pooled agent
    sized: Sized | None = None

    @property
    def kind(self) -> str:
        """Its name and version in the catalogue, whatever its size; empty where it is of none."""
        return f"{self.name}@{self.version.partition('~')[0]}" if self.name else ""

    @property
    def own_resources(self) -> Resources:
        """Of the container that builds."""
        own = self.resources
        for container in self.containers:
            own -= container.resources
        return own
