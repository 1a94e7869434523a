"""The executor's pure parts: globs, git's environment, the build's environment, updates, images, users."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from agents.executor import artifacts, checkout, docker_body, environment, processes, updates, users
from agents.executor.isolation import IsolationError, detect
from agents.executor.limits import Wanted
from agents.executor.workspace import DiskMeter
from agents.spec import BuildSpec, GitSource, HostPolicy

SPEC = BuildSpec("t", "acme", "job", "true", 1000, 100)


@pytest.mark.parametrize(
    ("glob", "kept", "not_kept"),
    [
        ("*.txt", ["a.txt"], ["b/a.txt", "a.txtx"]),
        ("**/*.txt", ["a.txt", "b/c/a.txt"], ["a.log"]),
        ("out", ["out", "out/a", "out/b/c"], ["outer"]),
        ("out/", ["out/a"], ["b/out/a"]),
        ("./out/*.x?", ["out/a.xy"], ["out/a.x", "out/b/a.xy"]),
        ("a+(b).[c]", ["a+(b).[c]"], ["aab.c"]),
    ],
)
def test_globs(glob: str, kept: list[str], not_kept: list[str]) -> None:
    pattern = artifacts.pattern_of([glob])
    assert [path for path in kept if not pattern.fullmatch(path)] == []
    assert [path for path in not_kept if pattern.fullmatch(path)] == []


def test_artifacts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name in "abc":
        (workspace / name).write_bytes(b"x" * 600)
    monkeypatch.setattr(artifacts, "MAX_BYTES", 1500)
    kept, note = artifacts.keep(str(workspace), str(tmp_path / "kept"), ["*"], None)
    assert kept == ["a", "b"]
    assert "not kept" in note
    monkeypatch.setattr(artifacts, "MAX_FILES", 1)
    kept, note = artifacts.keep(str(workspace), str(tmp_path / "few"), ["*"], None)
    assert kept == ["a"]
    assert "first 1" in note


def test_credentials_go_to_git_by_its_environment_only() -> None:
    source = GitSource("https://me:p%40ss:w@host/x.git", "main")
    made = checkout.environment(source, "/home", "/config")
    assert made["GIT_SOURCE_URL"] == "https://host/x.git"
    assert (made["GIT_SOURCE_USER"], made["GIT_SOURCE_PASSWORD"]) == ("me", "p@ss:w")
    assert checkout.shown(source) == "https://host/x.git at main"
    assert checkout.secrets_of(source) == ["p%40ss:w", "p@ss:w"]
    assert checkout.secrets_of(GitSource("https://token@host/x")) == ["token", "token"]
    assert checkout.secrets_of(GitSource("ssh://git@host/x")) == []
    assert "GIT_CONFIG_COUNT" not in checkout.environment(GitSource("ssh://git@host/x"), "/home", "/config")


@pytest.mark.parametrize("url", ["", "-u", "--upload-pack=touch x", "a\0b"])
def test_urls_that_git_would_take_for_something_else(url: str) -> None:
    with pytest.raises(checkout.BadSourceError):
        checkout.environment(GitSource(url), "/home", "/config")


@pytest.mark.parametrize("ref", ["-x", "a b", "a..b", "a:b", "a\nb", "a^1", "*"])
def test_refs_that_are_none(ref: str) -> None:
    with pytest.raises(checkout.BadSourceError):
        checkout.environment(GitSource("https://host/x", ref), "/home", "/config")


def test_a_build_is_told_its_ports_and_gpus() -> None:
    spec = BuildSpec("t", "acme", "job", "true", 1000, 100, ports=[31005, 31009], gpus=2)
    made = environment.of_build(spec, "/w", "/h", jvm_sees_limit=True)
    assert (made["PORT0"], made["PORT1"], made["PORTS"], made["BUTLERY_GPUS"]) == ("31005", "31009", "31005,31009", "2")
    bare = environment.of_build(SPEC, "/w", "/h", jvm_sees_limit=True)
    assert not {"PORTS", "PORT0", "BUTLERY_GPUS"} & set(bare)


def test_gpus_are_asked_of_the_engine() -> None:
    def described(gpus: int) -> dict[str, Any]:
        wanted = Wanted(100, 1000, 60, gpus)
        host: dict[str, Any] = docker_body.container(wanted, "i", ["true"], {}, "1:1", [], [], "host")["HostConfig"]
        return host

    assert described(2)["DeviceRequests"] == [{"Count": 2, "Capabilities": [["gpu"]]}]
    assert "DeviceRequests" not in described(0)


def test_the_environment_of_a_build() -> None:
    spec = BuildSpec("t", "acme", "job", "true", 1000, 100, env={"A": "1", "CI": "no"}, secrets={"S": "x"})
    made = environment.of_build(spec, "/w", "/h", jvm_sees_limit=True)
    assert made["PATH"] == environment.PATH
    assert (made["A"], made["CI"], made["S"], made["HOME"], made["WORKSPACE"]) == ("1", "no", "x", "/h", "/w")
    assert made["JAVA_TOOL_OPTIONS"] == "-XX:MaxRAMPercentage=60.0"
    assert environment.of_build(SPEC, "/w", "/h", jvm_sees_limit=False)["JAVA_TOOL_OPTIONS"] == "-Xmx60m"
    spec.image = "busybox"
    assert "PATH" not in environment.of_build(spec, "/w", "/h", jvm_sees_limit=True)


def test_uuids_are_valid_version_4() -> None:
    made = [uuid.UUID(bytes=updates.uuid4()) for _ in range(200)]
    assert {(found.version, found.variant) for found in made} == {(4, uuid.RFC_4122)}


@pytest.mark.parametrize(
    ("text", "seconds"), [("15mins", 900.0), ("2secs", 2.0), ("1.5hrs", 5400.0), ("10ms", 0.01), ("", 7.0), ("x", 7.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert updates.duration_s(text, 7.0) == seconds


def test_back_off_doubles_to_its_bound() -> None:
    waits = updates.Backoff(1.0, 4.0)
    steps = [waits.next_s() for _ in range(5)]
    assert all(top / 2 <= step <= top for step, top in zip(steps, [1, 2, 4, 4, 4], strict=True))
    waits.reset()
    assert waits.next_s() <= 1.0


def test_updates_are_due_again_until_they_are_acknowledged() -> None:
    pending = updates.Updates("x")
    pending.add("t", "TASK_RUNNING", "", b"")
    pending.add("t", "TASK_FINISHED", "done", b"{}")
    first, second = pending.due(1e12)
    assert [first["status"]["state"], second["status"]["state"]] == ["TASK_RUNNING", "TASK_FINISHED"]
    assert pending.due(0.0) == []
    pending.acknowledge(first["status"]["uuid"])
    pending.acknowledge("unknown")
    assert pending.hand_over() == [second]
    pending.acknowledge(second["status"]["uuid"])
    assert pending.all_acknowledged()


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("busybox", ("busybox", "latest")),
        ("team/app:1.2", ("team/app", "1.2")),
        ("host:5000/app", ("host:5000/app", "latest")),
        ("host:5000/app:3", ("host:5000/app", "3")),
        ("app@sha256:abc", ("app", "sha256:abc")),
    ],
)
def test_image_names(image: str, parts: tuple[str, str]) -> None:
    assert docker_body.split_image(image) == parts


@pytest.mark.parametrize("text", ["", "x", "5-1", "0-10", "999-1001", "1-", "1-4294967296"])
def test_ranges_of_users_that_may_not_be_used(text: str) -> None:
    with pytest.raises(users.NoUserError):
        users.parse_range(text)


def test_ranges_of_users() -> None:
    assert users.parse_range("2000-2002") == range(2000, 2003)
    assert users.parse_range("2000") == range(2000, 2001)


def test_nothing_is_done_as_root() -> None:
    with pytest.raises(ValueError, match="uid 0"):
        processes.kill_user(0)


def test_isolation_as_configured_or_refused(tmp_path: Path) -> None:
    assert detect(HostPolicy(isolation="watchdog"))[0] == "watchdog"
    with pytest.raises(IsolationError, match="none of auto"):
        detect(HostPolicy(isolation="jail"))
    with pytest.raises(IsolationError, match="no Docker engine at"):
        detect(HostPolicy(isolation="docker", docker_socket=str(tmp_path / "none")))
    (tmp_path / "plain").touch()
    with pytest.raises(IsolationError, match="does not answer"):
        detect(HostPolicy(isolation="docker", docker_socket=str(tmp_path / "plain")))


def test_a_workspace_is_measured_in_slices(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "big").write_bytes(b"x" * (3 << 20))
    (tmp_path / "out").symlink_to("/")
    meter = DiskMeter([str(tmp_path), str(tmp_path / "gone")])
    found = None
    for _ in range(100):
        found = meter.step(time.monotonic(), slice_s=0.0)
        if found is not None:
            break
    assert found == 3
    assert meter.step(time.monotonic()) is None
    assert meter.step(time.monotonic() + 1000.0) == 3


def test_the_most_that_a_workspace_held_is_known_at_its_end(tmp_path: Path) -> None:
    meter = DiskMeter([str(tmp_path)], held=False)
    peaks = [meter.peak_mib]
    (tmp_path / "big").write_bytes(b"x" * (3 << 20))
    now_s = time.monotonic()
    meter.step(now_s, slice_s=60.0)
    (tmp_path / "big").unlink()
    (tmp_path / "small").write_bytes(b"x" * (1 << 20))
    assert meter.step(now_s + 5.0, slice_s=60.0) is None  # where nothing is limited it is looked at less often
    meter.look_once_more()
    peaks.append(meter.peak_mib)
    (tmp_path / "bigger").write_bytes(b"x" * (5 << 20))
    meter.look_once_more()
    assert [*peaks, meter.peak_mib] == [None, pytest.approx(3, abs=0.1), pytest.approx(6, abs=0.1)]
