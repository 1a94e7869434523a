"""A real Elasticsearch 7.17 of this machine: fetched once with Maven, a child process on 127.0.0.1.

There is no package of the server in Debian or on PyPI, but its archives are ordinary ones of Maven Central.
``elasticsearch_node/ElasticsearchNode.java`` is a program of ours around them: the server without x-pack, so without
ILM, data streams, security and scripts. The cache holds::

    elasticsearch-7.17.28/node-HASH/     the archives (35 MiB) and that program, by the hash of the two's sources
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from framework.local import debian, maven
from framework.local.caches import cache_of, locked
from framework.local.cluster import free_port, get_json
from framework.local.server_process import READY_TIMEOUT_S, ServerProcess
from framework.local.stand_ins import run

VERSION = "7.17.28"
JAR_SHA256 = "c31ae25e6f5a48db9f7e5ab96dc8d717bbfcd641fd58b5eaee152493b6cd2300"  # of the server's, as first fetched
JARS_MIB = 35
PORT = 9200  # the usual one of the settings
HEAP_MIB = 512
ASK_TIMEOUT_S = 5.0

_SOURCES = Path(__file__).parent / "elasticsearch_node"
_PROGRAMS = {"java": "default-jdk-headless", "javac": "default-jdk-headless", "mvn": "maven"}
_JAVA_OPTIONS = (
    "-XX:+ExitOnOutOfMemoryError",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
)
_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


def ensure(say: Callable[[str], None], cache: Path | None = None) -> Path:
    """The directory with the server's archives and our program; fetched and compiled where missing.

    ``say`` gets lines of progress. Raises InputError where Java or Maven is missing and may not be installed,
    UnavailableError where the archives cannot be fetched, ButleryError where they are not the pinned ones.
    """
    cache = cache_of(f"elasticsearch-{VERSION}") if cache is None else cache
    ready = cache / f"node-{_sources_hash()}"
    debian.install(sorted({_PROGRAMS[name] for name in _PROGRAMS if shutil.which(name) is None}), say)
    if ready.is_dir():
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock", "Elasticsearch", say):
        if not ready.is_dir():
            _fetch(ready, say)
    return ready


def _sources_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _fetch(ready: Path, say: Callable[[str], None]) -> None:
    say(f"fetching Elasticsearch {VERSION} ({JARS_MIB} MiB) through Maven, once")
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=ready.parent) as name:
        fetched = Path(name) / "node"
        jar = f"elasticsearch-{VERSION}.jar"
        maven.fetch(_SOURCES / "pom.xml", fetched, "Elasticsearch", jar, JAR_SHA256)
        run(["javac", "-cp", f"{fetched}/*", "-d", str(fetched), str(_SOURCES / "ElasticsearchNode.java")])
        fetched.rename(ready)


class ElasticsearchServer:
    """One server; its data stay in ``directory`` when it is stopped. Not for use from several threads."""

    def __init__(
        self,
        directory: Path,
        package: Path,
        *,
        port: int | None = None,
        heap_mib: int = HEAP_MIB,
        settings: Mapping[str, object] | None = None,
        java_options: Sequence[str] = (),
        pid_file: Path | None = None,
        log: Path | None = None,
    ) -> None:
        """``package`` is from ``ensure``; ``settings`` are more of its own, such as ``path.repo``;
        ``java_options`` go before ours.

        ``pid_file`` and ``log`` are in ``directory`` unless they are given.
        """
        self.directory = directory
        self.port = free_port() if port is None else port
        for part in ("config", "modules", "plugins", "tmp"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        (directory / "config" / "log4j2.properties").write_text(_LOGGING)
        own = {
            "cluster.name": "butlery-local",
            "node.name": "local",
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "http.type": "netty4",
            "transport.port": 0,
            "transport.type": "netty4",
            # By default parts of the disk, of which a developer's may well have less left.
            "cluster.routing.allocation.disk.watermark.low": "1gb",
            "cluster.routing.allocation.disk.watermark.high": "512mb",
            "cluster.routing.allocation.disk.watermark.flood_stage": "256mb",
        }
        (directory / "config" / "elasticsearch.yml").write_text(yaml.safe_dump({**own, **(settings or {})}))
        self.process = ServerProcess(
            "Elasticsearch",
            directory,
            [
                *("java", *java_options, f"-Xmx{heap_mib}m", f"-Djava.io.tmpdir={directory / 'tmp'}", *_JAVA_OPTIONS),
                *("-cp", f"{package}/*:{package}", "ElasticsearchNode", str(directory)),
            ],
            pid_file or directory / "elasticsearch.pid",
            log or directory / "elasticsearch.log",
            self._ask,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.process.log

    def _ask(self) -> None:
        wanted = "wait_for_events=languid&wait_for_no_initializing_shards=true&timeout=4s"
        get_json(f"{self.url}/_cluster/health?{wanted}", ASK_TIMEOUT_S)

    def start(self) -> None:
        """Starts it, on the port it always has; ``wait_ready`` tells when it serves."""
        self.process.start()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Waits until it answers and has opened its indices. Raises UnavailableError with its last words."""
        self.process.wait_ready(timeout_s)

    def stop(self) -> None:
        """In order: what it has is on disk. Idempotent."""
        self.resume()
        self.process.stop()

    def kill9(self) -> None:
        """As when the machine loses its power. Idempotent."""
        self._signal(signal.SIGKILL)
        self.process.stop()

    def pause(self) -> None:
        """Stops it as a machine does that hangs: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Ends it where it runs, starts it on its data and its port, and waits until it serves."""
        self.stop()
        self.start()
        self.wait_ready()

    def _signal(self, number: signal.Signals) -> None:
        pid = self.process.pid
        if pid is not None:
            os.kill(pid, number)
