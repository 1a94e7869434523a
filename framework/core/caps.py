"""The most live agents of a template: in all and of one tenant, as the catalogue says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from framework.core.events import TemplateLimits
from framework.core.ids import TenantName
from framework.core.tasks import Request

_NONE = TemplateLimits()


class Caps:
    """Live agents (claims and tasks) by template, against the limits. Bounded by what is live and by the catalogue."""

    def __init__(self) -> None:
        self._limits: dict[str, TemplateLimits] = {}
        self._live: Counter[str] = Counter()
        self._of_tenant: Counter[tuple[str, TenantName]] = Counter()
        self._held: dict[str, set[TenantName]] = {}  # whom a limit in all turned away

    def limit(self, limits: dict[str, TemplateLimits]) -> None:
        self._limits = {name: each for name, each in limits.items() if each != _NONE}

    def take(self, request: Request) -> None:
        name = request.template.name
        if name:
            self._live[name] += 1
            self._of_tenant[name, request.tenant] += 1

    def give_back(self, request: Request) -> set[TenantName]:
        """Tenants that may have one more agent now where a limit in all left them none."""
        name = request.template.name
        if not name:
            return set()
        self._live[name] -= 1
        if not self._live[name]:
            del self._live[name]
        key = (name, request.tenant)
        self._of_tenant[key] -= 1
        if not self._of_tenant[key]:
            del self._of_tenant[key]
        return self._held.pop(name, set())

    def hand(self, giver: Request, taker: Request) -> None:
        """The live agent that was the giver's is the taker's, of the same template."""
        name = giver.template.name
        self._of_tenant[name, taker.tenant] += 1
        self._of_tenant[name, giver.tenant] -= 1
        if not self._of_tenant[name, giver.tenant]:
            del self._of_tenant[name, giver.tenant]

    def allows_handing(self, request: Request) -> bool:
        """Whether its tenant may take over a live agent."""
        most = self._limits.get(request.template.name, _NONE).agents_per_tenant
        return most is None or self._of_tenant[request.template.name, request.tenant] < most

    def __len__(self) -> int:
        """How many counts are kept."""
        return len(self._live) + len(self._of_tenant)

    def limits_any(self, kinds: Iterable[str]) -> bool:
        """Whether one of the templates (``Template.kind``) has a limit, so that it matters whose request goes first."""
        return bool(self._limits) and any(kind.rpartition("@")[0] in self._limits for kind in kinds)

    def allows(self, request: Request) -> bool:
        """Whether the request's template may have one more agent; who may not is remembered for ``give_back``."""
        limits = self._limits.get(request.template.name)
        if limits is None:
            return True
        name = request.template.name
        if limits.agents is not None and self._live[name] >= limits.agents:
            self._held.setdefault(name, set()).add(request.tenant)
            return False
        return limits.agents_per_tenant is None or self._of_tenant[name, request.tenant] < limits.agents_per_tenant

    def why(self, request: Request) -> list[str]:
        """What of the limits keeps the request waiting."""
        name = request.template.name
        limits = self._limits.get(name, _NONE)
        found = []
        live, own = self._live[name], self._of_tenant[name, request.tenant]
        if limits.agents is not None and live >= limits.agents:
            found.append(f"cap: template {name} {live} of {limits.agents} agents")
        if limits.agents_per_tenant is not None and own >= limits.agents_per_tenant:
            found.append(f"cap: template {name} {own} of {limits.agents_per_tenant} agents of tenant {request.tenant}")
        return found
