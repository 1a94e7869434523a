"""Changes of apps: sent until they are made, once.

Before every try it is read whether the change is made already, as where the answer to an earlier one was lost; so a
change that is asked for again does no harm either.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from framework.errors import UnavailableError
from framework.log import get_logger
from masters.comparing import differences
from masters.errors import ChangedError, MarathonError
from masters.marathon.answers import ConflictError, CrowdedError, LockedError, NotThereError
from masters.marathon.calls import Calls
from masters.marathon.pace import Governor, Pace, Tries, locked_pause_s
from masters.names import LABEL_STATE
from masters.ports import Deployed
from masters.records import ObservedMaster

_ROLLBACK = {"version"}

log = get_logger(__name__)


class Writer:
    """Safe to use from many threads."""

    def __init__(self, calls: Calls, pace: Pace, *, addresses: int, deployment_timeout_s: float) -> None:
        self._calls = calls
        self._pace = pace
        self._addresses = addresses
        self._deployment_timeout_s = deployment_timeout_s
        self._governor = Governor(pace)
        self._doubtful: dict[str, str] = {}  # versions of apps that may have been restarted since

    def put(self, app_id: str, document: Mapping[str, Any], expect: str | None, *, force: bool) -> Deployed:
        if document.keys() == _ROLLBACK:
            return self._go_back(app_id, document["version"], expect, force=force)

        def made() -> Deployed | None:
            master = self._calls.master(app_id)
            if (master.version if master else None) == expect:
                return None
            return _made_of(app_id, master, lambda one: _as_wanted(one, document))

        def send() -> Deployed:
            if expect is not None:
                return self._calls.replace(app_id, document, force=force)
            try:
                return self._calls.create(app_id, document)
            except ConflictError as error:
                found = made()
                if found is None:  # it is a group that stands in its place
                    raise MarathonError(f"{app_id}: {error}") from error
                return found

        return self._until_made(app_id, made, send, look_first=expect is not None)

    def _go_back(self, app_id: str, version: str, expect: str | None, *, force: bool) -> Deployed:
        def made() -> Deployed | None:
            master = self._calls.master(app_id)
            if (master.version if master else None) == expect:
                return None
            return _made_of(app_id, master, lambda one: _as_then(one, self._calls.document_at(app_id, version)))

        return self._until_made(app_id, made, lambda: self._calls.go_back(app_id, version, force=force))

    def scale(
        self,
        app_id: str,
        instances: int,
        labels: Mapping[str, str],
        checks: Sequence[Mapping[str, Any]] | None,
        env: Mapping[str, Any] | None,
        *,
        expect: str | None,
        force: bool,
    ) -> Deployed:
        def made() -> Deployed | None:
            master = self._there(app_id)
            found = master.document
            same = found.get("instances") == instances and found.get("labels") == labels
            same = same and (env is None or found.get("env") == env)
            if not same and expect is not None and master.version != expect:
                raise ChangedError(f"{app_id} is of version {master.version} now: somebody else has changed it")
            return _deployed(master) if same else None

        return self._until_made(
            app_id, made, lambda: self._calls.scale(app_id, instances, labels, checks, env, force=force)
        )

    def restart(self, app_id: str, *, force: bool) -> Deployed:
        """Known to be made by the app's new version, also where it is asked for again after an outage."""
        before = self._doubtful.pop(app_id, None)

        def made() -> Deployed | None:
            nonlocal before
            master = self._there(app_id)
            before = before or master.version
            return _deployed(master) if master.version != before else None

        try:
            return self._until_made(app_id, made, lambda: self._calls.restart(app_id, force=force))
        except UnavailableError:
            if before is not None:
                self._doubtful[app_id] = before
            raise

    def delete(self, app_id: str, *, force: bool) -> Deployed | None:
        """None where it is not there any more."""
        try:
            return self._until_made(
                app_id, lambda: None, lambda: self._calls.delete(app_id, force=force), look_first=False
            )
        except NotThereError:
            return None

    def _there(self, app_id: str) -> ObservedMaster:
        master = self._calls.master(app_id)
        if master is None:
            raise MarathonError(f"{app_id} is not there, or no master")
        return master

    def _until_made(
        self, app_id: str, made: Callable[[], Deployed | None], send: Callable[[], Deployed], *, look_first: bool = True
    ) -> Deployed:
        """``made`` tells what ``send`` would answer where it has been done already."""
        until = time.monotonic() + self._deployment_timeout_s
        tries = Tries(self._pace, self._addresses)
        look = look_first
        while True:
            sent_at = self._governor.wait(until)
            if sent_at is None:
                limit_s = self._deployment_timeout_s
                raise MarathonError(f"{app_id}: Marathon has run as many deployments as it takes for {limit_s:g} s")
            try:
                found = made() if look else None
                if found is not None:
                    return found
                look = True
                answer = send()
            except LockedError as error:
                self._wait_for(app_id, error.deployments, until)
                tries = Tries(self._pace, self._addresses)
            except CrowdedError:
                log.info("Marathon runs as many deployments as it takes; slowing down", app=app_id)
                self._governor.refused(sent_at)
                tries = Tries(self._pace, self._addresses)
            except UnavailableError as error:
                tries.failed(error)
            else:
                self._governor.taken()
                return answer

    def _wait_for(self, app_id: str, deployments: Collection[str], until: float) -> None:
        """Until these have ended. Raises MarathonError where they have not."""
        log.info("an app is locked; its deployments are waited for", app=app_id, deployments=list(deployments))
        tries = Tries(self._pace, self._addresses)
        attempt = 0
        while True:
            pause_s = locked_pause_s(self._pace, attempt)
            if time.monotonic() + pause_s > until:
                names = ", ".join(deployments) or "a deployment"
                raise MarathonError(
                    f"{app_id} is locked by {names}, still under way after {self._deployment_timeout_s:g} s"
                )
            time.sleep(pause_s)
            attempt += 1
            if not deployments or not set(deployments) & set(tries.call(self._calls.deployments)):
                return


def _deployed(master: ObservedMaster) -> Deployed:
    """As its change was answered; no deployment where that has ended."""
    return Deployed(master.version, master.deployments[0] if master.deployments else "")


def _made_of(app_id: str, master: ObservedMaster | None, wanted: Callable[[ObservedMaster], bool]) -> Deployed:
    """Of an app that is of another version than it was: ours, where it is as it was wanted. Raises ChangedError."""
    if master is None:
        raise ChangedError(f"{app_id} was deleted meanwhile, by somebody else")
    if not wanted(master):
        raise ChangedError(f"{app_id} is of version {master.version} now: somebody else has changed it")
    return _deployed(master)


def _as_wanted(master: ObservedMaster, document: Mapping[str, Any]) -> bool:
    """``differences`` leaves to others what is not a plan's to say."""
    found = master.document
    return (
        found.get("instances") == document.get("instances", 1)
        and found.get("env", {}) == document["env"]
        and found["labels"].get(LABEL_STATE) == document["labels"].get(LABEL_STATE)
        and not differences(dict(document), master)
    )


def _as_then(master: ObservedMaster, then: Mapping[str, Any]) -> bool:
    return _unversioned(master.document) == _unversioned(then)


def _unversioned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("version", "versionInfo")}
