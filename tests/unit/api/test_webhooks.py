"""Webhooks: signed messages become jobs; forged, repeated, foreign and excessive ones do not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from framework.api.app import create_app
from framework.api.hooks import Hooks
from framework.core.origin import Origin
from framework.edges.forges import payloads, signatures
from framework.errors import UnavailableError
from framework.forge_ports import CommitStatus, Delivery, ForgeError
from framework.serverless_settings import Kind, ServerlessSettings, WebhookSettings
from framework.settings import ApiSettings
from framework.tokens import token_sha256
from tests.fakes import forge_messages as messages
from tests.fakes.control import FakeControl
from tests.fakes.forge_messages import COMMIT, FORGES, FORK, Message
from tests.fakes.seats import FakeSeat
from tests.fakes.templates import fixed_templates
from tests.fakes.webhooks import webhook, written

every_forge = pytest.mark.parametrize("kind", FORGES)


class FileForge:
    """A forge without its API: a file of a commit is what a test says."""

    def __init__(self, hook: WebhookSettings) -> None:
        self._hook = hook
        self.content: str | ForgeError | None = None

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        return signatures.genuine(self._hook.kind, self._hook.secret.get_secret_value(), headers, body)

    def read(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        return payloads.read(self._hook.kind, headers, body)

    async def tell(self, origin: Origin, status: CommitStatus) -> None:
        raise NotImplementedError

    async def file(self, repository: str, commit: str, path: str, max_bytes: int) -> str | None:
        assert (commit[:7], path) == (COMMIT[:7], ".butlery.yaml")
        if isinstance(self.content, ForgeError):
            raise self.content
        return self.content


class Sender:
    """Sends messages to the API of one webhook, ``shop``."""

    def __init__(self, http: httpx.AsyncClient, control: FakeControl, forge: FileForge, hooks: Hooks) -> None:
        self.http, self.control, self.forge, self.hooks = http, control, forge, hooks

    async def __call__(self, message: Message, name: str = "shop") -> httpx.Response:
        return await self.http.post(f"/v1/webhooks/{name}", content=message.body, headers=message.headers)


class Making:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[httpx.AsyncClient] = []
        self.now = 0.0

    def __call__(self, **changes: Any) -> Sender:
        hook = webhook(self._folder, **changes)
        control, forge = FakeControl("red", "blue"), FileForge(hook)
        hooks = Hooks([hook], {hook.name: forge}, lambda: self.now)
        templates = fixed_templates(
            small={"cpus": 0.5, "mem_mib": 256, "overrides": {"cpus_max": 2, "images": ["jenkins/*"]}},
            plain={"cpus": 1},
        )
        app = create_app(
            FakeSeat(control), ApiSettings(), templates, token_sha256("the-administrator-s"),
            ServerlessSettings(image="runner:1", command="run it"), hooks,
        )  # fmt: skip
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://butlery")
        self._open.append(http)
        return Sender(http, control, forge, hooks)

    async def close(self) -> None:
        for http in self._open:
            await http.aclose()


@pytest.fixture
async def making(tmp_path: Path) -> AsyncIterator[Making]:
    made = Making(tmp_path)
    yield made
    await made.close()


@every_forge
async def test_a_push_becomes_a_job(making: Making, kind: Kind, tmp_path: Path) -> None:
    key = written(tmp_path / "deploy", "first line\nsecond line")
    send = making(kind=kind, jenkinsfile="ci/Jenkinsfile", label="small", secret_files={"DEPLOY_KEY": key})
    answer = await send(messages.push(kind))
    assert answer.status_code == 202, answer.text
    [sent] = send.control.submissions
    assert answer.json() == {"jobs": [next(iter(send.control.specs))], "ignored": []}
    host = {"github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org"}[kind]
    assert sent.spec.git is not None
    assert (sent.spec.git.url, sent.spec.git.ref) == (f"https://{host}/acme/shop.git", COMMIT)
    assert (sent.tenant, sent.job, sent.spec.command, sent.spec.image) == ("red", "acme-shop", "run it", "runner:1")
    assert (sent.template.image, sent.spec.cpu_millis) == ("runner:1", 500)
    assert sent.spec.env["JENKINSFILE"] == "ci/Jenkinsfile"
    assert sent.spec.env["BRANCH_NAME"] == "main"
    assert sent.spec.secrets == {"DEPLOY_KEY": "first line\nsecond line"}
    assert sent.origin == Origin("shop", "acme/shop", COMMIT, "main", "d-1")


@every_forge
async def test_whose_signature_is_wrong_is_told_nothing(making: Making, kind: Kind) -> None:
    send = making(kind=kind)
    wrong = messages.push(kind, secret="another-secret-of-24-chars")
    unsigned = Message({"content-type": "application/json"}, wrong.body)
    answers = [await send(wrong), await send(unsigned), await send(messages.push(kind), "no-such-hook")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert not send.control.submissions


async def test_a_secret_that_differs_is_in_the_log_once(making: Making, caplog: pytest.LogCaptureFixture) -> None:
    send, wrong = making(), messages.push("github", secret="another-secret-of-24-chars")
    for _ in range(3):
        await send(wrong)
    assert len([one for one in caplog.records if "not signed" in one.getMessage()]) == 1
    making.now += 60
    await send(wrong)
    assert len([one for one in caplog.records if "not signed" in one.getMessage()]) == 2


async def test_without_any_webhook_nobody_is_let_in(http: httpx.AsyncClient) -> None:
    message = messages.push("github")
    assert (await http.post("/v1/webhooks/shop", content=message.body, headers=message.headers)).status_code == 401


@every_forge
async def test_a_message_that_comes_again_makes_no_second_build(making: Making, kind: Kind) -> None:
    send = making(kind=kind)
    first = await send(messages.push(kind))
    send.forge.content = "env: {A: '1'}\n"  # whatever changed meanwhile
    again = await send(messages.push(kind, delivery="another"))
    assert first.json() == again.json()
    assert len(send.control.specs) == 1


@every_forge
async def test_pull_requests(making: Making, kind: Kind, tmp_path: Path) -> None:
    secret = {"DEPLOY_KEY": written(tmp_path / "deploy", "secret-of-the-build")}
    own, fork = messages.pull_request(kind), messages.pull_request(kind, FORK)
    send = making(kind=kind, branches=["main"], secret_files=secret)
    assert (await send(fork)).json()["ignored"] == ["pull requests of forks are not built"]
    assert not send.control.submissions
    assert len((await send(own)).json()["jobs"]) == 1
    [sent] = send.control.submissions
    assert sent.spec.secrets
    assert (sent.spec.env["BRANCH_NAME"], sent.spec.env["CHANGE_TARGET"]) == ("PR-12", "main")

    everything = making(kind=kind)
    assert (await everything(own)).json()["ignored"] == ["cheaper is built when it is pushed to"]

    open_to_all = making(kind=kind, forks=True, secret_files=secret)
    answer = (await open_to_all(fork)).json()
    if kind == "bitbucket":
        assert "fork" in answer["ignored"][0]
    else:
        [built] = open_to_all.control.submissions
        assert built.spec.secrets == {}
        assert built.spec.git is not None
        assert "acme/shop" in built.spec.git.url


async def test_what_a_webhook_does_not_build(making: Making) -> None:
    send = making(repository="acme/*", branches=["main", "release/*"])
    for message, words in (
        (messages.push("github", repository="acme-evil/shop"), "none of this webhook's repositories"),
        (messages.push("github", "feature/x"), "none of this webhook's branches"),
        (messages.push("github", message="Shoes [skip ci]\n\nlong"), "not to be built"),
        (messages.push("github", message="Shoes\n[CI SKIP]"), "not to be built"),
        (messages.deleted("github"), "deleted"),
        (messages.tag("github"), "tag"),
        (messages.signed("github", "ping", {"zen": "x"}), "ping"),
        (messages.signed("github", "issues", {}), "is not built"),
    ):
        answer = await send(message)
        assert answer.status_code == 202
        assert answer.json()["jobs"] == []
        assert words in answer.json()["ignored"][0]
    assert (await send(messages.push("github", "release/1", repository="acme/.github"))).json()["jobs"]
    assert not send.control.refusals_told


async def test_the_repositorys_own_file(making: Making) -> None:
    send = making(label="plain")
    send.forge.content = "label: small\ncpus: 1.5\nimage: jenkins/runner:2\nenv: {MODE: fast, BRANCH_NAME: x}\n"
    assert (await send(messages.push("github"))).status_code == 202
    [sent] = send.control.submissions
    assert (sent.spec.cpu_millis, sent.spec.image, sent.template.name) == (1500, "jenkins/runner:2", "small")
    assert (sent.spec.env["MODE"], sent.spec.env["BRANCH_NAME"]) == ("fast", "main")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("label: small\ncpus: 3\n", "2 can be asked for"),
        ("cpus: 3\n", "no job change cpus"),
        ("label: none\n", "no template"),
        ("label: small\nimage: evil/runner\n", "takes no image"),
        ("cpu: 3\n", ".butlery.yaml:1"),
        ("[", ".butlery.yaml:1"),
        ("secrets: {A: b}\n", "unknown"),
        ("env: {BUTLERY_TENANT: blue}\n", "env"),
    ],
)
async def test_a_file_that_asks_for_too_much_is_told_at_the_commit(making: Making, content: str, words: str) -> None:
    send = making(label="plain")
    send.forge.content = content
    answer = await send(messages.push("github"))
    assert answer.status_code == 422
    assert words in answer.text
    [(origin, reason)] = send.control.refusals_told
    assert origin.commit == COMMIT
    assert words in reason
    assert not send.control.specs


async def test_a_forge_or_a_state_that_is_away(making: Making) -> None:
    send = making()
    send.forge.content = ForgeError("502", retryable=True)
    assert (await send(messages.push("github"))).status_code == 503
    send.forge.content = None
    send.control.failing = UnavailableError("the disk is full")
    assert (await send(messages.push("github"))).status_code == 503
    assert [reason for _, reason in send.control.refusals_told] == [
        "could not be taken: 502; send the message again",
        "could not be taken: the disk is full; send the message again",
    ]


async def test_a_tenant_that_is_not_there(making: Making) -> None:
    send = making(tenant="green")
    assert (await send(messages.push("github"))).status_code == 422
    assert send.control.refusals_told


async def test_too_many_messages(making: Making) -> None:
    send = making(per_minute=2)
    ping = messages.signed("github", "ping", {})
    assert [(await send(ping)).status_code for _ in range(3)] == [202, 202, 429]
    forged = messages.signed("github", "ping", {}, secret="another-secret-of-24-chars")
    assert (await send(forged)).status_code == 401  # and uses up nobody's share
    making.now += 30
    answers = [await send(ping) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 429]
    assert answers[1].headers["retry-after"] == "31"


async def test_too_large(making: Making) -> None:
    send = making()
    large = messages.signed("github", "push", b"x" * (ApiSettings().max_body_bytes + 1))
    assert (await send(large)).status_code == 413
    assert (await send(messages.push("github"))).status_code == 202


async def test_a_message_that_is_none(making: Making) -> None:
    send = making()
    assert (await send(messages.signed("github", "push", b"{"))).status_code == 422
