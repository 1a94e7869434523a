"""Where the state is and who may write it, as the settings say: a file of our own, or ZooKeeper."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import framework
from framework.edges.sqlite import SqliteStore
from framework.edges.zookeeper.connection import ZooKeeperConnection
from framework.edges.zookeeper.election import Candidate, ZooKeeperElection
from framework.edges.zookeeper.store import ZooKeeperStore
from framework.errors import Fault, InputError, StoreError, StoreFullError
from framework.log import get_logger, protect
from framework.ports import Chance, Clock, Election, Store
from framework.runtime.leadership import LoneElection
from framework.runtime.standby import Revision
from framework.settings import Settings

log = get_logger(__name__)

CHECK_TIMEOUT_S = 5.0
"""For ZooKeeper to answer at the start; afterwards it is waited for as long as it takes."""


class SharedState(NamedTuple):
    """The state, and who of those that share it leads."""

    store: Store
    revision: Revision
    election: Election
    shared: bool


@contextmanager
def open_state(settings: Settings, url: str, clock: Clock, chance: Chance) -> Iterator[SharedState]:
    """Closed at the end, but for ``election``, which the event loop that used it closes. ``url`` is our API's.

    Raises InputError where what is named cannot serve, StoreFullError where the file cannot now.
    """
    name = f"{socket.gethostname()}:{os.getpid()}"
    if settings.state.zookeeper is None:
        store = _opened(settings)
        try:
            yield SharedState(store, lambda: 0, LoneElection(url, name, framework.__version__, clock), False)
        finally:
            store.close()
        return
    connection = _connected(settings, settings.state.zookeeper, chance)
    try:
        shared = ZooKeeperStore(connection, chance)
        try:
            me = Candidate(url, name, framework.__version__)
            election = ZooKeeperElection(connection, shared, me, clock, chance)
            yield SharedState(shared, lambda: shared.revision, election, True)
        finally:
            shared.close()
    finally:
        connection.close()


def _opened(settings: Settings) -> SqliteStore:
    try:
        return SqliteStore(settings.state.path)
    except StoreFullError:
        raise
    except StoreError as error:
        raise InputError([Fault("", str(error))]) from error


def _connected(settings: Settings, url: str, chance: Chance) -> ZooKeeperConnection:
    state, mesos = settings.state, settings.mesos
    auth = state.zookeeper_auth.get_secret_value() if state.zookeeper_auth is not None else None
    if auth is not None:
        protect(auth)
        protect(auth.partition(":")[2])
    cluster = state.cluster or f"{mesos.framework_name} at {mesos.url}"
    connection = ZooKeeperConnection(url, cluster, auth, state.session_timeout_s, chance)
    try:
        connection.check(CHECK_TIMEOUT_S)
    except StoreFullError as error:
        log.warning("waiting for ZooKeeper", reason=str(error))
    except StoreError as error:
        connection.close()
        raise InputError([Fault("", str(error))]) from error
    return connection
