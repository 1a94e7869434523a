"""A breaker an image: one that cannot be had is not asked for again by every build that names it."""

from __future__ import annotations

import msgspec

from framework.core.ids import TaskId


class Breaker(msgspec.Struct):
    """Opens after failures in a row; after a while lets one build probe the image, and closes when that one runs."""

    failures: int = 0
    opened: int = 0  # times in a row, each doubling how long it stays open
    open_until: float = 0.0
    probe: TaskId | None = None
    last_message: str = ""


class Breakers:
    """The breakers of all images; only those of images that failed lately exist."""

    def __init__(self, failures: int, open_s: float, max_open_s: float) -> None:
        self._limit = failures
        self._open_s = open_s
        self._max_open_s = max_open_s
        self._of: dict[str, Breaker] = {}

    def allows(self, image: str, now: float) -> bool:
        breaker = self._of.get(image)
        return self.closed(image) or (breaker is not None and breaker.open_until <= now and breaker.probe is None)

    def closed(self, image: str) -> bool:
        """Whether any number of builds may ask for the image."""
        breaker = self._of.get(image)
        return breaker is None or breaker.failures < self._limit

    def launched(self, image: str, task_id: TaskId) -> None:
        """A build of the image was launched; where the breaker is half open it is the probe."""
        breaker = self._of.get(image)
        if breaker is not None and breaker.failures >= self._limit:
            breaker.probe = task_id

    def works(self, image: str) -> bool:
        """A build of the image runs. True where that closed a breaker."""
        return self._of.pop(image, None) is not None

    def failed(self, image: str, task_id: TaskId, message: str, now: float) -> float | None:
        """The image could not be had. The time until which it is not tried, where that opened the breaker.

        Builds that were under way when it opened change nothing: only a probe's failure opens it again, for longer.
        """
        breaker = self._of.setdefault(image, Breaker())
        breaker.last_message = message
        was_open = breaker.failures >= self._limit
        if was_open and breaker.probe != task_id:
            return None
        breaker.failures += 1
        breaker.probe = None
        if breaker.failures < self._limit:
            return None
        breaker.open_until = now + min(self._open_s * float(2 ** min(breaker.opened, 30)), self._max_open_s)
        breaker.opened += 1
        return breaker.open_until

    def probe_ended(self, image: str, task_id: TaskId) -> None:
        """The task ended without a word on the image, so that another may probe it."""
        breaker = self._of.get(image)
        if breaker is not None and breaker.probe == task_id:
            breaker.probe = None

    def probes(self, image: str, task_id: TaskId) -> bool:
        """Whether the task is the one that tries the image now."""
        breaker = self._of.get(image)
        return breaker is not None and breaker.probe == task_id

    def known(self) -> list[str]:
        """What failed lately."""
        return list(self._of)

    def forget_idle(self, now: float, in_use: set[str]) -> None:
        """Drops the breakers of images that no live request names and that have long been closed again."""
        for image, breaker in list(self._of.items()):
            if image not in in_use and breaker.open_until + self._max_open_s < now:
                del self._of[image]

    def open(self, now: float) -> dict[str, float]:
        """Seconds until each image that is held back is tried again (0: a build probes it now)."""
        return {
            image: max(0.0, breaker.open_until - now)
            for image, breaker in self._of.items()
            if not self.allows(image, now)
        }

    def last_message(self, image: str) -> str:
        breaker = self._of.get(image)
        return breaker.last_message if breaker else ""

    def __len__(self) -> int:
        return len(self._of)
