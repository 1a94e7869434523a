"""As many agents are kept ready as the templates say, and no others."""

from __future__ import annotations

from framework.core.tasks import SPARES, Request
from framework.runtime.spares import SparesKeeper
from tests.fakes.clockwork import eventually
from tests.fakes.driving import SeededChance
from tests.fakes.templates import FakeTemplates, catalog_of
from tests.unit.runtime.conftest import Rig


def keeper(rig: Rig, **templates: dict[str, object]) -> tuple[SparesKeeper, FakeTemplates]:
    fake = FakeTemplates(catalog_of(**templates))
    return SparesKeeper(rig.scheduler.loop, fake, rig.clock, SeededChance()), fake


def live(rig: Rig) -> list[Request]:
    requests = rig.scheduler.loop.state.requests.values()
    return [each for each in requests if each.tenant == SPARES and each.cancel_reason is None]


async def test_so_many_as_the_template_says_are_made_once(ready: Rig) -> None:
    spares, _ = keeper(ready, maven={"cpus": 0.1, "mem_mib": 64, "spares": 3})
    for _ in range(3):
        await spares.look()
    assert [each.template.name for each in live(ready)] == ["maven"] * 3
    spec = await ready.control.spec(live(ready)[0].id)
    assert spec is not None and spec.standby and spec.agent is not None
    assert "~spares" not in {use.tenant.name for use in ready.control.tenants()}
    assert ready.control.health().tenants == 1


async def test_after_a_crash_none_is_made_twice(ready: Rig) -> None:
    spares, _ = keeper(ready, maven={"cpus": 0.1, "mem_mib": 64, "spares": 2})
    await spares.look()
    before = {each.id for each in live(ready)}
    await ready.crash()
    await ready.start()
    await ready.subscribe()
    again, _ = keeper(ready, maven={"cpus": 0.1, "mem_mib": 64, "spares": 2})
    await again.look()
    assert {each.id for each in live(ready)} == before


async def test_those_of_an_older_version_are_ended_and_made_anew(ready: Rig) -> None:
    spares, templates = keeper(ready, maven={"cpus": 0.1, "mem_mib": 64, "spares": 2})
    await spares.look()
    before = {each.id for each in live(ready)}
    templates.catalog = catalog_of(maven={"cpus": 0.2, "mem_mib": 64, "spares": 2})
    await spares.look()
    await eventually(lambda: len(live(ready)) == 2 and not before & {each.id for each in live(ready)}, "the new ones")


async def test_where_fewer_are_wanted_some_are_ended(ready: Rig) -> None:
    spares, templates = keeper(ready, maven={"cpus": 0.1, "mem_mib": 64, "spares": 3})
    await spares.look()
    templates.catalog = catalog_of(maven={"cpus": 0.1, "mem_mib": 64})
    await spares.look()
    await eventually(lambda: not live(ready), "the end of all")


async def test_spares_that_no_host_could_hold_are_told_of(ready: Rig) -> None:
    spares, _ = keeper(ready, maven={"cpus": 1000, "mem_mib": 64, "spares": 1})
    await spares.look()
    assert live(ready) == []
    assert spares.notices()[0].startswith("spares of template maven cannot be had: ")
