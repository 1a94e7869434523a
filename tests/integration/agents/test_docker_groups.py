"""The containers of an agent as Docker containers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agents.spec import AGENT_SECRET, AgentSpec, BuildSpec, ReadyCheck, assignment
from tests.fakes.jar_server import JarServer
from tests.integration.agents.conftest import DockerDaemon, Executor, read, until
from tests.integration.agents.test_shared import Shared

pytestmark = pytest.mark.root

SERVE = "mkdir www; echo served > www/index.html; exec httpd -f -p 127.0.0.1:8080 -h www"
FETCH = "wget -q -O - http://127.0.0.1:8080/"
UP = ReadyCheck(command="[ -e /tmp/up ]", timeout_s=30.0)


@pytest.fixture
def shared(docker: Executor) -> Iterator[Shared]:
    made = Shared(replace(docker, policy=replace(docker.policy, docker_network="none")))
    yield made
    made.close()


def test_the_containers_of_an_agent_share_one_localhost(shared: Shared, docker_daemon: DockerDaemon) -> None:
    image = docker_daemon.image
    shared.launch_group(
        shared.task("agent~db", "exec sleep 600", container="db", image=image),
        shared.task("agent~web", SERVE, container="web", image=image, ready=ReadyCheck(port=8080, timeout_s=30.0)),
        shared.task("agent~app", "touch /tmp/up; exec sleep 600", container="app", image=image, ready=UP),
        shared.task("agent", FETCH, image=image),
    )
    ends = dict(shared.end() for _ in range(4))
    assert ends.pop("agent").result_class == "passed", ends
    assert {one.message for one in ends.values()} == {"ended with its agent"}
    assert read(shared.folder("agent") / "build.log") == "served\n"
    until(lambda: docker_daemon.names() == [], "the containers to go")


def test_one_that_is_not_ready_in_time(shared: Shared, docker_daemon: DockerDaemon) -> None:
    image = docker_daemon.image
    check = ReadyCheck(command="exit 3", timeout_s=1.0)
    shared.launch_group(
        shared.task("agent~db", "echo warming up; exec sleep 600", container="db", image=image, ready=check),
        shared.task("agent", "true", image=image),
    )
    ends = dict(shared.end() for _ in range(2))
    assert ends["agent"].message == "its container db ended: failed: not ready within 1 s: warming up"
    until(lambda: docker_daemon.names() == [], "the containers to go")


def test_a_spare_with_an_image(shared: Shared, docker_daemon: DockerDaemon) -> None:
    shared.launch("spare", "cat $JENKINS_SECRET_FILE $JENKINS_AGENT_JAR > all; echo $MARKER", **spare(docker_daemon))
    assert shared.agent.state()["state"] == "TASK_RUNNING"
    with JarServer() as master:
        agent, secrets = AgentSpec(master.url, "node"), {AGENT_SECRET: "a secret of the agent"}
        given = BuildSpec("x", "acme", "job", "", 1, 1, agent=agent, secrets=secrets, env={"MARKER": "given"})
        said = base64.b64encode(assignment("spare", given)).decode()
        shared.agent.send({"type": "MESSAGE", "message": {"data": said}})
        assert shared.end()[1].result_class == "passed"
    assert read(shared.folder("spare") / "build.log") == "given\n"
    until(lambda: docker_daemon.names() == [], "the container to go")


def test_a_spare_whose_image_cannot_be_had(shared: Shared, docker_daemon: DockerDaemon) -> None:
    shared.launch("spare", "", **{**spare(docker_daemon), "image": "127.0.0.1:9/no/such:1"})
    assert shared.end()[1].result_class == "image"


def spare(docker_daemon: DockerDaemon) -> dict[str, Any]:
    return {"image": docker_daemon.image, "standby": True}


def test_an_image_that_cannot_be_had_is_the_agents_end(shared: Shared, docker_daemon: DockerDaemon) -> None:
    shared.launch_group(
        shared.task("agent~db", "true", container="db", image="127.0.0.1:9/no/such:1"),
        shared.task("agent", "true", image=docker_daemon.image),
    )
    ends = dict(shared.end() for _ in range(2))
    assert {result.result_class for result in ends.values()} == {"image"}, ends
    assert "its container db ended: image: image 127.0.0.1:9/no/such:1" in ends["agent"].message
