"""Elasticsearch is killed, and back ten minutes of 30 builds a second later; whoever writes is killed twice meanwhile.

The ten minutes are compressed: the builds come faster. Once Elasticsearch is started again they come as they would, and
the time runs until it has all that came, but for the last seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import scan

from benchmarks.cluster import Say
from benchmarks.figures import rounded
from benchmarks.telemetry import past
from benchmarks.telemetry.writer import BUILDS_PER_S
from framework.errors import ButleryError, UnavailableError
from framework.local.elasticsearch import ElasticsearchServer
from framework.telemetry.records import Kind

PREFIX = "outage"
BEFORE_S = 20
"""Of builds, until Elasticsearch is killed."""
NEARLY_S = 3.0
"""How old what is not taken may be, of one that has caught up: it gathers for a second."""
TIMEOUT_S = 600.0
POLL_S = 0.05


def measure(server: ElasticsearchServer, directory: Path, outage_s: int, speed: float, say: Say) -> dict[str, Any]:
    """The figures. Leaves the server running. Raises ButleryError where it cannot be measured."""
    before, count = BEFORE_S * BUILDS_PER_S, (BEFORE_S + outage_s) * BUILDS_PER_S
    begin = time.time() - BEFORE_S - outage_s
    command = [
        *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "benchmarks.telemetry.writer"),
        *(str(directory / "spool"), server.url, PREFIX, repr(begin), str(count), repr(speed)),
    ]
    writer = _Writer(command)
    try:
        writer.until(lambda told: told["told"] >= before and told["taken"] > 0)
        say("Elasticsearch is killed")
        server.kill9()
        writer.until(lambda told: told["told"] >= before + (count - before) // 2)
        say("whoever writes is killed")
        writer.kill()
        writer = _Writer(command)
        told = writer.until(lambda told: told["told"] >= count)
        waiting = told["waiting"]
        say(f"{waiting} records wait; Elasticsearch is started again")
        started = time.monotonic()
        server.start()
        writer.until(lambda told: told["taken"] > 0)
        say("whoever writes is killed once more")
        writer.kill()
        writer = _Writer(command)
        writer.until(lambda told: told["taken"] > 0 and told["behind_s"] <= NEARLY_S)
        caught_up_s = time.monotonic() - started
        told = writer.finish()
    finally:
        writer.kill()
    if told["rejected"] or told["notices"]:
        raise ButleryError(f"{told['rejected']} records were refused; {'; '.join(told['notices'])}")
    found = {kind: _ids(server.url, kind) for kind in (Kind.BUILDS, Kind.CHANGES)}
    numbers = range(told["told"])
    wanted = {
        Kind.BUILDS: {past.build_id(number) for number in numbers},
        Kind.CHANGES: {change.id for number in numbers for change in past.changes_of(past.drawn(number, 0))},
    }
    return {
        "outage_s": outage_s,
        "outage_builds": count - before,
        "builds": told["told"],
        "records": sum(len(each) for each in wanted.values()),
        "waiting": waiting,
        "indices": _indices(server.url),
        "lost": sum(len(wanted[kind].difference(found[kind])) for kind in wanted),
        "doubled": sum(len(found[kind]) - len(set(found[kind])) for kind in wanted),
        "unknown": sum(len(set(found[kind]) - wanted[kind]) for kind in wanted),
        "caught_up_s": rounded(caught_up_s, 1),
    }


def _ids(url: str, kind: Kind) -> list[str]:
    """Of all documents, in whichever index."""
    with Elasticsearch(url, request_timeout=60) as client:
        client.indices.refresh(index=f"{PREFIX}-*")
        return [hit["_id"] for hit in scan(client, index=f"{PREFIX}-{kind.value}", _source=False, size=5000)]


def _indices(url: str) -> int:
    with Elasticsearch(url) as client:
        return len(client.indices.get(index=f"{PREFIX}-*"))


class _Writer:
    """The process, and what it told last."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._told: dict[str, Any] = {"told": 0, "taken": 0, "waiting": 0, "behind_s": 0.0}
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._told = json.loads(line)

    def until(self, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What it told when that was so. Raises UnavailableError."""
        deadline = time.monotonic() + TIMEOUT_S
        while not met(told := self._told):
            if self._process.poll() is not None:
                raise UnavailableError(f"whoever writes ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                raise UnavailableError(f"after {TIMEOUT_S:g} s it still is not so far: {told}")
            time.sleep(POLL_S)
        return told

    def finish(self) -> dict[str, Any]:
        """Has it end once all is taken; what it told last. Raises UnavailableError."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"it does not end within {TIMEOUT_S:g} s: {self._told}") from error
        self._reading.join(TIMEOUT_S)
        return self._told

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join(TIMEOUT_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
