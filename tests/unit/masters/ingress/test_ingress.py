"""What the ingress remembers for the next service."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.runtime.chance import SystemChance
from masters.ingress.ingress import Ingress
from masters.ingress.places import Places
from masters.settings import IngressSettings, MastersSettings
from tests.fakes.clockwork import ManualClock
from tests.fakes.placed_masters import PlacedMasters


def ingress_of(places: Places) -> Ingress:
    settings = MastersSettings(ingress=IngressSettings(haproxy="sh"))
    return Ingress(PlacedMasters(), settings, places, lambda master: None, ManualClock(), SystemChance())


async def test_no_master_is_quieted_that_a_later_service_would_not_know_of(tmp_path: Path) -> None:
    places = Places(tmp_path / "ingress")
    ingress = ingress_of(places)
    with pytest.raises(OSError, match="No such file"):
        ingress.note_quieted("a", True)
    assert ingress.quieted == set()
    places.prepare()
    ingress.note_quieted("a", True)
    ingress.note_quieted("b", True)
    ingress.note_quieted("b", False)
    assert ingress.quieted == ingress_of(places).quieted == {"a"}
