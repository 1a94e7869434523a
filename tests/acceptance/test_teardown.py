"""The operator's own command, and nothing else, ends the framework."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from framework.local.cluster import get_json
from framework.local.spec import HostShape
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.scheduler_process import PATIENCE_S, SchedulerProcess, eventually
from tests.acceptance.witness import Witness, alive
from tests.integration.conftest import ClusterFactory


def teardown(butlery: SchedulerProcess, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "framework.cli", "scheduler", "teardown", "--config", str(butlery.config)]
    return subprocess.run(
        [*command, *options],
        cwd=butlery.directory,
        env=butlery.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_teardown_ends_every_build_once_it_is_agreed_to(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path
) -> None:
    cluster = mesos_cluster(shapes=[HostShape(count=1, cpus=4, mem_mib=2000)])
    butlery, witness = scheduler(cluster), Witness(open_dir)
    butlery.start()
    butlery.make_tenant()
    job_id = butlery.submit("build-0", witness.script)
    butlery.wait_running([job_id])
    eventually(lambda: witness.started("build-0"), "its first line")
    (pid,) = witness.started("build-0")
    framework_id = butlery.get("/v1/status")["framework_id"]

    refused = teardown(butlery, "--yes")
    assert (refused.returncode, "another scheduler is using it" in refused.stderr) == (2, True), refused
    butlery.stop()
    refused = teardown(butlery)
    assert refused.returncode == 2
    assert f"ends framework {framework_id} and its 1 builds" in refused.stderr
    assert alive(pid)

    done = teardown(butlery, "--yes", "--json")
    assert done.returncode == 0, done
    assert json.loads(done.stdout) == {"framework_id": framework_id, "tasks": 1}
    assert "Traceback" not in done.stderr
    ended = {each["id"] for each in get_json(f"{cluster.url}/frameworks")["completed_frameworks"]}
    assert framework_id in ended
    eventually(lambda: not alive(pid), "the end of the build")
    assert "there is no framework" in teardown(butlery, "--yes").stdout

    witness.release()
    butlery.start()
    assert butlery.get("/v1/status")["framework_id"] != framework_id
    job = butlery.wait_ended(job_id)
    assert [attempt["result"]["result_class"] for attempt in job["attempts"]] == ["infrastructure", "passed"]
    assert "torn down by the operator" in job["attempts"][0]["result"]["message"]
    butlery.stop()
