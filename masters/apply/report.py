"""Who is told how far it is, while it is done."""

from __future__ import annotations

from typing import Protocol

from masters.records import Done


class Report(Protocol):
    """Called from many threads."""

    def begun(self, tenant: str) -> None: ...

    def waiting(self, tenant: str, why: str) -> None:
        """Why it is not healthy yet."""
        ...

    def ended(self, done: Done) -> None: ...

    def said(self, line: str) -> None:
        """What concerns all of them, such as a Marathon that does not answer."""
        ...
