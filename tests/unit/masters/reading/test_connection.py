"""Which Marathon and scheduler masters are made with: told, the local cluster's, or none, which is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from framework.cli.scheduler import SETTINGS_GROUP
from framework.errors import InputError, UnavailableError
from framework.settings import validate_file
from masters.connection import resolve
from masters.settings import SECTION, MastersSettings

NOBODY = Path("/nonexistent")


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path) -> Path:
    folder = tmp_path / "d"
    folder.mkdir()
    credentials = folder / "marathon.credentials"
    credentials.touch(0o600)
    credentials.write_text("marathon:secret-of-marathon\n")
    status = {"marathon_url": "http://127.0.0.1:1", "marathon_credentials": str(credentials), "state": "up"}
    (folder / "status.json").write_text(json.dumps(status | {"api_url": "http://127.0.0.1:2"}))
    return folder


def told(folder: Path, text: str) -> Path:
    file = folder / "butlery.yaml"
    file.write_text(text)
    return file


def test_all_of_the_local_cluster(cluster: Path) -> None:
    found = resolve(None, cluster, {})
    assert found.marathon_urls == ["http://127.0.0.1:1"]
    assert found.marathon_credentials == ("marathon", "secret-of-marathon")
    assert found.scheduler_url == "http://127.0.0.1:2"
    assert found.secrets == cluster / "marathon" / "secrets"
    assert found.state == cluster / "masters.db"
    assert found.kit == (cluster / "masters-kit.tar.gz").as_uri()
    assert found.own_kit == cluster / "masters-kit.tar.gz"


def test_the_local_clusters_own_settings_count(cluster: Path) -> None:
    told(cluster, "masters: {shards: 3, ingress: {http_port: 9999, agent_ports: [50000, 50009]}}\n")
    found = resolve(None, cluster, {})
    assert found.settings.shards == 3
    assert found.settings.ingress.agent_ports == (50000, 50009)


def test_a_kit_that_is_somewhere_is_not_written(cluster: Path) -> None:
    told(cluster, "masters: {kit: 'https://kit.example/kit.tar.gz'}\n")
    assert resolve(None, cluster, {}).own_kit is None


def test_a_real_marathon_takes_nothing_of_a_local_cluster(cluster: Path, tmp_path: Path) -> None:
    file = told(tmp_path, "masters: {marathon_url: 'http://a:8080/, https://b/marathon'}\n")
    found = resolve(file, cluster, {"BUTLERY_SERVER": "http://scheduler:8080/", "XDG_STATE_HOME": "/state"})
    assert found.marathon_urls == ["http://a:8080", "https://b/marathon"]
    assert found.marathon_credentials is None
    assert found.scheduler_url == "http://scheduler:8080"
    assert found.secrets is None
    assert found.state == Path("/state/butlery/masters.db")
    assert found.kit == "file:///state/butlery/masters-kit.tar.gz"


@pytest.mark.parametrize("status", [None, "{", "[]", '{"state": "down"}', '{"marathon_url": 3}'])
def test_no_cluster_is_said_with_what_helps(status: str | None, tmp_path: Path) -> None:
    if status is not None:
        (tmp_path / "status.json").write_text(status)
    with pytest.raises(UnavailableError, match=r"butlery local up.*masters.marathon_url"):
        resolve(None, tmp_path, {})


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("no colon hunter2", 0o600, "must hold USER:PASSWORD"),
        ("a:hunter2", 0o604, "everyone on this machine may read"),
        (None, 0, "No such file"),
    ],
)
def test_credentials_that_cannot_be_used(content: str | None, mode: int, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "pair").write_text(content)
        (tmp_path / "pair").chmod(mode)
    file = told(tmp_path, "masters:\n  marathon_url: http://a\n  marathon_credentials_file: pair\n")
    with pytest.raises(InputError) as caught:
        resolve(file, NOBODY, {"BUTLERY_SERVER": "not a url"})
    server, credentials = caught.value.faults
    assert server.where == "BUTLERY_SERVER"
    assert credentials.where == f"{file}:3 masters.marathon_credentials_file"
    assert words in credentials.message
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"marathon_url": "a:8080"}, "must be http(s)://HOST:PORT"),
        ({"marathon_url": "http://me:hunter2@a"}, "must not hold a name or password"),
        ({"scheduler_url": "http://a/x"}, "with nothing after it"),
        ({"group": "butlery"}, "must be a group of Marathon, such as /butlery/masters, not 'butlery'"),
        ({"ingress": {"http_port": 0}}, "ingress.http_port"),
        ({"ingress": {"https_port": 443}}, "https_port and certificate are of use together alone"),
        ({"ingress": {"agent_ports": [9, 8]}}, "agent_ports must be the first and the last port"),
        ({"ingress": {"agent_ports": [8000, 9000]}}, "agent_ports must not hold 8082"),
        ({"ingress": {"http_port": 443, "https_port": 443, "certificate": "c.pem"}}, "https_port must differ"),
        ({"ingress": {"domain": "a b"}}, "must be a host name"),
    ],
)
def test_the_section_is_checked_by_validate_too(section: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = told(tmp_path, json.dumps({SECTION: section}))
    (fault,) = validate_file(file, {}, {SECTION: MastersSettings})
    assert words in f"{fault.where} {fault.message}"
    assert "hunter2" not in fault.message
    with pytest.raises(InputError):
        resolve(file, NOBODY, {})


def test_validate_finds_the_section_by_its_entry_point() -> None:
    from configparser import ConfigParser

    declared = ConfigParser()
    declared.read(Path(__file__).parents[4] / "setup.cfg")
    found = declared["options.entry_points"][SETTINGS_GROUP].strip()
    assert found == f"{SECTION} = {MastersSettings.__module__}:{MastersSettings.__name__}"
