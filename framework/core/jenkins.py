"""The Jenkins side of a request: the queue item that it is for, and what became of its agent and its build there."""

from __future__ import annotations

import msgspec


class QueueItem(msgspec.Struct, frozen=True):
    """An item of a master's queue. A master that lost its queue counts anew, so the time belongs to the name."""

    number: int
    since_ms: int  # Jenkins' inQueueSince, by the master's own clock, which may be wrong

    @property
    def key(self) -> str:
        return f"{self.number}@{self.since_ms}"


class PooledBuild(msgspec.Struct, frozen=True):
    """A build that an agent of a pool has served. Times are seconds since the epoch, by our clock."""

    number: int  # from 1, of all that its agent served
    item: QueueItem | None
    task: str
    label: str
    buildable_at: float
    accepted_at: float
    served_at: float
    build_url: str = ""
    result: str | None = None


PAST_AT_MOST = 4
"""Builds that an agent of a pool is remembered to have served: what was told of them may not be on disk yet."""


class JenkinsSide(msgspec.Struct):
    """Of a request that came from a master's queue. Times are seconds since the epoch, by our clock.

    Jenkins gives any agent to any item that its labels suit. So a request may be bound to another item than the one it
    came for: each agent has one, and each item one agent that comes.
    """

    item: QueueItem | None  # None once its agent has been given away or has served
    task: str  # Jenkins' full display name of what waits, such as ``payments`` or ``part of payments #7``
    task_url: str  # below the master's own
    label: str  # the expression as Jenkins told it; empty where the job has none
    node_labels: str  # of the node that is made for it, with spaces between
    buildable_at: float
    exclusive: bool = True  # its node takes only builds that name one of its labels
    web_socket: bool = True
    tunnel: str | None = None  # ``HOST:PORT`` of agents that come by TCP
    resubmit: bool = True  # a build that is lost by none of its own doing is built again, where Jenkins does not itself
    node: str = ""  # of the newest attempt
    node_at: float | None = None  # when it was made
    online_at: float | None = None
    accepted_at: float | None = None
    served_at: float | None = None
    builds: int = 0  # served by its agent, where that is pooled
    build_url: str = ""  # of the newest build on its agent, below the master's own
    result: str | None = None  # of that build, as Jenkins spells it
    past: list[PooledBuild] = []  # the last of them, the newest at the end
