"""Waiting for builds and following their output, over as many calls, attempts and restarts as it takes."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from framework.cli import exits
from framework.cli.client import RefusedError, job_path
from framework.cli.output import printable, say, seconds
from framework.errors import UnavailableError

if TYPE_CHECKING:
    from framework.cli.client import ApiClient

CALL_WAIT_S = 30.0
"""The server's own wait in one call."""
PATIENCE_S = 300.0
"""How long a server that does not answer is waited for while a build is followed: longer than its restart takes, as

the build runs on meanwhile."""
PAUSE_S = 1.0
LOG_BYTES = 1 << 20


def exit_code(job: Mapping[str, Any]) -> int:
    """Of a build that has ended: 0 only where it passed."""
    result = job.get("result") or {}
    return exits.OK if result.get("result_class") == "passed" else exits.FAILED


def ending(job: Mapping[str, Any]) -> str:
    """How it ended, in one line."""
    result = job.get("result")
    if not result:
        return f"{job['id']}: {job['state']}"
    measured = [
        f"{name} {value}"
        for name, value in (
            ("exit code", result["exit_code"]),
            ("signal", result["signal"]),
            ("wall", seconds(result["wall_s"]) if result["wall_s"] is not None else None),
            ("CPU", seconds(result["cpu_s"]) if result["cpu_s"] is not None else None),
            ("peak", f"{result['peak_mem_mib']:.1f} MiB" if result["peak_mem_mib"] is not None else None),
        )
        if value is not None
    ]
    told = f" ({', '.join(measured)})" if measured else ""
    says_more = result["message"] not in ("", f"exit code {result['exit_code']}")
    message = f": {result['message']}" if says_more else ""
    return printable(f"{job['id']}: {result['result_class']}{told}{message}")


class Patience:
    """Forgives a server that does not answer, for ``PATIENCE_S`` in a row."""

    def __init__(self) -> None:
        self._since: float | None = None

    def answered(self) -> None:
        if self._since is not None:
            say("the server answers again")
        self._since = None

    def failed(self, error: UnavailableError) -> None:
        """Waits a little. Raises the error where it has lasted too long."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
            say(printable(f"{error}; the build runs on, trying again for {PATIENCE_S:.0f} s"))
        if now - self._since > PATIENCE_S:
            raise error
        time.sleep(random.uniform(PAUSE_S, 2 * PAUSE_S))  # noqa: S311 jitter, no secret


def wait(client: ApiClient, job_id: str, timeout_s: float | None) -> dict[str, Any] | None:
    """The job once it has ended; None where ``timeout_s`` was over first. Raises RefusedError, UnavailableError."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    patience = Patience()
    while True:
        left_s = CALL_WAIT_S if until is None else max(0.0, min(CALL_WAIT_S, until - time.monotonic()))
        try:
            job = client.get(job_path(job_id, "wait"), {"timeout_s": left_s}, wait_s=left_s)
        except UnavailableError as error:
            patience.failed(error)
        else:
            patience.answered()
            if job["state"] == "ended":
                return job
        if until is not None and time.monotonic() >= until:
            return None


def follow(client: ApiClient, job_id: str, container: str | None = None) -> None:
    """Writes the output of the build, or of one of its other containers, to stdout as it comes, until the job ends.

    Raises RefusedError, UnavailableError.
    """
    offset, attempt = 0, 0
    patience = Patience()
    while True:
        params = {
            "offset": offset, "length": LOG_BYTES, "follow_s": CALL_WAIT_S, "attempt": attempt or None,
            "container": container,
        }  # fmt: skip
        try:
            response = client.call("GET", job_path(job_id, "log"), params=params, wait_s=CALL_WAIT_S)
        except UnavailableError as error:
            patience.failed(error)
            if attempt and _newest(client, job_id) > attempt:  # its host is lost, and with it the rest of its output
                say(f"the rest of attempt {attempt} is lost")
                offset, attempt = 0, 0
            continue
        except RefusedError as error:
            if error.status != 404 or not attempt:
                raise
            say(printable(f"attempt {attempt}: {error}"))
            following = _next_attempt(client, job_id, attempt, patience)
            if following <= attempt:
                return
            offset, attempt = 0, following
            continue
        patience.answered()
        sys.stdout.buffer.write(response.content)
        sys.stdout.buffer.flush()
        now = int(response.headers["Butlery-Attempt"])
        offset = int(response.headers["Butlery-Next-Offset"]) if now else 0
        attempt = now
        if response.content:
            continue
        if response.headers["Butlery-Job-Ended"] == "true":
            return
        if response.headers["Butlery-Attempt-Ended"] == "true":
            following = _next_attempt(client, job_id, attempt, patience)
            if following != attempt:
                say(f"attempt {attempt} is over and was not the build's fault; attempt {following}:")
                offset, attempt = 0, following


def _newest(client: ApiClient, job_id: str) -> int:
    try:
        return int(client.get(job_path(job_id))["attempt"])
    except UnavailableError:
        return 0


def _next_attempt(client: ApiClient, job_id: str, attempt: int, patience: Patience) -> int:
    """The number of the next attempt once there is one, or the same where the job ended without.

    Raises RefusedError, UnavailableError.
    """
    while True:
        try:
            job = client.get(job_path(job_id))
        except UnavailableError as error:
            patience.failed(error)
            continue
        patience.answered()
        if job["attempt"] > attempt or job["state"] == "ended":
            return int(job["attempt"])
        time.sleep(PAUSE_S)
