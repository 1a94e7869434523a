"""The settings and commands of docs/serverless.rst, as printed; forges and the runner are stand-ins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import yaml

from framework.local.cluster import MesosCluster
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.forges_running import commit, forges, runner
from tests.acceptance.scheduler_process import ADMIN_TOKEN, SchedulerProcess, eventually
from tests.fakes.forges import TOKEN
from tests.fakes.webhooks import written

PAGE = Path(__file__).parents[2] / "docs" / "serverless.rst"
TIMEOUT_S = 120


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", PAGE.read_text(), re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in found]


def ran(script: str, folder: Path, process: SchedulerProcess | None = None, **variables: str) -> str:
    """What it said; ``butlery`` is one that knows the scheduler of the test."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    if process is not None:
        (programs / "butlery").write_text(
            f'#!/bin/sh\nexec {sys.executable} -m framework.cli "$@" --server {process.url} '
            f"--token-file {written(folder / 'admin.token', ADMIN_TOKEN)}\n"
        )
        (programs / "butlery").chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def test_examples_run_as_printed(
    scheduler: SchedulerFactory, mesos_cluster: Callable[..., MesosCluster], open_dir: Path
) -> None:
    [jenkinsfile], [own, settings] = blocks("groovy"), map(str, blocks("yaml"))
    submit, secrets, send = blocks("bash")
    process = scheduler(mesos_cluster())
    folder = process.directory
    ran(secrets, folder)
    with forges() as running:
        given = yaml.safe_load(settings)
        for hook in given["webhooks"]:
            hook["api_url"] = running[hook["kind"]].url
            hook["git_url"] = f"file://{open_dir}/{{repository}}"
            written(folder / hook["token_file"], TOKEN)
        written(folder / "hooks/deploy.key", "a-key-of-the-builds")
        given["api"] = {"allow_file_urls": True}
        given["serverless"] |= {"image": None, "command": runner(open_dir / "runner")}
        of_test = yaml.safe_load(process.config.read_text())
        process.config.write_text(yaml.safe_dump({**given, **of_test, "api": given["api"] | of_test["api"]}))
        process.start()

        (folder / "Jenkinsfile").write_text(jenkinsfile)
        (folder / ".butlery.yaml").write_text(own)
        said = ran(submit, folder, process)
        assert "for everybody\n" in said
        [job] = process.get("/v1/jobs", job="shop")["jobs"]
        assert (job["resources"]["mem_mib"], job["timeout_s"]) == (200, 900)

        running["github"].files[".butlery.yaml"] = own.encode()
        made = commit(open_dir / "acme/shop", {"Jenkinsfile": jenkinsfile})
        said = ran(send, folder, process, server=process.url, commit=made)
        assert "acme-shop" in said
        eventually(lambda: running["github"].states(made)[-1:] == ["success"], "the status of the commit")
