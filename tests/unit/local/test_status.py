"""What is asked of a cluster's own servers: never by way of a proxy, and the scheduler's notices with its token."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.local.cluster import get_json
from framework.local.processes import ProcessId
from framework.local.status import Paths, Status, read

NOTICE = "the state file was corrupt"


class Scheduler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer the-token"
        body = b'{"notices": ["%s"]}' % NOTICE.encode() if allowed else b"{}"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Scheduler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_company_s_proxy_is_not_asked_for_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert get_json(url, authorization="Bearer the-token") == {"notices": [NOTICE]}


@pytest.mark.parametrize(("token", "told"), [("the-token", [NOTICE]), ("another", []), (None, [])])
def test_the_scheduler_s_notices_are_told(url: str, tmp_path: Path, token: str | None, told: list[str]) -> None:
    Status("up", str(tmp_path), api_url=url).save()
    myself = ProcessId.of(os.getpid())
    assert myself is not None
    myself.save(Paths(tmp_path).scheduler_pid)
    if token is not None:
        Paths(tmp_path).admin_token.write_text(f"{token}\n")
    assert read(tmp_path).notices == told
