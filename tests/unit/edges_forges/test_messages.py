"""Messages of forges: who they are from, and what they say."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from framework.edges.forges.payloads import read
from framework.edges.forges.signatures import genuine
from framework.errors import InputError
from framework.forge_ports import Pushed
from framework.serverless_settings import Kind
from tests.fakes import forge_messages as messages
from tests.fakes.forge_messages import COMMIT, FORGES, FORK, REPOSITORY, SECRET

every_forge = pytest.mark.parametrize("kind", FORGES)
SIGNED_IN = {"github": "x-hub-signature-256", "gitlab": "x-gitlab-token", "bitbucket": "x-hub-signature"}


def pushed(kind: Kind, message: messages.Message) -> tuple[Pushed, ...]:
    return read(kind, message.headers, message.body).pushed


@every_forge
def test_a_message_is_genuine_by_its_signature_alone(kind: Kind) -> None:
    headers, body = messages.push(kind)
    assert genuine(kind, SECRET, headers, body)
    assert not genuine(kind, "another-secret-of-24-chars", headers, body)
    assert not genuine(kind, "", headers, body)
    for wrong in ("", "sha256=", "sha1=" + "0" * 40, "\xff" * 71, headers[SIGNED_IN[kind]].upper()):
        assert not genuine(kind, SECRET, {**headers, SIGNED_IN[kind]: wrong}, body)
    del headers[SIGNED_IN[kind]]
    assert not genuine(kind, SECRET, headers, body)


@pytest.mark.parametrize("kind", ["github", "bitbucket"])
def test_a_signature_is_of_the_body(kind: Kind) -> None:
    headers, body = messages.push(kind)
    assert not genuine(kind, SECRET, headers, body + b" ")


def test_a_signature_of_sha1_is_not_taken() -> None:
    headers, body = messages.push("github")
    assert not genuine("github", SECRET, {"x-hub-signature": headers["x-hub-signature-256"]}, body)


@every_forge
def test_a_push(kind: Kind) -> None:
    found = read(kind, *messages.push(kind, "feature/shoes", "Cheaper"))
    assert found.id == "d-1"
    assert found.pushed == (Pushed(REPOSITORY, COMMIT, "feature/shoes", "Cheaper"),)


@every_forge
def test_a_pull_request_of_the_repository_and_of_a_fork(kind: Kind) -> None:
    [own], [fork] = (pushed(kind, messages.pull_request(kind, source)) for source in (REPOSITORY, FORK))
    for one in (own, fork):
        assert (one.repository, one.branch, one.target, one.pull_request) == (REPOSITORY, "cheaper", "main", 12)
        assert COMMIT.startswith(one.commit)
    assert (own.fork, fork.fork) == (False, True)


@every_forge
def test_what_is_not_built(kind: Kind) -> None:
    other = messages.signed(kind, "issues", {"action": "opened"})
    for message in (messages.deleted(kind), messages.tag(kind), other):
        found = read(kind, *message)
        assert not found.pushed
        assert found.ignored


def test_a_ping() -> None:
    assert read("github", *messages.signed("github", "ping", {"zen": "Keep it logically awesome."})).ignored.startswith(
        "a ping"
    )


def test_a_push_of_two_branches_at_once() -> None:
    message = messages.push("bitbucket")
    payload = json.loads(message.body)
    payload["push"]["changes"].append(json.loads(messages.push("bitbucket", "other").body)["push"]["changes"][0])
    found = pushed("bitbucket", messages.signed("bitbucket", "repo:push", payload))
    assert [one.branch for one in found] == ["main", "other"]


def test_github_sends_forms_too() -> None:
    message = messages.push("github")
    body = urlencode({"payload": message.body.decode()}).encode()
    headers = {**message.headers, "content-type": "application/x-www-form-urlencoded"}
    assert read("github", headers, body).pushed == pushed("github", message)
    with pytest.raises(InputError):
        read("github", headers, b"a=1&b=2&c=3&d=4&e=5")


@every_forge
@pytest.mark.parametrize(
    "changes",
    [
        {"repository": "../../etc"},
        {"repository": "acme"},
        {"repository": "acme/..%2f"},
        {"commit": "--upload-pack=x"},
        {"commit": "HEAD"},
        {"branch": "--upload-pack=x"},
        {"branch": "a b"},
    ],
)
def test_names_that_could_mean_something_else(kind: Kind, changes: dict[str, str]) -> None:
    with pytest.raises(InputError):
        pushed(kind, messages.push(kind, **changes))


@every_forge
@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b'{"ref": 7}', {"ref": None}, b"[" * 100_000])
def test_what_is_no_such_message(kind: Kind, payload: Any) -> None:
    event = {"github": "push", "gitlab": "Push Hook", "bitbucket": "repo:push"}[kind]
    with pytest.raises(InputError):
        read(kind, *messages.signed(kind, event, payload))
