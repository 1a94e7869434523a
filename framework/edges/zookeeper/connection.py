"""One session with ZooKeeper: typed calls with deadlines, kazoo's errors in our words, and whose chroot it is."""

from __future__ import annotations

import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    InvalidACLError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    RolledBackError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import KazooTimeoutError, SequentialThreadingHandler
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, make_digest_acl

from framework.errors import Fault, InputError, StoreError, StoreFullError
from framework.log import get_logger, muted
from framework.ports import Chance, jittered

log = get_logger(__name__)

CALL_TIMEOUT_S = 10.0
"""For one answer; a server that says nothing at all is given up sooner, after two thirds of the session's timeout."""
MIN_CONNECT_S = 0.5
"""For a connection to one of the hosts; a tenth of the session's timeout where that is more."""
RECONNECT_BASE_S = 0.1
RECONNECT_CAP_S = 1.0
PROBE_TIMEOUT_S = 2.0
DEFAULT_PORT = 2181
LAYOUT = 1
FIXED = ("epoch", "election", "log", "parts", "snapshots", "checkpoint")
"""Nodes below the chroot, made together with its marker."""
REMADE = ("election", "parts")
"""Those that can be made again should somebody have removed them: what is in them is found missing where it is."""
_MARK = "butlery_layout"
_PASSING = (
    ConnectionClosedError,
    ConnectionLoss,
    KazooTimeoutError,
    OperationTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)


class Check(NamedTuple):
    """The node is there with this version of its data."""

    path: str
    version: int


class Create(NamedTuple):
    path: str
    data: bytes


class Put(NamedTuple):
    """New data for a node, where the old ones have this version (-1: any)."""

    path: str
    data: bytes
    version: int = -1


class Delete(NamedTuple):
    path: str


Op: TypeAlias = Check | Create | Put | Delete


class RefusedError(Exception):
    """ZooKeeper did nothing of a call, because of the nodes it found. Never leaves this package."""

    def __init__(self, path: str, cause: type[Exception]) -> None:
        super().__init__(f"{path}: {cause.__name__}")
        self.path = path
        self.exists = cause is NodeExistsError
        self.missing = cause is NoNodeError
        self.other_version = cause is BadVersionError


class ZooKeeperConnection:
    """Connects at once and again after every loss, on kazoo's own threads, until ``close``.

    Calls raise StoreFullError where a retry can help, StoreError where not, RefusedError for what nodes are like.
    Callbacks come on kazoo's threads and must not block.
    """

    def __init__(self, url: str, cluster: str, auth: str | None, session_timeout_s: float, chance: Chance) -> None:
        """``url``: zk://HOST:PORT,.../CHROOT; ``auth``: USER:PASSWORD. Raises InputError."""
        self.url = url
        self.session_timeout_s = session_timeout_s
        self.notices: list[str] = []
        self._cluster = cluster
        self._chance = chance
        hosts, self.chroot = _parsed(url)
        self._addresses = hosts.split(",")
        self._acl = CREATOR_ALL_ACL if auth else OPEN_ACL_UNSAFE
        user, colon, password = (auth or "").partition(":")
        if auth and not (user and colon and password):
            raise InputError([Fault("state.zookeeper_auth_file", "must hold USER:PASSWORD")])
        self._owner = make_digest_acl(user, password, all=True) if auth else None
        self._prepared = False
        self._preparing = threading.Lock()
        self._listeners: list[Callable[[bool], None]] = []
        self._client: Any = KazooClient(
            hosts=hosts,
            timeout=session_timeout_s,
            default_acl=self._acl,
            auth_data=[("digest", auth)] if auth else None,
            connection_retry={
                "max_tries": -1,
                "delay": RECONNECT_BASE_S,
                "max_delay": RECONNECT_CAP_S,
                "max_jitter": 1.0,
            },
            handler=_handler(session_timeout_s),
            logger=muted("kazoo.butlery"),
        )
        self._granted_s = session_timeout_s
        self._hear_granted_timeout()
        self._client.add_listener(self._changed)
        self._client.start_async()

    @property
    def connected(self) -> bool:
        return bool(self._client.connected)

    def path(self, *names: str) -> str:
        return "/".join((self.chroot, *names))

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Has ``listener`` called after every change of the connection: whether the session is lost for good."""
        self._listeners.append(listener)

    def check(self, timeout_s: float) -> None:
        """Waits for ZooKeeper and looks whose chroot it is.

        Raises StoreFullError that says why ZooKeeper does not serve after ``timeout_s``, StoreError for a chroot that
        is somebody else's or damaged.
        """
        deadline = time.monotonic() + timeout_s
        for attempt in itertools.count():
            try:
                self.prepare()
            except StoreFullError as error:
                if time.monotonic() > deadline:
                    raise StoreFullError(f"state.zookeeper {self.url}: {self._diagnosis()}") from error
                time.sleep(jittered(self._chance, attempt, base_s=0.02, cap_s=0.5))
            else:
                return

    def close(self) -> None:
        """Ends the session, and with it what was ephemeral."""
        with suppress(KazooException, KazooTimeoutError):
            self._client.stop()
        with suppress(KazooException, KazooTimeoutError):
            self._client.close()

    # Calls.

    def get(self, path: str) -> tuple[bytes, int]:
        """The data of a node and their version."""
        data, stat = self._call(path, self._client.get_async, path)
        return data, int(stat.version)

    def watched(self, path: str, changed: Callable[[object], None]) -> tuple[bytes, int]:
        """As ``get``; ``changed`` is called once, after the next change or loss of the connection."""
        data, stat = self._call(path, self._client.get_async, path, watch=changed)
        return data, int(stat.version)

    def exists(self, path: str, changed: Callable[[object], None] | None = None) -> bool:
        return self._call(path, self._client.exists_async, path, watch=changed) is not None

    def children(self, path: str, changed: Callable[[object], None] | None = None) -> list[str]:
        """Names, sorted."""
        return sorted(self._call(path, self._client.get_children_async, path, watch=changed))

    def create_ephemeral(self, path: str, data: bytes) -> str:
        """Makes a node that goes with the session, a number put after its name; its path."""
        return str(self._call(path, self._client.create_async, path, data, ephemeral=True, sequence=True))

    def delete(self, path: str) -> None:
        """Removes a node, where it is there."""
        try:
            self._call(path, self._client.delete_async, path)
        except RefusedError as error:
            if not error.missing:
                raise

    def sync(self) -> None:
        """Returns once the server we speak to knows all that was written before."""
        self._call(self.chroot, self._client.sync_async, self.chroot)

    def transact(self, *ops: Op) -> None:
        """All of the operations or, with RefusedError for the first that cannot be, none."""
        transaction = self._client.transaction()
        for op in ops:
            match op:
                case Check():
                    transaction.check(op.path, op.version)
                case Create():
                    transaction.create(op.path, op.data, acl=self._acl)
                case Put():
                    transaction.set_data(op.path, op.data, op.version)
                case Delete():
                    transaction.delete(op.path)
        results = self._call(self.chroot, transaction.commit_async)
        for op, result in zip(ops, results, strict=True):
            if isinstance(result, Exception) and not isinstance(result, RolledBackError):
                raise self._translated(op.path, result) from result

    def _call(self, path: str, method: Callable[..., Any], *args: object, **named: object) -> Any:
        if not self.connected:  # else kazoo would keep the call and make it at some later time
            raise StoreFullError(f"state.zookeeper {self.url}: the connection is lost; waiting for it to come back")
        try:
            return method(*args, **named).get(timeout=CALL_TIMEOUT_S)
        except (KazooException, KazooTimeoutError) as error:
            raise self._translated(path, error) from error

    def _translated(self, path: str, error: Exception) -> Exception:
        where = f"state.zookeeper {self.url}"
        if isinstance(error, _PASSING):
            return StoreFullError(f"{where}: does not answer now ({type(error).__name__})")
        if isinstance(error, (NoNodeError, NodeExistsError, BadVersionError)):
            return RefusedError(path, type(error))
        if isinstance(error, (AuthFailedError, InvalidACLError)):
            return StoreError(f"{where}: does not take the user and password of state.zookeeper_auth_file")
        if isinstance(error, NoAuthError):
            if self._owner is None:
                fix = "set state.zookeeper_auth_file to its user's, or name another path"
            else:
                fix = "use its user and password in state.zookeeper_auth_file, or name another path"
            return StoreError(f"{where}: node {path} is closed to us; {fix}")
        return StoreError(f"{where}: {path}: {type(error).__name__} {error}".rstrip())

    def _changed(self, state: str) -> None:
        log.debug("the connection to ZooKeeper changed", state=state)
        for listener in self._listeners:
            listener(state == KazooState.LOST)

    def gone(self, error: RefusedError) -> StoreError:
        """What is said of a node that somebody removed or changed under us."""
        return StoreError(
            f"state.zookeeper {self.url}: node {error.path} was removed or changed by somebody else; restore "
            "ZooKeeper's data, or stop every scheduler and name another path to start anew"
        )

    # Whose chroot it is.

    def prepare(self) -> None:
        """Makes the chroot where it is missing or empty, else checks that it is ours. Raises as ``check``."""
        with self._preparing:
            if self._prepared:
                return
            for _ in range(10):  # another scheduler may be making it, too
                try:
                    self._prepare()
                except RefusedError:
                    continue
                self._tell_granted_timeout()
                self._prepared = True
                return
            raise StoreFullError(f"state.zookeeper {self.url}: {self.chroot} is being changed by others; trying again")

    def _prepare(self) -> None:
        parts = self.chroot.split("/")[1:]
        for depth in range(1, len(parts)):
            parent = "/" + "/".join(parts[:depth])
            if not self.exists(parent):
                self.transact(Create(parent, b""))
        marker = json.dumps({_MARK: LAYOUT, "cluster": self._cluster}).encode()
        fixed = [Create(self.path(name), b"") for name in FIXED]
        if not self.exists(self.chroot):
            self.transact(Create(self.chroot, marker), *fixed)
            return
        data, version = self.get(self.chroot)
        found = self.children(self.chroot)
        if not data and not found:
            self._check_acl(self.chroot)
            self.transact(Put(self.chroot, marker, version), *fixed)
            return
        self._check_marker(data, found)
        missing = [name for name in FIXED if name not in found]
        lost = [name for name in missing if name not in REMADE]
        if lost:
            raise StoreError(
                f"state.zookeeper {self.url}: is Butlery's but damaged: {', '.join(map(self.path, lost))} "
                "gone; restore ZooKeeper's data, or name another path to start anew"
            )
        for name in missing:
            self.transact(Create(self.path(name), b""))
            self.notices.append(f"state.zookeeper {self.url}: {self.path(name)} was gone and was made again")
        for name in ("", *FIXED):
            self._check_acl(self.path(name) if name else self.chroot)

    def _check_marker(self, data: bytes, found: Sequence[str]) -> None:
        where = f"state.zookeeper {self.url}"
        try:
            marker = json.loads(data)
            layout, cluster = marker[_MARK], marker["cluster"]
        except (ValueError, TypeError, KeyError):
            held = ", ".join(found[:5]) or "data of its own"
            raise StoreError(
                f"{where}: {self.chroot} holds somebody else's nodes ({held}); name another path"
            ) from None
        if layout != LAYOUT:
            raise StoreError(
                f"{where}: has layout {layout}, but this version of butlery reads {LAYOUT}; "
                "use the version that wrote it"
            )
        if cluster != self._cluster:
            raise StoreError(
                f"{where}: is the state of another cluster, {cluster!r}; this one is {self._cluster!r}: "
                "name another path for it, or set state.cluster to the former where it only has a new name"
            )

    def _check_acl(self, path: str) -> None:
        if self._owner is None:
            return
        acls, _ = self._call(path, self._client.get_acls_async, path)
        if acls != [self._owner]:
            raise StoreError(
                f"state.zookeeper {self.url}: node {path} is not its user's alone, as state.zookeeper_auth_file asks; "
                f"it is open to {', '.join(f'{acl.id.scheme}:{acl.id.id}' for acl in acls)}: name another path"
            )

    def _hear_granted_timeout(self) -> None:
        """ZooKeeper bounds a session's timeout by its own ticks; kazoo hears what it grants and keeps it to itself."""
        handler = self._client._connection
        connect = handler._connect

        def listening(*args: object) -> tuple[float, float]:
            read_timeout_ms, connect_timeout_ms = connect(*args)
            self._granted_s = read_timeout_ms * 1.5 / 1000  # kazoo waits for two thirds of the session's
            return read_timeout_ms, connect_timeout_ms

        handler._connect = listening

    def _tell_granted_timeout(self) -> None:
        if abs(self._granted_s - self.session_timeout_s) > 0.01:
            self.notices.append(
                f"state.session_timeout_s: ZooKeeper grants {self._granted_s:g} s where {self.session_timeout_s:g} s "
                "were asked for; its tickTime, minSessionTimeout and maxSessionTimeout bound it"
            )

    # Why it does not serve.

    def _diagnosis(self) -> str:
        """What each address says when asked by hand."""
        said = "; ".join(f"{address}: {_probed(address)}" for address in self._addresses[:5])
        return f"does not serve: {said}"


def _handler(session_timeout_s: float) -> Any:
    """kazoo's, which alone would wait for a host that is off for as long as the session lasts.

    That a server is silent is known after two thirds of the session's timeout; the other servers must be found within
    the rest, and of those some may be off, too.
    """
    handler = SequentialThreadingHandler()
    connect = handler.create_connection

    def bounded(*args: object, **named: Any) -> object:
        named["timeout"] = min(named["timeout"], max(MIN_CONNECT_S, session_timeout_s / 10))
        return connect(*args, **named)

    handler.create_connection = bounded
    return handler


def _parsed(url: str) -> tuple[str, str]:
    found = re.fullmatch(r"zk://([^/@]+)((?:/[^/]+)+)/?", url)
    if found is None:
        raise InputError([Fault("state.zookeeper", "must be zk://HOST:PORT,HOST:PORT/PATH")])
    return found[1], found[2]


def _probed(address: str) -> str:
    """What listens at ``address``, by ZooKeeper's four-letter word that every server answers."""
    host, colon, port = address.rpartition(":")
    host, port = (host, port) if colon and not address.endswith("]") else (address, str(DEFAULT_PORT))
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PROBE_TIMEOUT_S) as connection:
            connection.settimeout(PROBE_TIMEOUT_S)
            connection.sendall(b"srvr\n\r\n\r\n")
            answer = connection.recv(4096)
    except TimeoutError:
        return "says nothing"
    except OSError as error:
        return f"cannot be reached ({error.strerror or error})"
    if b"not currently serving" in answer:
        return "is up but has no leader: most servers of the ensemble must run"
    if answer.startswith((b"Zookeeper version", b"srvr is not executed")):
        return "is up, but our session does not come to stand"
    return "is no ZooKeeper" if answer else "closed the connection"
