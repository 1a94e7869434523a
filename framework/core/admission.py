"""Whether a request may be taken at all: what no waiting would ever cure is refused at once."""

from __future__ import annotations

from framework.core.ids import TenantName
from framework.core.offers import Host
from framework.core.resources import RESOURCE_NAMES
from framework.core.state import State
from framework.core.templates import Template
from framework.errors import Fault


def faults(state: State, tenant: TenantName | None, template: Template) -> list[Fault]:
    """Everything that stands against it; empty where it may be taken. Before Mesos has told of hosts, size does not.

    ``tenant`` is None where it is not known for whom the request is: then only its size is judged.
    """
    found = [] if tenant is None else _for_tenant(state, tenant, template)
    hosts = [host for host in state.hosts.values() if host.active]
    if hosts:
        found += _too_big(state, template, hosts)
    return found


def _for_tenant(state: State, tenant: TenantName, template: Template) -> list[Fault]:
    book = state.tenants.get(tenant)
    if book is None:
        return [Fault("tenant", f"there is no tenant {tenant!r}; make it with: butlery tenants set {tenant}")]
    found: list[Fault] = []
    quota = book.tenant.quota
    for name, most in (("cpu_millis", quota.cpu_millis), ("mem_mib", quota.mem_mib)):
        asked = getattr(template.resources, name)
        if most is not None and asked > most:
            text = f"{_told(name, asked)} is more than tenant {tenant}'s whole quota of {_told(name, most)}"
            found.append(Fault(name, text))
    if quota.builds == 0:
        found.append(Fault("tenant", f"tenant {tenant} may run no builds: its quota of builds is 0"))
    return found


def _too_big(state: State, template: Template, hosts: list[Host]) -> list[Fault]:
    need = template.resources + state.config.overhead
    fitting = [host for host in hosts if host.has(template.attributes)]
    if not fitting:
        having = ", ".join(f"{name}={value}" for name, value in template.attributes.items())
        return [Fault("attributes", f"none of the {len(hosts)} hosts has {having}")]
    if any(need.fits_in(host.total) for host in fitting):
        return []
    found: list[Fault] = []
    for name in RESOURCE_NAMES:
        largest = max(fitting, key=lambda host: getattr(host.total, name))
        most, overhead = getattr(largest.total, name), getattr(state.config.overhead, name)
        if getattr(need, name) > most:
            text = f"{_told(name, getattr(template.resources, name))} is more than any host can hold; the largest is "
            text += f"{largest.hostname} with {_told(name, most)}, of which a build may ask "
            text += _told(name, max(0, most - overhead))
            found.append(Fault(name, text))
    if not found:
        largest = max(fitting, key=lambda host: (host.total.mem_mib, host.total.cpu_millis))
        total = largest.total
        text = f"no host has this much of everything at once; the largest is {largest.hostname} with "
        text += ", ".join(f"{_told(name, getattr(total, name))} ({name.split('_')[0]})" for name in RESOURCE_NAMES)
        found.append(Fault("resources", text))
    return found


def _told(name: str, amount: int) -> str:
    """An amount of the resource ``name`` as people ask for it."""
    return f"{amount / 1000:g} CPUs" if name == "cpu_millis" else f"{amount} MiB"
