"""Price sheets: what builds cost by them, and every fault and gap of one with its line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from framework.core.resources import Resources
from framework.documents import parse_document
from framework.errors import InputError
from framework.telemetry.prices import Cost, PriceSheet, price_sheet

SHEET = """\
currency: EUR
prices:
  - name: spot
    hosts: {market: spot}
    until: 2026-07-01
    cpu_hour: 0.012
    mem_gib_hour: 0.0015
  - name: spot
    hosts: {market: spot}
    since: 2026-07-01
    cpu_hour: 0.024
    mem_gib_hour: 0.0015
  - name: on_demand
    cpu_hour: 0.04
    mem_gib_hour: 0.005
    disk_gib_hour: 0.0001
    gpu_hour: 0.9
"""
SPOT = {"market": "spot", "zone": "a"}
TWO_CPUS = Resources(cpu_millis=2000, mem_mib=2048)
HOUR_S = 3600


def sheet(text: str) -> PriceSheet:
    return price_sheet(parse_document(text, "prices.yaml"))


def faults(text: str) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        sheet(text)
    return [(fault.where, fault.message) for fault in caught.value.faults]


def entries(*lines: str) -> str:
    return "currency: EUR\nprices:\n" + "".join(f"  - {{cpu_hour: 1, mem_gib_hour: 1, {line}}}\n" for line in lines)


def at(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def test_resources_cost_what_their_hours_do() -> None:
    prices = sheet(SHEET)
    begin = at("2026-03-01")
    assert prices.cost({}, TWO_CPUS, begin, begin + HOUR_S) == Cost(90_000, "EUR", "on_demand")
    assert prices.cost(SPOT, TWO_CPUS, begin, begin + HOUR_S) == Cost(27_000, "EUR", "spot")
    everything = Resources(cpu_millis=1, mem_mib=1, disk_mib=1024, gpus=2, ports=3)
    assert prices.cost({}, everything, begin, begin + HOUR_S).micros == 40 + 5 + 100 + 1_800_000
    assert prices.cost({}, TWO_CPUS, begin, begin) == Cost(0, "EUR", "on_demand")
    assert prices.cost({}, TWO_CPUS, begin, begin - 5).micros == 0  # clocks that were set back
    assert prices.notices == []


def test_each_part_of_a_build_has_the_price_of_its_time() -> None:
    prices, change = sheet(SHEET), at("2026-07-01")
    one_cpu = Resources(cpu_millis=1000)
    assert prices.cost(SPOT, one_cpu, change - HOUR_S, change + 2 * HOUR_S).micros == 12_000 + 2 * 24_000
    assert prices.cost(SPOT, one_cpu, change - HOUR_S, change).micros == 12_000
    assert prices.cost(SPOT, one_cpu, change, change + HOUR_S).micros == 24_000


def test_what_has_no_price_has_no_cost() -> None:
    begin = at("2026-03-01")
    prices = sheet(entries("name: spot, hosts: {market: spot}, since: 2026-03-01, until: 2026-03-02"))
    assert prices.cost(SPOT, TWO_CPUS, begin, begin + 1).micros is not None
    assert prices.cost({}, TWO_CPUS, begin, begin + 1) == Cost(None, "EUR", "")
    assert prices.cost(SPOT, TWO_CPUS, begin - 1, begin + 1) == Cost(None, "EUR", "spot")
    assert prices.cost(SPOT, TWO_CPUS, begin + 86_399, begin + 86_401) == Cost(None, "EUR", "")
    assert prices.cost(SPOT, TWO_CPUS, begin - 9, begin - 8) == Cost(None, "EUR", "")
    assert prices.cost(SPOT, Resources(gpus=1), begin, begin + 1) == Cost(None, "EUR", "spot")
    assert prices.notices == [
        "prices.yaml:3 prices[0].until: hosts with market=spot have no price from 2026-03-02 on",
        "prices.yaml:2 prices: hosts without the attributes of any entry have no price",
    ]


def test_hours_between_two_entries_are_told_and_have_no_cost() -> None:
    prices = sheet(entries("name: a, until: 2026-03-01", "name: b, since: 2026-03-03"))
    assert prices.notices == [
        "prices.yaml:3 prices[0].until: hosts of no other entry have no price from 2026-03-01 until 2026-03-03"
    ]
    across = prices.cost({}, TWO_CPUS, at("2026-02-28"), at("2026-03-04"))
    assert across == Cost(None, "EUR", "b")
    assert prices.cost({}, TWO_CPUS, at("2026-02-28"), at("2026-03-02")) == Cost(None, "EUR", "")
    assert prices.cost({}, TWO_CPUS, at("2026-03-03"), at("2026-03-04")).micros is not None


def test_the_first_entry_whose_attributes_a_host_has_is_the_one() -> None:
    prices = sheet(
        entries("name: rest", "name: a, hosts: {market: spot, zone: a}", "name: spot, hosts: {market: spot}")
    )
    names = [prices.cost(host, TWO_CPUS, 0, 1).price for host in (SPOT, {"market": "spot"}, {"zone": "a"}, {})]
    assert names == ["a", "spot", "rest", "rest"]


def test_every_fault_is_told_with_its_line() -> None:
    assert faults("currency: euro\nprices:\n  - {name: a, cpu_hour: -1, mem_gib_hour: '2', gpu_hours: 3}\n") == [
        ("prices.yaml:1 currency", "must be the three capitals of ISO 4217, such as EUR, not 'euro'"),
        ("prices.yaml:3 prices[0].cpu_hour", "must be at least 0, not -1"),
        ("prices.yaml:3 prices[0].mem_gib_hour", "must be a number, not '2': take the quotes away"),
        ("prices.yaml:3 prices[0].gpu_hours", "unknown key; the nearest known one is `gpu_hour`"),
    ]
    assert faults(entries("name: a, since: 2026-02-30", "name: b, until: tomorrow")) == [
        ("prices.yaml:3 prices[0].since", "must be a day that there is, such as 2026-01-31, not '2026-02-30'"),
        ("prices.yaml:4 prices[1].until", "must be a day such as 2026-01-31, not 'tomorrow'"),
    ]
    assert [where for where, _ in faults("{}")] == ["prices.yaml:1 currency", "prices.yaml:1 prices"]
    assert "at most 9 decimals" in faults(entries("name: a, disk_gib_hour: 0.0000000001"))[0][1]


def test_entries_that_contradict_one_another_are_faults() -> None:
    assert faults(
        entries(
            "name: a, until: 2026-03-02",
            "name: b, since: 2026-03-01",
            "name: c, hosts: {zone: a}, since: 2026-03-02, until: 2026-03-01",
            "name: d, hosts: {zone: a, market: spot}",
            "name: a, hosts: {zone: b}",
        )
    ) == [
        ("prices.yaml:5 prices[2].until", "must be after since, 2026-03-02"),
        ("prices.yaml:7 prices[4].name", "is the name of prices of other hosts, on line 3"),
        (
            "prices.yaml:6 prices[3].hosts",
            "comes to nothing: all its hosts are the entry's on line 5; put it before that",
        ),
        ("prices.yaml:4 prices[1]", "is for the same hosts and days as the entry on line 3"),
    ]
