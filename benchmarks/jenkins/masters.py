"""Stand-ins for Jenkins by the hundred: several processes of many masters each, one tenant a master."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.api import Api
from benchmarks.jenkins_client import Jenkins
from framework.errors import UnavailableError

USER = "butlery"
"""Whose API token a master has for the scheduler."""
REPOSITORY = Path(__file__).parents[2]
PROGRAM = "tests.fakes.jenkins.several"
MASTERS_EACH = 50
"""Of one process: as one each, 200 masters take 6 GB and a minute of CPU to start."""
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


@contextmanager
def running(admin: Api, count: int, directory: Path) -> Iterator[list[Jenkins]]:
    """``count`` masters that tell the scheduler of their queues. Raises UnavailableError where they do not start."""
    directory.mkdir()
    log = directory / "masters.log"
    groups = [range(first, min(first + MASTERS_EACH, count)) for first in range(0, count, MASTERS_EACH)]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for group in groups:  # one by one, so that all that were begun are ended
            process = _begun(admin, [name_of(number) for number in group], directory, log)
            processes.append(process)
        found: list[Jenkins] = []
        for group, process in zip(groups, processes, strict=True):
            for name, port in zip(map(name_of, group), _ports(process, log), strict=True):
                token = (directory / name / "secrets" / "butlery-api-token").read_text()
                found.append(Jenkins(f"http://127.0.0.1:{port}/", USER, token))
        yield found
        for master in found:
            master.close()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            _ended(process)


def name_of(number: int) -> str:
    return f"team-{number:03}"


def _begun(admin: Api, names: Sequence[str], directory: Path, log: Path) -> subprocess.Popen[bytes]:
    given = []
    for name in names:
        environment = {
            "BUTLERY_TENANT": name,
            "BUTLERY_SCHEDULER_URL": admin.url,
            "BUTLERY_TENANT_TOKEN": admin.set_tenant(name),
        }
        options = ["--home", str(directory / name), "--port", "0", "--boot-s", "0"]
        given.append({"argv": options, "environment": environment})
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", PROGRAM],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        )
    assert process.stdin is not None  # noqa: S101 - for the type checker
    process.stdin.write(json.dumps(given).encode() + b"\n")
    process.stdin.close()
    return process


def _ports(process: subprocess.Popen[bytes], log: Path) -> list[int]:
    assert process.stdout is not None  # noqa: S101 - for the type checker
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if selector.select(START_TIMEOUT_S) else b""
    if not line:
        raise UnavailableError(f"the masters do not start: {log.read_text(errors='replace').strip()[-500:]}")
    ports: list[int] = json.loads(line)
    return ports


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
