"""Mesos' v1 operator API: the hosts as the master lists them, and the sandboxes as the hosts' agents show them."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping, Sequence
from typing import TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from framework.core.ids import FrameworkId, HostId
from framework.core.offers import Host, Window
from framework.edges.mesos import wire
from framework.edges.mesos.access import Access, tls_trouble
from framework.edges.mesos.addresses import Address, redirect_target
from framework.edges.mesos.decode import attributes, domain
from framework.edges.mesos.detector import detector_of
from framework.edges.mesos.resources import total
from framework.edges.mesos.subscription import refusal_fix
from framework.errors import UnavailableError

TIMEOUT_S = 10.0
LIST_TIMEOUT_S = 25.0
"""Of a whole listing, one call a directory; less than those who ask the API wait for an answer."""
CONNECT_TIMEOUT_S = 3.0
MAX_REDIRECTS = 3

MAX_DIRECTORIES = 500
MAX_FILES = 10_000
MAX_DEPTH = 20
"""Of one listing: links among directories may go round in circles."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The list of some 20,000 hosts. A build decides how many files it keeps, and so how long the list of them is."""

MAX_SHOWN_CHARS = 200
NANO = 1e9

NO_SUCH_ENDPOINT = b"404 Not Found"
"""What libprocess says where no Mesos agent of that name is."""

HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}

_Answer = TypeVar("_Answer")


class _ReadFile(Struct):
    size: int
    data: bytes = b""


class _ReadFileAnswer(Struct):
    read_file: _ReadFile


class _FileInfo(Struct):
    path: str
    mode: int = stat.S_IFREG
    size: int = 0


class _ListFiles(Struct):
    file_infos: list[_FileInfo] = []


class _ListFilesAnswer(Struct):
    list_files: _ListFiles


class _Nanoseconds(Struct):
    nanoseconds: int


class _Unavailability(Struct):
    start: _Nanoseconds
    duration: _Nanoseconds | None = None


class _Machine(Struct):
    """By either or both; Mesos keeps names in lower case."""

    hostname: str = ""
    ip: str = ""


class _Window(Struct):
    machine_ids: list[_Machine]
    unavailability: _Unavailability


class _Schedule(Struct, frozen=True):
    windows: list[_Window] = []


class _GetMaintenanceSchedule(Struct):
    schedule: _Schedule = _Schedule()


class _ScheduleAnswer(Struct):
    get_maintenance_schedule: _GetMaintenanceSchedule


class _RedirectedError(UnavailableError):
    def __init__(self, where: str, location: str) -> None:
        super().__init__(f"{where} redirects to another")
        self.location = location


class MesosOperator:
    """A ``framework.mesos_ports.ClusterView``. ``close`` it at the end."""

    def __init__(self, masters: Sequence[str], access: Access | None = None) -> None:
        """``masters`` as ``detector.detector_of`` takes them; without ``access`` we tell nobody who we are.

        Raises InputError.
        """
        self._access = access or Access()
        self._detector = detector_of(masters, self._access)
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        await self._detector.close()
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def hosts(self) -> tuple[Host, ...]:
        """As the port says. Masters are tried in turn; one that does not lead redirects to the one that does."""
        found = await self._detector.masters()
        failure: UnavailableError | None = None
        for master in found.addresses:
            try:
                return await self._hosts_of(master)
            except UnavailableError as error:
                failure = error
        raise failure or UnavailableError("no Mesos master")

    async def _hosts_of(self, master: Address) -> tuple[Host, ...]:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                agents = await self._call(master.url, {"type": "GET_AGENTS"}, wire.GetAgents)
                plan = await self._call(master.url, {"type": "GET_MAINTENANCE_SCHEDULE"}, _ScheduleAnswer)
            except _RedirectedError as redirected:
                leader = redirect_target(redirected.location, master)
                if leader is None or (master.secure and not leader.secure):
                    raise UnavailableError(f"{master.url} redirects to where no Mesos master with TLS is") from None
                master = leader
            else:
                windows = _windows(plan.get_maintenance_schedule.schedule.windows)
                found = agents.get_agents
                away = [wire.Agent(one, active=False, total_resources=one.resources) for one in found.recovered_agents]
                return tuple([_host(agent, master.secure, windows) for agent in (*found.agents, *away)])
        raise UnavailableError(f"{MAX_REDIRECTS} redirects, and no leading Mesos master")

    async def read_file(
        self, host_url: str, framework_id: FrameworkId, executor_id: str, path: str, offset: int, length: int
    ) -> tuple[int, bytes]:
        """As the port says. One answer holds at most 16 pages of memory, 64 KiB, of which ``length`` may ask less."""
        of = {"path": _sandbox_path(framework_id, executor_id, path), "offset": max(offset, 0)}
        of["length"] = length if offset >= 0 else 0
        answer = await self._call(host_url, {"type": "READ_FILE", "read_file": of}, _ReadFileAnswer)
        return (offset, answer.read_file.data) if offset >= 0 else (answer.read_file.size, b"")

    async def list_files(
        self, host_url: str, framework_id: FrameworkId, executor_id: str, path: str
    ) -> list[tuple[str, int]]:
        """As the port says, sorted; at most ``MAX_FILES`` in ``MAX_DIRECTORIES`` directories."""
        top = _sandbox_path(framework_id, executor_id, path)
        try:
            async with asyncio.timeout(LIST_TIMEOUT_S):
                return await self._walk(host_url, top)
        except TimeoutError as error:
            raise UnavailableError(f"{host_url} does not list the sandbox within {LIST_TIMEOUT_S:g} s") from error

    async def _walk(self, host_url: str, top: str) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        directories = [(top, 0)]
        for directory, depth in directories:  # grows as directories are found
            call = {"type": "LIST_FILES", "list_files": {"path": directory}}
            answer = await self._call(host_url, call, _ListFilesAnswer)
            for info in answer.list_files.file_infos:
                if stat.S_ISREG(info.mode):  # a FIFO, for one, must not be read: the host's agent would wait for ever
                    found.append((info.path.removeprefix(top).lstrip("/"), info.size))
                elif stat.S_ISDIR(info.mode) and depth < MAX_DEPTH and len(directories) < MAX_DIRECTORIES:
                    directories.append((info.path, depth + 1))
            if len(found) >= MAX_FILES:
                break
        return sorted(found[:MAX_FILES])

    async def _call(self, where: str, call: Mapping[str, object], kind: type[_Answer]) -> _Answer:
        """Raises FileNotFoundError on 404 and on what Mesos will not show, UnavailableError, _RedirectedError."""
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
            self._http = aiohttp.ClientSession(headers=HEADERS, timeout=timeout)
        secure = where.startswith("https://")
        may_know = secure or not self._detector.secure
        authorization = self._access.authorization if may_know else None
        try:
            async with self._http.post(
                f"{where}/api/v1",
                data=msgspec.json.encode(call),
                headers={"Authorization": authorization} if authorization else None,
                ssl=self._access.tls if secure else True,
                allow_redirects=False,
            ) as answer:
                body = await _bounded(answer)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:  # ValueError: a URL that is none
            raise UnavailableError(f"Mesos at {where} does not answer {call['type']}: {_why(error)}") from error
        if answer.status in (302, 307):
            raise _RedirectedError(where, answer.headers.get("Location", ""))
        if answer.status in (401, 403) and not may_know:
            raise UnavailableError(f"{where} asks who we are, which it is not told: it has no TLS, as the masters have")
        if answer.status in (400, 404) and "FILE" in str(call["type"]) and not body.startswith(NO_SUCH_ENDPOINT):
            raise FileNotFoundError("no such file in the sandbox")  # Mesos' own text names the host's directories
        if answer.status != 200:
            fix = refusal_fix(answer.status, self._access)
            raise UnavailableError(f"Mesos at {where} answers {call['type']} with {answer.status}: {_shown(body)}{fix}")
        try:
            # Names of files need not be UTF-8, and Mesos passes them on as they are.
            return msgspec.json.decode(body.decode("utf-8", "replace"), type=kind)
        except ValueError as error:
            raise UnavailableError(f"Mesos at {where} answers {call['type']} with what is not of its kind") from error


def _why(error: Exception) -> str:
    cause = error.__cause__
    trouble = tls_trouble(cause)
    if trouble is None and isinstance(error, aiohttp.ClientOSError) and isinstance(cause, OSError):
        trouble = cause.strerror or "it closes the connection"  # aiohttp's own words are of Python's objects
    return trouble or str(error)[:MAX_SHOWN_CHARS] or "time is up"


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    """The answer's body. Raises aiohttp.ClientPayloadError where it is too large."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError(f"more than {MAX_ANSWER_BYTES} bytes come")
    return bytes(body)


def _windows(raw: Sequence[_Window]) -> dict[tuple[str, str], Window]:
    """By each machine's name and address, either of which may be empty; of several the earliest."""
    windows: dict[tuple[str, str], Window] = {}
    for each in sorted(raw, key=lambda window: window.unavailability.start.nanoseconds, reverse=True):
        when = each.unavailability
        window = Window(
            when.start.nanoseconds / NANO, when.duration.nanoseconds / NANO if when.duration is not None else None
        )
        windows.update({(machine.hostname.lower(), machine.ip): window for machine in each.machine_ids})
    return windows


def _host(agent: wire.Agent, secure: bool, windows: Mapping[tuple[str, str], Window]) -> Host:
    """``secure``: agents speak TLS where their master does; Mesos itself tells no scheme here."""
    info = agent.agent_info
    actor, _, address = agent.pid.partition("@")
    name, ip = info.hostname.lower(), address.rpartition(":")[0].strip("[]")
    window = windows.get((name, ip)) or windows.get((name, "")) or windows.get(("", ip))
    return Host(
        HostId(info.id.value),
        info.hostname,
        total(agent.total_resources),
        attributes(info.attributes) | domain(info.domain),
        f"{'https' if secure else 'http'}://{address}/{actor}" if address else "",
        agent.active and not agent.deactivated,
        window,
    )


def _sandbox_path(framework_id: FrameworkId, executor_id: str, path: str) -> str:
    """The path by which Mesos shows a sandbox whatever its container's id; an executor has its task's id here.

    Mesos itself turns away paths and links that lead out of the sandbox (seen with 1.11).
    """
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise FileNotFoundError("no such file in the sandbox") from error
    return f"/frameworks/{framework_id}/executors/{executor_id}/runs/latest/{path.strip('/')}".rstrip("/")


def _shown(body: bytes) -> str:
    return body[:MAX_SHOWN_CHARS].decode("utf-8", "replace").strip()
