"""Who asks: a tenant or the administrator, told by a bearer token.

Every check hashes what was sent and compares it with two hashes in constant time, whether the token is missing, of an
unknown tenant, wrong or right, so that the time of an answer tells nothing about which it was.
"""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from framework.api.problems import ProblemError
from framework.core.ids import TenantName
from framework.ports import Seat
from framework.tokens import tenant_of, token_sha256

NO_ONE_SHA256 = "0" * 64
"""Compared with where there is no hash to compare with; no known token has it."""

_bearer = HTTPBearer(auto_error=False, description="A tenant's token, `bt~TENANT~SECRET`, or the administrator's.")


class Principal:
    """Whose token it was. ``tenant`` is None for the administrator, who may do everything."""

    def __init__(self, tenant: TenantName | None) -> None:
        self.tenant = tenant

    @property
    def name(self) -> str:
        return self.tenant or "the administrator"

    def may_see(self, tenant: TenantName) -> bool:
        return self.tenant is None or self.tenant == tenant


class Authenticator:
    """Tells tokens apart. ``admin_token_sha256`` is the SHA-256 of the administrator's token, in hex."""

    def __init__(self, seat: Seat, admin_token_sha256: str) -> None:
        self._seat = seat
        self._admin = admin_token_sha256 or NO_ONE_SHA256

    def principal(self, token: str) -> Principal | None:
        """None where nobody has this token."""
        given = token_sha256(token)
        tenant = tenant_of(token) or TenantName("")
        expected = self._seat.control.token_sha256(tenant) or NO_ONE_SHA256
        is_admin = hmac.compare_digest(given, self._admin)
        is_tenant = hmac.compare_digest(given, expected)
        if is_admin:
            return Principal(None)
        return Principal(tenant) if is_tenant else None


async def authenticated(
    request: Request, _documented: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Principal:
    """The principal of the request. Raises ProblemError (401), the same for a missing, a wrong and an expired token."""
    return principal_of(request)


def principal_of(request: Request) -> Principal:
    """As ``Authenticated``, for a route that asks itself."""
    authenticator: Authenticator = request.app.state.authenticator
    principal = authenticator.principal(bearer_token(request) or "")
    if principal is None:
        raise ProblemError(
            401,
            "unauthenticated",
            "A valid bearer token is needed: `Authorization: Bearer TOKEN`.",
            headers={"WWW-Authenticate": 'Bearer realm="butlery"'},
        )
    return principal


Authenticated = Annotated[Principal, Depends(authenticated)]


def bearer_token(request: Request) -> str | None:
    """None where there is none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


async def administrator(principal: Authenticated) -> Principal:
    """Raises ProblemError (403) for a tenant."""
    if principal.tenant is not None:
        raise ProblemError(403, "forbidden", "Only the administrator's token may do this.")
    return principal


Administrator = Annotated[Principal, Depends(administrator)]
