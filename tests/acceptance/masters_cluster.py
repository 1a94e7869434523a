"""A cluster with scheduler, Marathon-compatible server and ingress, and tenants' commands as an operator gives them.

Its masters are stand-ins for Jenkins, processes of this machine.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from benchmarks.cluster import Cluster, interruptible, temporary_cluster
from framework.local.status import Paths
from tests.acceptance.scheduler_process import eventually
from tests.workers import FIRST_PORT

REPOSITORY = Path(__file__).parents[2]
STAND_IN = f"exec env PYTHONPATH={shlex.quote(str(REPOSITORY))} {shlex.quote(sys.executable)} -m tests.fakes.jenkins"
HOSTS = {"count": 3, "cpus": 16, "mem_mib": 4096, "ports": 60, "attributes": {"rack": ["r1", "r2", "r3"]}}
COMMAND_TIMEOUT_S = 150
PATIENCE_S = 60.0


class Answer(NamedTuple):
    """By way of the ingress. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


class Tenants:
    """One cluster, and a directory of YAML."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        status = cluster.status
        assert status.ingress_url is not None, "no HAProxy: .ci/packages demo"
        assert status.marathon_credentials is not None
        self.cluster = cluster
        self.folder = folder
        self.homes = folder.parent / f"{folder.name}-homes"
        self.ingress = urlsplit(status.ingress_url)
        self._marathon = urlsplit(str(status.marathon_url))
        pair = Path(status.marathon_credentials).read_text().strip()
        self._authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        self.api = cluster.api()
        folder.mkdir()
        self.backups = folder.parent / f"{folder.name}-backups"
        for place in (self.homes, self.backups):
            place.mkdir()
            place.chmod(0o1777)
        self.write("defaults", **self.defaults())

    def defaults(self) -> dict[str, Any]:
        return {
            "command": STAND_IN,
            "cpus": 0.1,
            "mem_mib": 256,
            "volume": {"host_path": f"{self.homes}/{{tenant}}", "shared": True},
            "health": {"interval_s": 1, "timeout_s": 20, "grace_s": 60, "failures": 20},
            "stop_timeout_s": 5,
        }

    # YAML and commands.

    def write(self, name: str, **fields: Any) -> None:
        """One file. The homes of those that are in it are made, as the operator of a share does."""
        for tenant in fields.get("tenants", [{"name": name}]):
            (self.homes / tenant["name"]).mkdir(exist_ok=True)
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(fields))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "framework.cli", "tenants", *words, "--dir", str(self.cluster.directory)]

    def run(self, *words: str, code: int = 0) -> str:
        """All that it said; it must end with ``code`` and show no traceback."""
        return "".join(self._ran(words, code))

    def _ran(self, words: tuple[str, ...], code: int) -> tuple[str, str]:
        ended = subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr[-4000:]
        assert ended.returncode == code, f"{words}: {ended.returncode} {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        return ended.stdout, ended.stderr

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self._ran((*words, "--json"), code)[0])

    def apply(self, *words: str, code: int = 0) -> dict[str, str]:
        """What came of each tenant that was changed."""
        return {
            one["tenant"]: one["outcome"]
            for one in self.json("apply", str(self.folder), "--yes", *words, code=code)["results"]
        }

    def states(self) -> dict[str, str]:
        return {one["name"]: one["master"]["state"] for one in self.json("list")["tenants"] if one["master"]}

    def wait_state(self, tenant: str, state: str) -> None:
        eventually(lambda: self.states().get(tenant) == state, f"{tenant} {state}", PATIENCE_S, every_s=0.5)

    # What runs.

    def tasks(self) -> dict[str, Any]:
        """Marathon's own, by tenant, of the masters that run."""
        found = json.loads(self.marathon("GET", "/v2/tasks").body)["tasks"]
        return {task["appId"].rsplit("/", 1)[1]: task for task in found if task["state"] == "TASK_RUNNING"}

    def marathon(self, method: str, path: str, body: Any = None) -> Answer:
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        port = int(self._marathon.port or 80)
        sent = None if body is None else json.dumps(body)
        return ask(str(self._marathon.hostname), port, method, path, headers, sent)

    def kill9(self, *tenants: str) -> None:
        """Every process of these masters, as a crash of theirs would."""
        marks = [f"MESOS_TASK_ID={self.tasks()[tenant]['id']}".encode() for tenant in tenants]
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"tests.fakes.jenkins" in arguments and any(mark in environment for mark in marks):
                os.kill(int(entry.name), signal.SIGKILL)

    # What users see.

    def get(self, tenant: str, path: str = "/login") -> Answer:
        return self.send("GET", tenant, path)

    def send(
        self, method: str, tenant: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Answer:
        """By host name, at the ingress."""
        named = {"Host": f"{tenant}.localhost", **(headers or {})}
        return ask(str(self.ingress.hostname), int(self.ingress.port or 80), method, path, named, body)

    def session(self, tenant: str) -> str | None:
        """Which of the master's processes answers; None where none does."""
        try:
            answer = self.get(tenant)
        except OSError:
            return None
        return answer.headers.get("x-jenkins-session") if answer.status == 200 else None

    def wait_session(self, tenant: str, other_than: str | None = None) -> str:
        def found() -> str | None:
            session = self.session(tenant)
            return session if session not in (None, other_than) else None

        session: str = eventually(found, f"{tenant} at its address", PATIENCE_S)
        return session

    def access(self, tenant: str) -> Mapping[str, str]:
        """What its master handed to the scheduler."""

        def found() -> Any:
            url = urlsplit(self.api.url)
            token = Paths(self.cluster.directory).admin_token.read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            path = f"/v1/tenants/{tenant}/master"
            answer = ask(str(url.hostname), int(url.port or 80), "GET", path, headers)
            return json.loads(answer.body) if answer.status == 200 else None

        told: Mapping[str, str] = eventually(found, f"{tenant}: its access", PATIENCE_S)
        return told

    def login(self, tenant: str) -> dict[str, str]:
        """Headers of the scheduler's user."""
        access = self.access(tenant)
        pair = base64.b64encode(f"{access['user']}:{access['api_token']}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def create_job(self, tenant: str, job: str) -> Answer:
        headers = {**self.login(tenant), "Content-Type": "application/xml"}
        return self.send("POST", tenant, f"/createItem?name={job}", headers, JOB)

    def jobs(self, tenant: str) -> set[str]:
        answer = self.send("GET", tenant, "/api/json?tree=jobs[name]", self.login(tenant))
        assert answer.status == 200, answer
        return {job["name"] for job in json.loads(answer.body)["jobs"]}


JOB = "<project><builders><hudson.tasks.Shell><command>true</command></hudson.tasks.Shell></builders></project>"


def ask(
    host: str, port: int, method: str, path: str, headers: Mapping[str, str] | None = None, body: str | None = None
) -> Answer:
    """Raises OSError."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Answer(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read().decode(errors="replace"),
        )
    except http.client.HTTPException as error:
        raise ConnectionError(f"{method} {path}: {error!r}") from error
    finally:
        connection.close()


@contextmanager
def tenants_cluster(sections: Mapping[str, Any] | None = None, **masters: Any) -> Iterator[Tenants]:
    """``masters``: of that section of the settings; ``sections`` are others."""
    local = {
        "hosts": [HOSTS],
        "first_port": FIRST_PORT,
        "allocation_interval_s": 0.1,
        "marathon": {},
        "ingress": True,
    }
    with interruptible(), temporary_cluster({**(sections or {}), "local": local, "masters": masters}, print) as cluster:
        yield Tenants(cluster, cluster.directory / "tenants")
