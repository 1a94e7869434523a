"""Which Mesos master leads: of a list of addresses, any of which redirects to it, or as ZooKeeper tells."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, KazooException, NoAuthError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError

from framework.edges.mesos.access import Access
from framework.edges.mesos.addresses import Address, parse_addresses
from framework.errors import Fault, InputError, UnavailableError
from framework.log import get_logger, muted
from framework.urls import zookeeper_url

log = get_logger(__name__)

SESSION_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0
"""To a question, and for a connection."""
CLOSING_POLL_S = 0.1
PATIENCE_S = 10.0
"""To wait for a master to be elected, before it is said that none is; an election takes a ZooKeeper session's time."""
REREAD_S = 30.0
"""Between two looks when no watch has told of a change."""
RETRY_S = 1.0
JOIN_TIMEOUT_S = ANSWER_TIMEOUT_S

_CANDIDATE = re.compile(r"(json\.)?info_(\d{10})")  # as masters write them since 0.24; before that without "json."


class Masters(NamedTuple):
    """Whom to try, in turn; ``version`` grows with every change of them."""

    addresses: tuple[Address, ...]
    version: int


class Detector(Protocol):
    """Finds the leading master. To be used on one event loop's thread."""

    secure: bool
    """Whether every master speaks TLS; then no host without it is told who we are."""

    async def masters(self) -> Masters:
        """Those known now; where there are none, waits a bounded time for some.

        Raises UnavailableError, with the reason.
        """
        ...

    async def superseded(self, master: Address, version: int, /) -> None:
        """Returns once a change after ``version`` has left ``master`` out, so that it does not lead for certain."""
        ...

    async def close(self) -> None: ...


def detector_of(urls: Sequence[str], access: Access) -> Detector:
    """By addresses of masters, such as ``https://10.0.0.1:5050``, or by one ``zk://10.0.0.1:2181/mesos``.

    Raises InputError.
    """
    if any(url.startswith("zk://") for url in urls):
        return ZooKeeperDetector(",".join(urls), access)
    return StaticDetector(urls)


class StaticDetector:
    """Masters that are always the same; which of them leads they tell themselves."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Raises InputError."""
        self._addresses = parse_addresses(urls)
        self.secure = all(address.secure for address in self._addresses)

    async def masters(self) -> Masters:
        return Masters(self._addresses, 0)

    async def superseded(self, _master: Address, _version: int) -> None:
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        return


class _MasterAddress(msgspec.Struct):
    port: int
    hostname: str = ""
    ip: str = ""


class _MasterInfo(msgspec.Struct):
    """As ``json.info_0000000042`` holds it (MasterInfo of mesos.proto, as JSON)."""

    address: _MasterAddress


_info_decoder = msgspec.json.Decoder(_MasterInfo)


class _NoLeaderError(Exception):
    """ZooKeeper answers, and names no master that we can use; the text says why."""


class ZooKeeperDetector:
    """Follows the masters' election by watches, on a thread of its own: the lowest of their nodes is the leader's.

    While ZooKeeper is away the last leader known stands.
    """

    def __init__(self, url: str, access: Access) -> None:
        """``url`` such as ``zk://10.0.0.1:2181,10.0.0.2:2181/mesos``. Raises InputError."""
        self._hosts, self._path = parse_zookeeper(url)
        self.secure = access.zookeeper_https
        self._access = access
        self._masters = Masters((), 0)
        self._trouble = f"ZooKeeper at {self._hosts} does not answer"
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._closing = False

    async def masters(self) -> Masters:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._follow, name="mesos-detector", daemon=True)
            self._thread.start()
        with contextlib.suppress(TimeoutError):  # what is wrong is told below
            async with asyncio.timeout(PATIENCE_S):
                while not self._masters.addresses:
                    await self._changed.wait()
        if not self._masters.addresses:
            raise UnavailableError(self._trouble)
        return self._masters

    async def superseded(self, master: Address, version: int) -> None:
        while self._masters.version == version or master in self._masters.addresses:
            await self._changed.wait()

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, JOIN_TIMEOUT_S)

    def _take(self, leader: Address | None, trouble: str) -> None:
        """What the thread has found, on the loop."""
        self._trouble = trouble
        addresses = (leader,) if leader is not None else ()
        if addresses == self._masters.addresses:
            return
        self._masters = Masters(addresses, self._masters.version + 1)
        log.info("the leading Mesos master is another", leader=leader.url if leader else None, reason=trouble or None)
        self._changed.set()
        self._changed = asyncio.Event()

    def _tell(self, leader: Address | None, trouble: str = "") -> None:
        assert self._loop is not None  # noqa: S101 - set before the thread starts
        if not self._closing:
            try:
                self._loop.call_soon_threadsafe(self._take, leader, trouble)
            except RuntimeError:  # the loop is closed, and so nobody wants to know
                self._closing = True

    def _fail(self, trouble: str) -> None:
        """ZooKeeper does not tell now: what it told last stands."""
        if self._loop is not None and not self._closing:
            self._trouble = trouble
            log.debug("ZooKeeper does not tell who leads", reason=trouble)

    def _follow(self) -> None:
        while not self._closing:
            auth = self._access.zookeeper_auth
            client = KazooClient(
                hosts=self._hosts,
                timeout=SESSION_TIMEOUT_S,
                auth_data=[("digest", auth)] if auth else None,
                read_only=True,
                logger=muted("kazoo.butlery"),
            )
            client.add_listener(self._wake_up)
            try:
                if self._within(client.start_async().wait):
                    self._read_on(client)
                else:
                    self._fail(f"ZooKeeper at {self._hosts} does not answer within {ANSWER_TIMEOUT_S:g} s")
            except AuthFailedError:
                self._fail("ZooKeeper refuses the user and password of mesos.zookeeper_auth_file")
            except (KazooException, KazooTimeoutError, OSError) as error:
                self._fail(f"ZooKeeper at {self._hosts} does not answer: {error or type(error).__name__}")
            finally:
                client.stop()
                client.close()
            self._pause(RETRY_S)

    def _read_on(self, client: KazooClient) -> None:
        """Until closing or an error, which ends this client."""
        while not self._closing:
            self._wake.clear()
            try:
                self._tell(self._leader(client))
            except _NoLeaderError as none:
                self._tell(None, str(none))
            except NoAuthError:
                self._fail(
                    f"ZooKeeper does not let us read {self._path}: name a user who may with mesos.zookeeper_auth_file"
                )
            self._wake.wait(REREAD_S)

    def _result(self, pending: Any) -> Any:
        """Of a question to ZooKeeper; given up when closing. Raises KazooException, KazooTimeoutError."""
        self._within(pending.wait)
        return pending.get(timeout=0)

    def _within(self, wait: Callable[[float], object]) -> bool:
        """Whether what is waited for came, in time and before closing."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not self._closing and time.monotonic() < deadline:
            if wait(CLOSING_POLL_S):
                return True
        return False

    def _wake_up(self, _: object) -> None:
        self._wake.set()

    def _pause(self, seconds: float) -> None:
        if not self._closing:
            self._wake.clear()
            self._wake.wait(seconds)

    def _leader(self, client: KazooClient) -> Address:
        """Leaves a watch behind for the next change. Raises _NoLeaderError, KazooException."""
        try:
            children = self._result(client.get_children_async(self._path, watch=self._wake_up))
        except NoNodeError:
            self._result(client.exists_async(self._path, watch=self._wake_up))
            raise _NoLeaderError(
                f"ZooKeeper at {self._hosts} has no {self._path}: no Mesos master has registered there"
            ) from None
        found = {match[2]: match for name in children if (match := _CANDIDATE.fullmatch(name))}
        if not found:
            raise _NoLeaderError(f"no Mesos master has registered below {self._path} of ZooKeeper at {self._hosts}")
        first = found[min(found)]
        if first[1] is None:
            raise _NoLeaderError(
                f"{self._path}/{first[0]} is written in protobuf, as by Mesos before 0.24; 1.0 or later is needed"
            )
        try:
            data, _ = self._result(client.get_async(f"{self._path}/{first[0]}"))
        except NoNodeError:  # gone since; its watch has told us by now
            self._wake.set()
            raise _NoLeaderError("the leading Mesos master has just gone") from None
        return self._address(first[0], data)

    def _address(self, name: str, data: bytes) -> Address:
        """By name where TLS is spoken, as certificates hold names, else by address, as not everybody can resolve."""
        try:
            address = _info_decoder.decode(data).address
        except msgspec.MsgspecError as error:
            raise _NoLeaderError(f"{self._path}/{name} holds no Mesos master's JSON: {error}") from error
        names = (address.hostname, address.ip) if self.secure else (address.ip, address.hostname)
        host = names[0] or names[1]
        if not host or not 0 < address.port < 65536:
            raise _NoLeaderError(f"{self._path}/{name} names no host and port")
        return Address(host, address.port, self.secure)


def parse_zookeeper(url: str, where: str = "mesos.url") -> tuple[str, str]:
    """Hosts as kazoo takes them, and the path. Raises InputError."""
    try:
        checked = zookeeper_url(url)
    except ValueError as error:
        raise InputError([Fault(where, str(error))]) from error
    hosts, _, path = checked.removeprefix("zk://").partition("/")
    return hosts, f"/{path}"
