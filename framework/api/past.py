"""Past builds and their statistics as the API tells them, in JSON and CSV.

Fields are named as in the records (``framework/telemetry/records.py``) and in every sink, with times in milliseconds:
what is asked here and in Elasticsearch reads alike.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field
from starlette.requests import Request as HttpRequest

from framework.core.tasks import FailureClass, Request
from framework.telemetry.records import BuildRecord, ChangeRecord
from framework.telemetry_ports import Dimension, Stats, StatsAnswer

AT = "Milliseconds since the epoch."
CSV = "text/csv"
JSON = "application/json"
AS_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}
"""For the description of a route that has both."""
Format = Annotated[Literal["json", "csv"] | None, Field(description="By default as `Accept` says, else JSON.")]


def wants_csv(request: HttpRequest, asked: str | None) -> bool:
    """``asked``: a ``Format``."""
    return asked == "csv" or (asked is None and CSV in request.headers.get("accept", ""))


class PastBuild(BaseModel):
    """A build that has ended."""

    id: str = Field(description="Of its request; of builds of an agent that serves several, with `+N`.")
    at_ms: int = Field(description=f"{AT} When it ended.")
    v: int = Field(description="Version of these fields.")
    tenant: str
    job: str = Field(description="Its name; a very long one is cut, and ends with `~` and a hash.")
    source: str = Field(description="`jenkins`, `api` or `webhook`.")
    result_class: str = Field(description="`passed`, or why it did not.")
    attempts: int
    asked_cpu_millis: int
    asked_mem_mib: int
    asked_disk_mib: int
    queued_at_ms: int = Field(description=f"{AT} Since when it could be built.")
    ended_at_ms: int = Field(description=AT)
    title: str = Field(description="The name in full, where `job` is not all of it.")
    asked_gpus: int
    queue_item: int | None = Field(description="Its number in the tenant's Jenkins.")
    label: str
    template: str
    template_version: str
    host: str = Field(description="Of the newest attempt.")
    image: str
    used_cpu_ms: int | None = Field(description="CPU time of the newest attempt; null where nobody measured.")
    peak_mem_mib: float | None = Field(description="Null where nobody measured.")
    limit_mem_mib: int | None = Field(description="Memory that its own container was held to.")
    peak_disk_mib: float | None = Field(description="Null where nobody measured.")
    claimed_at_ms: int | None = Field(description=f"{AT} When it had a place on a host.")
    launched_at_ms: int | None = Field(description=AT)
    running_at_ms: int | None = Field(description=AT)
    connected_at_ms: int | None = Field(description=f"{AT} When its agent was online in its master.")
    started_at_ms: int | None = Field(description=f"{AT} When Jenkins gave its agent the build; of a job, that it ran.")
    wait_ms: int | None = Field(description="From queued until connected, or until its job ran.")
    run_ms: int | None = Field(description="From started until it was over.")
    asked_cpu_ms: int = Field(description="`asked_cpu_millis` for that long.")
    asked_mem_mib_s: int = Field(description="`asked_mem_mib` for that long.")
    peak_mem_mib_s: int = Field(description="`peak_mem_mib` for that long; 0 too where nobody measured it.")
    waited_for: str = Field(description="What it waited for most; empty where it hardly did.")
    result: str = Field(description="As Jenkins spells it, where it told one.")
    message: str = Field(description="Why it ended so.")
    exit_code: int | None
    build_url: str = Field(description="Below its master's own address.")
    isolation: str
    losses: int
    preemptions: int
    priority: int
    cost_micros: int | None = Field(description="Millionths of `currency`; null where a part of it has no price.")
    currency: str
    price: str = Field(description="Entry of the price sheet that its newest attempt's host fell under.")

    @classmethod
    def of(cls, record: BuildRecord | None) -> PastBuild | None:
        return None if record is None else cls(**msgspec.structs.asdict(record))


class PastList(BaseModel):
    builds: list[PastBuild] = Field(description="Those that ended last first.")
    next: str | None = Field(description="Give it as `after` to list on; null at the end.")


class ChangeOut(BaseModel):
    """A build came to another state."""

    at_ms: int = Field(description=AT)
    state: str
    attempt: int
    host: str
    result_class: str = Field(description="Where an attempt ended.")
    message: str

    @classmethod
    def of(cls, change: ChangeRecord) -> ChangeOut:
        return cls(**{name: getattr(change, name) for name in cls.model_fields})


class StepOut(BaseModel):
    """What a build came to, and how long that took from the step before."""

    step: str = Field(description="`queued`, `claimed`, `launched`, `running`, `connected`, `started` or `ended`.")
    at_ms: int = Field(description=AT)
    took_ms: int = Field(description="0 of the first.")


STEPS = ("queued", "claimed", "launched", "running", "connected", "started", "ended")


def steps_of_record(record: BuildRecord) -> list[StepOut]:
    """Those that it came to, in the order of their times. A job has started once it runs."""
    at_ms = {step: getattr(record, f"{step}_at_ms") for step in STEPS}
    return _steps(at_ms if record.source == "jenkins" else at_ms | {"started": None})


def steps_of_request(request: Request) -> list[StepOut]:
    """As ``steps_of_record``, of a build that may not have ended."""
    side = request.jenkins
    at = {
        "queued": request.submitted_at if side is None else side.buildable_at,
        "claimed": request.claimed_at,
        "launched": request.launched_at,
        "running": request.running_at,
        "connected": None if side is None else side.online_at,
        "started": None if side is None else side.accepted_at,
        "ended": request.ended_at,
    }
    return _steps({step: None if seconds is None else round(seconds * 1000) for step, seconds in at.items()})


def _steps(at_ms: Mapping[str, int | None]) -> list[StepOut]:
    known = sorted(((step, at) for step, at in at_ms.items() if at is not None), key=lambda pair: pair[1])
    before = [known[0][1], *(at for _, at in known)] if known else []
    return [StepOut(step=step, at_ms=at, took_ms=at - last) for (step, at), last in zip(known, before, strict=False)]


class PercentilesOut(BaseModel):
    p50_ms: float
    p90_ms: float
    p99_ms: float


class StatsOut(BaseModel):
    """Of one group of builds."""

    key: dict[str, str] = Field(description="A value for each dimension that was asked for.")
    builds: int
    by_class: dict[str, int] = Field(description="Builds by `result_class`.")
    attempts: int
    waits: PercentilesOut | None = Field(description="Within 3 %; null where none of them was served.")
    runs: PercentilesOut | None
    cost_micros: dict[str, int] = Field(description="Millionths, by currency.")
    unpriced: int = Field(description="Builds of which a part has no price: they are not in the cost.")
    asked_cpu_ms: int = Field(description="CPUs asked for, times the time they ran.")
    used_cpu_ms: int = Field(description="Of those that were measured.")
    measured_cpu_ms: int = Field(description="What those asked for.")
    asked_mem_mib_s: int
    peak_mem_mib_s: int = Field(description="Peak memory of those that were measured, times the time they ran.")
    measured_mem_mib_s: int = Field(description="What those asked for.")
    cpu_efficiency: float | None = Field(description="CPU used, of what was asked for; null where nobody measured.")
    mem_efficiency: float | None = Field(description="Peak memory, of what was asked for.")


class StatsList(BaseModel):
    since_ms: int = Field(description=AT)
    until_ms: int = Field(description=AT)
    groups: list[StatsOut]
    total: StatsOut = Field(description="Of all groups, those included that are not told.")
    more: bool = Field(description="There are more groups than `limit`.")


def stats_json(answer: StatsAnswer, since_ms: int, until_ms: int) -> bytes:
    """A ``StatsList``."""
    groups, total = [_stats(one) for one in answer.groups], _stats(answer.total)
    return msgspec.json.encode(
        {"since_ms": since_ms, "until_ms": until_ms, "groups": groups, "total": total, "more": answer.more}
    )


def _stats(stats: Stats) -> dict[str, Any]:
    found = msgspec.structs.asdict(stats)
    found["cpu_efficiency"] = _part(stats.used_cpu_ms, stats.measured_cpu_ms)
    found["mem_efficiency"] = _part(stats.peak_mem_mib_s, stats.measured_mem_mib_s)
    return found


def _part(some: int, whole: int) -> float | None:
    return round(some / whole, 4) if whole else None


def builds_json(records: Sequence[BuildRecord], following: str | None) -> bytes:
    """A ``PastList``."""
    return msgspec.json.encode({"builds": [msgspec.structs.asdict(one) for one in records], "next": following})


BUILD_COLUMNS = tuple(PastBuild.model_fields)


def builds_csv(records: Iterable[BuildRecord], *, heading: bool) -> bytes:
    rows = (msgspec.structs.asdict(record).values() for record in records)
    return csv_of(([BUILD_COLUMNS] if heading else []), rows)


def stats_csv(answer: StatsAnswer, by: Sequence[Dimension]) -> bytes:
    """A line for each group, the cost in the columns ``cost_micros`` and ``currency``; several currencies stand in both

    in one order.
    """
    classes = tuple(one.value for one in FailureClass)
    columns = [*by, "builds", *classes, "attempts", *_OF_TIMES, "cost_micros", "currency", *_OF_SUMS]
    return csv_of([columns], (_row(group, by, classes) for group in answer.groups))


_OF_TIMES = tuple(f"{what}_{name}" for what in ("wait", "run") for name in PercentilesOut.model_fields)
_OF_SUMS = (
    "unpriced",
    "asked_cpu_ms",
    "used_cpu_ms",
    "measured_cpu_ms",
    "asked_mem_mib_s",
    "peak_mem_mib_s",
    "measured_mem_mib_s",
)


def _row(group: Stats, by: Sequence[Dimension], classes: Sequence[str]) -> Iterator[Any]:
    yield from (group.key[name] for name in by)
    yield group.builds
    yield from (group.by_class.get(name, 0) for name in classes)
    yield group.attempts
    for found in (group.waits, group.runs):
        yield from (None if found is None else round(getattr(found, name)) for name in PercentilesOut.model_fields)
    costs = sorted(group.cost_micros.items())
    yield " ".join(str(micros) for _, micros in costs)
    yield " ".join(currency for currency, _ in costs)
    yield from (getattr(group, name) for name in _OF_SUMS)


def csv_of(heading: Iterable[Iterable[Any]], rows: Iterable[Iterable[Any]]) -> bytes:
    """As RFC 4180 has it."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerows(heading)
    writer.writerows([_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return written.getvalue().encode(errors="replace")


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: what a job is called, anybody may have chosen."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text.replace("\0", "")
