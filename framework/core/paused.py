"""Templates of whose agents one after the other fails before it serves anything are left alone for a while.

A tenant's own master or label may be at fault as well as the template. So a version of a template is paused for a
tenant after failures of that tenant's in a row, and for all once as many tenants in a row have failed with it. One
agent that comes online ends either; another version is another template.
"""

from __future__ import annotations

from collections.abc import Iterable

from framework.core.breakers import Breakers
from framework.core.ids import TaskId, TenantName
from framework.core.tasks import SPARES, FailureClass, Outcome, Request

_NOT_ITS_DOING = (
    FailureClass.PASSED,
    FailureClass.CANCELLED,
    FailureClass.INFRASTRUCTURE,
    FailureClass.PREEMPTED,
)


class Paused:
    """By version of a template, for all, and by version and tenant."""

    def __init__(self, failures: int, open_s: float, max_open_s: float) -> None:
        self._breakers = Breakers(failures, open_s, max_open_s)
        self._failing: dict[str, set[TenantName]] = {}  # by version: who has failed since one came online

    def __bool__(self) -> bool:
        """Whether anything failed lately."""
        return len(self._breakers) > 0

    def closed(self, kinds: Iterable[str], tenant: TenantName) -> bool:
        """Whether the tenant may have any number of agents of these templates."""
        if not self:
            return True
        closed = self._breakers.closed
        return all(closed(kind) and closed(f"{kind}{_OF}{tenant}") for kind in kinds)

    def allows(self, request: Request, now: float) -> bool:
        return not self or all(self._breakers.allows(key, now) for key in _keys(request))

    def launched(self, request: Request, task_id: TaskId) -> None:
        if self:
            for key in _keys(request):
                self._breakers.launched(key, task_id)

    def works(self, request: Request) -> bool:
        """An agent came online. True where that ended a pause."""
        if not self or not _keys(request):
            return False
        self._failing.pop(request.template.kind, None)
        ended = [key for key in _keys(request) if self._breakers.works(key)]
        return bool(ended)

    def stands_ready(self, request: Request, task_id: TaskId) -> bool:
        """A spare stands ready. Whether it will come online only whoever is given it finds out. True where that ended

        the pause of spares.
        """
        keys = _keys(request)
        if not self or not keys:
            return False
        of_all, of_spares = keys
        self._breakers.probe_ended(of_all, task_id)
        return self._breakers.works(of_spares)

    def ended(self, request: Request, task_id: TaskId, outcome: Outcome, now: float) -> list[tuple[str, float]]:
        """An attempt has ended. The pauses that begin with it: of what, until when."""
        keys = _keys(request)
        if not keys or (request.jenkins is not None and request.jenkins.online_at is not None):
            return []
        if outcome.result_class in _NOT_ITS_DOING:
            self.given_up(request, task_id)
            return []
        of_all, _ = keys
        failing = self._failing.setdefault(request.template.kind, set())
        if request.tenant in failing and not self._breakers.probes(of_all, task_id):
            keys = keys[1:]
        failing.add(request.tenant)
        begun = []
        for key in keys:
            until = self._breakers.failed(key, task_id, outcome.message or outcome.result_class.value, now)
            if until is not None:
                begun.append((key, until))
        return begun

    def given_up(self, request: Request, task_id: TaskId) -> None:
        """It was not launched after all."""
        for key in _keys(request):
            self._breakers.probe_ended(key, task_id)

    def why(self, request: Request, now: float) -> list[str]:
        """What keeps the request waiting."""
        keys = _keys(request)
        return [text for key, text in self._told(now).items() if key in keys]

    def reason(self, request: Request, now: float) -> str | None:
        """Why it waits for its template, in words that stay the same while it does; None: it does not."""
        key = next((key for key in _keys(request) if not self._breakers.allows(key, now)), None) if self else None
        return None if key is None else f"template {key} is paused: {self._breakers.last_message(key)}"

    def notices(self, now: float) -> list[str]:
        return list(self._told(now).values())

    def _told(self, now: float) -> dict[str, str]:
        told = {}
        for key, left_s in self._breakers.open(now).items():
            then = f"tried again in {left_s:.0f} s" if left_s else "an agent tries it now"
            told[key] = f"paused: template {key}, whose agents fail ({self._breakers.last_message(key)}); {then}"
        return told

    def forget_idle(self, now: float, in_use: set[str]) -> None:
        """Drops what is known of versions that no live request is of and that have long been tried again."""
        keep = {key for kind in in_use for key in self._breakers.known() if key.partition(_OF)[0] == kind}
        self._breakers.forget_idle(now, keep)
        left = {key.partition(_OF)[0] for key in self._breakers.known()}
        self._failing = {kind: tenants for kind, tenants in self._failing.items() if kind in left}


_OF = " of "


def _keys(request: Request) -> tuple[str, ...]:
    """For all and for its tenant, as people read them; none where it is for no agent of a template."""
    kind = request.template.kind
    if not kind or (request.jenkins is None and request.tenant != SPARES):
        return ()
    return kind, f"{kind}{_OF}{request.tenant}"
