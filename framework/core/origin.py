"""What a forge has to do with a request: the commit that it was told of, and is told of again how its build fares."""

from __future__ import annotations

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """Of a request that came by a webhook."""

    hook: str  # its name in the settings
    repository: str  # as the forge names it, such as ``team/service``
    commit: str
    branch: str  # that was pushed, or is the pull request's
    delivery: str = ""  # the forge's own id of the message
    told: bool = False  # the forge knows how the build ended, or never will
