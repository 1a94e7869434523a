"""A Mesos that asks who they are, and what somebody without a secret, such as a build, cannot do to it."""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from framework.local.cluster import MesosCluster
from framework.local.credentials import Credentials
from tests.integration.conftest import ClusterFactory
from tests.integration.local.tiny_framework import TinyFramework


@pytest.fixture(scope="module")
def cluster(mesos_cluster: ClusterFactory) -> MesosCluster:
    return mesos_cluster(2, secured=True)


def credentials(cluster: MesosCluster) -> Credentials:
    assert cluster.credentials is not None
    return cluster.credentials


def asked(
    cluster: MesosCluster, path: str, call: dict[str, Any] | None = None, authorization: str | None = None
) -> int:
    headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
    body = json.dumps(call).encode() if call is not None else None
    request = urllib.request.Request(f"{cluster.url}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


SUBSCRIBE = {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "x", "roles": ["x"]}}}


@pytest.mark.parametrize("authorization", [None, "Basic b3BlcmF0b3I6eA=="])
@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/api/v1/scheduler", SUBSCRIBE),
        ("/api/v1", {"type": "GET_AGENTS"}),
        ("/slave(1)/api/v1", {"type": "LIST_FILES", "list_files": {"path": "/"}}),
        ("/slave(2)/state", None),
        ("/state", None),
        ("/master/teardown", {}),
    ],
)
def test_nobody_is_answered_without_the_secret(
    cluster: MesosCluster, path: str, call: dict[str, Any] | None, authorization: str | None
) -> None:
    assert asked(cluster, path, call, authorization) == 401


def test_sandboxes_are_shown_to_those_with_the_secret_alone(cluster: MesosCluster) -> None:
    told = credentials(cluster)
    with TinyFramework(cluster.url, authorization=told.scheduler.authorization()) as framework:
        offer = framework.launch()
        framework.status("TASK_RUNNING")
        [sandbox] = cluster.work_dir.glob(
            f"**/work/slaves/*/frameworks/{framework.framework_id}/executors/*/runs/latest"
        )
        agent, directory = offer["url"]["path"], str(sandbox.resolve())
        for endpoint in ("browse", "read", "download"):
            query = urllib.parse.urlencode({"path": directory})
            assert asked(cluster, f"/files/{endpoint}?{query}") == 403, endpoint
        listing = {"type": "LIST_FILES", "list_files": {"path": directory}}
        assert asked(cluster, f"{agent}/api/v1", listing) == 401
        for each in (told.operator, told.scheduler):
            assert asked(cluster, f"{agent}/api/v1", listing, each.authorization()) == 200


def test_secrets_are_their_owners_alone_and_outlive_a_restart(tmp_path: Path) -> None:
    told = Credentials(tmp_path)
    told.make()
    before = told.scheduler.authorization(), told.operator.authorization()
    told.make()
    assert (told.scheduler.authorization(), told.operator.authorization()) == before
    for file in (told.file, told.agent_file, told.scheduler.secret_file, told.operator.secret_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
