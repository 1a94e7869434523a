"""Tenants and what a Marathon has of them: apps as the embedded server would hold and show them, without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from framework.local.marathon.definition.read import EMPTY, Defaults, new_app, shown, update_app
from framework.local.marathon.groups.settling import settle
from framework.local.marathon.groups.tree import app_of as found_app
from framework.local.marathon.groups.tree import with_apps
from masters import names
from masters.app import AppContext
from masters.comparing import policy_in
from masters.plan import Desired
from masters.records import Observed, ObservedMaster, ObservedShare
from masters.spec.model import TenantSpec

CONTEXT = AppContext(
    group="/butlery/masters",
    shards=8,
    scheduler_url="http://10.0.0.1:8080",
    public_url="https://jenkins.example:8443",
    domain="jenkins.example",
    kit="file:///var/lib/butlery/kit.tar.gz",
    store=True,
)
CLEAR = replace(CONTEXT, store=False)
"""Without a secret store."""
VERSION = "2026-11-21T20:00:00.000Z"
LATER = "2026-11-21T21:00:00.000Z"


def spec(name: str = "payments", **changes: Any) -> TenantSpec:
    """A tenant with an image on a shared directory, unless it is said otherwise."""
    given = {"name": name, "image": "jenkins/jenkins:lts", "volume": {"host_path": "/srv/{tenant}", "shared": True}}
    given.update(changes)
    return TenantSpec.model_validate({key: value for key, value in given.items() if value is not None})


def desired(tenant: TenantSpec, **more: Any) -> Desired:
    return Desired(tenant, lambda key: f"{tenant.name}.yaml:1 {key}", **more)


def served(document: Mapping[str, Any], before: ObservedMaster | None = None, **changes: Any) -> ObservedMaster:
    """The app after a PUT, as the server shows it. Raises InvalidObjectError where it would refuse it."""
    app_id = document["id"]
    if before is None:
        root, version = EMPTY, VERSION
        app = new_app(document, defaults=Defaults(), version=version)
    else:
        version = LATER
        kept = {key: value for key, value in before.document.items() if key not in ("version", "versionInfo")}
        was = new_app(kept, defaults=Defaults(), version=before.version)
        root = with_apps(EMPTY, {app_id: was})
        app = update_app(was, document, app_id=app_id, partial=False, defaults=Defaults(), version=version)
    settled = found_app(settle(root, with_apps(root, {app_id: app}), version), app_id)
    assert settled is not None
    answer = msgspec.json.decode(shown(settled))
    master = ObservedMaster(
        tenant=answer["labels"][names.LABEL_TENANT],
        app_id=app_id,
        version=settled.version,
        document=answer,
        tasks=(),
        deployments=(),
        policy=policy_in(answer),
        wanted=answer["labels"][names.LABEL_STATE],
    )
    return replace(master, **changes)


def observed(
    masters: Iterable[ObservedMaster],
    shares: Iterable[ObservedShare] = (),
    secrets: Mapping[str, str] | None = None,
    boots: Mapping[str, float] | None = None,
) -> Observed:
    return Observed(
        {one.tenant: one for one in masters}, {one.tenant: one for one in shares}, boots or {}, secrets or {}
    )
