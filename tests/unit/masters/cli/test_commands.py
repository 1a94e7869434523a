"""``butlery tenants`` as a program, with everything outside in memory."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from framework.cli.program import run
from masters.cli import tenants_app
from masters.ports import MasterAccess
from masters.records import MasterState
from tests.fakes.applying import PACE, Bench
from tests.fakes.masters import NO_IMAGE, FakeEdges, FakeJenkins

COMMANDS = [command.name for command in tenants_app.registered_commands]


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Program:
    def __init__(self, bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
        self.bench = bench
        self._capfd = capfd

    def __call__(self, command: str, *arguments: str) -> Ended:
        self._capfd.readouterr()
        code = run(["tenants", command, *arguments])
        out, err = self._capfd.readouterr()
        assert "Traceback" not in out + err
        assert "internal error" not in err
        return Ended(code, out, err)

    def apply(self, *arguments: str) -> Ended:
        return self("apply", str(self.bench.folder), *arguments)


@pytest.fixture
def program(
    bench: Bench, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Program:
    @contextmanager
    def opened(*_: Any) -> Iterator[FakeEdges]:
        yield bench.edges

    monkeypatch.setattr("masters.edges.open_edges", opened)
    for room in ("apply.engine", "operations.acting", "operations.deleting", "operations.backups"):
        monkeypatch.setattr(f"masters.{room}.Pace", lambda: PACE)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("BUTLERY_SERVER", "BUTLERY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return Program(bench, capfd)


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, program: Program) -> None:
    told = program(command, "--help").out
    assert "Usage" in told
    for option in ("--config", "--dir", "--json"):
        assert option in told or command == "set"
    assert "--token " not in told


def test_whoever_does_not_answer_is_told(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program.bench.write("a")
    marathon, told = program.bench.edges.marathon, Event()
    masters = marathon.masters

    def slow() -> Any:
        assert told.wait(10)
        return masters()

    def say(line: str) -> None:
        assert line.startswith("waiting for answers of Marathon at http://")
        told.set()

    monkeypatch.setattr("masters.cli.options.SILENT_S", 0.0)
    monkeypatch.setattr("masters.cli.options.say", say)
    monkeypatch.setattr(marathon, "masters", slow)
    assert program("plan", str(program.bench.folder)).code == 0
    assert program("wake", "--all").code == 0


def test_plan_and_dry_run_do_nothing(program: Program) -> None:
    program.bench.write("a")
    assert "+ a  create" in program("plan", str(program.bench.folder)).out
    shown = program.apply("--dry-run", "--json")
    assert (shown.code, shown.json["changes"][0]["tenant"]) == (0, "a")
    assert program.bench.marathon.apps == {}
    assert program.bench.scheduler.known == {}


def test_apply(program: Program) -> None:
    program.bench.write("a")
    program.bench.write("bad", image=f"{NO_IMAGE}:1")
    ended = program.apply()
    assert ended.code == 1
    assert "bad: failed: image nosuch:1 cannot be had" in ended.err
    assert "1 done, 1 failed" in ended.out
    program.bench.write("bad")
    assert program.apply("--json").json["outcomes"] == {"done": 1}
    again = program.apply("--json")
    assert (again.code, again.json["results"], again.json["unchanged"], again.err) == (0, [], 2, "")


def test_all_faults_at_once(program: Program) -> None:
    program.bench.write("a", cpus="many")
    program.bench.write("b", secrets={"X": {"env": "NOT_THERE"}}, mem_mib=1)
    ended = program.apply("--yes")
    assert ended.code == 2
    assert "a.yaml:1 cpus" in ended.err
    assert "b.yaml:" in ended.err


def test_what_would_cut_builds_off_is_asked_for(program: Program) -> None:
    program.bench.write("a")
    program.apply()
    program.bench.write("a", image="jenkins:2")
    program.bench.scheduler.working["a"] = 3
    refused = program.apply()
    assert (refused.code, "--yes" in refused.err, "a 3" in refused.err) == (2, True, True)
    assert program.apply("--yes").code == 0


def test_prune(program: Program) -> None:
    for name in ("a", "b"):
        program.bench.write(name)
    program.apply()
    program.bench.remove("b")
    assert "? b" in program.apply().out
    assert program.apply("--prune").code == 2
    assert "b" in program.bench.marathon.masters()
    pruned = program.apply("--prune", "--yes", "--json").json
    assert [(one["tenant"], one["outcome"]) for one in pruned["results"]] == [("b", "done")]
    assert "b" not in program.bench.marathon.masters()


def test_one_file_is_about_its_own_tenants(program: Program) -> None:
    for name in ("a", "b"):
        program.bench.write(name)
    file = str(program.bench.folder / "a.yaml")
    assert program("apply", file).code == 0
    assert set(program.bench.marathon.masters()) == {"a"}
    program.apply()
    assert program("plan", file).out == "1 unchanged\n"
    assert program("apply", file, "--prune", "--yes").code == 2
    assert set(program.bench.marathon.masters()) == {"a", "b"}


def test_sigterm_leaves_what_is_under_way_to_marathon(program: Program) -> None:
    for number in range(6):
        program.bench.write(f"team-{number}")

    def ended(call: str) -> None:
        if call == "put team-1":
            os.kill(os.getpid(), signal.SIGTERM)

    program.bench.marathon.killed = ended
    before = signal.getsignal(signal.SIGTERM)
    assert program.apply("--parallel", "1", "--json").code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert program.apply("--json").code == 0


def test_ctrl_c_finishes_what_is_under_way(program: Program) -> None:
    for number in range(6):
        program.bench.write(f"team-{number}")

    def pressed(call: str) -> None:
        if call == "put team-1":
            os.kill(os.getpid(), signal.SIGINT)

    program.bench.marathon.killed = pressed
    before = signal.getsignal(signal.SIGINT)
    ended = program.apply("--parallel", "1", "--json")
    assert ended.code == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert ended.json["outcomes"]["done"] >= 2
    assert "skipped" in ended.json["outcomes"]
    assert program.apply("--json").code == 0


def test_operations(program: Program) -> None:
    for name in ("a", "b"):
        program.bench.write(name, backup={"to": "/srv/backups"})
    program.apply()
    marathon = program.bench.marathon
    assert program("hibernate", "a", "--wait").code == 0
    assert marathon.masters()["a"].state is MasterState.ASLEEP
    assert program("wake", "--all", "--wait", "--json").json["outcomes"] == {"done": 1, "unchanged": 1}
    assert program("restart", "a", "b", "--json").json["outcomes"] == {"done": 2}
    assert program("scale", "a", "2").code == 2
    assert program("scale", "a", "0", "--wait").code == 0
    assert program("show", "a").out.startswith("tenant       a\nstate        off\n")
    assert program("show", "a", "--json").json["backups"] == []
    assert program("show", "none").code == 2
    program.bench.scheduler.told["b"] = MasterAccess("butlery", "t")
    program.bench.edges.masters["b"] = FakeJenkins()
    name = program("backup", "b", "--wait", "--json").json["results"][0]["message"].split(",")[0]
    assert name in program("backup", "b", "--list").out
    assert program("restore", "b", name).code == 2
    assert program("restore", "b", "../x", "--yes").code == 2
    assert program("restore", "b", name, "--yes").code == 0
    assert program("delete", "a", "b").code == 2
    assert program("delete", "a", "b", "--yes").code == 0
    assert program("delete", "a").code == 2


def test_list(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masters without a share, and shares without a master."""
    bench = program.bench
    bench.write("a")
    program.apply()
    share = {
        "name": "b", "weight": 3, "waiting": 1, "launching": 1, "running": 2, "used": {"cpus": 2.5, "mem_mib": 512},
        "quota": {"cpus": None, "mem_mib": 1024, "builds": 5},
    }  # fmt: skip
    told = SimpleNamespace(get=lambda _path: {"tenants": [share]})
    monkeypatch.setattr("framework.cli.connection.connect", lambda *_: told)
    monkeypatch.setattr("masters.connection.resolve", lambda *_: bench.edges.context)
    monkeypatch.setattr("masters.marathon.MarathonEdge", lambda _: bench.marathon)
    lines = program("list").out.splitlines()
    assert lines[1].split()[:6] == ["a", "on", "http://a.localhost:8082/", "host-1", "1", "1024"]
    assert lines[2].split()[:2] == ["b", "-"]
    assert lines[2].split()[-5:] == ["3", "1", "3/5", "2.5", "512/1024"]
    found = {one["name"]: one for one in program("list", "--json").json["tenants"]}
    assert (found["a"]["master"]["state"], found["b"]["master"], found["b"]["weight"]) == ("on", None, 3)
    bench.marathon.away = 1
    assert "masters are not known: Marathon is away" in program("list").out


def test_a_persistent_volume_is_asked_for(program: Program) -> None:
    program.bench.write("a", volume={"persistent": True, "size_mib": 64}, role="masters")
    program.apply()
    refused = program("delete", "a")
    assert (refused.code, "the homes of a are destroyed" in refused.err) == (2, True)
    assert program("delete", "a", "--yes").code == 0


def test_a_deletion_that_was_killed_is_finished(program: Program) -> None:
    program.bench.write("a")
    program.apply()
    program.bench.marathon.apps.clear()
    ended = program("delete", "a", "--json")
    assert (ended.code, "what was left of it is removed" in ended.json["results"][0]["message"]) == (0, True)


def test_an_upgrade_resumed(program: Program) -> None:
    for name in ("a", "b"):
        program.bench.write(name)
    program.apply()
    program.bench.write("a", image=f"{NO_IMAGE}:1")
    program.bench.write("b", image="jenkins:2")
    folder = str(program.bench.folder)
    stopped = program("upgrade", folder, "--json")
    assert (stopped.code, stopped.json["outcomes"]) == (1, {"taken back": 1, "skipped": 1})
    journal = stopped.json["journal"]
    assert f"--resume {journal}" in stopped.err
    program.bench.write("a", image="jenkins:2")
    assert program("upgrade", "--resume", journal, "--json").json["outcomes"] == {"done": 2}
    assert program("upgrade", "--resume", journal).code == 2
    assert program("upgrade", "--resume", "none").code == 2
    assert program("upgrade").code == 2


def test_another_bulk_operation_runs(program: Program) -> None:
    program.bench.write("a")
    with program.bench.edges.ledger.bulk("upgrade"):
        refused = program.apply()
    assert (refused.code, f"process {os.getpid()}" in refused.err) == (1, True)


def test_the_kit_has_a_name_that_mesos_unpacks(program: Program, tmp_path: Path) -> None:
    refused = program("kit", str(tmp_path / "kit"))
    assert (refused.code, "must end in .tar.gz" in refused.err) == (2, True)
    assert program("kit", str(tmp_path / "kit.tar.gz")).code == 0
