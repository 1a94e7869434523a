"""What the benchmark of masters makes, and what the demo's masters are."""

from __future__ import annotations

import hashlib
import io
import urllib.request
from pathlib import Path

import pytest

from benchmarks.demo import jenkins
from benchmarks.masters.tenants import name_of, write_pretending, write_small
from framework.errors import UnavailableError
from masters.spec.files import read_tenants


def test_the_generated_yaml_is_right_and_no_two_of_it_alike(tmp_path: Path) -> None:
    write_pretending(tmp_path, 60)
    specs = {found.spec.name: found.spec for found in read_tenants(tmp_path, "localhost")}
    assert list(specs) == [name_of(number) for number in range(60)]
    assert len({spec.model_dump_json() for spec in specs.values()}) == 60
    assert any(spec.hibernate for spec in specs.values())
    assert any(spec.backup for spec in specs.values())
    again = tmp_path / "again"
    again.mkdir()
    write_pretending(again, 60)
    assert (again / "team-0042.yaml").read_text() == (tmp_path / "team-0042.yaml").read_text()


def test_small_masters_have_homes_of_their_own(tmp_path: Path) -> None:
    write_small(tmp_path, 3, "exec true", Path("/srv/homes"))
    homes = [found.spec.host_path for found in read_tenants(tmp_path, "localhost")]
    assert homes == [f"/srv/homes/{name_of(number)}" for number in range(3)]


WAR = b"a jenkins.war"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(jenkins, "_require_java", lambda: None)
    return tmp_path / "cache" / "butlery"


def serve(monkeypatch: pytest.MonkeyPatch, war: bytes, checksum: str) -> list[str]:
    """What is asked for from then on."""
    asked: list[str] = []

    def urlopen(url: str, timeout: float) -> io.BufferedReader:
        assert 0 < timeout <= jenkins.PATIENCE_S
        asked.append(url)
        content = f"{checksum} jenkins.war".encode() if url.endswith(".sha256") else war
        return io.BufferedReader(io.BytesIO(content))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_a_real_jenkins_is_taken_where_it_can_be_had_and_had_but_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serve(monkeypatch, WAR, hashlib.sha256(WAR).hexdigest())
    kind = jenkins.choose()
    assert kind is not None
    assert kind.real
    assert Path(str(kind.fields["war"])).read_bytes() == WAR
    assert asked == [f"{jenkins.URL}.sha256", jenkins.URL]
    assert jenkins.choose() == kind
    assert len(asked) == 2
    assert [path.name for path in cache.iterdir()] == [f"jenkins-{jenkins.VERSION}.war"]


def test_what_is_not_as_its_checksum_says_is_not_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, WAR, hashlib.sha256(b"another").hexdigest())
    kind = jenkins.choose()
    assert kind is not None
    assert not kind.real
    assert "not what its checksum says" in kind.what
    assert not cache.exists() or list(cache.iterdir()) == []


def test_without_java_or_the_network_it_is_the_stand_in_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise UnavailableError("Java is not installed")

    monkeypatch.setattr(jenkins, "_require_java", fail)
    kind = jenkins.choose()
    assert kind is not None
    assert (kind.real, "as Java is not installed" in kind.what) == (False, True)
    monkeypatch.setattr(jenkins, "REPOSITORY", Path("/nowhere"))
    assert jenkins.choose() is None
