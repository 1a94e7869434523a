"""A spare: an agent without a tenant, with all that takes time done but its start, until it is given to one."""

from __future__ import annotations

import os
import select

from agents.executor import jenkins_agent  # noqa: F401 - what it is to be starts the sooner
from agents.spec import assigned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.executor.supervision import Control
    from agents.spec import BuildSpec

LOOK_EVERY_S = 1.0  # beside what is said, which wakes


def wait(spec: BuildSpec, control: Control, wake_fd: int) -> BuildSpec | None:
    """What the spare has become; None where it is to end instead, of which ``control`` has the reason."""
    poll = select.poll()
    for fd in (control.fd, wake_fd):
        poll.register(fd, select.POLLIN)
    while not control.listen():
        if control.assigned is not None:
            return assigned(spec, control.assigned)
        for fd, _ in poll.poll(LOOK_EVERY_S * 1000):
            if fd == wake_fd:
                os.read(wake_fd, 512)
    return None
