"""Builds without a standing master, whole way: a Jenkinsfile, and forges' pushes, on a real Mesos."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from framework.local.cluster import MesosCluster
from framework.serverless_settings import Kind
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.forges_running import commit, forges, runner
from tests.acceptance.scheduler_process import ADMIN_TOKEN, PATIENCE_S, TENANT, SchedulerProcess, eventually
from tests.fakes import forge_messages as messages
from tests.fakes.forge_messages import FORGES
from tests.fakes.forges import TOKEN, FakeForge
from tests.fakes.webhooks import section

TEMPLATES = {"small": {"cpus": 0.1, "mem_mib": 128, "timeout_s": 300, "overrides": {"cpus_max": 1, "mem_mib_max": 256}}}
JENKINSFILE = """\
pipeline {
    agent any
    stages {
        stage('Build') { steps { echo "of $BRANCH_NAME for ${params.who}"; sh 'cat shoes.txt; test ! -e broken' } }
    }
}
"""
STATES = {
    "github": ["pending", "success"],
    "gitlab": ["pending", "running", "success"],
    "bitbucket": ["INPROGRESS", "SUCCESSFUL"],
}


@pytest.fixture
def running_forges() -> Iterator[dict[Kind, FakeForge]]:
    with forges() as made:
        yield made


@pytest.fixture
def serverless(
    scheduler: SchedulerFactory,
    mesos_cluster: Callable[..., MesosCluster],
    running_forges: dict[Kind, FakeForge],
    open_dir: Path,
) -> SchedulerProcess:
    """A scheduler with one webhook of each forge, named as its kind, for repositories below ``open_dir``."""
    process = scheduler(
        mesos_cluster(),
        serverless={"image": None, "command": runner(open_dir / "runner"), "label": "small"},
        templates=TEMPLATES,
        api={"allow_file_urls": True},
    )
    hooks = [
        section(
            process.directory, TOKEN, name=kind, kind=kind, tenant=TENANT, api_url=running_forges[kind].url,
            git_url=f"file://{open_dir}/{kind}/{{repository}}",
        )
        for kind in FORGES
    ]  # fmt: skip
    settings = yaml.safe_load(process.config.read_text())
    process.config.write_text(yaml.safe_dump({**settings, "webhooks": hooks}))
    process.start()
    process.make_tenant()
    return process


def sent(process: SchedulerProcess, kind: Kind, **changes: Any) -> httpx.Response:
    message = messages.push(kind, **changes)
    return httpx.post(
        f"{process.url}/v1/webhooks/{kind}", content=message.body, headers=message.headers, timeout=30, trust_env=False
    )


def built(process: SchedulerProcess, kind: Kind, commit: str) -> str:
    answer = sent(process, kind, commit=commit)
    assert answer.status_code == 202, answer.text
    [job] = answer.json()["jobs"]
    return str(job)


def assert_told(forge: FakeForge, commit: str) -> None:
    """Its end, and before it nothing out of order."""
    whole = STATES[forge.kind]
    eventually(lambda: forge.states(commit)[-1:] == whole[-1:], "the end told")
    told = list(dict.fromkeys(forge.states(commit)))
    assert [state for state in whole if state in told] == told
    assert not forge.faults


def test_pushes_to_every_forge_are_built_and_told(
    serverless: SchedulerProcess, running_forges: dict[Kind, FakeForge], open_dir: Path
) -> None:
    files = {"Jenkinsfile": JENKINSFILE, "shoes.txt": "red shoes\n"}
    for kind in FORGES:
        running_forges[kind].files[".butlery.yaml"] = b"cpus: 0.2\nenv: {who: everybody}\n"
    commits = {kind: commit(open_dir / kind / messages.REPOSITORY, files) for kind in FORGES}
    jobs = {kind: built(serverless, kind, commits[kind]) for kind in FORGES}
    for kind in FORGES:
        ended = serverless.wait_ended(jobs[kind])
        assert ended["result"]["result_class"] == "passed", (ended, serverless.logged(jobs[kind]))
        assert ended["resources"]["cpus"] == 0.2
        assert (ended["origin"]["commit"], ended["origin"]["webhook"]) == (commits[kind], kind)
        log = serverless.logged(jobs[kind])
        assert "of main for everybody" in log
        assert "red shoes" in log
        assert_told(running_forges[kind], commits[kind])
        assert built(serverless, kind, commits[kind]) == jobs[kind]  # the same message again

    broken = commit(open_dir / "github" / messages.REPOSITORY, {"broken": ""})
    job = built(serverless, "github", broken)
    ended = serverless.wait_ended(job)
    assert ended["result"]["result_class"] == "failed"
    hub = running_forges["github"]
    eventually(lambda: hub.states(broken)[-1:] == ["failure"], "the failure told")
    assert hub.posted[-1].body["description"].startswith("failed: ")
    assert hub.posted[-1].body["target_url"].endswith(f"/v1/jobs/{job}")
    assert TOKEN not in serverless.said()
    assert messages.SECRET not in serverless.said()


def test_what_a_repository_may_not_ask_for_stands_at_its_commit(
    serverless: SchedulerProcess, running_forges: dict[Kind, FakeForge], open_dir: Path
) -> None:
    made = commit(open_dir / "gitlab" / messages.REPOSITORY, {"Jenkinsfile": JENKINSFILE})
    lab = running_forges["gitlab"]
    lab.files[".butlery.yaml"] = b"cpus: 64\n"
    assert sent(serverless, "gitlab", commit=made).status_code == 422
    eventually(lambda: lab.states(made) == ["failed"], "the refusal told")
    assert "can be asked for" in lab.posted[-1].body["description"]


def test_an_end_is_told_after_a_crash_and_a_forge_that_was_away(
    serverless: SchedulerProcess, running_forges: dict[Kind, FakeForge], open_dir: Path
) -> None:
    hub = running_forges["github"]
    hub.refusing = 503
    made = commit(open_dir / "github" / messages.REPOSITORY, {"Jenkinsfile": JENKINSFILE, "shoes.txt": "blue shoes\n"})
    job = built(serverless, "github", made)
    serverless.wait_ended(job)
    eventually(lambda: hub.calls > 1, "a status refused")
    assert any("webhook github" in notice for notice in serverless.get("/v1/status")["notices"])
    serverless.kill9()
    hub.refusing = None
    serverless.start()
    eventually(lambda: hub.states(made)[-1:] == ["success"], "the end told after the restart")
    assert not hub.faults


def test_a_jenkinsfile_from_the_command_line(serverless: SchedulerProcess, tmp_path: Path) -> None:
    (tmp_path / "Jenkinsfile").write_text("node { echo \"for ${params.who}\"; sh 'echo $MODE; exit 3' }\n")
    (tmp_path / ".butlery.yaml").write_text("mem_mib: 200\nenv: {MODE: fast}\n")
    (tmp_path / "token").write_text(ADMIN_TOKEN)
    (tmp_path / "token").chmod(0o600)
    done = subprocess.run(
        [
            sys.executable, "-m", "framework.cli", "jobs", "submit", "--server", serverless.url,
            "--token-file", str(tmp_path / "token"), "--tenant", TENANT, "--name", "shop",
            "--jenkinsfile", str(tmp_path / "Jenkinsfile"), "--param", "who=everybody", "--follow",
        ],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "for everybody\n" in done.stdout
    assert "fast\n" in done.stdout
    assert "script returned exit code 3" in done.stdout
    [job] = serverless.get("/v1/jobs", job="shop")["jobs"]
    assert job["resources"]["mem_mib"] == 200
