"""``butlery scheduler run`` as a child process, and its HTTP API as a tenant's administrator uses it."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from framework.local.cluster import MesosCluster, free_port

ADMIN_TOKEN = "an-administrators-token-for-tests"
PATIENCE_S = 120.0
"""Of a test for what should take seconds: the machine may be busy with other things."""

TENANT = "team"


def eventually(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S, every_s: float = 0.1) -> Any:
    """What ``condition`` says once that is true of it. AssertionError after ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come about within {patience_s:g} s"
        time.sleep(every_s)
    return found


class SchedulerProcess:
    """One scheduler with its own settings, state and port. ``start`` and ``kill9`` it as often as a test wants."""

    def __init__(self, directory: Path, mesos: MesosCluster | str, sections: Mapping[str, Mapping[str, Any]]) -> None:
        self.directory = directory
        self.state = directory / "state" / "state.db"
        self.log = directory / "scheduler.log"
        self.port = free_port()
        settings: dict[str, dict[str, Any]] = {
            "mesos": {"url": mesos if isinstance(mesos, str) else mesos.url},
            "api": {"port": self.port},
            "state": {"path": str(self.state)},
            "agents": {} if isinstance(mesos, str) else {"isolation": mesos.isolation.mode},
            "scheduling": {"retry_base_s": 0.2},
            "log": {"format": "json"},
        }
        for name, section in sections.items():
            settings.setdefault(name, {}).update(section)
        self.config = directory / "butlery.yaml"
        self.config.write_text(yaml.safe_dump(settings))
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{settings['api']['port']}",
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
            timeout=httpx.Timeout(30.0, read=90.0),
            trust_env=False,
        )

    # The process.

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "framework.cli", "scheduler", "run", "--config", str(self.config)]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BUTLERY_ADMIN_TOKEN": ADMIN_TOKEN,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.directory),
        }

    def start(self, *, ready: bool = True, prefix: tuple[str, ...] = ()) -> None:
        """Also again, after ``kill9`` or ``stop``. ``ready``: returns once it has subscribed to Mesos.

        ``prefix`` is a command that becomes the one that it is followed by.
        """
        assert self._process is None, "it runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*prefix, *self.command],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.wait_ready()

    def run_to_its_end(self) -> subprocess.CompletedProcess[str]:
        """For a start that must fail: its exit code and what it said."""
        return subprocess.run(
            self.command,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def wait_ready(self) -> None:
        eventually(self.well, f"the scheduler's subscription ({self.said()[-2000:]})")

    def well(self) -> bool:
        """Whether it serves and is subscribed. AssertionError where it has ended."""
        self.assert_running()
        try:
            return self._http.get("/v1/health").status_code == 200
        except httpx.TransportError:
            return False

    def assert_running(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, f"the scheduler ended with {self._process.poll()}: {self.said()[-4000:]}"

    def kill9(self) -> None:
        assert self._process is not None
        self._process.kill()
        assert self._process.wait(30) == -signal.SIGKILL
        self._process = None

    def stop(self) -> None:
        """As the operator does; it must end well."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(60)
        self._process = None
        assert code == 0, self.said()[-4000:]

    def finish(self) -> None:
        """At the end of a test, however that went."""
        self._http.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    # Its API.

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._http.request(method, path, **options)

    def begin(self, method: str, path: str) -> http.client.HTTPConnection:
        """A call that has been sent, on a connection of its own, whose answer nobody waits for yet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request("GET", "/v1/health")  # once it is answered the connection is no longer to be accepted
        connection.getresponse().read()
        connection.request(method, path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        return connection

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.call("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make_tenant(self, name: str = TENANT, **settings: Any) -> str | None:
        """Its token, where it is new."""
        answer = self.call("PUT", f"/v1/tenants/{name}", json=settings)
        assert answer.status_code == 200, answer.text
        token: str | None = answer.json()["token"]
        return token

    def submit(self, name: str, script: str, *, key: str | None = None, **job: Any) -> str:
        """The job's id."""
        given = {
            "tenant": TENANT,
            "name": name,
            "script": script,
            "cpus": 0.1,
            "mem_mib": 64,
            "timeout_s": 600.0,
            **job,
        }
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self.call("POST", "/v1/jobs", json=given, headers=headers)
        assert answer.status_code == 201, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    def job(self, job_id: str) -> Any:
        return self.get(f"/v1/jobs/{job_id}")

    def states(self, job_ids: Iterable[str]) -> list[str]:
        return [self.job(job_id)["state"] for job_id in job_ids]

    def wait_running(self, job_ids: Iterable[str]) -> None:
        wanted = list(job_ids)
        eventually(lambda: set(self.states(wanted)) == {"running"}, f"{len(wanted)} builds running")

    def wait_ended(self, job_id: str, patience_s: float = PATIENCE_S) -> Any:
        """The job as it is when it has ended."""
        return eventually(lambda: self._ended(job_id), f"the end of {job_id}", patience_s)

    def _ended(self, job_id: str) -> Any:
        self.get(f"/v1/jobs/{job_id}/wait", timeout_s=10.0)  # which a standby has the leader answer
        job = self.job(job_id)  # and this from its copy, a moment later
        return job if job["state"] == "ended" else None

    def logged(self, job_id: str) -> str:
        answer = self.call("GET", f"/v1/jobs/{job_id}/log")
        assert answer.status_code == 200, answer.text
        return answer.text
