"""The agent.jar of a tenant's master: fetched once a host, whatever the master does."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from agents.executor import fetching, jar_cache
from agents.executor.jar_cache import JarError, provide
from agents.executor.wire import Interrupted
from tests.fakes.jar_server import JAR, JarServer


@pytest.fixture
def master() -> Iterator[JarServer]:
    with JarServer() as made:
        yield made


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where jars are kept."""
    made = tmp_path / "kept"
    monkeypatch.setattr(jar_cache, "ROOTS_DIR", str(made))
    monkeypatch.setattr(jar_cache, "USERS_DIR", f"{made}-%d")
    monkeypatch.setattr(fetching, "FIRST_PAUSE_S", 0.01)
    return made if os.geteuid() == 0 else tmp_path / f"kept-{os.geteuid()}"


def never() -> bool:
    return False


def test_it_is_fetched_once_a_version(master: JarServer, kept: Path, tmp_path: Path) -> None:
    for number, version in enumerate(("2.463", "2.463", "2.470")):
        target = tmp_path / str(number)
        provide(master.url, "acme", version, str(target), never)
        assert target.read_bytes() == JAR
        assert target.stat().st_mode & 0o777 == 0o444
    assert master.asked == 2 * ["/jnlpJars/agent.jar"]
    assert sorted(path.name for path in (kept / "acme").iterdir()) == ["2.463.jar", "2.470.jar"]


def test_several_at_once_fetch_it_once(master: JarServer, kept: Path, tmp_path: Path) -> None:
    gate = threading.Event()
    master.hold = lambda: gate.wait(10)
    targets = [tmp_path / str(number) for number in range(8)]
    waiting = [
        threading.Thread(target=provide, args=(master.url, "acme", "1", str(target), never)) for target in targets
    ]
    for one in waiting:
        one.start()
    gate.set()
    for one in waiting:
        one.join()
    assert [target.read_bytes() for target in targets] == 8 * [JAR]
    assert len(master.asked) == 1


def test_another_tenants_is_never_taken(master: JarServer, kept: Path, tmp_path: Path) -> None:
    provide(master.url, "acme", "1", str(tmp_path / "a"), never)
    master.content = JAR + b"of another"
    provide(master.url, "umbrella", "1", str(tmp_path / "b"), never)
    assert (tmp_path / "b").read_bytes() == master.content


@pytest.mark.parametrize("version", ["", "../acme/1", "a/b", ".hidden"])
def test_a_version_that_is_no_name_is_not_kept(master: JarServer, kept: Path, tmp_path: Path, version: str) -> None:
    provide(master.url, "acme", version, str(tmp_path / "jar"), never)
    assert (tmp_path / "jar").read_bytes() == JAR
    assert not kept.exists()


def test_where_others_may_write_nothing_is_kept(master: JarServer, kept: Path, tmp_path: Path) -> None:
    kept.mkdir()
    kept.chmod(0o777)
    for name in ("a", "b"):
        provide(master.url, "acme", "1", str(tmp_path / name), never)
        assert (tmp_path / name).read_bytes() == JAR
    assert len(master.asked) == 2


def test_a_master_that_starts_is_asked_again(master: JarServer, kept: Path, tmp_path: Path) -> None:
    master.statuses = [503, 503]
    provide(master.url, "acme", "1", str(tmp_path / "jar"), never)
    assert (tmp_path / "jar").read_bytes() == JAR


def test_where_the_master_sends_it_is_followed(master: JarServer, kept: Path, tmp_path: Path) -> None:
    master.statuses, master.location = [302], "/elsewhere/agent.jar"
    provide(master.url + "prefix", "acme", "1", str(tmp_path / "jar"), never)
    assert master.asked == ["/prefix/jnlpJars/agent.jar", "/elsewhere/agent.jar"]
    master.statuses = 10 * [302]
    with pytest.raises(JarError, match="more than 3 redirects"):
        provide(master.url, "acme", "2", str(tmp_path / "jar2"), never)
    for location, said in ((master.url.replace("127.0.0.1", "localhost"), "another host"), ("http://[x", "no URL")):
        master.location = location
        with pytest.raises(JarError, match=said):
            provide(master.url, "acme", "2", str(tmp_path / "jar3"), never)


def test_a_password_in_the_url_is_not_told(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jar_cache, "FETCH_TIMEOUT_S", 0.1)
    with pytest.raises(
        JarError, match=r"^http://127\.0\.0\.1:1/jnlpJars/agent.jar: no connection: .*refused"
    ) as caught:
        provide("http://user:geheim@127.0.0.1:1/", "acme", "1", str(tmp_path / "jar"), never)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("statuses", "content", "promised", "said"),
    [
        ([404], JAR, 0, "HTTP status 404"),
        ([], b"<html>Sign in</html>", 0, "is no jar"),
        ([], b"", 0, "is no jar"),
        (100 * [503], JAR, 0, "HTTP status 503"),
        ([], JAR, 10, "closed before the answer's end"),
        ([], JAR + (1 << 20) * b"x", 0, "more than 1 MiB"),
    ],
)
def test_what_cannot_be_had_is_told_and_not_kept(
    master: JarServer,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statuses: list[int],
    content: bytes,
    promised: int,
    said: str,
) -> None:
    monkeypatch.setattr(jar_cache, "FETCH_TIMEOUT_S", 0.3)
    monkeypatch.setattr(jar_cache, "MAX_JAR_BYTES", 1 << 20)
    master.statuses, master.content, master.promised = statuses, content, promised
    with pytest.raises(JarError, match=said):
        provide(master.url, "acme", "1", str(tmp_path / "jar"), never)
    assert list((kept / "acme").iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "ftp://127.0.0.1/", "http://", "nonsense", "http://[", ""])
def test_a_url_that_leads_nowhere(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(jar_cache, "FETCH_TIMEOUT_S", 0.1)
    with pytest.raises(JarError):
        provide(url, "acme", "1", str(tmp_path / "jar"), never)


def test_by_https_from_whom_the_host_trusts(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with JarServer(tls) as master:
        with pytest.raises(JarError, match="certificate verify failed"):
            provide(master.url, "acme", "1", str(tmp_path / "refused"), never)
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        provide(master.url, "acme", "1", str(tmp_path / "jar"), never)
    assert (tmp_path / "jar").read_bytes() == JAR


def test_an_end_is_not_kept_waiting(master: JarServer, kept: Path, tmp_path: Path) -> None:
    gate = threading.Event()
    master.hold = lambda: gate.wait(10)
    started_s = time.monotonic()
    with pytest.raises(Interrupted):
        provide(master.url, "acme", "1", str(tmp_path / "jar"), lambda: bool(master.asked))
    assert time.monotonic() - started_s < 5
    gate.set()


def test_the_oldest_go_first_where_there_are_too_many(
    master: JarServer, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jar_cache, "MAX_JARS", 2)
    now_s = time.time()
    for number in range(3):
        provide(master.url, "acme", str(number), str(tmp_path / str(number)), never)
        os.utime(kept / "acme" / f"{number}.jar", (now_s - 100 + number, now_s - 100 + number))
    assert sorted(path.name for path in (kept / "acme").iterdir()) == ["1.jar", "2.jar"]
    (kept / "acme" / ".abandoned").write_bytes(b"")
    old_s = now_s - jar_cache.MAX_AGE_S - 1
    for name in (".abandoned", "1.jar"):
        os.utime(kept / "acme" / name, (old_s, old_s))
    provide(master.url, "umbrella", "1", str(tmp_path / "last"), never)
    assert sorted(str(path.relative_to(kept)) for path in kept.glob("*/*")) == ["acme/2.jar", "umbrella/1.jar"]
