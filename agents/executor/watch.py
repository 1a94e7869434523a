"""Who is to be called where a descriptor of the driver's loop has something."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ = select.POLLIN
WRITE = select.POLLOUT
URGENT = select.POLLPRI


class Watch:
    """Shares ``poll`` with others, who have descriptors of their own in it."""

    def __init__(self, poll: select.poll) -> None:
        self._poll = poll
        self._takers: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, taker: Callable[[], None], events: int = READ) -> None:
        """``taker`` is called when any of ``events``, or an error, is there; it replaces an earlier one of ``fd``."""
        self._takers[fd] = taker
        self._poll.register(fd, events)

    def drop(self, fd: int) -> None:
        """To be called before ``fd`` is closed; does nothing where it is not watched."""
        if self._takers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def read(self, fd: int) -> None:
        taker = self._takers.get(fd)
        if taker is not None:
            taker()
