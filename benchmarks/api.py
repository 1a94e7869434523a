"""The calls of the scheduler's HTTP API that the demo and the benchmarks make."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from framework.cli.client import ApiClient, job_path

PAGE = 500  # the API's largest
LOG_BYTES = 1 << 20  # the most that one call answers with
MAX_LOG_BYTES = 64 << 20


class Api:
    """One token's view of the API, for one thread. Every call raises RefusedError and UnavailableError."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self._client = ApiClient(url, token)

    def set_tenant(self, name: str, weight: int = 100) -> str:
        """Makes a tenant, or gives it a new token. Returns the token."""
        return str(self._client.send("PUT", f"/v1/tenants/{name}", {"weight": weight, "new_token": True})["token"])

    def submit(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Submits one build, once, however often the call has to be repeated."""
        return self._client.send("POST", "/v1/jobs", job, {"Idempotency-Key": uuid.uuid4().hex})

    def job(self, job_id: str) -> dict[str, Any]:
        return self._client.get(job_path(job_id))

    def jobs(self, **only: str) -> Iterator[dict[str, Any]]:
        """Every build this token may see, the newest first; ``only`` those with, say, this ``state``."""
        before: str | None = None
        while True:
            page = self._client.get("/v1/jobs", {"limit": PAGE, **only} | ({"before": before} if before else {}))
            yield from page["jobs"]
            before = page["next"]
            if before is None:
                return

    def wait(self, job_id: str, timeout_s: float) -> dict[str, Any]:
        """The build when it has ended, or as it is after ``timeout_s`` (60 at most)."""
        return self._client.get(job_path(job_id, "wait"), {"timeout_s": timeout_s}, wait_s=timeout_s)

    def why(self, job_id: str) -> str:
        return str(self._client.get(job_path(job_id, "why"))["summary"])

    def log_tail(self, job_id: str, lines: int) -> list[str]:
        """The last lines of a build's output."""
        tail, offset = b"", 0
        while offset < MAX_LOG_BYTES:
            part = self._client.call(
                "GET", job_path(job_id, "log"), params={"offset": offset, "length": LOG_BYTES}
            ).content
            if not part:
                break
            offset += len(part)
            tail = (tail + part)[-LOG_BYTES:]
        return tail.decode(errors="replace").splitlines()[-lines:]

    def master(self, tenant: str) -> dict[str, Any]:
        """How the tenant's master is spoken to, as it told the scheduler."""
        return self._client.get(f"/v1/tenants/{tenant}/master")

    def tenants(self) -> list[dict[str, Any]]:
        return list(self._client.get("/v1/tenants")["tenants"])

    def hosts(self) -> list[dict[str, Any]]:
        return list(self._client.get("/v1/hosts")["hosts"])

    def status(self) -> dict[str, Any]:
        return self._client.get("/v1/status")

    def telemetry(self) -> dict[str, Any]:
        return self._client.get("/v1/telemetry")
