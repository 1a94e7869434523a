"""Processes by identity."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.local import processes
from framework.local.processes import ProcessId

STUBBORN = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], cwd=tmp_path, start_new_session=True
    )
    yield process
    process.kill()
    process.wait()


def test_an_identity_is_saved_and_known_again(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    identity = ProcessId.of(sleeper.pid)
    assert identity is not None
    identity.save(tmp_path / "pid")
    assert ProcessId.load(tmp_path / "pid") == identity
    assert identity.alive()
    sleeper.kill()
    sleeper.wait()
    assert not identity.alive()
    identity.kill(9)  # a process that is gone is fine


def test_another_process_with_the_same_pid_is_not_it(sleeper: subprocess.Popen[bytes]) -> None:
    identity = ProcessId.of(sleeper.pid)
    assert identity is not None
    for other in (identity._replace(start_ticks=1), identity._replace(boot_id="another boot")):
        assert not other.alive()
        other.kill(9)
    assert sleeper.poll() is None


def test_a_zombie_is_no_process(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessId.of(sleeper.pid) is None


@pytest.mark.parametrize("text", ["", "{}", "12", '{"pid": "x", "start_ticks": 1, "boot_id": ""}', "null"])
def test_what_is_no_pid_file_names_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert ProcessId.load(tmp_path / "pid") is None
    assert ProcessId.load(tmp_path / "missing") is None


def test_processes_of_a_directory_are_found_by_where_they_work_and_by_their_sandbox(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    elsewhere = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        cwd="/",
        env={"MESOS_SANDBOX": f"{tmp_path}/agents/0"},
        stdout=subprocess.PIPE,
    )
    try:
        assert elsewhere.stdout is not None
        elsewhere.stdout.readline()  # a program that has only just begun has no environment to be seen yet
        assert processes.of_directory(tmp_path) == {sleeper.pid, elsewhere.pid}
        assert processes.of_directory(tmp_path / "agents") == {elsewhere.pid}
    finally:
        elsewhere.kill()
        elsewhere.communicate()


def test_who_looks_at_a_directory_from_a_terminal_is_not_of_it(tmp_path: Path) -> None:
    master, slave = os.openpty()
    try:
        with subprocess.Popen(["setsid", "--ctty", "sleep", "600"], cwd=tmp_path, stdin=slave) as looking:
            deadline = time.monotonic() + 30
            while Path(f"/proc/{looking.pid}/comm").read_text() != "sleep\n":
                assert time.monotonic() < deadline
            assert processes.of_directory(tmp_path) == set()
            looking.kill()
    finally:
        os.close(master)
        os.close(slave)


def test_what_ignores_term_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        left = processes.end(lambda: processes.of_directory(tmp_path), grace_s=0.1)
        assert left == set()
        assert stubborn.wait() == -9


def test_the_holder_of_a_port_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        assert processes.port_holder(port) is None
        listener.listen()
        assert f"(pid {os.getpid()})" in str(processes.port_holder(port))
