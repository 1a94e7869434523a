"""Where live builds are, by tenant and job and by tenant and labels, counted by the values of hosts' fields."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from framework.core.constraints import Spread, is_hostname, value_of
from framework.core.ids import HostId, TaskId, TenantName
from framework.core.offers import Host
from framework.core.tasks import Request


class Place(NamedTuple):
    """What of a host matters to constraints; ``attributes`` None: nobody has told them yet."""

    hostname: str
    attributes: Mapping[str, str] | None


class Group:
    """Live builds that count together, and their spread over each field that was asked for."""

    __slots__ = ("_places", "hosts", "spreads")

    def __init__(self, places: Mapping[HostId, Place]) -> None:
        self._places = places
        self.hosts: dict[TaskId, HostId] = {}  # the oldest first
        self.spreads: dict[str, Spread] = {}  # made when asked for, then kept up to date

    def spread(self, field: str) -> Spread:
        spread = self.spreads.get(field)
        if spread is None:
            spread = self.spreads[field] = Spread()
            for host_id in self.hosts.values():
                self._count(spread, field, host_id)
        return spread

    def add(self, task_id: TaskId, host_id: HostId) -> None:
        self.hosts[task_id] = host_id
        for field, spread in self.spreads.items():
            self._count(spread, field, host_id)

    def remove(self, task_id: TaskId) -> None:
        oldest = next(iter(self.hosts)) == task_id
        host_id = self.hosts.pop(task_id)
        for field, spread in self.spreads.items():
            place = self._places[host_id]
            if place.attributes is None and not is_hostname(field):
                spread.unknown -= 1
            else:
                spread.remove(value_of(field, place.hostname, place.attributes or {}))
            if oldest and self.hosts:
                first = self._places[next(iter(self.hosts.values()))]
                spread.first = value_of(field, first.hostname, first.attributes or {})

    def _count(self, spread: Spread, field: str, host_id: HostId) -> None:
        place = self._places[host_id]
        if place.attributes is None and not is_hostname(field):
            spread.unknown += 1
        else:
            spread.add(value_of(field, place.hostname, place.attributes or {}))


class Groups:
    """Every live build in its groups. Bounded by what is live and by the hosts there are."""

    def __init__(self) -> None:
        self._places: dict[HostId, Place] = {}
        self._of_job: dict[tuple[TenantName, str], Group] = {}
        self._labelled: dict[TenantName, dict[frozenset[tuple[str, str]], Group]] = {}

    def observe(self, hosts: Iterable[Host], in_use: Collection[HostId]) -> None:
        """All hosts there are; those ``in_use`` stay known when they are no longer among them."""
        places = {host.id: Place(host.hostname, host.attributes) for host in hosts}
        for host_id in in_use:
            if host_id not in places and host_id in self._places:
                places[host_id] = self._places[host_id]
        if places != self._places:
            self._places.clear()  # the groups hold the very same dict
            self._places.update(places)
            self._count_anew()

    def know(self, host_id: HostId, hostname: str, attributes: Mapping[str, str] | None) -> None:
        """A host as an offer of it or a saved task tells of it, before Mesos lists it."""
        known = self._places.get(host_id)
        if known is None or (known.attributes is None and attributes is not None):
            self._places[host_id] = Place(hostname, attributes)
            if known is not None:
                self._count_anew()

    def add(self, task_id: TaskId, request: Request, host_id: HostId) -> None:
        """A build that is now to run on the host, which is known."""
        for group in self._groups_of(request):
            group.add(task_id, host_id)

    def remove(self, task_id: TaskId, request: Request) -> None:
        for group in self._groups_of(request):
            group.remove(task_id)
        job = (request.tenant, request.job)
        if not self._of_job[job].hosts:
            del self._of_job[job]
        labels = frozenset(request.template.labels.items())
        if labels and not self._labelled[request.tenant][labels].hosts:
            del self._labelled[request.tenant][labels]
            if not self._labelled[request.tenant]:
                del self._labelled[request.tenant]

    def of_job(self, tenant: TenantName, job: str) -> Group:
        return self._of_job.get((tenant, job)) or Group(self._places)

    def labelled(self, tenant: TenantName, labels: Mapping[str, str]) -> list[Group]:
        """Groups of the tenant's builds that have all of these labels, perhaps among others."""
        wanted = labels.items()
        return [group for its, group in self._labelled.get(tenant, {}).items() if wanted <= its]

    def __len__(self) -> int:
        """Groups, for those who watch that nothing is left behind."""
        return len(self._of_job) + len(self._labelled)

    def _groups_of(self, request: Request) -> list[Group]:
        job = (request.tenant, request.job)
        group = self._of_job.get(job)
        if group is None:
            group = self._of_job[job] = Group(self._places)
        if not request.template.labels:
            return [group]
        by_labels = self._labelled.setdefault(request.tenant, {})
        labels = frozenset(request.template.labels.items())
        labelled = by_labels.get(labels)
        if labelled is None:
            labelled = by_labels[labels] = Group(self._places)
        return [group, labelled]

    def _count_anew(self) -> None:
        for group in self._of_job.values():
            group.spreads.clear()
        for by_labels in self._labelled.values():
            for group in by_labels.values():
                group.spreads.clear()
