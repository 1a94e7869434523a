"""Tenants' masters beside a scheduler: stand-ins for Jenkins, each a process that can be killed, and builds in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.jenkins_client import Jenkins, freestyle, parameter_of
from framework.errors import UnavailableError
from framework.local.cluster import free_port
from tests.acceptance.scheduler_process import SchedulerProcess, eventually
from tests.acceptance.witness import Witness
from tests.fakes.jenkins.home import Home

REPOSITORY = Path(__file__).parents[2]
USER = "butlery"
AGENT = {"cpus": 0.2, "mem_mib": 256, "connect_timeout_s": 60}
"""Of a template whose agents are JVMs."""
START_S = 30.0


class MasterProcess:
    """The master of one tenant, at one address however often it is started."""

    def __init__(self, directory: Path, tenant: str, scheduler: SchedulerProcess, **settings: Any) -> None:
        """Makes the tenant, with these ``settings``."""
        self.tenant = tenant
        self._home = directory / f"{tenant}-home"
        self._log = directory / f"{tenant}.log"
        self._port = free_port()
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "BUTLERY_TENANT": tenant,
            "BUTLERY_SCHEDULER_URL": scheduler.url,
            "BUTLERY_TENANT_TOKEN": str(scheduler.make_tenant(tenant, **settings)),
        }
        self._scheduler = scheduler
        self._process: subprocess.Popen[bytes] | None = None
        self._jenkins: Jenkins | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def jenkins(self) -> Jenkins:
        assert self._jenkins is not None, "it was never started"
        return self._jenkins

    def start(self) -> None:
        """Also again. Returns once the scheduler knows how to reach it."""
        assert self._process is None
        options = ["--home", str(self._home), "--port", str(self._port), "--boot-s", "0.1"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fakes.jenkins", *options],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._up, f"{self.tenant}'s master ({self.said()[-2000:]})", START_S)

    def _up(self) -> bool:
        try:
            session = self.client().get("api/json?tree=mode") and self.told()
        except (UnavailableError, OSError):
            return False
        return session is not None

    def client(self) -> Jenkins:
        """Raises OSError before its first start."""
        if self._jenkins is None:
            token = (self._home / "secrets" / "butlery-api-token").read_text()
            self._jenkins = Jenkins(self.url, USER, token)
        return self._jenkins

    def told(self) -> Mapping[str, Any] | None:
        """What the scheduler knows of it."""
        answer = self._scheduler.call("GET", f"/v1/tenants/{self.tenant}/master")
        found: Mapping[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return found

    def node_secret(self, node: str) -> str:
        """What an agent of it connects with."""
        return Home(self._home).node_secret(node)

    def kill9(self) -> None:
        assert self._process is not None
        self._process.kill()
        assert self._process.wait(30) == -signal.SIGKILL
        self._process = None

    def finish(self) -> None:
        """At the end of a test, however that went."""
        if self._jenkins is not None:
            self._jenkins.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    # Builds.

    def results(self, job: str) -> dict[str, list[str | None]]:
        """Of each number N of the job's builds, in their order."""
        found: dict[str, list[str | None]] = {}
        for build in reversed(self.jenkins.builds(job)):
            found.setdefault(str(parameter_of(build, "N")), []).append(build["result"])
        return found

    def wait_results(self, job: str, wanted: Mapping[str, list[str]]) -> None:
        def found() -> bool:
            return self.results(job) == wanted

        eventually(found, f"{job}: {wanted}, not {self.results(job)}; {self.jenkins.items()}")

    def wait_no_nodes(self) -> None:
        eventually(lambda: not self.jenkins.nodes(), f"{self.tenant}: the end of {self.jenkins.nodes()}")


def witnessed(witness: Witness, label: str | None) -> str:
    """config.xml of a job whose builds leave a trace of every time they ran, and wait until they are let go.

    Of number N of JOB they are those of ``JOB-N``.
    """
    named = 'BUTLERY_JOB="$JOB_NAME-$N"\nBUTLERY_TASK_ID="$NODE_NAME"\n'
    return freestyle(label, f"set +x\n{named}{witness.script}")
