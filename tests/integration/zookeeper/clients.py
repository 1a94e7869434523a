"""Schedulers as far as ZooKeeper knows them: a session, a store and a candidate each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from framework.edges.zookeeper.connection import ZooKeeperConnection
from framework.edges.zookeeper.election import Candidate, ZooKeeperElection
from framework.edges.zookeeper.store import ZooKeeperStore
from framework.runtime.chance import SystemChance, SystemClock

CLUSTER = "butlery at http://mesos:5050"
DEADLINE_S = 30.0


class Client:
    def __init__(self, url: str, name: str = "one", *, auth: str | None = None, session_timeout_s: float = 4.0) -> None:
        self.connection = ZooKeeperConnection(url, CLUSTER, auth, session_timeout_s, SystemChance())
        self.store = ZooKeeperStore(self.connection, SystemChance())
        self.me = Candidate(f"http://{name}:8080", name, "1.2.3")
        self.election = ZooKeeperElection(self.connection, self.store, self.me, SystemClock(), SystemChance())

    def lead(self) -> int:
        """For tests without an event loop."""
        return asyncio.run(asyncio.wait_for(self.election.lead(), DEADLINE_S))

    def close(self) -> None:
        """As a process that ends in order."""
        asyncio.run(self.election.close())
        self.vanish()

    def vanish(self) -> None:
        """Ends the session without a word to the election, which ZooKeeper tells the others of at once."""
        self.store.close()
        self.connection.close()


@contextmanager
def clients(url: str, *names: str, session_timeout_s: float = 4.0) -> Iterator[list[Client]]:
    made = [Client(url, name, session_timeout_s=session_timeout_s) for name in names]
    try:
        yield made
    finally:
        for client in made:
            client.vanish()


def until(condition: Callable[[], bool], what: str = "", timeout_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)
