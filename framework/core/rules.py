"""What limits a request's choice of hosts beyond room: one value a request, judged host by host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from framework.core.constraints import Spread, allows, counts, value_of
from framework.core.groups import Groups
from framework.core.ids import HostId, TenantName
from framework.core.pieces import ReservedUse
from framework.core.tasks import Request
from framework.core.templates import Constraint, Neighbour

Barred = Callable[[HostId, str, Mapping[str, str], str], bool]
"""Whether a host is out of the question: its id, hostname, attributes, and the role of what it offers."""


class Rules:
    """Never changed, and cheap to hash and compare: requests of equal rules are judged alike."""

    __slots__ = ("_hash", "_key", "attributes", "avoid_hosts", "constraints", "gpus", "in_turn", "job", "labels",
                 "neighbours", "ports", "reserved", "role", "shared", "tenant")  # fmt: skip

    def __init__(self, request: Request, role: str | None) -> None:
        template = request.template
        self.attributes = tuple(sorted(template.attributes.items()))
        self.avoid_hosts = tuple(sorted(request.avoid_hosts))
        self.constraints = template.constraints
        self.neighbours = template.neighbours
        self.gpus = template.resources.gpus
        self.ports = template.resources.ports
        self.role = role
        self.reserved = template.reserved
        self.shared = template.shared
        grouped = bool(self.neighbours) or any(map(counts, self.constraints))
        self.labels = frozenset(template.labels.items())
        self.tenant: TenantName | None = request.tenant if grouped or self.labels else None
        self.job = request.job if grouped else ""
        self.in_turn = grouped or self.reserved in (ReservedUse.ONLY, ReservedUse.NEVER)
        """Whether it matters what was placed before it, so that it cannot be packed together with others."""
        self._key = (
            self.attributes, self.avoid_hosts, self.constraints, self.gpus, self.ports, self.role, self.reserved,
            self.shared, self.tenant, self.job, self.labels,
            tuple((each.near, each.field, tuple(sorted(each.labels.items()))) for each in self.neighbours),
        )  # fmt: skip
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Rules) and self._key == other._key)

    def barred(self, groups: Groups) -> Barred:
        """The judge of hosts for one request, as builds are spread at this moment."""
        spreads = self._spreads(groups)
        near_or_apart = [*self._neighbours(groups), *self._shunned(groups)]

        def barred(host_id: HostId, hostname: str, attributes: Mapping[str, str], role: str) -> bool:
            if host_id in self.avoid_hosts or (self.role is not None and role != self.role):
                return True
            for name, wanted in self.attributes:
                if attributes.get(name) != wanted:
                    return True
            for constraint, spread in spreads:
                if not allows(constraint, value_of(constraint.field, hostname, attributes), spread):
                    return True
            return any(
                not _may_be_beside(neighbour, spread, value_of(neighbour.field, hostname, attributes))
                for neighbour, spread in near_or_apart
            )

        return barred

    def reasons(self, groups: Groups, host_id: HostId, hostname: str, attributes: Mapping[str, str]) -> Iterator[str]:
        """Every reason why the host is out of the question, as ``WhyNot`` names them; roles are left out."""
        if host_id in self.avoid_hosts:
            yield "avoided"
        for name, wanted in self.attributes:
            if attributes.get(name) != wanted:
                yield f"attribute:{name}"
        for constraint, spread in self._spreads(groups):
            if not allows(constraint, value_of(constraint.field, hostname, attributes), spread):
                yield f"constraint:{told(constraint)}"
        for neighbour, spread in self._neighbours(groups):
            if not _may_be_beside(neighbour, spread, value_of(neighbour.field, hostname, attributes)):
                yield f"{'near' if neighbour.near else 'apart'}:{told_labels(neighbour.labels)}"
        for shunned, spread in self._shunned(groups):
            if not _may_be_beside(shunned, spread, value_of(shunned.field, hostname, attributes)):
                yield f"shunned:{told_labels(shunned.labels)}"

    def _spreads(self, groups: Groups) -> list[tuple[Constraint, Spread | None]]:
        if self.tenant is None:
            return [(constraint, None) for constraint in self.constraints]
        group = groups.of_job(self.tenant, self.job)
        return [(each, group.spread(each.field) if counts(each) else None) for each in self.constraints]

    def _neighbours(self, groups: Groups) -> list[tuple[Neighbour, Spread]]:
        """Each that limits the choice now, with how the builds that it names are spread over its field."""
        if self.tenant is None:
            return []
        found = []
        for neighbour in self.neighbours:
            group = groups.with_labels(self.tenant, neighbour.labels)
            if group.hosts or (neighbour.near and not neighbour.labels.items() <= self.labels):
                found.append((neighbour, group.spread(neighbour.field)))  # else it may be the first of its kind
        return found

    def _shunned(self, groups: Groups) -> list[tuple[Neighbour, Spread]]:
        """What builds that are live want of this one: ``apart`` holds whichever of the two came first."""
        if self.tenant is None:
            return []
        shunning = groups.shunning(self.tenant, self.labels)
        return [(Neighbour(dict(labels), False, field), spread) for labels, field, spread in shunning]


def _may_be_beside(neighbour: Neighbour, spread: Spread, value: str | None) -> bool:
    if neighbour.near:
        return value is not None and value in spread.counts
    return value is None or not (spread.unknown or value in spread.counts)


def rules_of(request: Request, role: str | None) -> Rules | None:
    """None where any host with room will do. ``role``: the only one whose offers it may take."""
    template = request.template
    resources = template.resources
    if (
        role is None
        and not request.avoid_hosts
        and not template.attributes
        and not template.constraints
        and not template.neighbours
        and not template.labels
        and not template.shared
        and not resources.gpus
        and not resources.ports
        and template.reserved is ReservedUse.LAST
    ):
        return None
    return Rules(request, role)


def told(constraint: Constraint) -> str:
    """As ``WhyNot`` names it: field, operator and value, on one line whatever is in them."""
    text = " ".join(part for part in (constraint.field, constraint.operator.value, constraint.value) if part)
    return text if text.isprintable() else repr(text)


def told_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
