"""``butlery demo`` as a newcomer runs it, with fewer builds."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from benchmarks.demo.builds import TENANTS
from tests.leftovers import wait_for_none

DEMO = [sys.executable, "-m", "framework.cli", "demo"]
TIMEOUT_S = 240


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the demo makes its files: a directory that users of builds may enter, as /tmp is."""
    directory = Path(tempfile.mkdtemp(prefix="butlery-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(place)}


def test_every_build_ends_as_it_should_and_nothing_is_left(place: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--builds", "9", "--json"],
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["builds"], figures["as_expected"], figures["deviations"]) == (9, 9, [])
    tenants = figures["tenants"].values()
    assert [sum(tenant[name] for tenant in tenants) for name in ("passed", "failed", "oom", "timeout")] == [6, 1, 1, 1]
    assert len({tenant["weight"] for tenant in tenants}) == 3
    assert sum(tenant["queued"] for tenant in tenants) == 7  # in the masters' queues, all but the hogs
    assert all(0 < tenant["queue_to_online_p50_s"] <= tenant["queue_to_online_p99_s"] for tenant in tenants)
    assert sum(host["builds"] for host in figures["hosts"]) == 9
    assert all(host["peak_cpus"] <= host["cpus"] for host in figures["hosts"])
    masters = figures["masters"]
    assert masters["kind"] in ("real", "stand-in")
    assert {tenant: seen["status"] for tenant, seen in masters["addresses"].items()} == dict.fromkeys(TENANTS, 200)
    assert figures["isolation"] in ("docker", "mesos", "cgroup2", "watchdog")
    assert figures["seconds"] > 0
    assert list(place.iterdir()) == []
    wait_for_none(str(place))


@pytest.mark.parametrize(("number", "words"), [(signal.SIGTERM, b"builds ended"), (signal.SIGINT, b"isolation: ")])
def test_a_signal_ends_it_and_nothing_is_left(place: Path, number: signal.Signals, words: bytes) -> None:
    assert signalled(place, number, words) == 128 + number
    assert list(place.iterdir()) == []
    wait_for_none(str(place))


def test_kill_9_leaves_nothing_either(place: Path) -> None:
    assert signalled(place, signal.SIGKILL, b"builds ended") == -signal.SIGKILL
    deadline = time.monotonic() + TIMEOUT_S
    while left := list(place.iterdir()):
        assert time.monotonic() < deadline, f"left: {left}"
        time.sleep(0.1)
    wait_for_none(str(place))


def signalled(place: Path, number: signal.Signals, words: bytes) -> int:
    """The exit code of a demo that gets the signal once it has said ``words``."""
    with subprocess.Popen(
        [*DEMO, "--builds", "12"],
        env=environment(place),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
    ) as demo:
        assert demo.stderr is not None
        try:
            wait_for_words(demo.stderr, words)
            demo.send_signal(number)
            demo.stderr.read()
            return demo.wait(TIMEOUT_S)
        finally:
            demo.kill()


def wait_for_words(stream: IO[bytes], words: bytes) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    seen = b""
    while words not in seen:
        assert select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0], f"no {words!r}: {seen!r}"
        more = os.read(stream.fileno(), 65536)
        assert more, f"it ended before {words!r}: {seen!r}"
        seen += more
