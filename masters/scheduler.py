"""The scheduler's API, as far as masters need it: tenants' shares, and what their masters handed over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from framework.cli.client import ApiClient, RefusedError
from masters.ports import MasterAccess
from masters.records import ObservedShare


class SchedulerApi:
    """``masters.ports.Scheduler``, with a client of its own for every thread, as connections are not for several."""

    def __init__(self, client: Callable[[], ApiClient]) -> None:
        """``client`` makes one with the administrator's token."""
        self._make = client
        self._of_thread = threading.local()
        self._roles: dict[str, str | None] | None = None  # of all tenants, as last read

    def shares(self) -> dict[str, ObservedShare]:
        tenants = self._client().get("/v1/tenants")["tenants"]
        self._roles = {found["name"]: found["role"] for found in tenants}
        return {found["name"]: _share(found) for found in tenants}

    def set_share(self, share: ObservedShare, *, new_token: bool) -> str | None:
        body = {
            "weight": share.weight,
            "quota": {"cpus": share.cpus, "mem_mib": share.mem_mib, "builds": share.builds},
            "role": self._role(share.tenant),
            "new_token": new_token,
        }
        token: str | None = self._client().send("PUT", _path(share.tenant), body)["token"]
        return token

    def access(self, tenant: str) -> MasterAccess | None:
        found = self._found(f"{_path(tenant)}/master")
        return None if found is None else MasterAccess(found["user"], found["api_token"])

    def building(self, tenant: str) -> int:
        found = self._tenant(tenant)
        return 0 if found is None else _builds(found)

    def builds(self) -> dict[str, int]:
        return {found["name"]: _builds(found) for found in self._client().get("/v1/tenants")["tenants"]}

    def forget(self, tenant: str) -> None:
        """What the tenant's master handed over, and its token, which is in its home: nobody has the new one."""
        found = self._tenant(tenant)
        if found is None:
            return
        self.set_share(_share(found), new_token=True)
        try:
            self._client().call("DELETE", f"{_path(tenant)}/master")
        except RefusedError as error:
            if error.status != 404:
                raise

    def _role(self, tenant: str) -> str | None:
        """Of its builds, which is not masters' to say: a PUT without it would take it away."""
        if self._roles is None:
            self.shares()
        return (self._roles or {}).get(tenant)

    def _tenant(self, tenant: str) -> Mapping[str, Any] | None:
        return self._found(_path(tenant))

    def _found(self, path: str) -> Mapping[str, Any] | None:
        try:
            return self._client().get(path)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def _client(self) -> ApiClient:
        client: ApiClient | None = getattr(self._of_thread, "client", None)
        if client is None:
            client = self._of_thread.client = self._make()
        return client


def _path(tenant: str) -> str:
    return f"/v1/tenants/{quote(tenant, safe='')}"


def _builds(found: Mapping[str, Any]) -> int:
    count: int = found["waiting"] + found["launching"] + found["running"]
    return count


def _share(found: Mapping[str, Any]) -> ObservedShare:
    limits = found["quota"]
    return ObservedShare(found["name"], found["weight"], limits["cpus"], limits["mem_mib"], limits["builds"])
