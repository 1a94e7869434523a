"""What becomes of a request that is still under way when the server stops."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from framework.api.problems import Guard


@pytest.mark.parametrize("begun", [False, True])
async def test_what_the_server_ends_is_to_be_asked_again(begun: bool) -> None:
    sent: list[Message] = []
    under_way = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200})
        under_way.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    serving = asyncio.ensure_future(Guard(app)({"type": "http", "method": "GET", "path": "/"}, receive, send))
    await asyncio.wait_for(under_way.wait(), 10)
    serving.cancel()
    await serving
    assert sent[0]["status"] == (200 if begun else 503)
    assert ("http.response.body" in [message["type"] for message in sent]) is not begun
    assert begun or dict(sent[0]["headers"])[b"retry-after"]
