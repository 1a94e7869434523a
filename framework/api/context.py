"""What every route is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from framework.api.auth import Principal
from framework.api.hooks import Hooks
from framework.api.problems import unavailable
from framework.api.questions import Questions
from framework.api.strangers import Strangers
from framework.catalog.matching import Templates
from framework.ports import Control, Seat
from framework.serverless_settings import ServerlessSettings
from framework.settings import ApiSettings
from framework.telemetry_ports import MetricsPage, Telemetry
from framework.telemetry_settings import MetricsSettings, SizingSettings

MAX_WAITERS = 2000
"""Calls that wait at once, for all; each holds a connection and some 10 KiB."""
MAX_WAITERS_OF_ONE = 500
"""For one tenant: a quarter, so that no tenant keeps the others from waiting."""


class Waiters:
    """Bounds how many calls wait at once."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    @contextmanager
    def one(self, principal: Principal) -> Iterator[None]:
        """Counts a call while it waits. Raises ProblemError (503) where too many do."""
        name = principal.tenant or ""
        if self._of.total() >= MAX_WAITERS or self._of[name] >= MAX_WAITERS_OF_ONE:
            raise unavailable("Too many calls wait for jobs or logs now; ask again without waiting, or later.")
        self._of[name] += 1
        try:
            yield
        finally:
            self._of[name] -= 1
            if not self._of[name]:
                del self._of[name]


class Scraped(NamedTuple):
    """What ``/metrics`` tells, and whom."""

    source: MetricsPage
    settings: MetricsSettings


class Context(NamedTuple):
    """The runtime, and the settings that bear on requests."""

    seat: Seat
    settings: ApiSettings
    templates: Templates
    digest_salt: str
    waiters: Waiters
    serverless: ServerlessSettings
    hooks: Hooks
    strangers: Strangers
    questions: Questions
    telemetry: Telemetry | None = None  # None where a test serves none
    metrics: Scraped | None = None  # so here
    sizing: SizingSettings = SizingSettings()

    @property
    def control(self) -> Control:
        """Asked for anew with every use: the leadership may change hands while somebody waits."""
        return self.seat.control


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Serving = Annotated[Context, Depends(_context)]
