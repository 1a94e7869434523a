"""What is asked of Marathon: one attempt each, and its answer in our terms.

Changes go through the PyPI client ``marathon`` (0.13.0) where it can say them: scaling, restarting, deleting, going
back to a version, ending a deployment. A whole app is sent past it, since it neither knows every field nor that an app
is to be replaced (``partialUpdate=false``), and so is what is read: it has no ``embed`` for groups, does not know the
``role`` of the launch queue, and makes objects of everything, of which 2000 apps would be too many. The session gives
it only answers that went well, so that none of its own errors and log lines, which hold whole documents, comes about.

The released client asks for ``collections.Iterable``, which Python 3.10 took away, only to encode what JSON has no form
for. Nothing of that kind is ever given to it here, so that nothing need be put in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from framework.errors import UnavailableError
from framework.log import muted
from masters.marathon import reading
from masters.marathon.answers import NotThereError, decoded
from masters.marathon.session import MarathonSession
from masters.ports import Deployed
from masters.records import ObservedMaster

if TYPE_CHECKING:
    from marathon import MarathonClient

T = TypeVar("T")


class Calls:
    """Each raises UnavailableError, LockedError, CrowdedError, NotThereError, ConflictError, MarathonError.

    Safe to use from many threads.
    """

    def __init__(self, session: MarathonSession) -> None:
        self._session = session
        self._made: MarathonClient | None = None

    @property
    def who(self) -> str:
        return self._session.who

    def groups(self, group: str) -> list[str]:
        """Ids of the groups that are right below it; none where it is not there."""
        try:
            found = self._get(f"/v2/groups{_quoted(group)}", reading.Group, embed="group.groups")
        except NotThereError:
            return []
        self._meant(found.id == group, group)
        return [one.id for one in found.groups]

    def masters(self, group: str) -> list[ObservedMaster]:
        """Those right in the group; none where it is not there."""
        embeds = ["group.apps", *(f"group.apps.{one}" for one in reading.EMBEDS)]
        try:
            found = self._get(f"/v2/groups{_quoted(group)}", reading.Group, embed=embeds)
        except NotThereError:
            return []
        self._meant(found.id == group, group)
        masters = (self._master(app) for app in found.apps)
        return [one for one in masters if one is not None]

    def master(self, app_id: str) -> ObservedMaster | None:
        embeds = [f"app.{one}" for one in reading.EMBEDS]
        try:
            found = self._get(_app(app_id), reading.AppAnswer, embed=embeds)
        except NotThereError:
            return None
        self._meant(found.app.get("id") == app_id, app_id)
        return self._master(found.app)

    def versions(self, app_id: str) -> list[str]:
        found = self._get(f"{_app(app_id)}/versions", reading.Versions).versions
        return sorted(found, reverse=True)  # points in time, all of one form

    def document_at(self, app_id: str, version: str) -> Mapping[str, Any]:
        found = self._get(f"{_app(app_id)}/versions/{quote(version, safe=':')}", dict[str, Any])
        self._meant(found.get("id") == app_id, app_id)
        return reading.document_of(found)

    def framework_id(self) -> str:
        return self._get("/v2/info", reading.Info).framework_id

    def deployments(self) -> list[str]:
        return [one.id for one in self._get("/v2/deployments", list[reading.Identified])]

    def queue(self) -> list[reading.Queued]:
        return self._get("/v2/queue", reading.Queue).queue

    def create(self, app_id: str, document: Mapping[str, Any]) -> Deployed:
        """Raises ConflictError where there is such an app."""
        what = "POST /v2/apps"
        body = msgspec.json.encode({**document, "id": app_id})
        answer = self._session.call("POST", "/v2/apps", body=body)
        made = decoded(answer.content, reading.Created, self.who, f"{what} with an app")
        return Deployed(made.version, made.deployments[0].id if made.deployments else "")

    def replace(self, app_id: str, document: Mapping[str, Any], *, force: bool) -> Deployed:
        """Creates it where it is not there."""
        return self._put(app_id, document, {"force": _flag(force), "partialUpdate": "false"})

    def go_back(self, app_id: str, version: str, *, force: bool) -> Deployed:
        return self._changed(lambda client: client.rollback_app(_bare(app_id), version, force=force))

    def scale(
        self,
        app_id: str,
        instances: int,
        labels: Mapping[str, str],
        checks: Sequence[Mapping[str, Any]] | None,
        env: Mapping[str, Any] | None,
        *,
        force: bool,
    ) -> Deployed:
        if checks is not None or env is not None:  # which the client cannot encode on Python 3.10 and later
            document = {"instances": instances, "labels": labels, "healthChecks": checks, "env": env}
            given = {key: value for key, value in document.items() if value is not None}
            return self._put(app_id, given, {"force": _flag(force)})
        from marathon import MarathonApp

        change = MarathonApp(instances=instances, labels=dict(labels))
        return self._changed(lambda client: client.update_app(_bare(app_id), change, force=force))

    def restart(self, app_id: str, *, force: bool) -> Deployed:
        return self._changed(lambda client: client.restart_app(_bare(app_id), force=force))

    def delete(self, app_id: str, *, force: bool) -> Deployed:
        return self._changed(lambda client: client.delete_app(_bare(app_id), force=force))

    def cancel(self, deployment: str) -> None:
        self._client.delete_deployment(quote(deployment, safe=""), force=True)

    def _put(self, app_id: str, document: Mapping[str, Any], params: Mapping[str, str]) -> Deployed:
        answer = self._session.call("PUT", _app(app_id), params=params, body=msgspec.json.encode(document))
        made = decoded(answer.content, reading.Change, self.who, f"PUT {_app(app_id)} with a change")
        return Deployed(made.version, made.deployment_id)

    def _changed(self, change: Callable[[MarathonClient], Any]) -> Deployed:
        try:
            made = msgspec.convert(change(self._client), reading.Change)
        except (ValueError, msgspec.ValidationError) as error:  # of requests, where the answer is no JSON
            raise UnavailableError(f"{self.who} answered a change with none; is it a Marathon?") from error
        return Deployed(made.version, made.deployment_id)

    @property
    def _client(self) -> MarathonClient:
        """Imported where something is changed: that takes longer than to list 500 masters."""
        if self._made is None:
            from marathon import MarathonClient

            muted("marathon")  # it logs the bodies of answers
            self._made = MarathonClient([""], session=self._session, sse_session=self._session)
        return self._made

    def _get(self, path: str, kind: type[T], **params: Any) -> T:
        answer = self._session.call("GET", path, params=params)
        return decoded(answer.content, kind, self.who, f"GET {path}")

    def _master(self, app: dict[str, Any]) -> ObservedMaster | None:
        try:
            return reading.master_of(app)
        except msgspec.ValidationError as error:
            raise UnavailableError(f"{self.who} tells of an app that is none ({error}); is it a Marathon?") from error

    def _meant(self, meant: bool, what: str) -> None:
        if not meant:
            raise UnavailableError(f"{self.who} answered with another thing than {what}; is it a Marathon?")


def _app(app_id: str) -> str:
    return f"/v2/apps{_quoted(app_id)}"


def _bare(app_id: str) -> str:
    """As the client puts it behind a slash."""
    return _quoted(app_id).lstrip("/")


def _quoted(path: str) -> str:
    return quote(path, safe="/")


def _flag(value: bool) -> str:
    return "true" if value else "false"
