"""Init scripts on the real Groovy, against small stand-ins of the classes of Jenkins that they use."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
IMAGE = ROOT / "masters" / "image"
STUBS = ROOT / "tests" / "fakes" / "jenkins_stubs"
GROOVY = Path("/usr/share/java/groovy-all-2.4.21.jar")
"""The version that Jenkins has; of Debian's package ``groovy``, which .ci/packages installs."""
OPENED = ("java.base/java.lang", "java.base/java.io", "java.base/java.util")
"""Of what jenkins.war opens for itself, that Groovy needs."""
TIMEOUT_S = 60.0
TOKEN = "bt~payments~hunter2"


def compiled(directory: Path, sources: Path, *others: Path) -> Path:
    """The classes of a directory's sources, which may use those of ``others``."""
    compiler = ["java", "-cp", str(GROOVY), "org.codehaus.groovy.tools.FileSystemCompiler", "-d", str(directory)]
    classpath = ["-cp", ":".join(str(each) for each in (GROOVY, *others))]
    files = [str(path) for path in sources.glob("*.groovy")]
    subprocess.run([*compiler, *classpath, *files], check=True, timeout=TIMEOUT_S)
    return directory


@pytest.fixture(scope="session")
def jenkins_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert GROOVY.exists(), "Groovy is missing; .ci/packages test installs it"
    return compiled(tmp_path_factory.mktemp("jenkins"), STUBS)


@pytest.fixture(scope="session")
def matrix_classes(jenkins_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the plugin matrix-auth."""
    return compiled(tmp_path_factory.mktemp("matrix"), STUBS / "matrix_auth", jenkins_classes)


@dataclass
class Scheduler:
    """Notes what is sent; ``answers`` are the statuses that it gives on each path, the last of them for ever."""

    url: str = ""
    answers: dict[str, list[int]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # what it answers there
    requests: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, method: str, path: str, authorization: str, body: str) -> int:
        with self.changed:
            self.requests.setdefault(path, []).append((method, authorization, body))
            statuses = self.answers.get(path, [204])
            status = statuses[0] if len(statuses) == 1 else statuses.pop(0)
            self.changed.notify_all()
            return status

    def wait(self, path: str, count: int) -> list[tuple[str, str, str]]:
        """The first ``count`` requests there: method, authorization, body."""
        with self.changed:
            enough = self.changed.wait_for(lambda: len(self.requests.get(path, ())) >= count, TIMEOUT_S)
            assert enough, f"{path}: {len(self.requests.get(path, ()))} requests of {count} came"
            return self.requests[path][:count]

    def records(self, count: int) -> list[dict[str, Any]]:
        """Of the first ``count`` posts of demand."""
        return [json.loads(line) for _, _, body in self.wait("/v1/demand", count) for line in body.splitlines()]


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = made.take(self.command, self.path, self.headers.get("Authorization", ""), body)
            text = made.texts.get(self.path, "").encode()
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT  # noqa: N815 the base class' name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


class Jenkins:
    """A process with the scripts in it. Its threads wait until it is said to have started (``complete``)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def ready(self) -> None:
        while (line := self._lines.get(timeout=TIMEOUT_S)) != "ready\n":
            assert line is not None, "".join(self.output)
            assert not line.startswith("failed"), line

    def __call__(self, code: str) -> Any:
        """The value of one line of Groovy."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"import hudson.model.*; import jenkins.model.*; {code}\n")
        self.process.stdin.flush()
        while True:
            line = self._lines.get(timeout=TIMEOUT_S)
            assert line is not None, "".join(self.output)
            if line.startswith('{"'):
                answer = json.loads(line)
                assert "error" not in answer, answer["error"]
                return answer["value"]

    def complete(self) -> None:
        self("Jenkins.get().initLevel = hudson.init.InitMilestone.COMPLETED; 0")


StartJenkins = Callable[..., Jenkins]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """As the start script leaves it."""
    handed = tmp_path / "home/.butlery/handed"
    handed.mkdir(parents=True)
    (handed / "tenant-token").write_text(TOKEN)
    (handed / "admin-password").write_text("correct horse")
    return tmp_path / "home"


@pytest.fixture
def start(jenkins_classes: Path, home: Path, scheduler: Scheduler, tmp_path: Path) -> Iterator[StartJenkins]:
    """Starts one: ``before`` is Groovy that runs before the scripts, ``more`` another directory of classes."""
    started: list[subprocess.Popen[str]] = []

    def begin(before: str = "", more: Path | None = None, **environment: str) -> Jenkins:
        scripts = tmp_path / f"scripts-{len(started)}"
        scripts.mkdir()
        for script in (IMAGE / "init.groovy.d").glob("*.groovy"):
            (scripts / script.name).write_bytes(script.read_bytes())
        (scripts / "00-before.groovy").write_text(f"import hudson.model.*; import jenkins.model.*; {before}\n")
        classpath = ":".join(str(each) for each in (GROOVY, jenkins_classes, more) if each is not None)
        opened = [f"--add-opens={each}=ALL-UNNAMED" for each in OPENED]
        process = subprocess.Popen(
            ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", *opened, "-cp", classpath, "Harness", str(scripts)],
            env={
                "PATH": os.environ["PATH"],
                "JENKINS_HOME": str(home),
                "BUTLERY_TENANT": "payments",
                "BUTLERY_SCHEDULER_URL": scheduler.url,
                "BUTLERY_ROOT_URL": "http://payments.localhost:8082/",
                "BUTLERY_KIT": str(IMAGE),
                "HOST": "10.0.0.7",
                "PORT0": "31000",
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return Jenkins(process)

    yield begin
    for process in started:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)
