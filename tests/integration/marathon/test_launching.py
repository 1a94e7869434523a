"""What matching and launching make of a real Mesos' offers, with our Mesos executor on its hosts."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from agents.pack import command
from agents.spec import HostPolicy
from framework.core.effects import Kill
from framework.core.events import Event, OfferRescinded, OffersReceived
from framework.core.ids import OfferId
from framework.core.offers import HostOffers, OfferBook
from framework.core.resources import Resources
from framework.edges.mesos.access import Access
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.local.cluster import MesosCluster
from framework.local.credentials import SCHEDULER
from framework.local.marathon.definition.app import App, Artifact, PersistentVolume, PortDefinition
from framework.local.marathon.launching import LaunchSettings, operations
from framework.local.marathon.matching.match import Matcher, Placed
from framework.local.marathon.matching.rules import MatchSettings
from framework.local.marathon.records import Condition, Instance
from framework.mesos_ports import DestroyVolumes, Operation, Unreserve
from tests.fakes.driving import Driving, FastClock, SeededChance
from tests.integration.agents.conftest import KERNEL, pyz, read, until  # noqa: F401 - a fixture among them
from tests.integration.agents.test_mesos import sandbox_of
from tests.integration.conftest import ClusterFactory
from tests.unit.marathon.matching.hosts import NOW, app, instance, resident

pytestmark = pytest.mark.root

ROLE = "apps"
OVERHEAD = Resources(cpu_millis=50, mem_mib=32)
E = TypeVar("E")
WAITS = "while :; do sleep 0.05; done"


class Launcher:
    """Places instances on what Mesos offers, and launches them."""

    def __init__(self, driving: Driving, executor: Path) -> None:
        self.driving = driving
        self._matcher = Matcher(MatchSettings(OVERHEAD), SeededChance(), lambda: None)
        self._book = OfferBook()
        self._read = 0
        self._executor = executor

    async def on_offers(self, found: Callable[[list[HostOffers]], E | None]) -> E:
        """What ``found`` makes of all that is offered, once it does; what Mesos offers comes bit by bit."""

        result: list[E] = []

        def look() -> Event | None:
            events, self._read = self.driving.events[self._read :], len(self.driving.events)
            for event in events:
                if isinstance(event, OffersReceived):
                    for each in event.offers:
                        self._book.add(each, NOW)
                elif isinstance(event, OfferRescinded):
                    self._book.rescind(event.offer_id)
            answer = found(list(self._book))
            if answer is None:
                return None
            result.append(answer)
            return self.driving.events[-1]

        await self.driving.until(look)
        return result[0]

    def use(self, held: HostOffers) -> tuple[OfferId, ...]:
        return self._book.take(held.host_id, held.role)

    async def launch(self, of: App, waiting: Instance) -> tuple[Instance, Placed]:
        ours = await self.driving.subscribed()

        def found(offers: list[HostOffers]) -> Placed | None:
            placed = self._matcher.make_round(offers, NOW).place(of, waiting, ())
            return placed if isinstance(placed, Placed) else None

        placed = await self.on_offers(found)
        self._book.take(placed.site.host_id, placed.role)
        there = replace(
            waiting,
            site=placed.site,
            ports=placed.ports,
            attempt=waiting.attempt + 1,
            condition=Condition.PROVISIONED,
            volumes=placed.volumes,
            reserved=waiting.reserved or placed.reserve,
        )
        settings = LaunchSettings(
            command(str(self._executor), service=True), (), OVERHEAD, HostPolicy(), ours, SCHEDULER
        )
        made = operations(of, there, placed, settings, str)
        self.driving.driver.accept(placed.offer_ids, placed.site.host_id, made)
        update = await self.driving.update(there.task_id, "TASK_RUNNING", "TASK_FAILED", "TASK_ERROR", "TASK_DROPPED")
        assert update.state == "TASK_RUNNING", update
        return there, placed

    async def kill(self, there: Instance) -> None:
        assert there.site is not None
        self.driving.driver.kill(Kill(there.task_id, there.site.host_id, 1.0))
        await self.driving.update(there.task_id, "TASK_KILLED")


@pytest.fixture
def cluster(mesos_cluster: ClusterFactory) -> MesosCluster:
    return mesos_cluster(hosts=1, isolation=KERNEL, secured=True)


@pytest.fixture
async def launcher(cluster: MesosCluster, pyz: Path) -> AsyncIterator[Launcher]:  # noqa: F811
    told = FrameworkSettings("marathon", "root", (ROLE,), 60.0, "localhost", principal=SCHEDULER)
    assert cluster.credentials is not None
    access = Access(cluster.credentials.scheduler.authorization())
    driving = Driving(MesosDriver([cluster.url], told, FastClock(), SeededChance(), access=access))
    yield Launcher(driving, pyz)
    await driving.end()


async def test_a_task_has_its_environment_and_its_artifacts(
    cluster: MesosCluster, launcher: Launcher, tmp_path: Path
) -> None:
    (tmp_path / "tool.gz").write_bytes(gzip.compress(b"a tool"))
    (tmp_path / "program").write_text("#!/bin/sh\nenv > environment\ncat tool > done\n")
    fetch = (
        Artifact(uri=str(tmp_path / "tool.gz"), extract=True, executable=False, cache=False),
        Artifact(uri=str(tmp_path / "program"), extract=False, executable=True, cache=True, dest_path="bin/run"),
    )
    of = app(
        "/team/web",
        role=ROLE,
        cmd=f"bin/run; {WAITS}",
        cpus=0.1,
        mem=64.0,
        fetch=fetch,
        port_definitions=(PortDefinition(port=8080, name="http"), PortDefinition(port=8081)),
    )
    there, placed = await launcher.launch(of, instance(of))
    sandbox = sandbox_of(cluster, there.task_id)
    until(lambda: read(sandbox / "done") == "a tool", "the program's end")
    environment = dict(line.split("=", 1) for line in read(sandbox / "environment").splitlines())
    first, second = map(str, placed.ports)
    for name, value in {
        "PORT0": first,
        "PORT_HTTP": first,
        "PORT_8081": second,
        "PORTS": f"{first},{second}",
        "MARATHON_APP_ID": "/team/web",
        "MESOS_TASK_ID": there.task_id,
        "HOST": placed.site.hostname,
    }.items():
        assert environment[name] == value
    await launcher.kill(there)


async def test_a_resident_instance_finds_its_volume_again_and_leaves_nothing_behind(
    cluster: MesosCluster, launcher: Launcher
) -> None:
    of = resident(
        PersistentVolume(size=16),
        role=ROLE,
        cmd=f"echo here >> data0/visits; {WAITS}",
        cpus=0.1,
        mem=64.0,
        disk=8.0,
        port_definitions=(PortDefinition(port=8080),),
    )
    there, first = await launcher.launch(of, instance(of))
    until(lambda: read(sandbox_of(cluster, there.task_id) / "data0/visits") == "here\n", "the first visit")
    await launcher.kill(there)

    there, second = await launcher.launch(of, there)
    assert second.ports == first.ports
    until(lambda: read(sandbox_of(cluster, there.task_id) / "data0/visits") == "here\nhere\n", "the second visit")
    await launcher.kill(there)

    ours = await launcher.driving.subscribed()
    wiping = Matcher(MatchSettings(OVERHEAD), SeededChance(), lambda: ours)

    def whole(offers: list[HostOffers]) -> HostOffers | None:
        """Once the Mesos executor's part is there too."""
        for each in offers:
            _, reserved = wiping.leftovers(each, lambda _: False)
            if sum(piece.thousandths for piece in reserved if piece.name == "cpus") == 150:
                return each
        return None

    held = await launcher.on_offers(whole)
    volumes, reserved = wiping.leftovers(held, lambda _: False)
    assert len(volumes) == 1
    made: list[Operation] = [DestroyVolumes(volumes), Unreserve(reserved)]
    launcher.driving.driver.accept(launcher.use(held), held.host_id, made)

    def clean(offers: list[HostOffers]) -> bool | None:
        """Once all of it was offered again."""
        back = sum(each.available.mem_mib for each in offers) >= held.available.mem_mib
        return True if back and not any(map(_anything_reserved, offers)) else None

    assert await launcher.on_offers(clean)


def _anything_reserved(held: HostOffers) -> bool:
    return any(offer.reserved_pieces or offer.pieces for offer in held.offers.values())
