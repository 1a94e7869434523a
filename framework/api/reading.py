"""The body of a request, bounded in size and time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

READ_TIMEOUT_S = 30.0
"""For the whole body. At a megabyte that is 35 kB/s, slower than any line a build is submitted over."""
DRAIN_MAX_BYTES = 8 << 20
"""So much more of a body that is too large is read and thrown away before the answer: most clients write all of it

first, and would see a reset connection in place of an answer that comes meanwhile.
"""


class TooLargeError(Exception):
    """The body has more bytes than it may have."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """All of it. Raises TooLargeError; TimeoutError where it does not come within ``READ_TIMEOUT_S``.

    After either the connection is to be closed, for there may be more of the body.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 15 or int(length) > max_bytes + DRAIN_MAX_BYTES):
        raise TooLargeError
    chunks: list[bytes] = []
    seen = 0
    async with asyncio.timeout(READ_TIMEOUT_S):
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk, more = message.get("body", b""), message.get("more_body", False)
            seen += len(chunk)
            if seen <= max_bytes:
                chunks.append(chunk)
            elif seen <= max_bytes + DRAIN_MAX_BYTES:
                chunks.clear()
            else:
                raise TooLargeError
    if seen > max_bytes:
        raise TooLargeError
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
