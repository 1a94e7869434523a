"""The price sheet follows its file: a good change is taken, a bad one is told and changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from framework.errors import InputError
from framework.runtime import watching
from framework.runtime.chance import SystemClock
from framework.runtime.telemetry.prices import PriceWatch
from tests.unit.runtime.test_templates import until

WAIT_S = 20


async def test_a_change_is_taken_up_and_a_fault_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.02)
    file = tmp_path / "prices.yaml"
    file.write_text("{currency: EUR, prices: [{name: a, hosts: {zone: a}, cpu_hour: 1, mem_gib_hour: 0}]}")
    watch = PriceWatch(file, SystemClock())
    assert watch.sheet is not None and watch.sheet.currency == "EUR"
    gap = f"prices: {file}:1 prices: hosts without the attributes of any entry have no price"
    assert watch.notices == [gap]
    running = asyncio.create_task(watch.run())
    try:
        file.write_text("{currency: USD, prices: [{name: a, cpu_hour: 1, mem_gib_hour: -1}]}")
        fault = f"prices: {file}:1 prices[0].mem_gib_hour: must be at least 0, not -1"
        await until(lambda: watch.notices == [fault, gap])
        assert watch.sheet.currency == "EUR"
        file.write_text("{currency: USD, prices: [{name: a, cpu_hour: 1, mem_gib_hour: 0}]}")
        await until(lambda: watch.notices == [])
        assert watch.sheet.currency == "USD"
    finally:
        watch.stop()
        await asyncio.wait_for(running, WAIT_S)


async def test_without_a_sheet_nothing_has_a_price() -> None:
    watch = PriceWatch(None, SystemClock())
    await asyncio.wait_for(watch.run(), WAIT_S)
    watch.stop()
    assert (watch.sheet, watch.notices) == (None, [])


def test_it_does_not_start_with_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        PriceWatch(tmp_path / "none.yaml", SystemClock())
