"""Forges' APIs: a status is set as each documents it, a file is read, and what goes wrong is told."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from framework.core.origin import Origin
from framework.edges.forges.client import Forges, HttpForge
from framework.errors import InputError
from framework.forge_ports import CommitState, CommitStatus, ForgeError
from framework.serverless_settings import Kind
from tests.fakes.forge_messages import COMMIT, FORGES, REPOSITORY
from tests.fakes.forges import TOKEN, FakeForge
from tests.fakes.webhooks import webhook

every_forge = pytest.mark.parametrize("kind", FORGES)
ORIGIN = Origin("shop", REPOSITORY, COMMIT, "main")
STATES = {
    "github": ["pending", "pending", "success", "failure", "error", "error"],
    "gitlab": ["pending", "running", "success", "failed", "canceled", "failed"],
    "bitbucket": ["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED", "FAILED"],
}


def status(
    state: CommitState = CommitState.PASSED, reason: str = "passed", context: str = "butlery/shop"
) -> CommitStatus:
    return CommitStatus(state, reason, "http://127.0.0.1:8080/v1/jobs/j1", context)


@asynccontextmanager
async def opened(kind: Kind, folder: Path, token: str | None = TOKEN) -> AsyncIterator[tuple[FakeForge, HttpForge]]:
    server = await FakeForge(kind).start()
    forges = Forges([webhook(folder, kind=kind, api_url=server.url, token=token)])
    try:
        yield server, forges.by_hook["shop"]
    finally:
        await forges.close()
        await server.stop()


@every_forge
async def test_every_state_as_the_forge_documents_it(kind: Kind, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as (server, forge):
        for state in CommitState:
            await forge.tell(ORIGIN, status(state))
        assert [one.state for one in server.posted] == STATES[kind]
        assert {(one.repository, one.commit) for one in server.posted} == {(REPOSITORY, COMMIT)}
        assert not server.faults


@every_forge
async def test_long_words_are_cut_to_what_it_takes(kind: Kind, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as (server, forge):
        await forge.tell(ORIGIN, status(reason="x\n" * 500, context="butlery/" + "y" * 90))
        assert server.posted
        assert not server.faults


async def test_a_status_that_gitlab_has_already_is_set(tmp_path: Path) -> None:
    async with opened("gitlab", tmp_path) as (server, forge):
        for _ in range(2):
            await forge.tell(ORIGIN, status(CommitState.RUNNING))
        assert len(server.posted) == 1


@every_forge
async def test_a_file_of_a_commit(kind: Kind, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as (server, forge):
        assert await forge.file(REPOSITORY, COMMIT, "ci/.butlery.yaml", 1000) is None
        server.files["ci/.butlery.yaml"] = "label: größer\n".encode()
        assert await forge.file(REPOSITORY, COMMIT, "ci/.butlery.yaml", 1000) == "label: größer\n"
        for wrong in (b"x" * 1001, b"\xff"):
            server.files["ci/.butlery.yaml"] = wrong
            with pytest.raises(InputError):
                await forge.file(REPOSITORY, COMMIT, "ci/.butlery.yaml", 1000)
        assert not server.faults


@every_forge
@pytest.mark.parametrize(("code", "retryable"), [(404, False), (422, False), (403, False), (429, True), (502, True)])
async def test_what_it_refuses(kind: Kind, code: int, retryable: bool, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as (server, forge):
        server.refusing, server.retry_after = code, "7" if retryable else None
        with pytest.raises(ForgeError, match="not now") as caught:
            await forge.tell(ORIGIN, status())
        assert (caught.value.retryable, caught.value.retry_after_s) == (retryable, 7 if retryable else None)


@every_forge
async def test_a_wrong_token_is_told_and_shown_to_nobody(
    kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with opened(kind, tmp_path, "another-token-9876543210") as (_, forge):
        with pytest.raises(ForgeError, match="401: Bad credentials; is token_file's token right") as caught:
            await forge.tell(ORIGIN, status())
        assert not caught.value.retryable
        assert "another-token" not in str(caught.value) + caplog.text


async def test_a_forge_that_is_away(tmp_path: Path) -> None:
    async with opened("github", tmp_path) as (server, forge):
        await server.stop()
        with pytest.raises(ForgeError) as caught:
            await forge.tell(ORIGIN, status())
        assert caught.value.retryable


@every_forge
async def test_without_a_token_nothing_is_asked(kind: Kind, tmp_path: Path) -> None:
    async with opened(kind, tmp_path, None) as (server, forge):
        assert await forge.file(REPOSITORY, COMMIT, ".butlery.yaml", 1000) is None
        assert server.calls == 0
