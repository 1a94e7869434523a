"""The settings and commands of docs/serverless.rst, as printed; forges and the runner are stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from framework.local.cluster import MesosCluster
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.forges_running import commit, forges, runner
from tests.acceptance.manual import blocks, run, write_butlery
from tests.acceptance.scheduler_process import ADMIN_TOKEN, eventually
from tests.fakes.forges import TOKEN
from tests.fakes.webhooks import written

PAGE = "serverless.rst"
TIMEOUT_S = 120


def test_examples_run_as_printed(
    scheduler: SchedulerFactory, mesos_cluster: Callable[..., MesosCluster], open_dir: Path
) -> None:
    [jenkinsfile], [own, settings] = blocks(PAGE, "groovy"), blocks(PAGE, "yaml")
    submit, secrets, send = blocks(PAGE)
    process = scheduler(mesos_cluster())
    folder = process.directory
    programs = folder / "programs"
    programs.mkdir()
    run(secrets, folder, programs, TIMEOUT_S)
    token_file = written(folder / "admin.token", ADMIN_TOKEN)
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
        write_butlery(programs, f"--server {process.url} --token-file {token_file}")

        (folder / "Jenkinsfile").write_text(jenkinsfile)
        (folder / ".butlery.yaml").write_text(own)
        said = run(submit, folder, programs, TIMEOUT_S)
        assert "for everybody\n" in said
        [job] = process.get("/v1/jobs", job="shop")["jobs"]
        assert (job["resources"]["mem_mib"], job["timeout_s"]) == (200, 900)

        running["github"].files[".butlery.yaml"] = own.encode()
        made = commit(open_dir / "acme/shop", {"Jenkinsfile": jenkinsfile})
        said = run(send, folder, programs, TIMEOUT_S, server=process.url, commit=made)
        assert "acme-shop" in said
        eventually(lambda: running["github"].states(made)[-1:] == ["success"], "the status of the commit")
