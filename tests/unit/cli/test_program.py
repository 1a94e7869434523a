"""The program as a whole: where it asks, how it ends, what it never shows."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from framework.cli import client, program, top
from framework.errors import UnavailableError
from tests.unit.cli.conftest import ADMIN_TOKEN, Butlery, Serving

READING = [
    ("jobs", "list"),
    ("tenants", "list"),
    ("hosts",),
    ("top",),
    ("version",),
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_json_is_all_that_is_printed(as_admin: Butlery, command: tuple[str, ...]) -> None:
    ended = as_admin(*command, "--json")
    assert isinstance(ended.json, dict)
    assert ended.err == ""
    assert as_admin(*command).code == 0


def test_top_goes_on_until_ctrl_c(as_admin: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(top, "console", lambda: Console(file=screen, force_terminal=True, width=160))
    monkeypatch.setenv("TERM", "xterm")
    acts = [lambda: setattr(serving.control, "failing", UnavailableError("disk full")), lambda: None]

    def slept(_: float) -> None:
        if not acts:
            raise KeyboardInterrupt
        acts.pop(0)()

    monkeypatch.setattr(top, "time", SimpleNamespace(sleep=slept))  # not of the client, which sleeps too
    assert as_admin("top").code == 130
    assert "host-1" in screen.getvalue()
    assert "disk full; trying again" in screen.getvalue()


def test_top_is_printed_once_where_the_screen_cannot_be_drawn_anew(
    as_admin: Butlery, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(top, "console", lambda: Console(file=screen, force_terminal=True, width=160))
    monkeypatch.setenv("TERM", "dumb")
    assert as_admin("top").code == 0
    assert "host-1" in screen.getvalue()


def test_top_for_a_tenant_is_its_own(as_red: Butlery) -> None:
    shown = as_red("top", "--once")
    assert shown.code == 0
    assert "red" in shown.out
    assert "blue" not in shown.out
    assert as_red("top", "--json").json["hosts"] is None


def test_top_shows_what_an_operator_should_know(as_admin: Butlery) -> None:
    text = as_admin("top", "--once").out
    for word in ("connected", "host-1", "red", "blue", "! n", "image bad:1 fails"):
        assert word in text


def test_tenants_set(as_admin: Butlery, serving: Serving, tmp_path: Path) -> None:
    made = as_admin("tenants", "set", "green", "--weight", "3", "--cpus", "2.5", "--builds", "4")
    assert (made.code, made.out.strip()) == (0, serving.control.token_of("green"))
    kept = as_admin("tenants", "set", "green", "--cpus", "none", "--json").json
    assert (kept["weight"], kept["quota"], kept["token"]) == (3, {"cpus": None, "mem_mib": None, "builds": 4}, None)
    file = tmp_path / "token"
    again = as_admin("tenants", "set", "green", "--new-token", "--token-to", str(file))
    assert (again.out, file.read_text().strip()) == ("", serving.control.token_of("green", 2))
    assert file.stat().st_mode & 0o777 == 0o600
    assert "green" in as_admin("tenants", "list").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("green", "--cpus", "many", "--builds", "1.5"), "--builds: must be a number"),
        (("a/b",), "NAME: must begin"),
        (("..",), "NAME: must begin"),
        (("🦄",), "NAME: must begin"),
        (("green", "--weight", "0"), "weight: must be at least 1"),
        (("green", "--cpus", "nan"), "quota.cpus"),
        (("green", "--cpus", "-1"), "quota.cpus"),
    ],
)
def test_bad_tenants(as_admin: Butlery, serving: Serving, arguments: tuple[str, ...], told: str) -> None:
    ended = as_admin("tenants", "set", *arguments)
    assert ended.code == 2
    assert told in ended.err
    assert set(serving.control.known) == {"red", "blue"}


def test_the_administrator_s_own(as_red: Butlery) -> None:
    for command in (("hosts",), ("tenants", "set", "green")):
        ended = as_red(*command)
        assert (ended.code, "Only the administrator" in ended.err) == (2, True)


def test_a_wrong_token(as_red: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUTLERY_TOKEN", "bt~red~wrong")
    ended = as_red("jobs", "list")
    assert (ended.code, "BUTLERY_TOKEN: the token from here" in ended.err) == (2, True)
    assert "wrong" not in ended.err


def test_no_token(alone: Butlery, serving: Serving) -> None:
    ended = alone("jobs", "list", "--server", serving.url)
    assert (ended.code, "set BUTLERY_TOKEN" in ended.err) == (2, True)


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff", "søkrit".encode()])
def test_a_bad_token_file(alone: Butlery, serving: Serving, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    ended = alone("jobs", "list", "--server", serving.url, "--token-file", str(tmp_path / "t"))
    assert ended.code == 2
    assert "two words" not in ended.err
    assert alone("jobs", "list", "--server", serving.url, "--token-file", "/no/such").code == 2


@pytest.mark.parametrize(
    "url", ["x", "ftp://x", "http://", "http://me:hunter2@x", "http://x:99999", "http://[", "http://x?a"]
)
def test_a_bad_server(alone: Butlery, url: str) -> None:
    ended = alone("jobs", "list", "--server", url)
    assert ended.code == 2
    assert "--server" in ended.err
    assert "hunter2" not in ended.err


def test_the_local_cluster_is_found(alone: Butlery, serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": "up", "api_url": serving.url}))
    (tmp_path / "admin.token").write_text(ADMIN_TOKEN + "\n")
    assert alone("hosts", "--dir", str(tmp_path)).code == 0


def test_the_local_administrator_s_token_goes_nowhere_else(alone: Butlery, serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": "up", "api_url": "http://127.0.0.1:1"}))
    (tmp_path / "admin.token").write_text(ADMIN_TOKEN)
    ended = alone("hosts", "--dir", str(tmp_path), "--server", serving.url)
    assert (ended.code, "no token" in ended.err) == (2, True)


@pytest.mark.parametrize("status", [None, "", "{", "[]", '{"state": "failed", "api_url": null}'])
def test_no_local_cluster(alone: Butlery, tmp_path: Path, status: str | None) -> None:
    if status is not None:
        (tmp_path / "status.json").write_text(status)
    ended = alone("jobs", "list", "--dir", str(tmp_path))
    assert (ended.code, "butlery local up" in ended.err) == (3, True)


def test_nobody_listens(alone: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUTLERY_TOKEN", "x")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        ended = alone("jobs", "list", "--server", url)
    assert ended.code == 3
    assert f"{url} cannot be reached: Connection refused" in ended.err


def test_a_passing_failure_is_tried_again(as_red: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def passing() -> None:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise UnavailableError("too many waiting")

    monkeypatch.setattr(serving.control, "_fail", passing)
    assert as_red("jobs", "submit", "--name", "a", "--command", "x").code == 0
    assert (calls, len(serving.control.submissions)) == (3, 1)
    calls = -100
    ended = as_red("jobs", "list")
    assert (ended.code, "too many waiting" in ended.err) == (3, True)
    assert calls == -95
    calls = -100
    monkeypatch.setattr(client, "PATIENCE_S", 0.0)  # one that took that long is not asked for minutes
    assert as_red("jobs", "list").code == 3
    assert calls == -99


def test_a_proxy_does_not_stand_between_us_and_this_machine(as_red: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert as_red("jobs", "list").code == 0


def test_no_traceback_reaches_a_user(as_red: Butlery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("with hunter2 in it")

    monkeypatch.setattr("framework.cli.jobs.print_table", broken)
    ended = as_red("jobs", "list")
    assert ended.code == 70
    assert "ZeroDivisionError" in ended.err
    assert "hunter2" not in ended.err
    kept = Path(ended.err.rpartition(" ")[2].strip())
    assert kept.is_relative_to(tmp_path)
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_broken_plugin_is_named_and_not_fatal(alone: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = {
        name: EntryPoint(name, value, program.PLUGIN_GROUP)
        for name, value in (
            ("gone", "no_such_package:command"),
            ("wrong", "framework.cli.hosts:no_such_name"),
            ("good", "framework.cli.version:version"),
        )
    }
    monkeypatch.setattr(program, "_plugins", lambda: plugins)
    shown = " ".join(alone("--help").out.split())
    assert "no_such_package" in shown
    assert "validate" in shown
    ended = alone("gone")
    assert (ended.code, "no_such_package" in ended.err) == (1, True)
    assert alone("wrong").code == 1
    assert alone("good").out.startswith("butlery ")
    assert alone("neither").code == 2


def test_every_command_has_help(alone: Butlery) -> None:
    for command in program.COMMANDS:
        ended = alone(command, "--help")
        assert ended.code == 0, command
        assert "Usage" in ended.out
    for command in ("submit", "list", "show", "logs", "why", "cancel", "wait", "artifacts"):
        assert alone("jobs", command, "--help").code == 0
    assert alone().code == 2


def test_no_option_takes_a_token(alone: Butlery) -> None:
    for command in (("jobs", "submit"), ("jobs", "list"), ("tenants", "set"), ("hosts",), ("top",)):
        assert "--token " not in alone(*command, "--help").out


def test_validate(alone: Butlery, tmp_path: Path) -> None:
    file = tmp_path / "butlery.yaml"
    file.write_text("api:\n  port: 8080\n")
    assert alone("validate", str(file)).code == 0
    file.write_text("api:\n  prt: 8080\nmesos:\n  url: nowhere\n")
    ended = alone("validate", str(file))
    assert ended.code == 2
    assert "butlery.yaml:2 api.prt" in ended.err
    assert "butlery.yaml:4 mesos.url" in ended.err
    told = alone("validate", str(file), "--json")
    assert [fault["where"] for fault in json.loads(told.out)["faults"]]
    assert alone("validate", str(tmp_path / "none.yaml")).code == 2
    assert alone("scheduler", "run", "--config", str(file)).code == 2


def test_validate_tells_of_the_price_sheet(alone: Butlery, tmp_path: Path) -> None:
    (tmp_path / "butlery.yaml").write_text("telemetry: {prices_path: prices.yaml}\n")
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: EUR\nprices: [{name: a, cpu_hour: 1, mem_gib_hour: 1, until: 2026-07-01}]\n")
    ended = alone("validate", str(tmp_path / "butlery.yaml"))
    gap = f"{prices}:2 prices[0].until: hosts of no other entry have no price from 2026-07-01 on"
    assert (ended.code, ended.err) == (0, f"! {gap}\n")
    assert alone("validate", str(tmp_path / "butlery.yaml"), "--json").json["notices"] == [gap]
    prices.write_text("currency: EUR\nprices: [{name: a, cpu_hours: 1, mem_gib_hour: 1}]\n")
    ended = alone("validate", str(tmp_path / "butlery.yaml"))
    assert ended.code == 2
    assert f"{prices}:2 prices[0].cpu_hour: is missing" in ended.err
    assert "the nearest known one is `cpu_hour`" in ended.err
    prices.unlink()
    assert "prices.yaml: cannot be read" in alone("validate", str(tmp_path / "butlery.yaml")).err


def in_process(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "framework.cli", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def sleeps(pid: int) -> bool:
    """Python heeds a signal that comes just before it goes to sleep when it wakes up; people press Ctrl-C once more."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_ctrl_c(serving: Serving) -> None:
    token = serving.control.token_of("red")
    arguments = ("jobs", "submit", "--name", "a", "--command", "x", "--wait")
    with in_process(*arguments, BUTLERY_SERVER=serving.url, BUTLERY_TOKEN=token) as found:
        try:
            while not (serving.control.waited_for.is_set() and sleeps(found.pid)) and found.poll() is None:
                time.sleep(0.01)
            found.send_signal(signal.SIGINT)
            _, err = found.communicate(timeout=20)
        finally:
            found.kill()
    serving.do(serving.control.end, "j000001")  # lets go of the call that waited
    assert found.returncode == 130
    assert b"Traceback" not in err


def test_a_reader_that_goes_away(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(ADMIN_TOKEN)
    with in_process("tenants", "list", "--server", serving.url, "--token-file", str(tmp_path / "token")) as found:
        try:
            assert found.stdout is not None
            found.stdout.close()
            assert found.stderr is not None
            err = found.stderr.read()
            found.wait(timeout=20)
        finally:
            found.kill()
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err


def test_starting_up_loads_no_more_than_it_needs() -> None:
    asked = "import sys; from framework.cli.program import run; run(['version']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60).stdout
    loaded = set(out.split())
    assert not loaded & {"requests", "fastapi", "aiohttp", "msgspec", "rich.console", "asyncio"}
