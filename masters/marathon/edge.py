"""``masters.ports.Marathon`` on a real Marathon, by its address."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from masters.marathon.answers import NotThereError
from masters.marathon.calls import Calls
from masters.marathon.events import Events
from masters.marathon.pace import Pace, Tries
from masters.marathon.reading import Queued, reasons
from masters.marathon.session import MarathonSession
from masters.marathon.writing import Writer
from masters.ports import Deployed
from masters.records import ObservedMaster
from masters.settings import MastersContext

T = TypeVar("T")
READERS = 4
"""Shards that are read at once. More is no faster: Marathon answers one after the other, and we read likewise."""


class MarathonEdge:
    """Implements ``masters.ports.Marathon``. Safe to use from many threads."""

    def __init__(self, context: MastersContext, pace: Pace | None = None) -> None:
        settings = context.settings
        self._pace = pace or Pace()
        self._group = settings.group
        self._session = MarathonSession(
            context.marathon_urls,
            context.marathon_credentials,
            settings.ca_file,
            call_timeout_s=settings.call_timeout_s,
            connections=settings.parallel + READERS,
        )
        self._calls = Calls(self._session)
        self._writer = Writer(
            self._calls,
            self._pace,
            addresses=len(self._session.urls),
            deployment_timeout_s=settings.deployment_timeout_s,
        )
        self._queue_lock = threading.Lock()
        self._queue: list[Queued] = []
        self._queue_asked_at = -math.inf  # monotonic s

    def masters(self) -> dict[str, ObservedMaster]:
        shards = self._asked(lambda: self._calls.groups(self._group))
        with ThreadPoolExecutor(READERS, "shards") as pool:
            found = pool.map(lambda shard: self._asked(lambda: self._calls.masters(shard)), shards)
            return {one.tenant: one for shard in found for one in shard}

    def master(self, app_id: str) -> ObservedMaster | None:
        return self._asked(lambda: self._calls.master(app_id))

    def put(self, app_id: str, document: Mapping[str, Any], *, expect: str | None, force: bool = False) -> Deployed:
        return self._writer.put(app_id, document, expect, force=force)

    def scale(
        self,
        app_id: str,
        instances: int,
        labels: Mapping[str, str],
        *,
        expect: str | None = None,
        checks: Sequence[Mapping[str, Any]] | None = None,
        env: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> Deployed:
        return self._writer.scale(app_id, instances, labels, checks, env, expect=expect, force=force)

    def delete(self, app_id: str, *, force: bool = False) -> None:
        self._writer.delete(app_id, force=force)

    def restart(self, app_id: str, *, force: bool = False) -> Deployed:
        return self._writer.restart(app_id, force=force)

    def versions(self, app_id: str) -> list[str]:
        return self._asked(lambda: self._calls.versions(app_id))

    def document_at(self, app_id: str, version: str) -> Mapping[str, Any]:
        return self._asked(lambda: self._calls.document_at(app_id, version))

    def framework_id(self) -> str:
        return self._asked(self._calls.framework_id)

    def deployments(self) -> Sequence[str]:
        return self._asked(self._calls.deployments)

    def cancel(self, deployment: str) -> None:
        try:
            self._asked(lambda: self._calls.cancel(deployment))
        except NotThereError:
            return  # it has ended by itself, or an earlier try of ours has ended it

    def waiting_reasons(self, app_id: str) -> list[str]:
        """As of some seconds ago, at most: the queue is asked for as a whole, once for all who ask."""
        with self._queue_lock:
            if time.monotonic() - self._queue_asked_at > self._pace.queue_age_s:
                try:
                    self._queue = self._calls.queue()
                finally:  # where Marathon hangs, those who wait for the lock do not wait for it one after the other
                    self._queue_asked_at = time.monotonic()
            return reasons(self._queue, app_id)

    def events(self, stop: Callable[[], bool]) -> Iterator[str]:
        return Events(self._session, self._pace, self._group).follow(stop)

    def _asked(self, ask: Callable[[], T]) -> T:
        return Tries(self._pace, len(self._session.urls)).call(ask)
