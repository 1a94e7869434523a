"""The Jenkins that is held to the contract."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from masters.names import Variable
from tests.contract.jenkins.client import Jenkins, java
from tests.contract.jenkins.started import StartedJenkins, given_command

Starter = Callable[[Mapping[str, str]], StartedJenkins]


@pytest.fixture(scope="session")
def shared_jenkins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jenkins]:
    """The one of JENKINS_URL, else a stand-in that the tests share."""
    if "JENKINS_URL" in os.environ:
        yield Jenkins(os.environ["JENKINS_URL"], (os.environ["JENKINS_USER"], os.environ["JENKINS_TOKEN"]), java())
        return
    started = StartedJenkins(
        tmp_path_factory.mktemp("jenkins") / "home", variables={Variable.ADMIN_PASSWORD: "a password of tests"}
    )
    started.start("--boot-s", "0")
    yield started.client()
    started.stop()


@pytest.fixture
def jenkins(shared_jenkins: Jenkins) -> Iterator[Jenkins]:
    """It has no job and no node of another test."""
    yield shared_jenkins
    shared_jenkins.tidy()


@pytest.fixture
def own_jenkins(tmp_path: Path) -> Iterator[Starter]:
    """Makes one that is not started yet, with variables of its own."""
    made: list[StartedJenkins] = []

    def make(variables: Mapping[str, str]) -> StartedJenkins:
        one = StartedJenkins(tmp_path / f"home{len(made)}", given_command(), variables)
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()
