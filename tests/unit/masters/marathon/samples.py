"""The edge against a small Marathon that answers as a test says; times are short."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from masters import names
from masters.marathon import MarathonEdge
from masters.marathon.pace import Pace
from masters.records import Policy
from masters.settings import MastersContext, MastersSettings

QUICK = Pace(
    retry_base_s=0.01,
    retry_cap_s=0.05,
    retry_for_s=0.3,
    locked_base_s=0.01,
    locked_cap_s=0.03,
    crowded_base_s=0.02,
    crowded_cap_s=0.05,
    stream_base_s=0.01,
    stream_cap_s=0.05,
    stream_idle_s=0.4,
    queue_age_s=0.0,
)


def edge_to(
    *urls: str, retry_for_s: float = QUICK.retry_for_s, queue_age_s: float = QUICK.queue_age_s, **settings: Any
) -> MarathonEdge:
    context = MastersContext(
        marathon_urls=list(urls),
        marathon_credentials=("marathon", "hidden"),
        scheduler_url="http://127.0.0.1:1",
        secrets=None,
        state=Path("/nonexistent/masters.db"),
        kit="file:///nonexistent/kit.tar.gz",
        settings=MastersSettings.model_validate({"call_timeout_s": 0.25, "deployment_timeout_s": 1.5, **settings}),
    )
    return MarathonEdge(context, replace(QUICK, retry_for_s=retry_for_s, queue_age_s=queue_age_s))


def app(tenant: str, **fields: Any) -> dict[str, Any]:
    """An app as masters are made of, in the parts that matter here."""
    return {
        "id": app_id(tenant),
        "cmd": "exec sleep 3600",
        "cpus": 0.1,
        "mem": 32,
        "instances": 1,
        "constraints": [],
        "container": {"type": "MESOS", "volumes": []},
        "env": {"GIT_DEPTH": "1"},
        "portDefinitions": [{"name": "http", "port": 0}],
        "labels": {
            names.LABEL_TENANT: tenant,
            names.LABEL_STATE: "on",
            names.LABEL_POLICY: msgspec.json.encode(Policy(host=f"{tenant}.localhost")).decode(),
        },
        **fields,
    }


def app_id(tenant: str) -> str:
    return names.app_id("/butlery/masters", tenant, 64)
