"""Jobs that are given by a Jenkinsfile."""

from __future__ import annotations

from typing import Any

from framework.api.checks import COMMAND_MAX_BYTES
from framework.serverless_settings import RUNNER_COMMAND
from tests.fakes.control import FakeControl
from tests.unit.api.conftest import Client

TEXT = "pipeline { agent any; stages { stage('a') { steps { echo 'hi' } } } }\n"
GIT = {"url": "https://git.example.org/team/shop.git", "ref": "main"}


def job(**fields: Any) -> dict[str, Any]:
    return {"name": "shop", **fields}


async def test_it_travels_beside_the_command(red: Client, control: FakeControl) -> None:
    sent = await red("POST", "/v1/jobs", job(jenkinsfile=TEXT, parameters={"who": "me", "k": ""}, env={"A": "1"}))
    assert sent.status_code == 201, sent.text
    [submission] = control.submissions
    spec = submission.spec
    assert spec.files == {".butlery/Jenkinsfile": TEXT, ".butlery/parameters": "who=me\nk=\n"}
    assert spec.env == {
        "A": "1",
        "JENKINSFILE": ".butlery/Jenkinsfile",
        "JENKINSFILE_PARAMETERS": ".butlery/parameters",
    }
    assert (spec.command, spec.image) == (RUNNER_COMMAND, "jenkins/jenkinsfile-runner")
    assert submission.template.image == spec.image


async def test_of_the_repository_it_is_named(red: Client, control: FakeControl) -> None:
    sent = await red("POST", "/v1/jobs", job(jenkinsfile_path="ci/Jenkinsfile", git=GIT, image="mine:1"))
    assert sent.status_code == 201, sent.text
    [submission] = control.submissions
    assert submission.spec.files == {".butlery/parameters": ""}
    assert submission.spec.env["JENKINSFILE"] == "ci/Jenkinsfile"
    assert submission.spec.image == "mine:1"


async def test_the_image_of_its_template_goes_before_the_settings(red: Client, control: FakeControl) -> None:
    assert (await red("POST", "/v1/jobs", job(jenkinsfile=TEXT, label="small"))).status_code == 201
    assert control.submissions[0].spec.image == "debian:12"


async def test_what_cannot_be_taken(red: Client) -> None:
    for body, where, words in (
        (job(jenkinsfile="x" * (1 << 20)), "jenkinsfile", "at most 256 KiB"),
        (job(jenkinsfile="ü" * (COMMAND_MAX_BYTES // 2 + 1)), "jenkinsfile", "at most 256 KiB"),
        (job(jenkinsfile=" \n"), "jenkinsfile", "must not be empty"),
        (job(jenkinsfile="a\0b"), "jenkinsfile", "NUL"),
        (job(jenkinsfile=TEXT, command="true"), "jenkinsfile", "exactly one"),
        (job(jenkinsfile=TEXT, jenkinsfile_path="a", git=GIT), "jenkinsfile", "exactly one"),
        (job(jenkinsfile_path="Jenkinsfile"), "jenkinsfile_path", "`git`"),
        (job(jenkinsfile_path="../x", git=GIT), "jenkinsfile_path", "below the repository's root"),
        (job(jenkinsfile_path="/etc/passwd", git=GIT), "jenkinsfile_path", "below the repository's root"),
        (job(jenkinsfile_path="-x", git=GIT), "jenkinsfile_path", "below the repository's root"),
        (job(command="true", parameters={"a": "b"}), "parameters", "Jenkinsfile"),
        (job(jenkinsfile=TEXT, parameters={"a": "b\nc=d"}), "parameters.a", "one line"),
        (job(jenkinsfile=TEXT, parameters={"a=b": "c"}), "parameters.a=b", "must begin with"),
        (job(jenkinsfile=TEXT, env={"JENKINSFILE": "x"}), "env.JENKINSFILE", "set"),
        (job(), "command", "exactly one"),
    ):
        faults = await red.faults("POST", "/v1/jobs", body)
        assert words in faults[where], (body, faults)


async def test_what_the_repositorys_file_asks_for(red: Client, control: FakeControl) -> None:
    asked = {"label": "small", "env": {"A": "1", "B": "1"}}
    sent = await red("POST", "/v1/jobs", job(jenkinsfile=TEXT, overrides=asked, env={"B": "2"}))
    assert sent.status_code == 201, sent.text
    assert (control.submissions[0].spec.cpu_millis, control.submissions[0].template.name) == (500, "small")
    assert control.submissions[0].spec.env.items() >= {"A": "1", "B": "2"}.items()
    faults = await red.faults("POST", "/v1/jobs", job(jenkinsfile=TEXT, overrides={"label": "small", "cpus": 64}))
    assert "no job change cpus" in faults["label"]
    faults = await red.faults("POST", "/v1/jobs", job(jenkinsfile=TEXT, overrides={"cpus": "x", "cpu": 1}))
    assert set(faults) == {"overrides.cpus", "overrides.cpu"}
    for wrong in ([], "", 0, [1]):
        assert set(await red.faults("POST", "/v1/jobs", job(jenkinsfile=TEXT, overrides=wrong))) == {"overrides"}
