"""Whether a request may be taken at all: what no waiting would ever cure is refused at once."""

from __future__ import annotations

from collections import Counter

from framework.core.constraints import allows, is_hostname, value_of
from framework.core.ids import TenantName
from framework.core.offers import Host
from framework.core.resources import RESOURCE_NAMES
from framework.core.rules import told
from framework.core.state import State
from framework.core.tasks import Tenant
from framework.core.templates import Constraint, Template
from framework.errors import Fault


def faults(state: State, tenant: TenantName | None, template: Template) -> list[Fault]:
    """Everything that stands against it; empty where it may be taken. Before Mesos has told of hosts, size does not.

    ``tenant`` is None where it is not known for whom the request is: then only its size is judged.
    """
    found = [] if tenant is None else _for_tenant(state, tenant, template)
    found += _contradicting_neighbours(template)
    hosts = list(state.hosts.values())  # those too that are not active, for they may come back
    if hosts:
        found += _on_no_host(state, template, hosts)
    return found


def faults_of_tenant(state: State, tenant: Tenant) -> list[Fault]:
    """What is wrong with a tenant as it is to be."""
    return [] if state.config.offers_role(tenant.role) else [Fault("role", _no_role(state, tenant.role))]


def _no_role(state: State, role: str | None) -> str:
    return f"{role} is none of mesos.roles, which are {', '.join(state.config.roles)}"


def _for_tenant(state: State, tenant: TenantName, template: Template) -> list[Fault]:
    book = state.tenants.get(tenant)
    if book is None:
        return [Fault("tenant", f"there is no tenant {tenant!r}; make it with: butlery tenants set {tenant}")]
    found: list[Fault] = []
    role = book.tenant.role
    if not state.config.offers_role(role):
        text = f"{_no_role(state, role)}; an administrator gives {tenant} another: butlery tenants set {tenant} --role"
        found.append(Fault("tenant", f"its builds would never start: {text}"))
    quota = book.tenant.quota
    for name, most in (("cpu_millis", quota.cpu_millis), ("mem_mib", quota.mem_mib)):
        asked = getattr(template.resources, name)
        if most is not None and asked > most:
            text = f"{_told(name, asked)} is more than tenant {tenant}'s whole quota of {_told(name, most)}"
            found.append(Fault(name, text))
    if quota.builds == 0:
        found.append(Fault("tenant", f"tenant {tenant} may run no builds: its quota of builds is 0"))
    return found


def _contradicting_neighbours(template: Template) -> list[Fault]:
    """Those that must be near a build which they must be apart from."""
    found: list[Fault] = []
    for i, near in enumerate(each for each in template.neighbours if each.near):
        if near.labels.items() <= template.labels.items():
            continue  # the first of its kind may go anywhere
        for j, apart in enumerate(each for each in template.neighbours if not each.near):
            alike = near.field == apart.field or is_hostname(near.field)
            if alike and apart.labels.items() <= near.labels.items():
                text = f"near[{i}] wants it beside builds that this wants it apart from; drop one of the two"
                found.append(Fault(f"apart[{j}]", text))
    return found


def _on_no_host(state: State, template: Template, hosts: list[Host]) -> list[Fault]:
    """What no host could ever satisfy, were it wholly free and no other build live."""
    found: list[Fault] = []
    allowed = [host for host in hosts if host.has(template.attributes)]
    if not allowed:
        having = ", ".join(f"{name}={value}" for name, value in template.attributes.items())
        found.append(Fault("attributes", f"none of the {len(hosts)} hosts has {having}"))
        allowed = hosts
    kinds: Counter[bool] = Counter()
    for neighbour in template.neighbours:
        nth, kinds[neighbour.near] = kinds[neighbour.near], kinds[neighbour.near] + 1
        if not _values(hosts, neighbour.field):
            # Apart by a field that no host has would hold anywhere, and keep nothing apart.
            found.append(
                Fault(f"{'near' if neighbour.near else 'apart'}[{nth}].field", _no_field(hosts, neighbour.field))
            )
    narrowed_by = ["attributes"] if len(allowed) < len(hosts) else []
    for i, constraint in enumerate(template.constraints):
        left = [host for host in allowed if allows(constraint, _value(host, constraint.field))]
        if left:
            if len(left) < len(allowed):
                narrowed_by.append(f"constraints[{i}]")
            allowed = left
        else:
            found.append(Fault(f"constraints[{i}]", _why_none(constraint, hosts, narrowed_by)))
    return found + _too_big(state, template, allowed, len(allowed) < len(hosts))


def _why_none(constraint: Constraint, hosts: list[Host], narrowed_by: list[str]) -> str:
    field = constraint.field
    values = _values(hosts, field)
    if not values:
        return _no_field(hosts, field)
    if any(allows(constraint, _value(host, field)) for host in hosts):
        return f"{told(constraint)} and {', '.join(narrowed_by)} leave none of the {len(hosts)} hosts together"
    some = ", ".join(repr(value) for value in values[:_NAMED])
    more = f" and {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return f"{told(constraint)} holds on none of the {len(hosts)} hosts, whose {field} is {some}{more}"


def _no_field(hosts: list[Host], field: str) -> str:
    names = sorted({name for host in hosts for name in host.attributes})
    some = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return f"none of the {len(hosts)} hosts has {field!r}; there are hostname{', ' if names else ''}{some}"


def _value(host: Host, field: str) -> str | None:
    return value_of(field, host.hostname, host.attributes)


def _values(hosts: list[Host], field: str) -> list[str]:
    return sorted({value for host in hosts if (value := _value(host, field)) is not None})


_NAMED = 8
"""So many values are named in a fault, and the rest counted."""


def _too_big(state: State, template: Template, hosts: list[Host], narrowed: bool) -> list[Fault]:
    """``narrowed``: there are other hosts, to which it may not go."""
    need = template.resources + state.config.overhead
    if any(need.fits_in(host.total) for host in hosts):
        return []
    those = "host it may go to" if narrowed else "host"
    found: list[Fault] = []
    for name in RESOURCE_NAMES:
        largest = max(hosts, key=lambda host: getattr(host.total, name))
        most, overhead = getattr(largest.total, name), getattr(state.config.overhead, name)
        if getattr(need, name) > most == 0:
            found.append(Fault(name, f"no {those} has any {_UNITS.get(name, name.split('_')[0])}; ask for none"))
        elif getattr(need, name) > most:
            text = (
                f"{_told(name, getattr(template.resources, name))} is more than any {those} can hold; the largest is "
            )
            text += f"{largest.hostname} with {_told(name, most)}, of which a build may ask "
            text += _told(name, max(0, most - overhead))
            found.append(Fault(name, text))
    if not found:
        largest = max(hosts, key=lambda host: (host.total.mem_mib, host.total.cpu_millis))
        asked = [name for name in RESOURCE_NAMES if getattr(need, name)]
        text = f"no {those} has this much of everything at once; the largest is {largest.hostname} with "
        text += ", ".join(f"{_told(name, getattr(largest.total, name))} ({name.split('_')[0]})" for name in asked)
        found.append(Fault("resources", text))
    return found


def _told(name: str, amount: int) -> str:
    """An amount of the resource ``name`` as people ask for it."""
    if name == "cpu_millis":
        return f"{amount / 1000:g} CPUs"
    return f"{amount} {_UNITS.get(name, 'MiB')}"


_UNITS = {"gpus": "GPUs", "ports": "ports"}
