"""The Marathon-compatible server as a child process of the test, for tests that end and start it as they like."""

from __future__ import annotations

import base64
import os
import signal
import sys
from pathlib import Path

from framework.local.cluster import MesosCluster, free_port, get_json
from framework.local.credentials import Credentials
from framework.local.marathon.settings import MarathonSettings
from framework.local.marathon_process import marathon_process, url_of, write_start
from framework.local.status import Paths
from tests.acceptance.marathon_server import MarathonServer
from tests.acceptance.scheduler_process import eventually

COMMAND = (sys.executable, "-m", "framework.local.marathon.server")


class MarathonProcess(MarathonServer):
    """On a Mesos that asks who somebody is; nothing starts either again but the test."""

    def __init__(self, mesos: MesosCluster) -> None:
        self.mesos = mesos
        paths = Paths(mesos.directory)
        settings = MarathonSettings(port=free_port())
        start = write_start(mesos.directory, None, settings, mesos.url, mesos.isolation.mode)
        self.url = url_of(start)
        self.user, self.password = Path(start.credentials_file).read_text().strip().split(":", 1)
        self.authorization = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        self.files = paths.marathon
        self.log = paths.marathon_log
        self._process = marathon_process(mesos.directory, (*COMMAND, str(paths.marathon_start)), start)

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None, "it does not run"
        return pid

    def start(self, *, ready: bool = True) -> None:
        """``ready``: returns once it has subscribed to Mesos."""
        self._process.start()
        if ready:
            self._process.wait_ready()

    def kill9(self) -> None:
        """Ends it as a crash would, and starts it again."""
        self.end9()
        self.start()

    def end9(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        eventually(lambda: self._process.exit_code() is not None, "its end", every_s=0.005)

    def stop(self) -> None:
        self._process.stop()

    def tasks(self, name: str) -> list[dict[str, str]]:
        """All of that name that Mesos knows, those that have ended among them."""
        authorization = Credentials(self.mesos.directory).operator.authorization()
        told = get_json(f"{self.mesos.url}/tasks?limit=100000", 30.0, authorization)["tasks"]
        return [task for task in told if task["name"] == name]
