"""What is printed, wherever it goes: narrow terminals, full disks, closed streams, other encodings."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from framework import cli
from framework.cli import output, program
from framework.cli.showing import show_job
from framework.core.ids import RequestId
from framework.core.tasks import FailureClass, Outcome
from tests.unit.cli.conftest import ADMIN_TOKEN, Butlery, Serving


def test_a_narrow_terminal_folds_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(output, "console", lambda: Console(file=screen, force_terminal=True, width=20, no_color=True))
    output.print_table(("JOB", "NAME", "BYTES"), [("1m7yr51kzy785h73", "unit tests of it", 12), ("a\nb\x1b[2J", "", 1)])
    lines = screen.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["1m7yr51kzy785h73", "unit", "tests", "of", "it", "12"]
    assert lines[2].startswith("a\\nb\\x1b[2J")


def printed_by(serving: Serving, *, stdout: int | None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """``butlery tenants list`` in a process of its own; ``stdout`` None has it closed."""
    command = [sys.executable, "-m", "framework.cli", "tenants", "list"]
    if stdout is None:
        command = ["sh", "-c", 'exec "$0" "$@" >&-', *command]
    told = {"BUTLERY_SERVER": serving.url, "BUTLERY_TOKEN": ADMIN_TOKEN}
    return subprocess.run(
        command,
        env={**os.environ, **told, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_told(serving: Serving, unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        ended = printed_by(serving, stdout=full.fileno(), PYTHONUNBUFFERED=unbuffered)
    assert (ended.returncode, ended.stderr) == (
        1,
        b"butlery: the output cannot be written: No space left on device\n",
    )


def test_without_stdout_there_is_no_output(serving: Serving) -> None:
    ended = printed_by(serving, stdout=None)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_characters_that_the_encoding_lacks_are_escaped(as_red: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    job = as_red("jobs", "submit", "--name", "n", "--command", "echo ä😀", "--json").json
    shown = {
        **job,
        "origin": None,
        "spec": {"git": None, "env": {}, "secrets": [], "command": "echo ä😀"},
        "attempts": [],
    }
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "iso-8859-1"))

    def shows(_: object) -> int:
        show_job(shown)
        return 0

    monkeypatch.setattr(program, "_run", shows)
    assert program.run([]) == 0
    assert "echo ä\\U0001f600".encode("iso-8859-1") in written.getvalue()


def test_what_a_build_left_is_told_in_few_lines(as_red: Butlery, serving: Serving) -> None:
    job = as_red("jobs", "submit", "--name", "n", "--command", "true").out.strip()
    serving.do(serving.control.run, RequestId(job))
    serving.do(serving.control.end, RequestId(job))
    left = ["a\nb", *(f"f{number}" for number in range(99))]
    serving.control.jobs[RequestId(job)].outcome = Outcome(FailureClass.PASSED, artifacts=left, leftover_processes=3)
    text = as_red("jobs", "show", job).out
    assert "a\\nb f0 f1" in text
    assert "f18 and 80 more\n" in text
    assert "3 processes, which were ended" in text


def test_ctrl_c_while_the_program_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130


def test_all_that_is_wrong_with_a_tenant(as_admin: Butlery, serving: Serving, tmp_path: Path) -> None:
    ended = as_admin(
        "tenants", "set", "a/b", "--cpus", "x", "--builds", "1.5", "--token-to", str(tmp_path / "no" / "t")
    )
    assert ended.code == 2
    assert [line.split(":")[0].strip() for line in ended.err.splitlines()[1:]] == [
        "--cpus",
        "--builds",
        "NAME",
        "--token-to",
    ]
    assert list(serving.control.known) == ["red", "blue"]


def test_the_option_without_a_name_is_counted_not_repeated(as_red: Butlery) -> None:
    ended = as_red("jobs", "submit", "--name", "n", "--command", "true", "--env", "A=1", "--env", "hunter2")
    assert (ended.code, "--env: number 2 of 2 must be NAME=VALUE" in ended.err) == (2, True)
    assert "hunter2" not in ended.err
