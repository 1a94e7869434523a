"""How it is told that Mesos does not answer a call of an operator."""

from __future__ import annotations

import errno
import os

import aiohttp
import pytest

from framework.edges.mesos.operator import _why


def failing(error: Exception, cause: Exception | None) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            failing(
                aiohttp.ClientOSError(None, "Can not write request body for https://m:5050/api/v1"),
                aiohttp.ClientConnectionResetError("Cannot write to closing transport"),
            ),
            "it closes the connection",
        ),
        (
            failing(
                aiohttp.ClientOSError(errno.ECONNRESET, "reset"),
                ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)),
            ),
            "Connection reset by peer",
        ),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (TimeoutError(), "time is up"),
    ],
)
def test_why_in_plain_words(error: Exception, told: str) -> None:
    assert _why(error) == told
