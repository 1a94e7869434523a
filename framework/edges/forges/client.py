"""Forges' APIs: a commit's status is set, a file of a commit is read. Nothing else is asked of them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
from yarl import URL

import framework
from framework.core.origin import Origin
from framework.edges.forges import payloads
from framework.edges.forges.signatures import genuine
from framework.errors import Fault, InputError
from framework.forge_ports import CommitState, CommitStatus, Delivery, ForgeError
from framework.log import protect
from framework.serverless_settings import API_URLS, WebhookSettings

TIMEOUT_S = 8.0
"""Of one call; a forge that has sent us a message waits 10 s for the answer, and a file may be read meanwhile."""
CONNECT_TIMEOUT_S = 4.0
MAX_ANSWER_BYTES = 64 << 10
"""Of an answer whose words are of interest only where it refuses."""
BITBUCKET_KEY_CHARS = 40
"""Most that Bitbucket takes for a status' key."""


class _Status(NamedTuple):
    path: str
    body: dict[str, str]


class Forges:
    """One forge for each webhook, over one pool of connections. For the event loop's own thread."""

    def __init__(self, hooks: Sequence[WebhookSettings]) -> None:
        self._connection = _Connection()
        self.by_hook = {hook.name: HttpForge(hook, self._connection) for hook in hooks}
        for hook in hooks:
            if hook.token is not None:
                protect(hook.token.get_secret_value())

    async def close(self) -> None:
        await self._connection.close()


class _Connection:
    """Opened with the first call."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, str] | None, max_bytes: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers, and the body's first ``max_bytes`` and one more. Raises ForgeError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"butlery/{framework.__version__}"},
                trust_env=True,
            )
        try:
            # No redirects, so that the token goes to the forge of the settings and to nobody else.
            async with self._session.request(
                method, URL(url, encoded=True), headers=headers, json=body, allow_redirects=False
            ) as answer:
                read = bytearray()
                async for chunk in answer.content.iter_chunked(16 << 10):
                    read += chunk
                    if len(read) > max_bytes:
                        break
                return answer.status, answer.headers, bytes(read[: max_bytes + 1])
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ForgeError(f"{url.partition('?')[0]}: {reason[:200]}", retryable=True) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class HttpForge:
    """``framework.forge_ports.Forge`` of one webhook."""

    def __init__(self, hook: WebhookSettings, connection: _Connection) -> None:
        self._kind = hook.kind
        self._secret = hook.secret.get_secret_value()
        self._token = hook.token.get_secret_value() if hook.token is not None else None
        self._api_url = hook.api_url or API_URLS[hook.kind]
        self._connection = connection

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        return genuine(self._kind, self._secret, headers, body)

    def read(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        return payloads.read(self._kind, headers, body)

    async def tell(self, origin: Origin, status: CommitStatus) -> None:
        path, body = self._status(origin, status)
        code, headers, answer = await self._connection.call(
            "POST", self._api_url + path, self._headers(), body, MAX_ANSWER_BYTES
        )
        # GitLab refuses a status that the commit has already.
        if code // 100 != 2 and not (code == 400 and b"Cannot transition status" in answer):
            raise self._refusal(code, headers, answer)

    async def file(self, repository: str, commit: str, path: str, max_bytes: int) -> str | None:
        if self._token is None:  # whom forges answer a few times an hour, if at all
            return None
        url = self._api_url + self._file(repository, commit, path)
        accept = {"Accept": "application/vnd.github.raw+json" if self._kind == "github" else "*/*"}
        code, headers, answer = await self._connection.call("GET", url, {**self._headers(), **accept}, None, max_bytes)
        if code == 404:
            return None
        if code != 200:
            raise self._refusal(code, headers, answer)
        if len(answer) > max_bytes:
            raise InputError([Fault(path, f"has more than {max_bytes >> 10} KiB")])
        try:
            return answer.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError([Fault(path, "is not UTF-8 text")]) from error

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._kind == "github":
            headers |= {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        if self._token is None:
            return headers
        if self._kind == "gitlab":
            return headers | {"PRIVATE-TOKEN": self._token}
        if self._kind == "bitbucket" and ":" in self._token:  # USER:APP_PASSWORD
            return headers | {"Authorization": f"Basic {base64.b64encode(self._token.encode()).decode()}"}
        return headers | {"Authorization": f"Bearer {self._token}"}

    def _status(self, origin: Origin, status: CommitStatus) -> _Status:
        repository, commit = quote(origin.repository), quote(origin.commit)
        words = _STATES[self._kind][status.state]
        match self._kind:
            case "github":
                return _Status(
                    f"/repos/{repository}/statuses/{commit}",
                    {
                        "state": words,
                        "target_url": status.url,
                        "description": _shortened(status.reason, 140),
                        "context": status.context,
                    },
                )
            case "gitlab":
                return _Status(
                    f"/projects/{quote(origin.repository, safe='')}/statuses/{commit}",
                    {
                        "state": words,
                        "target_url": status.url,
                        "description": _shortened(status.reason, 255),
                        "name": status.context,
                    },
                )
            case "bitbucket":
                long = len(status.context) > BITBUCKET_KEY_CHARS
                return _Status(
                    f"/repositories/{repository}/commit/{commit}/statuses/build",
                    {
                        "state": words,
                        "url": status.url,
                        "description": _shortened(status.reason, 255),
                        "name": status.context,
                        "key": hashlib.sha1(status.context.encode(), usedforsecurity=False).hexdigest()
                        if long
                        else status.context,
                    },
                )

    def _file(self, repository: str, commit: str, path: str) -> str:
        commit = quote(commit, safe="")
        match self._kind:
            case "github":
                return f"/repos/{quote(repository)}/contents/{quote(path)}?ref={commit}"
            case "gitlab":
                project, file = quote(repository, safe=""), quote(path, safe="")
                return f"/projects/{project}/repository/files/{file}/raw?ref={commit}"
            case "bitbucket":
                return f"/repositories/{quote(repository)}/src/{commit}/{quote(path)}"

    def _refusal(self, code: int, headers: Mapping[str, str], answer: bytes) -> ForgeError:
        limited = code == 429 or (code == 403 and headers.get("X-RateLimit-Remaining") == "0")
        after = headers.get("Retry-After", "")
        retry_after_s = float(after) if after.isdecimal() and len(after) < 7 else None
        hint = "; is token_file's token right, and may it set statuses?" if code in (401, 403) and not limited else ""
        return ForgeError(
            f"{self._api_url} answers {code}{_words(answer)}{hint}",
            retryable=limited or code == 408 or code >= 500 or retry_after_s is not None,
            retry_after_s=retry_after_s,
        )


_STATES: dict[str, dict[CommitState, str]] = {
    "github": {
        CommitState.QUEUED: "pending",
        CommitState.RUNNING: "pending",
        CommitState.PASSED: "success",
        CommitState.FAILED: "failure",
        CommitState.CANCELLED: "error",
        CommitState.ERROR: "error",
    },
    "gitlab": {
        CommitState.QUEUED: "pending",
        CommitState.RUNNING: "running",
        CommitState.PASSED: "success",
        CommitState.FAILED: "failed",
        CommitState.CANCELLED: "canceled",
        CommitState.ERROR: "failed",
    },
    "bitbucket": {
        CommitState.QUEUED: "INPROGRESS",
        CommitState.RUNNING: "INPROGRESS",
        CommitState.PASSED: "SUCCESSFUL",
        CommitState.FAILED: "FAILED",
        CommitState.CANCELLED: "STOPPED",
        CommitState.ERROR: "FAILED",
    },
}


def _shortened(text: str, max_chars: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= max_chars else line[: max_chars - 3] + "..."


def _words(answer: bytes) -> str:
    """What the forge says of a refusal, where it says anything."""
    try:
        said: Any = json.loads(answer)
    except ValueError:
        return ""
    text = said.get("message") or said.get("error") if isinstance(said, dict) else None
    shown = "".join(char for char in str(text)[:200] if char.isprintable()) if text else ""
    return f": {shown}" if shown else ""
