"""Builds that behave: what they get and what is told of them, in every isolation this machine has."""

from __future__ import annotations

import os
import signal

import pytest

from tests.integration.agents.conftest import KERNEL, OTHER_USER, Executor

pytestmark = pytest.mark.root


def test_passing_and_failing_are_told_by_exit_code(executor: Executor) -> None:
    passed = executor.run("echo to stdout; echo to stderr >&2; echo again")
    assert passed.result.result_class == "passed", passed
    assert passed.result.exit_code == 0
    assert passed.log == "to stdout\nto stderr\nagain\n"
    assert passed.result.wall_s is not None
    failed = executor.run("exit 7")
    assert (failed.result.result_class, failed.result.exit_code) == ("failed", 7), failed
    assert failed.result.message == "exit code 7"


@pytest.mark.parametrize(("name", "mode"), [("grouped", KERNEL), ("docker", "docker")])
def test_what_holds_builds_best_is_taken(request: pytest.FixtureRequest, name: str, mode: str) -> None:
    ended = request.getfixturevalue(name).run("true")
    assert ended.result.isolation == mode, ended


def test_a_signal_of_the_builds_own_is_a_failure(executor: Executor) -> None:
    ended = executor.run("kill -SEGV $$; sleep 5")
    assert ended.result.result_class == "failed", ended
    assert ended.result.signal == signal.SIGSEGV


def test_a_build_is_nobody_in_a_place_of_its_own(executor: Executor) -> None:
    ended = executor.run(
        'id -u; id -g; echo "$CI $BUTLERY_TENANT $BUTLERY_JOB $BUTLERY_TASK_ID"\n'
        '[ "$PWD" = "$WORKSPACE" ] && echo same\n'
        'touch here "$HOME/there" "$TMPDIR/too" && echo writable; cat < /dev/null; ls / >/dev/null 2>&1; echo $LANG'
    )
    uid, gid, names, *rest = ended.log.splitlines()
    assert uid == gid
    assert int(uid) == OTHER_USER if executor.user else int(uid) >= 300000
    assert names == "true acme job task-1"
    assert rest == ["same", "writable", "C.UTF-8"]


def test_the_environment_is_the_builds_and_not_the_executors(executor: Executor) -> None:
    os.environ["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"] = "do-not-leak"
    try:
        ended = executor.run(
            'while read -r -d "" x; do echo "$x"; done < /proc/self/environ 2>/dev/null; set; echo "A=$A"',
            env={"A": "1 2"},
        )
    finally:
        del os.environ["MESOS_EXECUTOR_AUTHENTICATION_TOKEN"]
    assert "MESOS" not in ended.log
    assert "do-not-leak" not in ended.log
    assert "A=1 2\n" in ended.log


def test_secrets_reach_the_build_and_not_the_log(executor: Executor) -> None:
    ended = executor.run(
        'echo "all: $TOKEN"; printf "%s" "${TOKEN%??????}"; sleep 0.3; printf "%s\\n" "${TOKEN#?????}"\n'
        'echo "short $PIN"',
        secrets={"TOKEN": "hunter2hunt", "PIN": "12"},
    )
    assert ended.log == "all: ****\n****\nshort 12\n"


def test_an_interpreter_of_the_scripts_own(executor: Executor) -> None:
    ended = executor.run("#!/bin/cat\nshown as it is\n")
    assert ended.log == "#!/bin/cat\nshown as it is\n"


def test_a_missing_interpreter_fails_the_build(watchdog: Executor) -> None:
    ended = watchdog.run("#!/no/such/interpreter\n")
    assert (ended.result.result_class, ended.result.exit_code) == ("failed", 127), ended
    assert "cannot be executed" in ended.log


def test_a_jvm_is_sized_to_the_limit_unless_the_build_sees_to_it(executor: Executor) -> None:
    ours = executor.run('echo "$JAVA_TOOL_OPTIONS"', mem_mib=100).log.strip()
    held_by_group = executor.policy.isolation != "watchdog" and not executor.user
    assert ours == ("-XX:MaxRAMPercentage=60.0" if held_by_group else "-Xmx60m")
    own = executor.run('echo "$JAVA_TOOL_OPTIONS"', env={"JAVA_TOOL_OPTIONS": "-Xmx1m"})
    assert own.log == "-Xmx1m\n"
    other = executor.run('echo "[$JAVA_TOOL_OPTIONS]"', env={"_JAVA_OPTIONS": "-Xmx1m"})
    assert other.log == "[]\n"


def test_artifacts_are_kept_and_no_link_is_followed(executor: Executor) -> None:
    ended = executor.run(
        "mkdir -p out/deep; echo 1 > out/a.txt; echo 2 > out/deep/b.txt; echo 3 > other\n"
        "ln -s /etc/passwd out/link.txt; ln -s /etc out/dir; echo 4 > top.txt",
        artifacts=["out/**/*.txt", "out/dir/*", "top.txt", "../*"],
    )
    assert sorted(ended.result.artifacts) == ["out/a.txt", "out/deep/b.txt", "top.txt"], ended
    kept = ended.sandbox / "artifacts"
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()) == sorted(
        ended.result.artifacts
    )
    assert (kept / "out/deep/b.txt").read_text() == "2\n"


def test_only_log_and_artifacts_are_left_in_the_sandbox(executor: Executor) -> None:
    ended = executor.run("mkdir -p locked/in; touch locked/in/file; chmod 500 locked/in; chmod 500 locked")
    assert sorted(path.name for path in ended.sandbox.iterdir()) == ["build.log", "spec.json"]


def test_the_log_can_be_read_while_the_build_runs(executor: Executor) -> None:
    running = executor.start("echo first; while [ ! -e go ]; do sleep 0.1; done")
    running.wait_for_log("first\n")
    running.process.send_signal(signal.SIGTERM)
    assert running.finish().result.result_class == "cancelled"


def test_an_image_without_an_engine_is_refused(watchdog: Executor) -> None:
    ended = watchdog.run("true", image="busybox:1")
    assert ended.result.result_class == "image", ended
    assert "Docker engine" in ended.result.message
