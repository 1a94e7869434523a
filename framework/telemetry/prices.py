"""The price sheet: what an hour of each resource costs on which hosts, from when until when; and what a build costs.

Reckoned in whole numbers, rounded once at the end. What has no price has no cost, rather than one of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from framework.core.resources import Resources
from framework.documents import Document, DocumentModel, check
from framework.errors import Fault, InputError
from framework.setting_types import Matching, Name, Text

DECIMALS = 9
"""Of a price. The hour of a GiB of disk costs some 0.0001 of anything."""
_OF_MICROS = 1000 * 1024 * 3_600_000 * 10 ** (DECIMALS - 6)
"""Thousandths of a CPU, 1024ths of a GiB, milliseconds of an hour, and the decimals past a millionth."""
_FOREVER_MS = 1 << 62


def _day(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"must be a day that there is, such as 2026-01-31, not {value[:60]!r}") from error
    return value


def _few_decimals(value: float) -> float:
    if _decimal(value) != round(_decimal(value), DECIMALS):
        raise ValueError(f"must have at most {DECIMALS} decimals, not {value!r}")
    return value


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))  # as it was written: repr is the shortest text that is read as the same number


Currency = Annotated[str, Matching(r"[A-Z]{3}", "the three capitals of ISO 4217, such as EUR")]
Day = Annotated[str, Matching(r"\d{4}-\d\d-\d\d", "a day such as 2026-01-31"), AfterValidator(_day)]
Price = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(_few_decimals)]


class PriceEntry(DocumentModel):
    """What an hour of each resource costs on some hosts, for some time."""

    name: Name = Field(description="Shown with each build's cost, such as `spot` or `on_demand`.")
    hosts: dict[Name, Text] = Field(
        default_factory=dict,
        max_length=20,
        description="Mesos attributes, with their values, that a host must have all of. The first entry of the file "
        "whose attributes it has is the one; an entry without any is for hosts that no other is for.",
    )
    since: Day | None = Field(default=None, description="First day (UTC) of these prices; by default they always were.")
    until: Day | None = Field(
        default=None, description="Day (UTC) at whose begin they end; by default they hold until further notice."
    )
    cpu_hour: Price = Field(description="Of one CPU for an hour.")
    mem_gib_hour: Price = Field(description="Of one GiB of memory for an hour.")
    disk_gib_hour: Price = Field(default=0, description="Of one GiB of disk for an hour.")
    gpu_hour: Price | None = Field(
        default=None, description="Of one GPU for an hour. Without it builds with GPUs have no cost."
    )


class PriceFile(DocumentModel):
    """A price sheet, as it is written."""

    currency: Currency = Field(description="Of all prices, in the three capitals of ISO 4217.")
    prices: list[PriceEntry] = Field(min_length=1, max_length=1000, description="Entries, the first that fits counts.")


class Cost(NamedTuple):
    """What something cost. ``micros`` are millionths of ``currency``; None where any part of it has no price."""

    micros: int | None
    currency: str
    price: str  # name of the entry that held at its end; empty where none did


class _Span(NamedTuple):
    """An entry, as it is reckoned with: prices in units of ``10 ** -DECIMALS`` of the currency."""

    since_ms: int
    until_ms: int
    name: str
    cpu: int
    mem: int
    disk: int
    gpu: int | None


class _Kind(NamedTuple):
    """Hosts that have the same prices: what attributes they have, and their entries in order of time."""

    hosts: tuple[tuple[str, str], ...]
    spans: tuple[_Span, ...]


class PriceSheet:
    """A price sheet that was found good. Never changes."""

    def __init__(self, currency: str, kinds: tuple[_Kind, ...], notices: list[str]) -> None:
        self.currency = currency
        self.notices = notices
        """What of it has no price, though it may be meant to: times between two entries, and hosts that none is for."""
        self._kinds = kinds

    def cost(self, attributes: Mapping[str, str], resources: Resources, from_s: float, until_s: float) -> Cost:
        """Of having had ``resources`` on a host with ``attributes``; times in seconds since the epoch.

        Where prices changed meanwhile each part is reckoned by its own. Half a millionth is rounded up.
        """
        begin, end = round(from_s * 1000), max(round(from_s * 1000), round(until_s * 1000))
        at, total, priced, name = begin, 0, True, ""
        for span in self._spans(attributes):
            if span.until_ms <= at:
                continue
            if span.since_ms > at or (span.gpu is None and resources.gpus):
                priced = False
            if span.since_ms > end:
                name = ""
                break
            name = span.name
            until = min(span.until_ms, end)
            total += (until - max(at, span.since_ms)) * (
                1024 * resources.cpu_millis * span.cpu
                + 1000 * (resources.mem_mib * span.mem + resources.disk_mib * span.disk)
                + 1024_000 * resources.gpus * (span.gpu or 0)
            )
            at = until
            if at == end:
                break
        else:
            priced, name = False, ""
        return Cost((total + _OF_MICROS // 2) // _OF_MICROS if priced else None, self.currency, name)

    def _spans(self, attributes: Mapping[str, str]) -> tuple[_Span, ...]:
        for kind in self._kinds:
            if all(attributes.get(name) == value for name, value in kind.hosts):
                return kind.spans
        return ()


def price_sheet(document: Document) -> PriceSheet:
    """The sheet that a document is. Raises InputError with every fault."""
    found = check(document, PriceFile)
    faults: list[Fault] = []
    kinds: dict[tuple[tuple[str, str], ...], list[int]] = {}
    named: dict[str, int] = {}
    for index, entry in enumerate(found.prices):
        kinds.setdefault(_selector(entry), []).append(index)
        first = named.setdefault(entry.name, index)
        if _selector(found.prices[first]) != _selector(entry):
            message = f"is the name of prices of other hosts, on line {_line(document, first)}"
            faults.append(Fault(document.where(("prices", index, "name")), message))
        if entry.since is not None and entry.until is not None and entry.since >= entry.until:
            faults.append(Fault(document.where(("prices", index, "until")), f"must be after since, {entry.since}"))
    faults += _never(document, kinds)
    notices: list[str] = []
    made: list[_Kind] = []
    for hosts, indices in kinds.items():
        spans = sorted((_span(found.prices[index]), index) for index in indices)
        told = " ".join(f"{name}={value}" for name, value in hosts)
        whose = f"hosts with {told}" if told else "hosts of no other entry"
        for (before, earlier), (span, index) in pairwise(spans):
            if before.until_ms > span.since_ms:
                message = f"is for the same hosts and days as the entry on line {_line(document, earlier)}"
                faults.append(Fault(document.where(("prices", index)), message))
            elif before.until_ms < span.since_ms:
                here = document.where(("prices", earlier, "until"))
                days = f"from {found.prices[earlier].until} until {found.prices[index].since}"
                notices.append(f"{here}: {whose} have no price {days}")
        last = found.prices[spans[-1][1]]
        if last.until is not None:
            where = document.where(("prices", spans[-1][1], "until"))
            notices.append(f"{where}: {whose} have no price from {last.until} on")
        made.append(_Kind(hosts, tuple(span for span, _ in spans)))
    if () not in kinds:
        notices.append(f"{document.where(('prices',))}: hosts without the attributes of any entry have no price")
    if faults:
        raise InputError(faults)
    made.sort(key=lambda kind: not kind.hosts)  # the one for all others last
    return PriceSheet(found.currency, tuple(made), notices)


def _never(document: Document, kinds: dict[tuple[tuple[str, str], ...], list[int]]) -> list[Fault]:
    """Entries whose hosts all fall under one before them."""
    faults = []
    earlier: list[tuple[set[tuple[str, str]], int]] = []
    for hosts, indices in kinds.items():
        wider = next((first for wanted, first in earlier if wanted <= set(hosts)), None)
        if wider is not None:
            message = (
                f"comes to nothing: all its hosts are the entry's on line {_line(document, wider)}; put it before that"
            )
            faults.append(Fault(document.where(("prices", indices[0], "hosts")), message))
        if hosts:
            earlier.append((set(hosts), indices[0]))
    return faults


def _line(document: Document, index: int) -> int:
    return document.lines[("prices", index)]


def _selector(entry: PriceEntry) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(entry.hosts.items()))


def _span(entry: PriceEntry) -> _Span:
    return _Span(
        -_FOREVER_MS if entry.since is None else _ms(entry.since),
        _FOREVER_MS if entry.until is None else _ms(entry.until),
        entry.name,
        _scaled(entry.cpu_hour),
        _scaled(entry.mem_gib_hour),
        _scaled(entry.disk_gib_hour),
        None if entry.gpu_hour is None else _scaled(entry.gpu_hour),
    )


def _ms(day: str) -> int:
    return int(datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()) * 1000


def _scaled(price: float) -> int:
    return int(_decimal(price).scaleb(DECIMALS))
