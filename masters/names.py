"""Names that several rooms share: labels and variables of a master's app, its id, its secrets' sources."""

from __future__ import annotations

import zlib

LABEL_TENANT = "BUTLERY_TENANT"
LABEL_POLICY = "BUTLERY_POLICY"
"""JSON of ``masters.records.Policy``: all that the tenants' service must know of a master beside its tasks."""
LABEL_STATE = "BUTLERY_STATE"
"""``on``, ``asleep`` (hibernated: a request wakes it) or ``off`` (scaled to 0: none does)."""
LABEL_FAILED = "BUTLERY_FAILED"
"""Why a master that never was healthy was left off by ``apply``: the next one tries it again."""

SCHEDULER_USER = "butlery"
"""The user of a master whose API token the scheduler has."""
ADMIN_USER = "admin"


class Variable:
    """Of a master's environment; ``masters/image/`` reads them."""

    HOME = "JENKINS_HOME"
    TENANT = "BUTLERY_TENANT"
    ROOT_URL = "BUTLERY_ROOT_URL"
    PATH = "BUTLERY_PATH"
    """Path prefix (Jenkins' --prefix), such as ``/payments``; empty at the root."""
    SCHEDULER_URL = "BUTLERY_SCHEDULER_URL"
    """Events go to its /v1/demand, the master's own access to its /v1/tenants/TENANT/master."""
    TENANT_TOKEN = "BUTLERY_TENANT_TOKEN"  # noqa: S105 the variable's name
    ADMIN_PASSWORD = "BUTLERY_ADMIN_PASSWORD"  # noqa: S105 the variable's name
    JAVA_OPTIONS = "BUTLERY_JAVA_OPTIONS"
    PLUGINS = "BUTLERY_PLUGINS"
    """``ID[:VERSION]``, with spaces between."""
    CONFIGURATION = "BUTLERY_CONFIGURATION"
    """The files of configuration-as-code: base64 of a .tar.gz."""
    BACKUP_TO = "BUTLERY_BACKUP_TO"
    BACKUP_KEEP = "BUTLERY_BACKUP_KEEP"
    AS_ROOT = "BUTLERY_AS_ROOT"
    """Set where the tenant's ``uid`` is 0: without it a master that finds itself root does not start."""
    RESTORE = "BUTLERY_RESTORE"
    """``NAME@ORDER``: the backup to unpack before the next start; an order is done once, however often it starts."""
    HTTP_PORT = "PORT0"
    AGENT_PORT = "PORT1"
    """Set where inbound agents may come by TCP."""


def shard_of(tenant: str, shards: int) -> str:
    """``s00``...: stable for a name, whatever else there is."""
    width = max(2, len(str(shards - 1)))
    return f"s{zlib.crc32(tenant.encode()) % shards:0{width}d}"


def app_id(group: str, tenant: str, shards: int) -> str:
    """``/butlery/masters/s07/payments``."""
    return f"{group}/{shard_of(tenant, shards)}/{tenant}"


def secret_source(tenant: str, name: str) -> str:
    """The name in the secret store of a tenant's secret, such as ``payments/token``."""
    return f"{tenant}/{name}"
