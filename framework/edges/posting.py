"""What the consumers share that tell of builds to one address by POST.

Each call has a deadline over all of it, and a bounded answer. Neither redirects nor cookies: what is sent goes to the
address of the settings and to nobody else. Errors never repeat that address, which may be secret.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import aiohttp
import msgspec
from yarl import URL

import framework
from framework.errors import UnavailableError
from framework.telemetry.records import BuildRecord, Kind
from framework.telemetry_ports import Batch, BusyError, OperatorError, Rejected

CONNECT_TIMEOUT_S = 4.0
MAX_ANSWER_BYTES = 64 << 10
LATE_S = 3600.0
"""Builds that ended longer ago are not kept for who cannot be told: the spool is shared, and others need its room."""


class Answer(NamedTuple):
    status: int
    retry_after_s: float | None
    body: bytes  # its first ``MAX_ANSWER_BYTES``


class Built(NamedTuple):
    """A build out of the spool, and its line there."""

    record: BuildRecord
    document: bytes


_decoder = msgspec.json.Decoder(BuildRecord)


def read_builds(batches: Sequence[Batch]) -> tuple[list[Built], list[Rejected]]:
    """The builds, and what is none that this version could read."""
    builds: list[Built] = []
    unread: list[Rejected] = []
    for batch in batches:
        if batch.kind is not Kind.BUILDS:
            continue
        for line in batch.documents():
            try:
                builds.append(Built(_decoder.decode(line), line))
            except msgspec.MsgspecError as error:
                unread.append(Rejected(Kind.BUILDS, "", f"cannot be read: {error}", line))
    return builds, unread


def late(builds: Sequence[Built], now: float) -> bool:
    """Whether all of them ended longer than ``LATE_S`` ago."""
    return all(one.record.at_ms < (now - LATE_S) * 1000 for one in builds)


def refusal(who: str, answer: Answer) -> BusyError | OperatorError:
    """What an answer means that is no 2xx."""
    if answer.status in (408, 425, 429) or answer.status >= 500:
        return BusyError(f"{who} answers {answer.status}", answer.retry_after_s)
    return OperatorError(f"{who} answers {answer.status}{_words(answer.body)}")


def _words(body: bytes) -> str:
    """The begin of an answer that is text of one line, as Slack's is: ``no_service``."""
    text = body[:100].decode(errors="replace")
    return f" ({text})" if len(body) <= 100 and text.isprintable() and text.strip() else ""


class Poster:
    """For one thread at a time, in which no event loop runs. One connection, kept open."""

    def __init__(self, who: str, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        """``who`` is posted to, for the words of errors."""
        self._who = who
        self._url = url
        self._headers = {"User-Agent": f"butlery/{framework.__version__}", **headers}
        self._timeout_s = timeout_s
        self._runner: asyncio.Runner | None = None
        self._session: aiohttp.ClientSession | None = None

    def post(self, body: bytes) -> Answer:
        """Whatever the answer is. One attempt. Raises UnavailableError; what was sent may have arrived."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self._post(body))

    def close(self) -> None:
        if self._runner is not None:
            if self._session is not None:
                self._runner.run(self._session.close())
            self._runner.close()
            self._runner = self._session = None

    async def _post(self, body: bytes) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=CONNECT_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                trust_env=True,
            )
        try:
            async with self._session.post(URL(self._url, encoded=True), data=body, allow_redirects=False) as answer:
                read = bytearray()
                async for chunk in answer.content.iter_chunked(16 << 10):
                    read += chunk
                    if len(read) >= MAX_ANSWER_BYTES:
                        break
                return Answer(answer.status, _seconds(answer.headers.get("Retry-After", "")), bytes(read))
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise UnavailableError(f"{self._who} {self._trouble(error)}") from None

    def _trouble(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                return f"did not answer within {self._timeout_s:g} s"
            case aiohttp.ClientConnectorCertificateError():
                return "has a certificate that is not trusted"
            case aiohttp.ClientConnectorError():
                number = error.os_error.errno
                return f"cannot be reached: {os.strerror(number) if number and number > 0 else 'its name is not known'}"
            case aiohttp.ClientResponseError() | aiohttp.InvalidURL():
                return "does not speak HTTP as we know it"
            case _:
                return f"ended the connection ({type(error).__name__})"


def _seconds(after: str) -> float | None:
    return float(after) if re.fullmatch(r"[0-9]{1,6}", after) else None
