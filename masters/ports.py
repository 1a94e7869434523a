"""Protocols of the edges of masters, which tests put fakes in the place of: a Marathon, the scheduler, a master.

Every call has a deadline of its own and raises ButleryError (``retryable`` says whether to try again) with words that
name what was asked of whom; none raises an error of a library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from masters.records import ObservedMaster, ObservedShare


class Deployed(NamedTuple):
    """Marathon's answer to a change: the app's new version, and the deployment that makes it so."""

    version: str
    deployment: str


class Marathon(Protocol):
    """A Marathon's v2 API, as far as masters need it. Safe to use from many threads."""

    def masters(self) -> dict[str, ObservedMaster]:
        """All below the group, by tenant; read shard by shard."""
        ...

    def master(self, app_id: str) -> ObservedMaster | None: ...

    def put(self, app_id: str, document: Mapping[str, Any], *, expect: str | None, force: bool = False) -> Deployed:
        """Creates or replaces the app; ``{"version": ..}`` alone has it go back to what it was in that version.

        ``expect`` is the version that it must have now (None: none).

        Waits while a deployment has it locked (409) and while too many run (403), and reads back by version where an
        answer was lost (502, 503, time-out). Raises ChangedError where another changed it, MarathonRefusedError with a
        fault for each field (422), UnavailableError.
        """
        ...

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
        """``labels`` (and the health checks and variables, where given) take the place of those that there are.

        ``expect``: the version that these were made of; where it is of another, raises ChangedError, so that nothing
        that was changed meanwhile is taken back. None: whatever its version.
        """
        ...

    def delete(self, app_id: str, *, force: bool = False) -> None: ...

    def restart(self, app_id: str, *, force: bool = False) -> Deployed: ...

    def versions(self, app_id: str) -> list[str]:
        """Newest first."""
        ...

    def document_at(self, app_id: str, version: str) -> Mapping[str, Any]: ...

    def framework_id(self) -> str:
        """Marathon's own in Mesos, whose files of tasks are by it."""
        ...

    def deployments(self) -> Sequence[str]:
        """Ids of those that run."""
        ...

    def cancel(self, deployment: str) -> None:
        """Ends it without taking it back."""
        ...

    def waiting_reasons(self, app_id: str) -> list[str]:
        """Why an instance is not launched yet, in words, from /v2/queue; empty where none waits."""
        ...

    def events(self, stop: Callable[[], bool]) -> Iterator[str]:
        """Ids of apps that something happened to (``*``: any may have changed, as after a reconnect). Reconnects by

        itself with back-off until ``stop()``. A hint only: what is true is read anew."""
        ...


class Scheduler(Protocol):
    """The scheduler's API, with the administrator's token."""

    def shares(self) -> dict[str, ObservedShare]: ...

    def set_share(self, share: ObservedShare, *, new_token: bool) -> str | None:
        """The tenant's token where one was made."""
        ...

    def access(self, tenant: str) -> MasterAccess | None:
        """What the tenant's master handed over at its last start; None where it has not yet."""
        ...

    def building(self, tenant: str) -> int:
        """Builds of the tenant that wait or run in the scheduler."""
        ...

    def builds(self) -> dict[str, int]:
        """As ``building``, of all tenants."""
        ...

    def forget(self, tenant: str) -> None:
        """What the tenant's master handed over, and its token, which counts no more; its quota stays."""
        ...


class MasterAccess(NamedTuple):
    """As whom a master is spoken to. ``token`` is secret."""

    user: str
    token: str


class Activity(NamedTuple):
    """What a master does."""

    busy: int  # its builds that run
    queued: int
    quieting: bool


class Jenkins(Protocol):
    """One master, by its direct address, with what it handed over."""

    def activity(self) -> Activity: ...

    def quiet_down(self, on: bool) -> None: ...

    def backup(self, name: str) -> None:
        """Starts one; returns at once."""
        ...

    def backups(self) -> list[Backup]: ...


class Backup(NamedTuple):
    """One backup, as the master tells of it."""

    name: str  # ``payments-20261121T203000Z``
    state: str  # ``running``, ``done`` (made, unpacked again and compared), ``failed``
    bytes: int
    message: str
