"""Where a scheduler stands, as a test wants it."""

from __future__ import annotations

from framework.errors import NoStandbyError
from framework.ports import Control, Leader


class FakeSeat:
    """Implements ``framework.ports.Seat``; it leads unless told otherwise."""

    url = "http://here:8080"

    def __init__(self, control: Control) -> None:
        self.control = control
        self.leads = True
        self.leader: Leader | None = Leader(self.url, "here", "1.0", 3, 1000.0)
        self.standbys = 0
        self.stepped_down: list[bool] = []

    async def step_down(self, force: bool) -> None:
        if not force and not self.standbys:
            raise NoStandbyError("no other scheduler is connected that could take over")
        self.stepped_down.append(force)
