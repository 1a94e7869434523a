"""Noisy neighbours: who ran beside a build on its host, and beside whose builds those of others take longer.

That builds take longer beside a job does not say that it is the job's doing. Jobs are compared with themselves, so that
a job which runs beside long builds is not blamed for them; a host that is slow by itself is not told apart.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable
from statistics import NormalDist, median

import msgspec

from framework.telemetry.records import BuildRecord
from framework.telemetry.sizing import rate_millis, went_through

USUAL_BUILDS = 5
"""Fewest other builds of a job that tell what is usual for it."""
MAX_PAIRS = 200_000
"""Of builds that ran beside one another, in one ranking; the newest are looked at."""
BESIDE = 0.25
"""Part of its time, summed over the other job's builds, from which on a build counts as one that ran beside that job;

one with less, but some, counts neither as that nor as one without.
"""
FEWEST_OF_JOB = 3
"""Builds of one job on either side, of which one is reckoned with."""
FEWEST = 20
"""Builds on either side, of all jobs together, from which on a job is told."""
LEVEL = 0.95

Job = tuple[str, str]
"""Tenant and name."""
OTHERS: Job = ("", "")
"""All jobs of tenants that the one who asks does not see."""


class Neighbour(msgspec.Struct, frozen=True):
    """A build that ran on the same host at the same time."""

    build: str
    tenant: str
    job: str
    together_ms: int
    asked_cpu_millis: int
    used_cpu_millis: int | None  # on average, while it ran
    above_cpu_millis: int | None  # of it, beyond what it asked for


class Beside(msgspec.Struct, frozen=True):
    """One build, and who ran beside it: first those that used most beyond what they had asked for."""

    neighbours: list[Neighbour]
    more: int  # that are not listed
    run_ms: int | None
    usual_ms: float | None  # median of its job's other builds; None: too few
    usual_builds: int
    slower: float | None  # times the usual


class Noisy(msgspec.Struct, frozen=True):
    """A job beside which builds of others take longer, or less long, than their jobs' builds do without it."""

    tenant: str
    job: str
    slower: float  # times; geometric mean over the jobs beside
    least: float  # as above, with a confidence of LEVEL
    most: float
    beside: int  # builds that ran beside it
    without: int  # builds of the same jobs that did not
    jobs: int  # those jobs
    above_cpu_millis: float | None  # that its builds used beyond what they asked for, on average


class Ranking(msgspec.Struct, frozen=True):
    jobs: list[Noisy]  # the surest to slow others down first
    builds: int  # that were compared
    too_few: int  # jobs that ran beside others too seldom, or always
    cut_short: bool  # there were more than could be looked at; the newest were


def beside(build: BuildRecord, others: Iterable[BuildRecord], usual: Iterable[BuildRecord], most: int = 20) -> Beside:
    """``others``: builds of its host at its time; ``usual``: of its job, of any time. Either may hold it too."""
    neighbours = []
    begun_ms = begun(build)
    for other in others if begun_ms is not None else ():
        other_ms = begun(other)
        if begun_ms is None or other_ms is None or other.id == build.id or other.host != build.host:
            continue
        together_ms = min(build.ended_at_ms, other.ended_at_ms) - max(begun_ms, other_ms)
        if together_ms > 0:
            neighbours.append(_neighbour(other, together_ms))
    neighbours.sort(key=lambda one: (-(one.above_cpu_millis or 0) * one.together_ms, -one.together_ms, one.build))
    lengths = [one.run_ms for one in usual if one.id != build.id and went_through(one) and one.run_ms]
    usual_ms = median(lengths) if len(lengths) >= USUAL_BUILDS else None
    slower = build.run_ms / usual_ms if build.run_ms and usual_ms else None
    return Beside(neighbours[:most], max(0, len(neighbours) - most), build.run_ms, usual_ms, len(lengths), slower)


def noisy(runs: Iterable[BuildRecord], sees: str | None = None) -> Ranking:
    """From builds of all hosts of some time. ``sees``: the tenant that asks, who is told of what happens to its own

    jobs, with all jobs of others as one (OTHERS); None: all.
    """
    found = [run for run in runs if begun(run) is not None and run.host]
    together, cut_short = _together(found, sees)
    compared: defaultdict[Job, _Compared] = defaultdict(_Compared)
    builds = 0
    for its in _by_job(together, sees).values():
        builds += len(its)
        _compare(its, compared)
    above = _above(found, sees)
    told = [one for job, each in compared.items() if (one := each.judged(job, above.get(job))) is not None]
    told.sort(key=lambda one: (-one.least, one.tenant, one.job))
    return Ranking(told, builds, len(above) - len(told), cut_short)


def begun(build: BuildRecord) -> int | None:
    """When it began to use its host."""
    return build.running_at_ms if build.running_at_ms is not None else build.launched_at_ms


class _Side:
    """Logarithms of the times of some builds."""

    __slots__ = ("builds", "squares", "total")

    def __init__(self, builds: int = 0, total: float = 0.0, squares: float = 0.0) -> None:
        self.builds = builds
        self.total = total
        self.squares = squares

    def add(self, value: float) -> None:
        self.builds += 1
        self.total += value
        self.squares += value * value

    def without(self, other: _Side) -> _Side:
        return _Side(self.builds - other.builds, self.total - other.total, self.squares - other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.builds

    @property
    def spread(self) -> float:
        """Sum of the squared distances from the mean."""
        return max(0.0, self.squares - self.total * self.mean)


class _Compared:
    """What came of builds beside one job, over all jobs that ran beside it, each weighed by how much it tells."""

    def __init__(self) -> None:
        self._beside = self._without = self._jobs = 0
        self._weight = self._difference = self._variance = 0.0

    def add(self, beside_it: _Side, without: _Side) -> None:
        one, other = beside_it.builds, without.builds
        if min(one, other) < FEWEST_OF_JOB:
            return
        weight = one * other / (one + other)
        self._beside += one
        self._without += other
        self._jobs += 1
        self._weight += weight
        self._difference += weight * (beside_it.mean - without.mean)
        self._variance += weight * (beside_it.spread + without.spread) / (one + other - 2)

    def judged(self, job: Job, above_cpu_millis: float | None) -> Noisy | None:
        """None where too few builds were compared."""
        if min(self._beside, self._without) < FEWEST:
            return None
        middle = self._difference / self._weight
        reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(self._variance) / self._weight
        slower, least, most = (math.exp(middle + part) for part in (0.0, -reach, reach))
        return Noisy(*job, slower, least, most, self._beside, self._without, self._jobs, above_cpu_millis)


class _Lived:
    """A build and, by job, how long others ran beside it."""

    __slots__ = ("build", "together_ms")

    def __init__(self, build: BuildRecord) -> None:
        self.build = build
        self.together_ms: dict[Job, int] = {}


def _together(runs: list[BuildRecord], sees: str | None) -> tuple[list[_Lived], bool]:
    """Builds with what ran beside them on their hosts, from the newest back to where MAX_PAIRS have been looked at."""
    all_of: list[_Lived] = []
    live: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # by host: begins, the last first; place above
    pairs = 0
    for build in sorted(runs, key=lambda run: -run.ended_at_ms):
        begun_ms, ended_ms, job = begun(build) or 0, build.ended_at_ms, _job(build, sees)
        beside_it = live[build.host]
        while beside_it and -beside_it[0][0] >= ended_ms:
            heapq.heappop(beside_it)
        pairs += len(beside_it)
        if pairs > MAX_PAIRS:
            return [one for one in all_of if (begun(one.build) or 0) >= ended_ms], True
        own = _Lived(build)
        for other_begun, place in beside_it:
            other = all_of[place]
            together_ms = ended_ms - max(begun_ms, -other_begun)
            its = _job(other.build, sees)
            if its != job:
                own.together_ms[its] = own.together_ms.get(its, 0) + together_ms
                other.together_ms[job] = other.together_ms.get(job, 0) + together_ms
        heapq.heappush(beside_it, (-begun_ms, len(all_of)))
        all_of.append(own)
    return all_of, False


def _by_job(lived: list[_Lived], sees: str | None) -> dict[Job, list[_Lived]]:
    """Those whose length tells something."""
    found: defaultdict[Job, list[_Lived]] = defaultdict(list)
    for one in lived:
        if went_through(one.build) and one.build.run_ms and sees in (None, one.build.tenant):
            found[one.build.tenant, one.build.job].append(one)
    return found


def _compare(its: list[_Lived], compared: defaultdict[Job, _Compared]) -> None:
    """The builds of one job, with and without each job that ran beside one of them."""
    whole = _Side()
    near: defaultdict[Job, _Side] = defaultdict(_Side)
    little: defaultdict[Job, _Side] = defaultdict(_Side)
    for one in its:
        length = math.log(one.build.run_ms or 1)
        whole.add(length)
        enough_ms = BESIDE * (one.build.ended_at_ms - (begun(one.build) or 0))
        for job, together_ms in one.together_ms.items():
            (near if together_ms >= enough_ms else little)[job].add(length)
    for job, side in near.items():
        rest = whole.without(side)
        compared[job].add(side, rest.without(little[job]) if job in little else rest)


def _above(runs: list[BuildRecord], sees: str | None) -> dict[Job, float | None]:
    """By job, the CPUs that its builds used beyond what they asked for, on average; None where nobody measured."""
    sums: dict[Job, tuple[int, int]] = {}
    for build in runs:
        above = above_millis(build)
        count, total = sums.get(_job(build, sees), (0, 0))
        sums[_job(build, sees)] = (count, total) if above is None else (count + 1, total + above)
    return {job: total / count if count else None for job, (count, total) in sums.items()}


def above_millis(build: BuildRecord) -> int | None:
    """CPUs, in thousandths, that it used on average beyond what it asked for."""
    rate = rate_millis(build)
    return None if rate is None else max(0, round(rate) - build.asked_cpu_millis)


def _neighbour(other: BuildRecord, together_ms: int) -> Neighbour:
    rate = rate_millis(other)
    used = None if rate is None else round(rate)
    return Neighbour(other.id, other.tenant, other.job, together_ms, other.asked_cpu_millis, used, above_millis(other))


def _job(build: BuildRecord, sees: str | None) -> Job:
    return (build.tenant, build.job) if sees in (None, build.tenant) else OTHERS
