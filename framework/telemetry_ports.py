"""Protocols of telemetry: the spool, who takes what is in it, and the history that is asked.

All that are synchronous are called off the loop's thread; where several threads may call one at once it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from framework.core.answers import TenantUse
from framework.errors import ButleryError, UnavailableError
from framework.telemetry.lines import lines_of
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, Record, SampleRecord


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Records of one kind, as Elasticsearch takes them in bulk: for each a line ``{"create":{"_id":ID}}`` and a line

    with the record in JSON. Every consumer reads this form, so that the commonest need not make it anew.
    """

    kind: Kind
    count: int
    payload: bytes
    again: bool = False  # some of it may be there already, in an older index even

    @classmethod
    def of(cls, kind: Kind, records: Sequence[Record], *, again: bool = False) -> Batch:
        return cls(kind, len(records), lines_of(records), again)

    def documents(self) -> list[bytes]:
        """The records' lines of JSON."""
        return self.payload.split(b"\n")[1::2]


class Rejected(msgspec.Struct, frozen=True):
    """A record that can never be taken as it is."""

    kind: Kind
    id: str
    reason: str
    document: bytes  # its line of JSON


class BusyError(UnavailableError):
    """Too much was sent at once; ``retry_after_s``: when to try again, where that was told."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OperatorError(ButleryError):
    """Nothing will be taken until somebody mends what the message names; it is tried again now and then."""

    retryable = True


class Consumer(Protocol):
    """Takes what is in the spool, batch after batch. Called by one thread."""

    name: str  # of its place in the spool, and in messages
    kinds: frozenset[Kind]  # of which it wants records

    def take(self, batches: Sequence[Batch]) -> list[Rejected]:
        """All of them are taken when it returns, but for those it names. May be called again with the same ones, of

        which it keeps one each. Raises UnavailableError (BusyError), and OperatorError.
        """
        ...

    def tend(self, now: float) -> None:
        """What is to be done every few minutes, between two batches. Raises as ``take``."""
        ...

    def close(self) -> None: ...


class SpoolDepth(msgspec.Struct, frozen=True):
    """What a consumer has not taken yet."""

    records: int
    bytes: int
    oldest_at: float | None  # seconds since the epoch, when the oldest of it was put there


class Spool(Protocol):
    """Records on disk, in the order in which they came, until every consumer has them. Safe for several threads."""

    def append(self, batches: Sequence[Batch], told_until: float) -> bool:
        """On disk when it returns; False, and nothing is taken, where it is full. Batches have up to 16 MiB.

        ``told_until`` (seconds since the epoch): every build that ended before it is in here now, or was.
        Raises UnavailableError where it cannot be written now.
        """
        ...

    @property
    def told_until(self) -> float:
        """As last appended; lower where a part of the spool was lost, which may turn out at any time: then builds that

        ended since are to be told again. 0 where nothing ever was appended.
        """
        ...

    def read(self, consumer: str, max_bytes: int) -> tuple[Sequence[Batch], int]:
        """The oldest that it has not taken of its kinds, one frame at least, and the position to tell ``done``; none

        where it has taken all. Raises UnavailableError.

        What was read in this process before, or may have been in one before it, comes with ``again``.
        """
        ...

    def done(self, consumer: str, position: int) -> None: ...

    def depth(self, consumer: str) -> SpoolDepth: ...

    def reject(self, consumer: str, rejected: Sequence[Rejected]) -> None:
        """Keeps them aside, within a bound; ``rejected`` counts them."""
        ...

    @property
    def rejected(self) -> int: ...

    def resend(self) -> int:
        """Puts those kept aside back to be taken again; how many. Raises UnavailableError."""
        ...

    @property
    def dropped(self) -> int:
        """State changes and samples that it was too full for, since the start."""
        ...

    @property
    def notices(self) -> list[str]:
        """What an operator should know, such as a torn file."""
        ...

    def close(self) -> None: ...


class BuildQuery(msgspec.Struct, frozen=True):
    """Which past builds to list, those that ended last first. None, and no ``result_classes``: any."""

    tenant: str | None = None
    job: str | None = None
    label: str | None = None
    template: str | None = None
    host: str | None = None
    result_classes: tuple[str, ...] = ()
    since_ms: int | None = None  # ended then or later
    until_ms: int | None = None  # ended before
    after: str | None = None  # the ``next`` of the page before
    limit: int = 100  # at most 10,000


class BuildPage(msgspec.Struct, frozen=True):
    builds: list[BuildRecord]
    next: str | None  # None at the end


class Dimension(StrEnum):
    """What statistics are told by; a value is text, of ``day`` and ``hour`` the UTC begin as ``2026-01-31T13:00Z``."""

    TENANT = "tenant"
    JOB = "job"
    LABEL = "label"
    TEMPLATE = "template"
    RESULT_CLASS = "result_class"
    DAY = "day"
    HOUR = "hour"  # of spans of at most 31 days


class Order(StrEnum):
    BUILDS = "builds"
    COST = "cost"
    WAIT = "wait"  # the 99th percentile
    KEY = "key"  # ascending; the others descend


class StatsQuery(msgspec.Struct, frozen=True):
    """Statistics of builds that ended in ``[since_ms, until_ms)``, by up to three dimensions."""

    since_ms: int
    until_ms: int
    by: tuple[Dimension, ...] = ()  # none: of all together
    tenant: str | None = None
    job: str | None = None
    label: str | None = None
    template: str | None = None
    order: Order = Order.BUILDS
    limit: int = 100  # groups, at most 1000


class Percentiles(msgspec.Struct, frozen=True):
    """Within 3 % of the exact ones."""

    p50_ms: float
    p90_ms: float
    p99_ms: float


class Stats(msgspec.Struct, frozen=True):
    """Of one group of builds. Counts and sums are exact."""

    key: dict[str, str]  # a value for each dimension that was asked for
    builds: int
    by_class: dict[str, int]  # builds by ``result_class``
    attempts: int
    waits: Percentiles | None  # None where none of them was served
    runs: Percentiles | None
    cost_micros: dict[str, int]  # by currency
    unpriced: int  # builds of which at least a part has no price
    asked_cpu_ms: int  # CPUs asked for, times the time they ran
    used_cpu_ms: int  # of those that were measured
    measured_cpu_ms: int  # what those asked for
    asked_mem_mib_s: int
    peak_mem_mib_s: int  # peak memory of those that were measured, times the time they ran
    measured_mem_mib_s: int


class StatsAnswer(msgspec.Struct, frozen=True):
    groups: list[Stats]
    total: Stats
    more: bool  # there are more groups than ``limit``


class RunsQuery(msgspec.Struct, frozen=True):
    """Builds that ran at any time of ``[since_ms, until_ms)``, the newest first."""

    since_ms: int
    until_ms: int
    host: str | None = None
    limit: int = 20_000


class SampleQuery(msgspec.Struct, frozen=True):
    since_ms: int
    until_ms: int
    tenant: str | None = None  # None: of the cluster
    limit: int = 10_000  # the newest, told in their order


class History(Protocol):
    """What became of builds, as far as it has come out of the spool. Safe for several threads.

    Every method raises UnavailableError, and OperatorError.
    """

    def builds(self, query: BuildQuery) -> BuildPage: ...

    def build(self, build_id: str) -> BuildRecord | None: ...

    def changes(self, build_id: str) -> list[ChangeRecord]:
        """In their order."""
        ...

    def stats(self, query: StatsQuery) -> StatsAnswer: ...

    def runs(self, query: RunsQuery) -> list[BuildRecord]: ...

    def samples(self, query: SampleQuery) -> list[SampleRecord]: ...


class Sink(Consumer, History, Protocol):
    """Where the records are kept that answers are made of. ``take`` is called by one thread, the rest by any."""

    shared: bool
    """Whether several schedulers have it in common, so that each of them answers alike."""

    @property
    def notices(self) -> list[str]: ...


class ConsumerHealth(msgspec.Struct, frozen=True):
    """How one who takes from the spool stands."""

    name: str
    depth: SpoolDepth
    taken: int  # records, since the start
    trouble: str  # why nothing is taken now; empty: it is
    behind_s: float  # age of the oldest that it has not taken


class TelemetryHealth(msgspec.Struct, frozen=True):
    sink: str  # ``sqlite`` or ``elasticsearch``
    consumers: list[ConsumerHealth]
    rejected: int
    dropped: int  # state changes and samples that a full spool did not take
    notices: list[str]


class Telemetry(Protocol):
    """What the API asks of telemetry, whoever leads."""

    @property
    def history(self) -> History: ...

    @property
    def shared(self) -> bool:
        """As of the sink."""
        ...

    @property
    def use(self) -> Use | None:
        """As last sampled; None where we do not lead, or have only begun to."""
        ...

    async def health(self) -> TelemetryHealth:
        """Raises UnavailableError where its disk does not answer in some seconds, as ``resend`` does."""
        ...

    async def resend(self) -> int:
        """Has records that were refused taken again; how many. Raises UnavailableError."""
        ...


class MetricsPage(Protocol):
    """What Prometheus reads."""

    async def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics and their media type: OpenMetrics where the header ``Accept`` names it, else Prometheus' text."""
        ...


class Use(msgspec.Struct, frozen=True):
    """One look at the whole state, for samples and metrics."""

    at: float
    tenants: list[TenantUse]
    reasons: dict[str, dict[str, int]]  # by tenant: builds that wait, by what for
