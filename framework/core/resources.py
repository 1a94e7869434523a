"""Amounts of resources as integers: thousandths of a CPU and MiB. Floats exist only on the wire."""

from __future__ import annotations

import msgspec


class Resources(msgspec.Struct, frozen=True, gc=False):
    """An amount of each resource; differences may be negative."""

    cpu_millis: int = 0
    mem_mib: int = 0
    disk_mib: int = 0
    gpus: int = 0
    ports: int = 0  # how many; which ones is settled where they are taken

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu_millis + other.cpu_millis,
            self.mem_mib + other.mem_mib,
            self.disk_mib + other.disk_mib,
            self.gpus + other.gpus,
            self.ports + other.ports,
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            self.cpu_millis - other.cpu_millis,
            self.mem_mib - other.mem_mib,
            self.disk_mib - other.disk_mib,
            self.gpus - other.gpus,
            self.ports - other.ports,
        )

    def fits_in(self, other: Resources) -> bool:
        return (
            self.cpu_millis <= other.cpu_millis
            and self.mem_mib <= other.mem_mib
            and self.disk_mib <= other.disk_mib
            and self.gpus <= other.gpus
            and self.ports <= other.ports
        )

    def lacking_in(self, other: Resources) -> tuple[str, ...]:
        """Names of the resources of which ``other`` has less than this asks."""
        return tuple(name for name in RESOURCE_NAMES if getattr(self, name) > getattr(other, name))

    def dominant_share(self, total: Resources) -> float:
        """The largest part this takes of any one resource of ``total`` (Ghodsi et al., NSDI 2011); disk left out,

        as builds seldom compete for it and hosts often advertise it generously.
        """
        return max(self.cpu_millis / (total.cpu_millis or 1), self.mem_mib / (total.mem_mib or 1))


RESOURCE_NAMES = ("cpu_millis", "mem_mib", "disk_mib", "gpus", "ports")
ZERO = Resources()

GROUP_DISK_MIB = 1
"""Of a group's Mesos executor: Mesos refuses one without a disk (REASON_TASK_GROUP_INVALID, "uses no disk")."""
