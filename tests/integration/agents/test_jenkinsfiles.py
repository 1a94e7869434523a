"""The command that runs Jenkinsfiles by default, in a container that has what stands in for jenkinsfile-runner."""

from __future__ import annotations

import pytest

from agents.spec import VolumeSpec
from framework.api.serverless import JENKINSFILE, PARAMETERS
from framework.serverless_settings import RUNNER_COMMAND
from tests.integration.agents.conftest import DockerDaemon, Executor

pytestmark = pytest.mark.root

RUNNER = (
    '#!/bin/sh\nfor one in "$@"; do echo "<$one>"; done\nwhile [ "$1" != --file ]; do shift; done\ncat "$2"; exit 3\n'
)


def test_the_default_command_hands_over_file_workspace_and_parameters(
    docker: Executor, docker_daemon: DockerDaemon
) -> None:
    app = docker.directory / "app"
    (app / "bin").mkdir(parents=True)
    (app / "bin" / "jenkinsfile-runner").write_text(RUNNER)
    (app / "bin" / "jenkinsfile-runner").chmod(0o755)
    ended = docker.run(
        RUNNER_COMMAND,
        image=docker_daemon.image,
        volumes=[VolumeSpec(str(app), "/app", read_only=True)],
        files={JENKINSFILE: "node { echo 'hi' }\n", PARAMETERS: 'who=you and me\nquoted="$HOME"\n'},
        env={"JENKINSFILE": JENKINSFILE, "JENKINSFILE_PARAMETERS": PARAMETERS},
    )
    assert (ended.result.result_class, ended.result.exit_code) == ("failed", 3), ended
    said = ended.log.splitlines()
    assert said[-1] == "node { echo 'hi' }"
    words = [line.strip("<>") for line in said[:-1]]
    given = dict(zip(words[:8:2], words[1:8:2], strict=True))
    assert given["--file"] == JENKINSFILE
    assert given["--runWorkspace"].endswith("/workspace")
    assert words[8:] == ["--arg", "who=you and me", "--arg", 'quoted="$HOME"']
