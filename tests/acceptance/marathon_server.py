"""The Marathon-compatible server on a real Mesos, as ``butlery local up`` runs it, and its API behind the checker."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.cluster import Cluster, interruptible, temporary_cluster
from tests.acceptance.scheduler_process import eventually
from tests.contract.marathon_api.proxy import CheckingProxy, checking_proxy
from tests.workers import FIRST_PORT

PATIENCE_S = 60.0
HOSTS = {"count": 3, "cpus": 8, "mem_mib": 2048, "ports": 50, "attributes": {"rack": ["r1", "r2", "r3"]}}


class MarathonServer:
    """A cluster that is up, with that server and no scheduler."""

    def __init__(self, cluster: Cluster) -> None:
        status = cluster.status
        assert status.marathon_url is not None
        assert status.marathon_credentials is not None
        self.cluster = cluster
        self.url = status.marathon_url
        self.user, self.password = Path(status.marathon_credentials).read_text().strip().split(":", 1)
        self.authorization = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def kill9(self) -> None:
        """Ends it as a crash would. Returns when what keeps it has started another."""
        before = self.cluster.now().marathon_pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        eventually(lambda: self.cluster.now().marathon_pid not in (None, before), "another server", PATIENCE_S)
        eventually(self._subscribed, "its subscription to Mesos", PATIENCE_S)

    def _subscribed(self) -> bool:
        try:
            answer = httpx.get(
                f"{self.url}/v2/info", headers={"Authorization": self.authorization}, trust_env=False, timeout=10
            )
            return answer.status_code == 200 and "frameworkId" in answer.json()
        except httpx.TransportError:
            return False


@contextmanager
def marathon_server(**settings: Any) -> Iterator[MarathonServer]:
    """``settings``: of ``local.marathon``, besides what the tests use."""
    local = {"hosts": [HOSTS], "first_port": FIRST_PORT, "allocation_interval_s": 0.1, "marathon": settings}
    with interruptible(), temporary_cluster({"local": local}, print, scheduler=False) as cluster:
        yield MarathonServer(cluster)


class MarathonApi:
    """Calls whose exchanges are all held against the schemas."""

    def __init__(self, server: MarathonServer, proxy: CheckingProxy) -> None:
        self.server, self.proxy = server, proxy
        self._http = httpx.Client(
            base_url=proxy.url,
            auth=(server.user, server.password),
            timeout=httpx.Timeout(60.0),
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, path, **options)

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.call("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def change(self, method: str, path: str, given: object = None, **parameters: Any) -> Any:
        """The answer, that must be 200 or 201."""
        answer = self.call(method, path, json=given, params=parameters)
        assert answer.status_code in (200, 201), f"{answer.status_code} {answer.text}"
        return answer.json()

    def app(self, app_id: str, *embed: str) -> Any:
        return self.get(f"/v2/apps{app_id}", **({"embed": list(embed)} if embed else {}))["app"]

    def tasks(self, app_id: str) -> list[Any]:
        tasks: list[Any] = self.get(f"/v2/apps{app_id}/tasks")["tasks"]
        return tasks

    def deployment_ids(self) -> list[str]:
        return [one["id"] for one in self.get("/v2/deployments")]

    def wait_deployed(self, patience_s: float = PATIENCE_S) -> None:
        eventually(lambda: not self.deployment_ids(), "the end of all deployments", patience_s)

    def deploy(self, method: str, path: str, given: object = None, **parameters: Any) -> Any:
        """The answer, once what it began has ended."""
        answer = self.change(method, path, given, **parameters)
        self.wait_deployed()
        return answer

    def wait_for(self, app_id: str, condition: Callable[[Any], object], what: str) -> Any:
        """The app, with its tasks, as it is when the condition is true of it."""

        def found() -> Any:
            app = self.app(app_id, "app.tasks", "app.counts", "app.lastTaskFailure", "app.deployments")
            return app if condition(app) else None

        return eventually(found, f"{app_id}: {what}")

    def clear(self) -> None:
        """Nothing is left to run, nor under way."""
        for deployment_id in self.deployment_ids():
            self.call("DELETE", f"/v2/deployments/{deployment_id}", params={"force": "true"})
        for app in self.get("/v2/apps")["apps"]:
            self.call("DELETE", f"/v2/apps{app['id']}", params={"force": "true"})
        self.wait_deployed()
        eventually(lambda: not self.get("/v2/tasks")["tasks"], "the end of all tasks")
        for group in self.get("/v2/groups")["groups"]:
            self.call("DELETE", f"/v2/groups{group['id']}", params={"force": "true"})
        self.wait_deployed()


@contextmanager
def marathon_api(server: MarathonServer) -> Iterator[MarathonApi]:
    """For one test; what it leaves is cleared up."""
    with checking_proxy(server.url, server.authorization) as proxy:
        api = MarathonApi(server, proxy)
        try:
            yield api
        finally:
            api.clear()
            api.close()


def sleeper(app_id: str, instances: int = 1, **fields: Any) -> dict[str, Any]:
    """An app that does nothing, for long."""
    return {
        "id": app_id,
        "cmd": "exec sleep 3600",
        "cpus": 0.1,
        "mem": 32,
        "disk": 0,
        "instances": instances,
        "taskKillGracePeriodSeconds": 1,
        "backoffSeconds": 1,
        **fields,
    }


def checked(app_id: str, instances: int = 1, **fields: Any) -> dict[str, Any]:
    """The same with a health check that its Mesos executor makes, at once and every second."""
    check = {
        "protocol": "COMMAND",
        "command": {"value": "true"},
        "gracePeriodSeconds": 60,
        "intervalSeconds": 1,
        "delaySeconds": 0,
        "timeoutSeconds": 20,
        "maxConsecutiveFailures": 3,
    }
    return sleeper(app_id, instances, **{"healthChecks": [check], **fields})


def names(tasks: Sequence[Any]) -> set[str]:
    return {task["id"] for task in tasks}
