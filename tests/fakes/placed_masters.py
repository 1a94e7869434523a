"""A Marathon in this process, of masters that are put where a test says, and programs that pretend to be them."""

from __future__ import annotations

import asyncio
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from aiohttp import WSMsgType, web

from framework.errors import UnavailableError
from masters.names import LABEL_STATE, app_id
from masters.ports import Deployed
from masters.records import ObservedMaster, ObservedTask, Policy

GROUP = "/butlery/masters"
SHARDS = 64


class PlacedMasters:
    """``masters.ports.Marathon``, as far as the ingress asks it. ``down``: it answers nobody."""

    def __init__(self) -> None:
        self.known: dict[str, ObservedMaster] = {}
        self.down = False
        self.scaled: list[tuple[str, int, str]] = []
        self._events: queue.Queue[str] = queue.Queue()

    def put_at(
        self,
        tenant: str,
        ports: Sequence[int] = (),
        *,
        wanted: Literal["on", "asleep", "off"] = "on",
        healthy: bool = True,
        policy: Policy | None = None,
        tell: bool = True,
        address: str = "127.0.0.1",
    ) -> None:
        """One that runs where it has ``ports``. ``tell``: as an event too."""
        id_ = app_id(GROUP, tenant, SHARDS)
        known = self.known.get(tenant)
        kept = policy or (known.policy if known else Policy(host=f"{tenant}.localhost"))
        now = time.time()
        task = ObservedTask(
            id=f"{tenant}.{secrets.token_hex(4)}",
            host="host-1",
            address=address,
            ports=tuple(ports),
            state="TASK_RUNNING",
            started_at=now,
            healthy=healthy or None,
            healthy_at=now if healthy else None,
        )
        document: Mapping[str, Any] = {
            "id": id_,
            "instances": int(wanted == "on"),
            "labels": {LABEL_STATE: wanted},
            "healthChecks": [{"protocol": "MESOS_HTTP"}],
        }
        self.known[tenant] = ObservedMaster(tenant, id_, str(now), document, (task,) if ports else (), (), kept, wanted)
        if tell:
            self.tell(tenant)

    def tell(self, tenant: str) -> None:
        self._events.put(app_id(GROUP, tenant, SHARDS))

    def remove(self, tenant: str) -> None:
        del self.known[tenant]
        self.tell(tenant)

    def masters(self) -> dict[str, ObservedMaster]:
        self._check()
        return dict(self.known)

    def master(self, app_id: str) -> ObservedMaster | None:
        self._check()
        return self.known.get(app_id.rpartition("/")[2])

    def scale(self, app_id: str, instances: int, labels: Mapping[str, str], *, force: bool = False) -> Deployed:
        self._check()
        tenant = app_id.rpartition("/")[2]
        self.put_at(tenant, wanted=labels[LABEL_STATE])  # type: ignore[arg-type]
        self.scaled.append((tenant, instances, labels[LABEL_STATE]))  # last: a test that waits for it may go on
        return Deployed("v", "d")

    def events(self, stop: Callable[[], bool]) -> Iterator[str]:
        while not stop():
            try:
                yield self._events.get(timeout=0.1)
            except queue.Empty:
                continue

    def _check(self) -> None:
        if self.down:
            raise UnavailableError("Marathon does not answer")


class Pretender:
    """Serves as a master would, and says who it is: ``NAME METHOD PATH LENGTH-OF-BODY``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.session = secrets.token_hex(4)
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.port = 0
        self._runner: web.ServerRunner | None = None
        self._tcp: asyncio.Server | None = None

    async def start(self, port: int = 0) -> Pretender:
        self._runner = web.ServerRunner(
            web.Server(self._answer, access_log=None, auto_decompress=False), shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        own = {"X-Jenkins-Session": self.session, "X-Jenkins": "2.463"}
        if request.headers.get("Upgrade", "").lower() == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_str(f"{self.name} {message.data}")
            return socket
        body = await request.content.read()
        self.bodies.append(body)
        self.headers.append(request.headers)
        text = f"{self.name} {request.method} {request.raw_path} {len(body)}"
        return web.Response(text=text, headers=own)
