"""Real repositories, checked out by the real git as the build's user."""

from __future__ import annotations

import base64
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.spec import GitSource
from tests.integration.agents.conftest import Executor

pytestmark = pytest.mark.root


class Repository:
    """Three commits: one and two on main, three on side; two is tagged v2."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"file://{path}"
        self._git("init", "-q", "-b", "main")
        self.one = self._commit("one")
        self.two = self._commit("two")
        self._git("tag", "-a", "-m", "second", "v2")
        self._git("checkout", "-q", "-b", "side")
        self.three = self._commit("three")
        self._git("checkout", "-q", "main")
        self._git("update-server-info")

    def _commit(self, text: str) -> str:
        (self.path / "file").write_text(text)
        self._git("add", "file")
        self._git("commit", "-q", "-m", text)
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        done = subprocess.run(
            ["git", "-C", str(self.path), *identity, *arguments], check=True, capture_output=True, text=True, timeout=30
        )
        return done.stdout.strip()


@pytest.fixture
def repository(open_dir: Path) -> Repository:
    path = open_dir / "repository"
    path.mkdir()
    return Repository(path)


@pytest.fixture
def dumb_server(repository: Repository) -> Iterator[str]:
    """Serves the repository's files over HTTP, for a user with a password only."""
    wanted = "Basic " + base64.b64encode(b"me@team:open/sesame").decode()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(repository.path / ".git"))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.headers.get("Authorization") == wanted:
                super().do_GET()
            else:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


SHOW = "cat file; echo; git rev-parse HEAD; git status --short"


def test_the_default_branch_in_every_isolation(executor: Executor, repository: Repository) -> None:
    ended = executor.run("cat file; echo; ls -A; [ -w . ] && echo mine", git=GitSource(repository.url), mem_mib=128)
    assert ended.result.result_class == "passed", ended
    assert ended.log.splitlines()[2:] == ["two", ".git", "file", "mine"]


@pytest.mark.parametrize(
    ("ref", "text"), [(None, "two"), ("main", "two"), ("v2", "two"), ("side", "three"), ("refs/heads/side", "three")]
)
def test_a_ref(watchdog: Executor, repository: Repository, ref: str | None, text: str) -> None:
    ended = watchdog.run(SHOW, git=GitSource(repository.url, ref), mem_mib=128)
    assert ended.result.result_class == "passed", ended
    assert ended.log.splitlines()[2:] == [text, {"two": repository.two, "three": repository.three}[text]]


@pytest.mark.parametrize("length", [40, 10])
def test_a_commit_by_its_id(watchdog: Executor, repository: Repository, length: int) -> None:
    ended = watchdog.run(SHOW, git=GitSource(repository.url, repository.one[:length]), mem_mib=128)
    assert ended.log.splitlines()[2:] == ["one", repository.one], ended


def test_a_ref_that_is_not_there(watchdog: Executor, repository: Repository) -> None:
    ended = watchdog.run("echo built", git=GitSource(repository.url, "nowhere"), mem_mib=128)
    assert ended.result.result_class == "checkout", ended
    assert "nowhere" in ended.result.message
    assert "built" not in ended.log


def test_a_server_that_is_not_there(watchdog: Executor) -> None:
    ended = watchdog.run("echo built", git=GitSource("http://127.0.0.1:9/x.git"))
    assert ended.result.result_class == "checkout", ended
    assert "127.0.0.1" in ended.result.message


def test_a_password_in_the_url_is_used_and_never_shown(
    watchdog: Executor, repository: Repository, dumb_server: str
) -> None:
    url = f"http://me%40team:open%2Fsesame@{dumb_server}/"
    ended = watchdog.run(
        "cat file; echo; cat .git/config; cat .git/FETCH_HEAD; env", git=GitSource(url, "side"), mem_mib=128
    )
    assert ended.result.result_class == "passed", ended
    assert "three\n" in ended.log
    assert f"http://{dumb_server}/" in ended.log
    for secret in ("sesame", "me@team", "me%40team"):
        assert secret not in ended.log + ended.stderr + ended.result.message
    refused = watchdog.run("true", git=GitSource(f"http://me:wrong-word@{dumb_server}/"))
    assert refused.result.result_class == "checkout", refused
    assert "wrong-word" not in refused.log + refused.stderr + refused.result.message


def test_a_server_that_never_answers_ends_with_the_builds_time(watchdog: Executor) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        ended = watchdog.run("true", git=GitSource(url), timeout_s=1.5, grace_s=0.5)
    assert ended.result.result_class == "timeout", ended
