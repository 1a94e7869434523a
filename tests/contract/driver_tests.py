"""What the tests of every SchedulerDriver stand on: a real Mesos, and a driver that was told to be made."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from framework.core.effects import Decline
from framework.core.events import OffersReceived
from framework.core.ids import FrameworkId
from framework.core.offers import Offer
from framework.local.credentials import Credentials
from framework.mesos_ports import SchedulerDriver
from tests.fakes.driving import DEADLINE_S, Driving

ROLE = "contract"


class Cluster(Protocol):
    """A real Mesos of two hosts."""

    url: str
    port: int
    credentials: Credentials | None

    def hosts(self) -> list[dict[str, Any]]: ...

    def kill9(self) -> None: ...

    def restart(self) -> None: ...


def task_name() -> str:
    return f"task-{uuid.uuid4().hex[:8]}.1"


class DriverTests:
    """Subclasses define ``make``, and fixtures ``cluster`` (shared) and ``own_cluster`` (the test may break it)."""

    principal: str | None = None
    """The framework's, where Mesos asks who it is: what it reserves must then be told to be its own."""

    def make(
        self, masters: Sequence[str], name: str, framework_id: FrameworkId | None, roles: tuple[str, ...] = (ROLE,)
    ) -> SchedulerDriver:
        """``masters`` as in settings; ``name`` is the framework's, ``roles`` those whose shares it asks for."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def start(
        self,
        url: str,
        framework_id: FrameworkId | None = None,
        name: str = "contract",
        roles: tuple[str, ...] = (ROLE,),
    ) -> AsyncIterator[Driving]:
        driving = Driving(self.make([url], name, framework_id, roles))
        try:
            yield driving
        finally:
            await driving.end()

    async def offers_of_all(self, cluster: Cluster, driving: Driving, after: int = 0) -> None:
        for host in cluster.hosts():
            await self.offer_of(driving, str(host["id"]), after)

    async def offer_of(self, driving: Driving, host_id: str, after: int) -> Offer:
        return await driving.offer(after, lambda offer: offer.host_id == host_id)

    def decline_all(self, driving: Driving, refuse_s: float) -> None:
        driving.driver.decline(Decline(tuple(offer.id for offer in offers_of(driving)), refuse_s))


def operate(cluster: Cluster, call: str, host_id: str, role: str) -> None:
    """As the operator of Mesos, reserves 0.5 CPU and 64 MiB of a host for a role, or gives them back."""
    reservation = {"type": "DYNAMIC", "role": role}
    if cluster.credentials is not None:
        reservation["principal"] = cluster.credentials.operator.principal
    resources = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}, "reservations": [reservation]}
        for name, value in (("cpus", 0.5), ("mem", 64.0))
    ]
    ask(cluster, call, {"agent_id": {"value": host_id}, "resources": resources})


def ask(cluster: Cluster, call: str, what: dict[str, Any]) -> None:
    """A call of Mesos' operator API."""
    body = json.dumps({"type": call, call.lower(): what}).encode()
    headers = {"Content-Type": "application/json"}
    if cluster.credentials is not None:
        headers["Authorization"] = cluster.credentials.operator.authorization()
    request = urllib.request.Request(f"{cluster.url}/api/v1", body, headers)
    deadline = time.monotonic() + DEADLINE_S
    while True:  # 409 while the last framework's tasks still hold what is asked for
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except urllib.error.HTTPError as error:
            told = f"{call}: {error.code} {error.read()!r}"
            error.close()
            assert error.code == 409, told
            assert time.monotonic() < deadline, told
        time.sleep(0.05)


def cpu_millis(host: dict[str, Any]) -> int:
    return round(float(host["resources"]["cpus"]) * 1000)


def offers_of(driving: Driving) -> list[Offer]:
    return list(itertools.chain.from_iterable(event.offers for event in driving.of(OffersReceived)))
