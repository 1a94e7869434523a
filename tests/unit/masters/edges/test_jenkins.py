"""A master asked at its own address: what it answers, and everything that may answer in its place."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from framework.errors import ButleryError, UnavailableError
from masters import jenkins
from masters.jenkins import JenkinsError, JenkinsMaster
from masters.ports import Activity, Backup, MasterAccess

TOKEN = "11" + "ab" * 16
ACCESS = MasterAccess("butlery", TOKEN)


class Answer(NamedTuple):
    status: int = 200
    body: Any = b""
    headers: dict[str, str] | None = None  # None: those of a Jenkins
    claimed: int | None = None  # Content-Length, where it is not the body's


class Listening:
    """Answers by path (without its query), and notes what came."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.url = ""


@pytest.fixture
def there() -> Iterator[Listening]:
    made = Listening()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
            answer = made.answers.get(self.path.partition("?")[0], Answer(404))
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, text in ({"X-Jenkins": "2.463"} if answer.headers is None else answer.headers).items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body) if answer.claimed is None else answer.claimed))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 the base class' name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def master(there: Listening) -> JenkinsMaster:
    return JenkinsMaster("payments", f"{there.url}/payments", ACCESS)


def test_what_it_does_is_told(there: Listening, master: JenkinsMaster) -> None:
    there.answers = {
        "/payments/computer/api/json": Answer(
            body={
                "computer": [
                    {"executors": [], "oneOffExecutors": [{"idle": False}]},
                    {"executors": [{"idle": True}, {"idle": False}], "oneOffExecutors": []},
                ]
            }
        ),
        "/payments/api/json": Answer(body={"quietingDown": True}),
        "/payments/queue/api/json": Answer(body={"items": [{"id": 1}, {"id": 2}, {"id": 3}]}),
    }
    assert master.activity() == Activity(busy=2, queued=3, quieting=True)
    assert len({authorization for _, _, authorization in there.requests}) == 1
    assert there.requests[0][2].startswith("Basic ")  # with a token, which needs no crumb


def test_it_is_quieted_and_backed_up(there: Listening, master: JenkinsMaster) -> None:
    backup = {"name": "b1", "state": "failed", "bytes": 0, "message": "it was interrupted"}
    there.answers = {
        "/payments/quietDown": Answer(302, headers={"Location": "http://elsewhere.example/"}),
        "/payments/cancelQuietDown": Answer(302, headers={"Location": "http://elsewhere.example/"}),
        "/payments/butlery/backup": Answer(202),
        "/payments/butlery/backups": Answer(body=[backup]),
    }
    master.quiet_down(True)
    master.quiet_down(False)
    master.backup("b1")
    assert master.backups() == [Backup("b1", "failed", 0, "it was interrupted")]
    assert [request[:2] for request in there.requests] == [
        ("POST", "/payments/quietDown"),
        ("POST", "/payments/cancelQuietDown"),
        ("POST", "/payments/butlery/backup?name=b1"),
        ("GET", "/payments/butlery/backups"),
    ]


def test_what_has_no_header_of_jenkins_is_none_but_for_our_own_action(there: Listening, master: JenkinsMaster) -> None:
    there.answers = {"/payments/quietDown": Answer(200, b"", {}), "/payments/butlery/backups": Answer(200, [], {})}
    with pytest.raises(UnavailableError, match="no Jenkins that answers there"):
        master.quiet_down(True)
    assert master.backups() == []


HTML = b"<html>Starting Jenkins</html>"
BACKUP = {"name": "b1", "state": "done", "bytes": 5, "message": ""}
PACKED = {"X-Jenkins": "2", "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (Answer(503, HTML, {}), UnavailableError, "starting or stopping"),
        (Answer(502, b"", {}), UnavailableError, "starting or stopping"),
        (Answer(403, HTML), JenkinsError, "refuses the token"),
        (Answer(401, HTML), JenkinsError, "refuses the token"),
        (Answer(404, HTML), JenkinsError, "without Butlery's init scripts"),
        (Answer(400, b"", {"X-Jenkins": "2", "X-Error": "no such\tthing"}), JenkinsError, "400: no such thing"),
        (Answer(409, b""), JenkinsError, "refused /butlery/backups (409)"),
        (Answer(500, HTML), UnavailableError, "failed at /butlery/backups (500)"),
        (Answer(200, HTML), UnavailableError, "it is not JSON"),
        (Answer(302, b"", {"Location": "/login"}), UnavailableError, "it is not JSON"),
        (Answer(200, {"status": "ok"}), UnavailableError, "it is not what Jenkins tells there"),
        (Answer(200, [{"name": "b1"}]), UnavailableError, "it is not what Jenkins tells there"),
        (Answer(200, [BACKUP | {"name": "../b1"}]), UnavailableError, "it is not what Jenkins tells there"),
        (Answer(200, [BACKUP | {"name": "b1\n"}]), UnavailableError, "it is not what Jenkins tells there"),
        (Answer(200, [BACKUP | {"bytes": 1 << 63}]), UnavailableError, "it is not what Jenkins tells there"),
        (Answer(200, [BACKUP | {"state": "lost"}]), UnavailableError, "it is not what Jenkins tells there"),
        (Answer(200, b"[" * 3000), UnavailableError, "it is not what Jenkins tells"),
        (Answer(200, b'[{"x": ' + b"[" * 3500), UnavailableError, "it is not JSON"),
        (Answer(200, b"\xff"), UnavailableError, "it is not JSON"),
        (Answer(200, b"[", claimed=100), UnavailableError, "cannot be reached"),
        (Answer(200, b"x" * 5000), UnavailableError, "answered with more than"),
        (Answer(200, gzip.compress(b" " * (1 << 20) + b"[]"), PACKED), UnavailableError, "it is not JSON"),
    ],
)
def test_whatever_answers_is_an_error_with_words(
    there: Listening,
    master: JenkinsMaster,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    kind: type[ButleryError],
    told: str,
) -> None:
    monkeypatch.setattr(jenkins, "MAX_BODY_BYTES", 4096)
    there.answers["/payments/butlery/backups"] = answer
    with pytest.raises(kind) as raised:
        master.backups()
    assert told in str(raised.value)
    assert str(raised.value).startswith("payments: ")
    assert TOKEN not in str(raised.value)
    assert raised.value.retryable is (kind is UnavailableError)


def test_a_backup_while_another_runs(there: Listening, master: JenkinsMaster) -> None:
    there.answers["/payments/butlery/backup"] = Answer(409, HTML)
    with pytest.raises(JenkinsError, match="another backup of its master runs"):
        master.backup("b1")


def test_a_jenkins_that_tells_other_things_is_an_error(there: Listening, master: JenkinsMaster) -> None:
    for path in ("/payments/computer/api/json", "/payments/api/json", "/payments/queue/api/json"):
        there.answers[path] = Answer(body={"computer": "none"})
    with pytest.raises(UnavailableError, match="not what Jenkins tells"):
        master.activity()


def test_what_is_told_of_backups_is_one_line_each_and_each_once(there: Listening, master: JenkinsMaster) -> None:
    told = BACKUP | {"message": "it\n\x1b[2Jfailed" + "x" * 1000}
    there.answers["/payments/butlery/backups"] = Answer(body=[BACKUP, told])
    (found,) = master.backups()
    assert found.message.startswith("it [2Jfailedxxx")
    assert len(found.message) <= 500


def test_an_answer_that_trickles_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, all of them never."""
    monkeypatch.setattr(jenkins, "CALL_TIMEOUT_S", 0.5)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Jenkins: 2\r\nContent-Length: 1000\r\n\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            with pytest.raises(UnavailableError, match="did not answer in full within"):
                JenkinsMaster("payments", f"http://127.0.0.1:{listener.getsockname()[1]}", ACCESS).backups()
        finally:
            ended.set()
            thread.join()


def test_nobody_there() -> None:
    with pytest.raises(UnavailableError, match="cannot be reached"):
        JenkinsMaster("payments", "http://127.0.0.1:1", ACCESS).backups()
