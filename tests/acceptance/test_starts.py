"""Starts on bad ground: Mesos absent, too old or forgetful; the port, the disk or the state file in trouble."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agents.pack import build_pyz
from framework.local.spec import HostShape
from tests.acceptance.conftest import SchedulerFactory
from tests.acceptance.scheduler_process import TENANT, SchedulerProcess, eventually
from tests.acceptance.witness import Witness, alive
from tests.integration.conftest import ClusterFactory

SHAPES = [HostShape(count=2, cpus=16, mem_mib=8000)]


def assert_builds(butlery: SchedulerProcess) -> None:
    """It takes a build and brings it to its end."""
    job = butlery.wait_ended(butlery.submit("well-again", "true"))
    assert job["result"]["result_class"] == "passed", job


# Mesos.


def test_mesos_absent_at_start_and_there_later(mesos_cluster: ClusterFactory, scheduler: SchedulerFactory) -> None:
    cluster = mesos_cluster(shapes=SHAPES, fresh=True)
    cluster.kill9()
    butlery = scheduler(cluster)
    butlery.start(ready=False)
    eventually(lambda: "trying on" in butlery.said(), "a word about Mesos")
    assert not butlery.well()
    butlery.make_tenant()
    job_id = butlery.submit("early", "true")
    why = butlery.get(f"/v1/jobs/{job_id}/why")
    assert "Mesos" in why["summary"], why
    assert butlery.job(job_id)["state"] == "waiting"
    cluster.restart()
    butlery.wait_ready()
    assert butlery.wait_ended(job_id)["result"]["result_class"] == "passed"
    butlery.stop()


@contextlib.contextmanager
def server(answers: dict[str, bytes]) -> Iterator[str]:
    """What is not the Mesos that was looked for; its URL. Every other path is a 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200 if self.path in answers else 404)
            body = answers.get(self.path, b"")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_request(self, *_: object) -> None:
            """Not on the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("version", "said"),
    [(b'{"version": "0.28.2"}', "is Mesos 0.28.2; 1.0 or later is needed"), (b"<html>", "is not Mesos")],
    ids=["too old", "not Mesos"],
)
def test_mesos_of_the_wrong_version(scheduler: SchedulerFactory, version: bytes, said: str) -> None:
    with server({"/version": version}) as url:
        ended = scheduler(url).run_to_its_end()
    assert ended.returncode == 2, ended
    assert "mesos.url" in ended.stderr
    assert f"{url.removeprefix('http://')} {said}" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "while it is away"])
def test_a_framework_that_mesos_removed_comes_back_as_a_new_one(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path, running: bool
) -> None:
    cluster, witness = mesos_cluster(shapes=SHAPES), Witness(open_dir)
    butlery = scheduler(cluster)
    butlery.start()
    butlery.make_tenant()
    job_id = butlery.submit("removed", witness.script)
    butlery.wait_running([job_id])
    (first,) = eventually(lambda: witness.started("removed"), "its first line")
    framework_id = butlery.get("/v1/status")["framework_id"]
    if not running:
        butlery.stop()
    assert alive(first)
    httpx.post(f"{cluster.url}/master/teardown", data={"frameworkId": framework_id}, timeout=30).raise_for_status()
    if not running:
        butlery.start()
    eventually(lambda: len(witness.started("removed")) == 2, "the next attempt")
    eventually(lambda: not alive(first), "the first attempt's end")
    witness.release()
    job = butlery.wait_ended(job_id)
    assert [attempt["state"] for attempt in job["attempts"]] == ["ended", "ended"]
    assert job["attempts"][0]["result"]["result_class"] == "infrastructure"
    assert job["result"]["result_class"] == "passed"
    assert butlery.get("/v1/status")["framework_id"] not in (None, framework_id)
    butlery.stop()


# The port, the admin token and the state file.


def test_a_port_that_is_taken(scheduler: SchedulerFactory) -> None:
    butlery = scheduler("http://127.0.0.1:1")
    with socket.socket() as other:
        other.bind(("127.0.0.1", butlery.port))
        other.listen()
        ended = butlery.run_to_its_end()
    assert ended.returncode == 2, ended
    assert f"api.port: port {butlery.port} is taken" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_scheduler_on_the_same_state(scheduler: SchedulerFactory) -> None:
    first = scheduler("http://127.0.0.1:1")
    second = scheduler("http://127.0.0.1:1", state={"path": str(first.state)})
    first.start(ready=False)
    eventually(lambda: "serving" in first.said(), "the start of the first")
    ended = second.run_to_its_end()
    assert ended.returncode != 0
    assert f"{first.state}: another scheduler is using it" in ended.stderr
    assert "Traceback" not in ended.stderr
    first.stop()


def test_a_corrupt_state_file_is_kept_aside_and_said_and_what_ran_is_killed(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path
) -> None:
    butlery, witness = scheduler(mesos_cluster(shapes=SHAPES)), Witness(open_dir)
    butlery.start()
    butlery.make_tenant()
    jobs = [butlery.submit(name, witness.script) for name in ("one", "two")]
    butlery.wait_running(jobs)
    eventually(lambda: witness.started("one") and witness.started("two"), "their first lines")
    pids = witness.started("one") + witness.started("two")
    butlery.kill9()
    for path in (butlery.state, Path(f"{butlery.state}-wal")):
        path.write_bytes(b"\x00garbage" * 1000)
    butlery.start()
    (aside,) = butlery.state.parent.glob("state.db.corrupt-*Z")
    assert aside.read_bytes().startswith(b"\x00garbage")
    notices = butlery.get("/v1/status")["notices"]
    assert len(notices) == 1
    assert str(aside) in notices[0]
    assert str(aside) in butlery.said()
    eventually(lambda: not any(alive(pid) for pid in pids), "the end of builds that nobody knows")
    assert butlery.get("/v1/jobs")["jobs"] == []
    assert all(butlery.call("GET", f"/v1/jobs/{job}").status_code == 404 for job in jobs)
    butlery.make_tenant()
    assert_builds(butlery)
    butlery.stop()


def test_a_full_disk_under_the_state_file(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory, open_dir: Path
) -> None:
    """The state is on a file system of 4 MiB that only the scheduler sees; we look through its eyes."""
    executor = build_pyz(open_dir / "butlery-executor.pyz")
    cluster, witness = mesos_cluster(shapes=SHAPES), Witness(open_dir)
    butlery = scheduler(cluster, agents={"executor": str(executor)})
    butlery.state.parent.mkdir()
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
    butlery.start(prefix=(*namespace, "sh", "-c", mount, str(butlery.state.parent)))
    butlery.make_tenant()
    running = butlery.submit("running", witness.script)
    butlery.wait_running([running])
    disk = Path(f"/proc/{butlery.pid}/root{butlery.state.parent}")
    with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))

    big = "# " + "x" * 200_000
    refused = butlery.call("POST", "/v1/jobs", json={"tenant": TENANT, "name": "big", "script": big})
    assert refused.status_code == 503, refused.text
    assert "cannot be saved now" in refused.json()["detail"]
    witness.release()
    eventually(lambda: witness.ended("running"), "the end of the build that ran")
    (disk / "ballast").unlink()
    assert butlery.wait_ended(running)["result"]["result_class"] == "passed"
    assert_builds(butlery)
    assert [job["name"] for job in butlery.get("/v1/jobs")["jobs"]] == ["well-again", "running"]
    butlery.stop()


# What no host could ever hold.


def test_resources_beyond_every_host_are_refused_with_the_largest_named(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory
) -> None:
    butlery = scheduler(mesos_cluster(shapes=SHAPES))
    butlery.start()
    butlery.make_tenant()
    eventually(lambda: len(butlery.get("/v1/hosts")["hosts"]) == 2, "the list of hosts")
    job = {"tenant": TENANT, "name": "huge", "command": "true", "cpus": 100, "mem_mib": 9000}
    refused = butlery.call("POST", "/v1/jobs", json=job)
    assert refused.status_code == 422
    faults = {fault["where"]: fault["message"] for fault in refused.json()["faults"]}
    assert faults.keys() == {"cpus", "mem_mib"}
    assert all("the largest is host-" in message for message in faults.values()), faults
    assert butlery.get("/v1/jobs")["jobs"] == []
    butlery.stop()


def test_a_scheduler_opens_as_many_files_as_the_system_grants(
    mesos_cluster: ClusterFactory, scheduler: SchedulerFactory
) -> None:
    butlery = scheduler(mesos_cluster(shapes=SHAPES))
    butlery.start(prefix=("prlimit", "--nofile=256:4000"))
    limits = Path(f"/proc/{butlery.pid}/limits").read_text().splitlines()
    assert [line.split()[3] for line in limits if line.startswith("Max open files")] == ["4000"]
    butlery.stop()
