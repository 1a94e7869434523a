"""Forges (GitHub, GitLab, Bitbucket): what they tell of commits, and what they are told of builds."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from framework.core.origin import Origin
from framework.errors import ButleryError


class CommitState(StrEnum):
    """How the build of a commit stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"  # by the build's own doing
    CANCELLED = "cancelled"
    ERROR = "error"  # by none of its own doing, or it could not be begun


class CommitStatus(msgspec.Struct, frozen=True):
    """What stands beside a commit."""

    state: CommitState
    reason: str  # for people; shortened to what the forge takes
    url: str  # of the build
    context: str  # tells it from others' statuses of the commit


class Pushed(msgspec.Struct, frozen=True):
    """A commit that is to be built, as a forge tells of it."""

    repository: str  # whose hook it is, such as ``team/service``
    commit: str
    branch: str
    message: str = ""  # of the commit, where the forge tells
    pull_request: int | None = None
    target: str = ""  # branch that the pull request is for
    fork: bool = False  # the commit is of another repository


class Delivery(msgspec.Struct, frozen=True):
    """One message of a forge."""

    id: str  # the forge's own; empty where it gave none
    pushed: tuple[Pushed, ...] = ()
    ignored: str = ""  # why there is nothing to build, where there is not


class ForgeError(ButleryError):
    """A forge does not do what it was asked. ``retry_after_s``: as it said itself."""

    def __init__(self, message: str, *, retryable: bool, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class Forge(Protocol):
    """One webhook's forge. Holds its secrets, and shows them to nobody else."""

    def genuine(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the message is signed with the hook's secret; takes as long whether it is or not."""
        ...

    def read(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """A genuine message. Raises InputError where it is not as the forge documents it."""
        ...

    async def tell(self, origin: Origin, status: CommitStatus) -> None:
        """Sets the commit's status, within a bounded time. Raises ForgeError."""
        ...

    async def file(self, repository: str, commit: str, path: str, max_bytes: int) -> str | None:
        """A file of the repository at that commit, within a bounded time; None where it has none, or may not be read.

        Raises ForgeError, and InputError for one that is longer or no text.
        """
        ...
