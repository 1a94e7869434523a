"""``butlery jobs submit --jenkinsfile``."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.core.ids import RequestId
from framework.core.origin import Origin
from tests.unit.cli.conftest import Butlery, Serving

SUBMIT = ("jobs", "submit", "--name", "shop")
TEXT = "node { sh 'make' }\n"


@pytest.fixture
def jenkinsfile(tmp_path: Path) -> Path:
    (tmp_path / "Jenkinsfile").write_text(TEXT)
    return tmp_path / "Jenkinsfile"


def test_it_travels_with_its_parameters(as_red: Butlery, serving: Serving, jenkinsfile: Path) -> None:
    ended = as_red(*SUBMIT, "--jenkinsfile", str(jenkinsfile), "--param", "who=me", "--param", "x=a=b")
    assert ended.code == 0, ended.err
    [sent] = serving.control.submissions
    assert sent.spec.files == {".butlery/Jenkinsfile": TEXT, ".butlery/parameters": "who=me\nx=a=b\n"}


def test_one_of_the_repository(as_red: Butlery, serving: Serving, jenkinsfile: Path) -> None:
    del jenkinsfile
    url = "https://git.example.org/team/shop.git"
    assert as_red(*SUBMIT, "--jenkinsfile-path", "ci/Jenkinsfile", "--git-url", url).code == 0
    assert serving.control.submissions[0].spec.env["JENKINSFILE"] == "ci/Jenkinsfile"
    ended = as_red(*SUBMIT, "--jenkinsfile-path", "ci/Jenkinsfile")
    assert ended.code == 2
    assert "jenkinsfile_path: is a path in the repository" in ended.err


def test_what_is_beside_it_is_taken(as_red: Butlery, serving: Serving, jenkinsfile: Path) -> None:
    (jenkinsfile.parent / ".butlery.yaml").write_text("label: small\nenv: {MODE: fast}\n")
    assert as_red(*SUBMIT, "--jenkinsfile", str(jenkinsfile), "--env", "A=1").code == 0
    [sent] = serving.control.submissions
    assert (sent.spec.cpu_millis, sent.spec.env["MODE"], sent.spec.env["A"]) == (500, "fast", "1")


def test_faults_of_what_is_beside_it_have_their_line(as_red: Butlery, serving: Serving, jenkinsfile: Path) -> None:
    (jenkinsfile.parent / ".butlery.yaml").write_text("label: small\ncpus: none\ncpu: 1\n")
    ended = as_red(*SUBMIT, "--jenkinsfile", str(jenkinsfile))
    assert ended.code == 2
    assert ".butlery.yaml:2 cpus:" in ended.err
    assert ".butlery.yaml:3 cpu:" in ended.err
    (jenkinsfile.parent / ".butlery.yaml").write_text("[")
    ended = as_red(*SUBMIT, "--jenkinsfile", str(jenkinsfile))
    assert (ended.code, ".butlery.yaml:1" in ended.err) == (2, True)
    (jenkinsfile.parent / ".butlery.yaml").write_text("label: small\ncpus: 64\n")
    ended = as_red(*SUBMIT, "--jenkinsfile", str(jenkinsfile))
    assert (ended.code, "no job change cpus" in ended.err) == (2, True)
    assert not serving.control.submissions


def test_one_that_is_too_large_is_not_sent(as_red: Butlery, jenkinsfile: Path) -> None:
    jenkinsfile.write_text("x" * (1 << 20))
    ended = as_red(*SUBMIT, "--jenkinsfile", str(jenkinsfile), "--param", "no-value")
    assert ended.code == 2
    assert "--jenkinsfile: " in ended.err
    assert "256 KiB" in ended.err
    assert "--param: must be NAME=VALUE" in ended.err


def test_options_take_the_place_of_what_the_file_runs(
    as_red: Butlery, serving: Serving, jenkinsfile: Path, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text("name: shop\ncommand: make\n")
    assert as_red("jobs", "submit", "--file", str(tmp_path / "job.yaml"), "--jenkinsfile", str(jenkinsfile)).code == 0
    assert serving.control.submissions[0].spec.files[".butlery/Jenkinsfile"] == TEXT


def test_what_a_push_brought_is_shown(as_red: Butlery, serving: Serving, jenkinsfile: Path) -> None:
    job = as_red(*SUBMIT, "--jenkinsfile", str(jenkinsfile)).out.strip()
    assert as_red("jobs", "show", job, "--json").json["origin"] is None
    serving.control.jobs[RequestId(job)].origin = Origin("shop", "acme/shop", "6113728", "main", "d-1")
    assert "6113728 of main of acme/shop, by webhook shop" in as_red("jobs", "show", job).out
