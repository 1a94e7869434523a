"""Where live builds are, by tenant and job and by tenant and labels, counted by the values of hosts' fields."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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


Labels = frozenset[tuple[str, str]]


class _Labelled:
    """A tenant's live builds that have labels, and groups of those with certain ones, made when asked for."""

    __slots__ = ("builds", "groups")

    def __init__(self) -> None:
        self.builds: dict[TaskId, tuple[Labels, HostId]] = {}  # the oldest first
        self.groups: dict[Labels, Group] = {}  # the one asked for last at the end

    def with_labels(self, wanted: Labels, places: Mapping[HostId, Place]) -> Group:
        group = self.groups.pop(wanted, None)
        if group is None:
            group = Group(places)
            for task_id, (labels, host_id) in self.builds.items():
                if wanted <= labels:
                    group.add(task_id, host_id)
            if len(self.groups) >= _KEPT_GROUPS:
                del self.groups[next(iter(self.groups))]
        self.groups[wanted] = group
        return group

    def of(self, labels: Labels) -> list[Group]:
        return [group for wanted, group in self.groups.items() if wanted <= labels]


_KEPT_GROUPS = 64
"""So many groups by labels are kept up to date a tenant; each costs every labelled build of it a comparison."""


_Shunned = tuple[Labels, str]
"""The labels of builds that one wants to be apart from, and the field."""


def _shunned_by(request: Request) -> Collection[_Shunned]:
    neighbours = request.template.neighbours
    if not neighbours:  # as of most
        return ()
    return {(frozenset(each.labels.items()), each.field) for each in neighbours if not each.near}


class Groups:
    """Every live build in its groups. Bounded by what is live and by the hosts there are."""

    def __init__(self) -> None:
        self._places: dict[HostId, Place] = {}
        self._of_job: dict[tuple[TenantName, str], Group] = {}
        self._labelled: dict[TenantName, _Labelled] = {}
        self._shunning: dict[tuple[TenantName, tuple[str, str]], dict[_Shunned, Group]] = {}  # by the first label

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
        job = (request.tenant, request.job)
        group = self._of_job.get(job)
        if group is None:
            group = self._of_job[job] = Group(self._places)
        group.add(task_id, host_id)
        if request.template.labels:
            labels = frozenset(request.template.labels.items())
            labelled = self._labelled.setdefault(request.tenant, _Labelled())
            labelled.builds[task_id] = (labels, host_id)
            for group in labelled.of(labels):
                group.add(task_id, host_id)
        for shunned in _shunned_by(request):
            shunning = self._shunning.setdefault((request.tenant, min(shunned[0])), {})
            group = shunning.get(shunned)
            if group is None:
                group = shunning[shunned] = Group(self._places)
            group.add(task_id, host_id)

    def remove(self, task_id: TaskId, request: Request) -> None:
        job = (request.tenant, request.job)
        self._of_job[job].remove(task_id)
        if not self._of_job[job].hosts:
            del self._of_job[job]
        if request.template.labels:
            labelled = self._labelled[request.tenant]
            labels, _ = labelled.builds.pop(task_id)
            for group in labelled.of(labels):
                group.remove(task_id)
            if not labelled.builds:
                del self._labelled[request.tenant]
        for shunned in _shunned_by(request):
            key = (request.tenant, min(shunned[0]))
            shunning = self._shunning[key]
            shunning[shunned].remove(task_id)
            if not shunning[shunned].hosts:
                del shunning[shunned]
            if not shunning:
                del self._shunning[key]

    def of_job(self, tenant: TenantName, job: str) -> Group:
        return self._of_job.get((tenant, job)) or Group(self._places)

    def with_labels(self, tenant: TenantName, labels: Mapping[str, str]) -> Group:
        """The tenant's builds that have all of these labels, perhaps among others."""
        labelled = self._labelled.get(tenant)
        if labelled is None:
            return Group(self._places)
        return labelled.with_labels(frozenset(labels.items()), self._places)

    def shunning(self, tenant: TenantName, labels: Labels) -> Iterator[tuple[Labels, str, Spread]]:
        """The tenant's builds that want to be apart from one with these labels: from which of them, by which field, and

        how they are spread over that.
        """
        for label in labels:
            for (wanted, field), group in self._shunning.get((tenant, label), {}).items():
                if wanted <= labels:
                    yield wanted, field, group.spread(field)

    def __len__(self) -> int:
        """Groups, for those who watch that nothing is left behind."""
        return len(self._of_job) + len(self._labelled) + len(self._shunning)

    def _count_anew(self) -> None:
        for group in self._of_job.values():
            group.spreads.clear()
        for labelled in self._labelled.values():
            for group in labelled.groups.values():
                group.spreads.clear()
        for shunning in self._shunning.values():
            for group in shunning.values():
                group.spreads.clear()
