"""Asks the API as a client does; every exchange is held against the schemas of Marathon's own API."""

from __future__ import annotations

from typing import Any

import httpx

from tests.contract.marathon_api.exchanges import Exchange, faults


class Asking:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else None
        given = None if body is None or isinstance(body, bytes) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.request(method, path, json=given, content=content, headers=named)
        if method != "OPTIONS":
            exchange = Exchange(
                method,
                path,
                "" if body is None else answer.request.content.decode(),
                answer.status_code,
                answer.headers.get("content-type", ""),
                answer.text,
            )
            wrong = faults(exchange)
            assert not wrong, wrong
        assert answer.status_code != 500, answer.text
        return answer

    async def made(self, app_id: str, **more: Any) -> dict[str, Any]:
        """A new app."""
        answer = await self("POST", "/v2/apps", {"id": app_id, "cmd": "sleep 1", **more})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made
