"""What is to be looked at, and when: several workers take what is due, the longest overdue first."""

from __future__ import annotations

import asyncio
import contextlib


class Due:
    """By name the time. On one loop, and by its clock, which nobody sets back."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._sooner = asyncio.Event()

    def set(self, name: str, after_s: float = 0.0) -> None:
        """So many seconds from now, whatever was set before."""
        self._at[name] = asyncio.get_running_loop().time() + after_s
        self._sooner.set()

    def drop(self, name: str) -> None:
        self._at.pop(name, None)

    async def next(self) -> str:
        """Waits until one is due, and takes it: nobody else does, until it is set again."""
        loop = asyncio.get_running_loop()
        while True:
            name = min(self._at, key=self._at.__getitem__, default=None)
            if name is not None and self._at[name] <= loop.time():
                del self._at[name]
                return name
            self._sooner.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if name is None else self._at[name]):
                    await self._sooner.wait()
