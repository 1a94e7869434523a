"""Bearer tokens of tenants: their form, and the hash that stands for them wherever they are kept.

A tenant's token is ``bt~TENANT~SECRET``. ``~`` may stand in a bearer token (RFC 6750, section 2.1) but neither in a
tenant's name nor in a URL-safe secret, so that the parts never run together. The tenant's name in it saves searching
all the hashes, and tells whose token it is when one turns up where it should not. The fixed ``bt~`` lets scanners of
leaked secrets find it. What is hashed is the whole token.
"""

from __future__ import annotations

import hashlib

from framework.core.ids import TenantName

_PREFIX = "bt"
_SEPARATOR = "~"


def tenant_token(tenant: TenantName, secret: str) -> str:
    """The token of ``tenant`` with this unguessable, URL-safe ``secret``."""
    return _SEPARATOR.join((_PREFIX, tenant, secret))


def tenant_of(token: str) -> TenantName | None:
    """Whose token it says it is; None where it has not the form of a tenant's token."""
    prefix, _, rest = token.partition(_SEPARATOR)
    tenant, separator, secret = rest.partition(_SEPARATOR)
    if prefix != _PREFIX or not tenant or not separator or not secret:
        return None
    return TenantName(tenant)


def token_sha256(token: str) -> str:
    """SHA-256 of the token, in hex. Tokens hold 192 bits of chance, so that a slow hash would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()
