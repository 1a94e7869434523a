"""Whether a message comes from the forge: by its HMAC, or where the forge sends its secret as it is, by that."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from framework.serverless_settings import Kind

_SIGNED_IN: dict[Kind, str] = {"github": "x-hub-signature-256", "bitbucket": "x-hub-signature"}
"""Headers with ``sha256=HEX``. GitHub's ``X-Hub-Signature`` is of SHA-1, which is not taken."""
_SENT_IN = "x-gitlab-token"


def genuine(kind: Kind, secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """In the same time whatever is wrong, a missing header too."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    name = _SIGNED_IN.get(kind)
    expected, given = (f"sha256={digest}", headers.get(name, "")) if name else (secret, headers.get(_SENT_IN, ""))
    # Of both the hash, so that neither's length can be told from the time either.
    return hmac.compare_digest(_hash(expected), _hash(given)) and bool(secret)


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
