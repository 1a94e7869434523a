from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from framework.cli import following
from framework.cli.client import ApiClient, job_path
from framework.core.ids import RequestId
from framework.core.tasks import FailureClass
from framework.errors import UnavailableError
from tests.unit.cli.conftest import Butlery, Serving

JOB = ("--name", "unit-tests", "--command", "make test")
JOB_FILE = """\
name: unit-tests
command: make test
mem_mib: 512
git:
  url: https://example.com/x.git
env:
  A: "1"
"""


def submitted(butlery: Butlery, *more: str) -> str:
    ended = butlery("jobs", "submit", *JOB, *more)
    assert ended.code == 0, ended.err
    assert ended.err == ""
    return ended.out.strip()


def test_submit_from_options(
    as_red: Butlery, serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "build.sh"
    script.write_text("#!/bin/bash\nmake\n")
    (tmp_path / "key").write_text("from-file\n")
    monkeypatch.setenv("DEPLOY_TOKEN", "from-environment")
    ended = as_red(
        "jobs", "submit", "--name", "n", "--script", str(script), "--image", "debian:12", "--label", "small",
        "--git-url", "https://example.com/x.git", "--git-ref", "main", "--cpus", "1.5", "--mem-mib", "512",
        "--disk-mib", "64", "--env", "A=1", "--env", "B=x=y", "--secret-env", "DEPLOY_TOKEN",
        "--secret-file", f"KEY={tmp_path / 'key'}", "--priority", "-5", "--timeout-s", "60", "--grace-s", "2",
        "--artifact", "*.xml", "--retries", "1", "--attribute", "os=linux", "--json",
    )  # fmt: skip
    assert ended.json["state"] == "waiting"
    [sent] = serving.control.submissions
    spec = sent.spec
    assert (spec.command, spec.image, spec.cpu_millis) == ("#!/bin/bash\nmake\n", "debian:12", 1500)
    assert (spec.env, spec.artifacts) == ({"A": "1", "B": "x=y"}, ["*.xml"])
    assert spec.secrets == {"DEPLOY_TOKEN": "from-environment", "KEY": "from-file"}
    assert (sent.priority, sent.retries, sent.template.attributes) == (-5, 1, {"os": "linux"})
    assert sent.idempotency_key
    assert "from-environment" not in ended.out + ended.err


def test_options_go_before_the_file(as_red: Butlery, serving: Serving, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(JOB_FILE)
    assert as_red("jobs", "submit", "--file", str(file), "--name", "b", "--env", "B=2", "--git-ref", "v1").code == 0
    [sent] = serving.control.submissions
    assert (sent.job, sent.spec.command, sent.spec.env) == ("b", "make test", {"A": "1", "B": "2"})
    assert sent.spec.git is not None
    assert (sent.spec.git.url, sent.spec.git.ref) == ("https://example.com/x.git", "v1")


def test_every_fault_of_a_file_has_its_line(as_red: Butlery, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: a/b\ncommand: x\ncpus: .nan\ngit:\n  url: https://me:hunter2@example.com/x\nlable: x\n")
    ended = as_red("jobs", "submit", "--file", str(file), "--retries", "9")
    assert ended.code == 2
    assert ended.out == ""
    for line, field in ((1, "name"), (3, "cpus"), (5, "git.url"), (6, "lable")):
        assert f"job.yaml:{line} {field}:" in ended.err
    assert "  retries: must be at most 5" in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--env", "A"), "--env: must be NAME=VALUE"),
        (("--env", "A=1", "--env", "A=2"), "A stands twice"),
        (("--secret-env", "NOT_SET_HERE"), "NOT_SET_HERE is not set"),
        (("--secret-file", "A=/no/such"), "/no/such cannot be read"),
        (("--script", "/no/such"), "/no/such cannot be read"),
        (("--file", "/no/such.yaml"), "/no/such.yaml"),
        (("--cpus", "nan"), "cpus: must be a finite number"),
        (("--cpus", "-1"), "cpus: must be at least 0.01"),
        (("--mem-mib", "0"), "mem_mib: must be at least 16"),
        (("--mem-mib", str(10**30)), "mem_mib: must be at most"),
        (("--cpus", "lots"), "--cpus"),
        (("--label", "huge"), "known are small"),
        (("--tenant", "blue"), "can act for no other tenant"),
        (("--cpus", "999"), "host-1"),
        (("--idempotency-key", "a b"), "--idempotency-key"),
        (("--name", "a/b"), "name: must begin"),
        (("--name", "🦄"), "name: must begin"),
        (("--name", ".."), "name: must begin"),
        (("--command", "x" * 120_000 + "\n"), "one line"),
        (("--follow", "--json"), "--follow"),
        (("--no-such-option",), "--no-such-option"),
    ],
)
def test_bad_input(as_red: Butlery, serving: Serving, options: tuple[str, ...], told: str) -> None:
    ended = as_red("jobs", "submit", *JOB, *options)
    assert ended.code == 2
    assert ended.out == ""
    assert told in ended.err
    assert not serving.control.submissions


@pytest.mark.parametrize("letter", ["x", "\t", "é"])
def test_a_large_script_belongs_into_the_repository(as_red: Butlery, tmp_path: Path, letter: str) -> None:
    script = tmp_path / "s"
    script.write_text(letter * 600_000)
    ended = as_red("jobs", "submit", "--name", "a", "--script", str(script))
    assert (ended.code, "put it into the repository" in ended.err) == (2, True)
    file = tmp_path / "job.yaml"
    file.write_text(f'name: a\nscript: "x{letter * 400_000}"\n')
    ended = as_red("jobs", "submit", "--file", str(file))
    assert (ended.code, "into the" in ended.err) == (2, True)


def test_an_unknown_tenant(as_admin: Butlery) -> None:
    ended = as_admin("jobs", "submit", *JOB, "--tenant", "green")
    assert (ended.code, "tenant: is not known" in ended.err) == (2, True)


def test_an_idempotency_key(as_red: Butlery) -> None:
    first = submitted(as_red, "--idempotency-key", "k")
    assert submitted(as_red, "--idempotency-key", "k") == first
    other = as_red("jobs", "submit", "--name", "other", "--command", "x", "--idempotency-key", "k")
    assert (other.code, "another body" in other.err) == (2, True)


def test_list_and_show(as_red: Butlery, serving: Serving) -> None:
    first, second = submitted(as_red), submitted(as_red, "--env", "A=1")
    serving.do(serving.control.run, first)
    serving.do(serving.control.end, first, FailureClass.OOM, 137)
    assert [job["id"] for job in as_red("jobs", "list", "--json").json["jobs"]] == [second, first]
    shown = as_red("jobs", "list").out.splitlines()
    assert shown[0].startswith("JOB")
    assert ["waiting" in shown[1], "oom" in shown[2], "137" in shown[2]] == [True, True, True]
    limited = as_red("jobs", "list", "--limit", "1", "--state", "waiting", "--state", "ended")
    assert f"--before {second}" in limited.err
    assert as_red("jobs", "list", "--state", "gone").code == 2
    assert as_red("jobs", "show", first, "--json").json["result"]["result_class"] == "oom"
    text = as_red("jobs", "show", first).out
    for word in ("oom", "137", "make test", "host-1", "12.0"):
        assert word in text


@pytest.mark.parametrize("job", ["", "..", ".", "a/b", "a?b", "🦄", "j1\n", "x" * 101])
def test_a_bad_job_id(as_red: Butlery, job: str) -> None:
    for command in ("show", "why", "logs", "wait", "cancel", "artifacts"):
        ended = as_red("jobs", command, job)
        assert (ended.code, "no job's id" in ended.err) == (2, True)


def test_why(as_red: Butlery, serving: Serving) -> None:
    job = submitted(as_red)
    text = as_red("jobs", "why", job).out
    for word in ("No memory.", "quota of 4 builds", "3 hosts and 2 offers", "attribute:os"):
        assert word in text
    assert as_red("jobs", "why", job, "--json").json["turned_away"] == {"mem_mib": 2, "attribute:os": 1}
    serving.do(serving.control.run, job)
    assert "running" in as_red("jobs", "why", job).out


def test_cancel(as_red: Butlery) -> None:
    first, second = submitted(as_red), submitted(as_red)
    assert as_red("jobs", "cancel", first, second).out.split() == [first, second]
    assert as_red("jobs", "cancel", first, "--json").json["result"]["result_class"] == "cancelled"
    assert as_red("jobs", "cancel", "j999").code == 2


@pytest.mark.parametrize(("result", "code"), [("passed", 0), ("failed", 1), ("oom", 1), ("cancelled", 1)])
def test_wait_tells_whether_it_passed(as_red: Butlery, serving: Serving, result: str, code: int) -> None:
    job = submitted(as_red)
    serving.do(serving.control.run, job)
    serving.do(serving.control.end, job, FailureClass(result))
    ended = as_red("jobs", "wait", job)
    assert (ended.code, ended.out) == (code, "")
    assert f"{job}: {result} (exit code 0, wall 1.5s, peak 12.0 MiB)" in ended.err


def test_wait_gives_up_when_told(as_red: Butlery) -> None:
    job = submitted(as_red)
    assert as_red("jobs", "wait", job, "--timeout-s", "0.1").code == 124


def test_wait_for_several_fails_with_one(as_red: Butlery, serving: Serving) -> None:
    jobs = [submitted(as_red) for _ in range(3)]
    for job in jobs:
        serving.do(serving.control.end, job, FailureClass.FAILED if job == jobs[1] else FailureClass.PASSED)
    ended = as_red("jobs", "wait", *jobs, "--json")
    assert ended.code == 1
    assert [line.split(":")[0] for line in ended.err.splitlines()] == jobs


def when_submitted(serving: Serving, act: object) -> threading.Thread:
    """Does ``act`` once there is a job, beside the program."""

    def beside() -> None:
        while not serving.control.jobs:
            threading.Event().wait(0.01)
        act()  # type: ignore[operator]

    thread = threading.Thread(target=beside)
    thread.start()
    return thread


def test_submit_and_wait(as_red: Butlery, serving: Serving) -> None:
    beside = when_submitted(serving, lambda: serving.do(serving.control.end, "j000001", FailureClass.FAILED, 3))
    ended = as_red("jobs", "submit", *JOB, "--wait")
    beside.join(10)
    assert ended.code == 1
    assert "exit code 3" in ended.err


def test_follow_over_a_lost_host(as_red: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.02)
    job = submitted(as_red)
    control = serving.control

    def life() -> None:
        serving.do(control.run, job, b"first\n")
        serving.do(control.lose, job)
        threading.Event().wait(0.2)
        serving.do(control.run, job, b"sec")
        serving.do(control.write, job, b"ond \xc3\xa4\n")
        serving.do(control.end, job)

    beside = threading.Thread(target=life)
    beside.start()
    ended = as_red("jobs", "logs", "-f", job)
    beside.join(10)
    assert ended.code == 0
    assert ended.out.endswith("second ä\n")
    assert as_red("jobs", "logs", job).out == "second ä\n"
    assert as_red("jobs", "logs", job, "--attempt", "1").out == "first\n"
    assert as_red("jobs", "logs", job, "--json").json == {"job": job, "attempt": 2, "output": "second ä\n"}


def test_the_log_of_another_container(as_red: Butlery, serving: Serving, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("{name: n, command: make test, containers: [{name: db, command: exec postgres}]}")
    job = as_red("jobs", "submit", "--file", str(file)).out.strip()
    serving.do(serving.control.run, job, b"the build's\n")
    serving.control.files[RequestId(job), 1, "containers/db.log"] = b"the database's\n"
    serving.do(serving.control.end, job)
    for more in ((), ("-f",)):
        assert as_red("jobs", "logs", job, "--container", "db", *more).out == "the database's\n"
        refused = as_red("jobs", "logs", job, "--container", "cache", *more)
        assert (refused.code, "no such container" in refused.err) == (2, True)


def test_follow_outlives_a_server_that_is_away(
    as_red: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.02)
    job = submitted(as_red)
    serving.do(serving.control.run, job, b"output\n")
    serving.do(serving.control.end, job)
    serving.control.failing = UnavailableError("host-1 does not answer")

    def back() -> None:
        serving.control.failing = None

    timer = threading.Timer(0.5, back)
    timer.start()
    monkeypatch.setattr("framework.cli.jobs._say_why", lambda *_: None)
    ended = as_red("jobs", "logs", "-f", job)
    timer.join()
    assert ended.out == "output\n"
    assert "host-1 does not answer" in ended.err
    assert "answers again" in ended.err


def test_follow_outlives_a_server_that_is_away_between_attempts(
    as_red: Butlery, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.02)
    job = submitted(as_red)
    serving.do(serving.control.run, job, b"first\n")
    serving.do(serving.control.lose, job)
    get, failures = ApiClient.get, list[str]()

    def restarting(self: ApiClient, path: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if path == job_path(job) and len(failures) < 3:
            failures.append(path)
            raise UnavailableError("the scheduler restarts")
        serving.do(serving.control.run, job, b"second\n")
        serving.do(serving.control.end, job)
        return get(self, path, *args, **kwargs)

    monkeypatch.setattr("framework.cli.jobs._say_why", lambda *_: None)
    monkeypatch.setattr(ApiClient, "get", restarting)
    ended = as_red("jobs", "logs", "-f", job)
    assert (ended.code, len(failures)) == (0, 3), ended
    assert ended.out.endswith("second\n")
    assert "the scheduler restarts" in ended.err


def test_artifacts(as_red: Butlery, serving: Serving, tmp_path: Path) -> None:
    job = submitted(as_red)
    serving.do(serving.control.run, job)
    large = bytes(range(256)) * 10_000
    serving.control.files[job, 1, "artifacts/out/a.bin"] = large  # type: ignore[index]
    serving.control.files[job, 1, "artifacts/b"] = b"b"  # type: ignore[index]
    assert [one["path"] for one in as_red("jobs", "artifacts", job, "--json").json["artifacts"]] == ["b", "out/a.bin"]
    assert as_red("jobs", "artifacts", job, "--to", str(tmp_path / "kept")).code == 0
    assert (tmp_path / "kept/out/a.bin").read_bytes() == large
    assert sorted(path.name for path in tmp_path.glob("kept/**/*")) == ["a.bin", "b", "out"]
    assert "c: is no artifact" in as_red("jobs", "artifacts", job, "c").err
    serving.control.files[job, 1, "artifacts/../../escaped"] = b"x"  # type: ignore[index]
    assert as_red("jobs", "artifacts", job, "--to", str(tmp_path / "kept")).code == 2
    assert not (tmp_path.parent / "escaped").exists()
