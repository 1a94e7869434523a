"""Which isolation this machine is given."""

from __future__ import annotations

import http.server
import socketserver
import threading
from pathlib import Path

import pytest

from agents.executor import cgroup_v2
from agents.spec import HostPolicy
from framework.errors import InputError
from framework.local import isolation
from framework.local.isolation import Answer

NO = Answer(False, "no")


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(isolation, "CGROUP_V1", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for name in isolation.V1_CONTROLLERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    return tmp_path


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class EngineHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"OK"
        self.send_response(200)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None: ...


def test_a_docker_engine_that_answers_is_taken(tmp_path: Path) -> None:
    socket = str(tmp_path / "s")
    with Engine(socket, EngineHandler) as engine:
        thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            found = isolation.resolve(HostPolicy(docker_socket=socket))
        finally:
            engine.shutdown()
            thread.join()
    assert found.mode == "docker"
    assert "API 1.41" in found.reason
    assert not isolation.docker_answers(socket).possible  # the socket is there still, the engine is not


def test_else_mesos_then_cgroup2_then_the_watchdog_and_the_reason_says_why_not(
    cgroups: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = HostPolicy(docker_socket=str(tmp_path / "none"))
    found = isolation.resolve(policy)
    assert found.mode == "mesos"
    assert found.mesos_flags() == {"MESOS_ISOLATION": "cgroups/cpu,cgroups/mem"}
    (cgroups / "memory" / "memory.memsw.limit_in_bytes").touch()
    assert found.mesos_flags()["MESOS_CGROUPS_LIMIT_SWAP"] == "true"

    monkeypatch.setattr(isolation, "mesos_cgroups", lambda: NO)
    monkeypatch.setattr(isolation, "cgroup2_groups", lambda: Answer(True, "v2"))
    assert isolation.resolve(policy).mode == "cgroup2"

    monkeypatch.setattr(isolation, "cgroup2_groups", lambda: NO)
    found = isolation.resolve(policy)
    assert found.mode == "watchdog"
    assert "not docker: there is no" in found.reason
    assert "not mesos: no; not cgroup2: no" in found.reason
    assert found.mesos_flags() == {"MESOS_ISOLATION": "posix/cpu,posix/mem"}


def test_mesos_isolators_need_root_and_every_hierarchy(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isolation.mesos_cgroups().possible
    (cgroups / "memory" / "cgroup.procs").unlink()
    assert "memory" in isolation.mesos_cgroups().sentence
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert isolation.mesos_cgroups() == Answer(False, "Mesos' cgroup isolators need root")


def test_cgroup2_says_what_the_code_that_makes_groups_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise cgroup_v2.NoGroupError("not delegated")

    monkeypatch.setattr(cgroup_v2, "find_parent", refuse)
    assert isolation.cgroup2_groups() == Answer(False, "not delegated")
    monkeypatch.setattr(cgroup_v2, "find_parent", lambda: "/groups")
    assert isolation.cgroup2_groups() == Answer(True, "cgroup v2 groups may be made below /groups")


def test_a_configured_mode_wins_and_is_refused_where_it_cannot_be(tmp_path: Path) -> None:
    assert isolation.resolve(HostPolicy(isolation="watchdog")).reason.startswith("as configured")
    with pytest.raises(InputError, match=r"agents\.isolation: docker is not possible on this machine: there is no"):
        isolation.resolve(HostPolicy(isolation="docker", docker_socket=str(tmp_path / "none")))
    with pytest.raises(InputError, match="'dokcer' is none of auto, docker"):
        isolation.resolve(HostPolicy(isolation="dokcer"))
