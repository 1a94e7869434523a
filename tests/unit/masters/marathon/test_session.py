"""Every call to Marathon ends, whatever answers there; and goes to who it is meant for, with what is meant for them."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from framework.errors import InputError, UnavailableError
from masters.errors import MarathonError
from masters.marathon import MarathonEdge, session
from tests.fakes import odd_marathon as odd
from tests.fakes.odd_marathon import Odd, OddMarathon
from tests.unit.masters.marathon.samples import app, app_id, edge_to

ID = app_id("payments")
AUTHORIZATION = "Basic " + base64.b64encode(b"marathon:hidden").decode()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (odd.html(), "no JSON, or a part of it"),
        (odd.html(404), "not as a Marathon would"),
        (odd.html(502), "502 Bad Gateway"),
        (odd.answer(404, {"detail": "Not Found"}), "not as a Marathon would"),
        (odd.answer(200, {"app": {"id": "/another"}}), "another thing than"),
        (odd.answer(200, {"app": {"id": ID, "version": 3}}), "an app that is none"),
        (odd.answer(200, []), "is it a Marathon?"),
        (odd.answer(200), "nothing at all"),
        (odd.half, "breaks off"),
        (odd.cut, "cannot be reached"),
        (odd.trickle, "did not answer in full within 0.25 s"),
        (odd.trickle_headers, "did not answer"),
        (odd.answer(302, location="/v2/apps/elsewhere"), "not to a leader"),
        (odd.answer(302, location="http://[nonsense"), "not to a leader"),
        (odd.answer(302), "not to a leader"),
    ],
)
def test_what_no_marathon_answers_is_tried_again_and_told(marathon: OddMarathon, fault: Odd, words: str) -> None:
    marathon.odd_reads.extend([fault] * 40)
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match=words) as raised:
        edge_to(marathon.url).master(ID)
    assert time.monotonic() - begun < 10
    assert len(marathon.sent("GET")) > 1
    assert "hidden" not in str(raised.value)
    marathon.odd_reads.clear()


def test_a_bad_moment_passes(marathon: OddMarathon, edge: MarathonEdge) -> None:
    marathon.change(ID, **app("payments"))
    marathon.odd_reads.extend([odd.html(), odd.cut, odd.half, odd.answer(500, {"message": "busy"})])
    found = edge.masters()
    assert found["payments"].app_id == ID


def test_a_body_without_end_is_not_read_to_it(
    marathon: OddMarathon, edge: MarathonEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_BYTES", 1 << 20)
    marathon.change(ID, **app("payments", env={"LONG": "x" * (2 << 20)}))
    with pytest.raises(UnavailableError, match="more than 1 MiB"):
        edge.master(ID)


def test_standbys_send_on_to_the_leader(marathon: OddMarathon) -> None:
    with odd.odd_marathon() as leader:
        leader.change(ID, **app("payments"))
        marathon.odd_reads.append(odd.answer(302, location=f"{leader.url}/v2/apps{ID}"))
        marathon.odd.append(odd.answer(307, location=f"{leader.url}/v2/apps{ID}"))
        edge = edge_to(marathon.url)
        found = edge.master(ID)
        assert found is not None
        edge.delete(ID)
        assert leader.applied == [("DELETE", ID)]
        assert {one.headers["authorization"] for one in leader.asked} == {AUTHORIZATION}
        assert leader.sent("GET")[0].parameters["embed"][0] == "app.tasks"


def test_one_that_sends_in_a_circle_is_left(marathon: OddMarathon) -> None:
    marathon.odd_reads.extend([odd.answer(302, location=f"{marathon.url}/v2/deployments")] * 400)
    with pytest.raises(UnavailableError, match="from one address to the next"):
        edge_to(marathon.url).deployments()


def test_another_address_is_asked_where_one_is_away(marathon: OddMarathon) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"  # nobody listens there
        edge = edge_to(away, marathon.url)
        edge.put(ID, app("payments"), expect=None)
        assert edge.deployments() == []
    assert marathon.applied == [("POST", ID)]


def test_certificates_are_checked_by_our_own_authority(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with odd.odd_marathon(tls) as marathon:
        marathon.change(ID, **app("payments"))
        marathon.stream = _one_event
        edge = edge_to(marathon.url, ca_file=str(tmp_path / "ca.pem"))
        assert list(edge.masters()) == ["payments"]
        assert ID in edge.events(lambda: False)
        with pytest.raises(UnavailableError, match="its certificate is not trusted: "):
            edge_to(marathon.url).masters()
        marathon.odd_reads.extend([odd.answer(302, location=f"http://127.0.0.1:9/v2/apps{ID}")] * 9)
        with pytest.raises(UnavailableError, match="not to a leader"):
            edge_to(marathon.url, ca_file=str(tmp_path / "ca.pem"), retry_for_s=0).master(ID)


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), ("nonsense", "it holds none")])
def test_an_authority_that_cannot_be_read_is_told_before_anything_is_asked(
    tmp_path: Path, content: str | None, words: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=words) as raised:
        edge_to("https://127.0.0.1:9", ca_file=str(path))
    assert raised.value.faults[0].where == "masters.ca_file"


def _one_event(handler: odd.Handler) -> None:
    handler.begin_stream()
    for byte in f'data: {{"appId": "{ID}"}}\n\n'.encode():
        handler.wfile.write(bytes([byte]))
    handler.server.over.wait(10)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_user_is_told_at_once(marathon: OddMarathon, edge: MarathonEdge, status: int) -> None:
    marathon.odd_reads.append(odd.answer(status, {"message": "Not Authorized to perform this action!"}))
    with pytest.raises(MarathonError):
        edge.masters()
    assert len(marathon.asked) == 1


def test_the_users_own_netrc_proxy_and_cookies_take_no_part(
    marathon: OddMarathon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    edge_to(marathon.url).deployments()
    assert marathon.asked[0].headers["authorization"] == AUTHORIZATION


def test_the_client_logs_no_documents(
    marathon: OddMarathon, edge: MarathonEdge, caplog: pytest.LogCaptureFixture
) -> None:
    marathon.change(ID, **app("payments"))
    with caplog.at_level("DEBUG"):
        edge.scale(ID, 0, {"BUTLERY_TENANT": "payments", "NOTE": "in-clear"})
    assert "in-clear" not in caplog.text
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    "ask",
    [
        lambda edge: edge.versions(ID),
        lambda edge: edge.document_at(ID, "2026-11-21T12:00:00.001Z"),
        lambda edge: edge.waiting_reasons(ID),
        lambda edge: edge.cancel("deployment-1"),
        lambda edge: edge.restart(ID),
    ],
)
def test_no_error_of_a_library_comes_out(marathon: OddMarathon, ask: Callable[[MarathonEdge], object]) -> None:
    marathon.change(ID, **app("payments"))
    marathon.odd.extend([odd.html()] * 40)
    marathon.odd_reads.extend([odd.html(), odd.answer(200, {"no": "such"}), odd.answer(200, [3])] * 40)
    with pytest.raises(UnavailableError):
        ask(edge_to(marathon.url))


def test_a_launch_queue_that_cannot_be_read_is_asked_for_once_for_all_who_wait(marathon: OddMarathon) -> None:
    edge = edge_to(marathon.url, queue_age_s=60)
    marathon.odd_reads.extend([odd.html()] * 2)
    with pytest.raises(UnavailableError):
        edge.waiting_reasons(ID)
    assert edge.waiting_reasons(ID) == []
    assert len(marathon.odd_reads) == 1
