"""What size a job should have been: memory and CPUs from what its builds used, with the confidence stated.

Nothing is supposed of how a job's use is distributed, only that the next builds are like the last ones. Of n builds the
kth largest use is enough for at least ``coverage`` of all builds of the job with a confidence of 1 - P(fewer than k of
n builds need more), which is a binomial tail: an upper tolerance bound from order statistics (Wilks 1941). So the
largest of 59 covers 95 % with a confidence of 95 %.

A build that was killed for want of memory needed more than it was held to, and nobody knows how much: it counts among
those that need most. One that was cancelled, lost or failed tells nothing, for it may have ended before its peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from framework.telemetry.records import BuildRecord

MAX_BUILDS = 300
"""The newest of a job, which are looked at: enough for 99 % of builds with a confidence of 95 %."""
STEP_BUILDS = 20
"""So many of the newest that all need more than all before them have another need; by chance it is 1 in 50,000."""
STEP_BEFORE = 5
"""Fewest before them."""
MEM_STEP_MIB = 64
"""Memory is rounded up to it: sizes of many jobs become few, and what hosts have left over fits the next build."""
CPU_STEP_MILLIS = 50

TELLING = ("passed", "oom")
"""Result classes of builds that tell of a job's size."""
_THROUGH = ("", "SUCCESS", "UNSTABLE")


class Aim(msgspec.Struct, frozen=True):
    """How sure a size shall be."""

    coverage: float = 0.95  # part of the job's builds that it is enough for
    confidence: float = 0.95  # that it is
    headroom: float = 1.2  # times the memory that the history says


class Recommendation(msgspec.Struct, frozen=True):
    """Of one job with one template; sizes are of the container that builds."""

    tenant: str
    job: str
    template: str
    builds: int  # measured, that it is made of
    ooms: int  # of them, killed for want of memory
    asked_mem_mib: int  # by the newest build
    asked_cpu_millis: int
    mem_mib: int | None  # None: it cannot be told
    cpu_millis: int | None  # as above; a share, not a limit
    coverage: float
    confidence: float  # that was reached, of the memory; 0 where that cannot be told
    missing: int  # measured builds that it takes yet, where that is known; else 0
    reason: str


def fewest(aim: Aim) -> int:
    """Measured builds that a recommendation takes."""
    return math.ceil(math.log(1 - aim.confidence) / math.log(aim.coverage) - 1e-9)


def confidence(builds: int, kth: int, coverage: float) -> float:
    """That the ``kth`` largest use of ``builds`` is enough for ``coverage`` of all."""
    if not 1 <= kth <= builds:
        return 0.0
    return 1 - math.fsum(
        math.comb(builds, more) * (1 - coverage) ** more * coverage ** (builds - more) for more in range(kth)
    )


def rank(builds: int, aim: Aim) -> int:
    """The largest k whose kth largest use is sure enough; 0 where none is."""
    kth = 0
    while kth < builds and confidence(builds, kth + 1, aim.coverage) >= aim.confidence - 1e-9:
        kth += 1
    return kth


def telling(build: BuildRecord) -> bool:
    """Whether it says something of its job's size."""
    return build.result_class == "oom" or (went_through(build) and build.peak_mem_mib is not None)


def went_through(build: BuildRecord) -> bool:
    """Whether it came to its end, as builds of its job do that nothing ails."""
    return build.result_class == "passed" and build.result in _THROUGH


def recommend(builds: Sequence[BuildRecord], aim: Aim) -> Recommendation | None:
    """From a job's builds of one template, the newest first; None where none of them tells anything."""
    told = [build for build in builds if telling(build)][:MAX_BUILDS]
    if not told:
        return None
    newest = told[0]
    used, step = _of_now(told, aim)
    ooms = sum(build.result_class == "oom" for build in used)
    kth = rank(len(used), aim)
    mem_mib, why = _memory(used, ooms, kth, aim)
    missing = max(0, fewest(aim) - len(used))
    cpu_millis, why_cpu = _cpu(used, aim)
    return Recommendation(
        newest.tenant,
        newest.job,
        newest.template,
        len(used),
        ooms,
        held_mem_mib(newest),
        newest.asked_cpu_millis,
        mem_mib,
        cpu_millis,
        aim.coverage,
        0.0 if mem_mib is None else confidence(len(used), kth, aim.coverage),
        missing,
        "; ".join(part for part in (step, why, why_cpu) if part),
    )


def held_mem_mib(build: BuildRecord) -> int:
    """The memory that its peak was held to."""
    return build.asked_mem_mib if build.limit_mem_mib is None else build.limit_mem_mib


def _of_now(told: Sequence[BuildRecord], aim: Aim) -> tuple[Sequence[BuildRecord], str]:
    """The newest builds alone, where those before them say nothing of the next; and why."""
    begun = _step(told)
    if begun:
        return told[:begun], f"the newest {begun} builds all need more than any before them, and alone count"
    last = next((at for at, build in enumerate(told) if build.result_class == "oom"), None)
    ooms = sum(build.result_class == "oom" for build in told)
    if last is not None and last >= fewest(aim) and rank(len(told), aim) <= ooms:
        small_mib = max(held_mem_mib(build) for build in told[last:] if build.result_class == "oom")
        if all(held_mem_mib(build) > small_mib for build in told[:last]):
            return told[:last], f"builds that had {small_mib} MiB were killed, and only those count that had more"
    return told, ""


def _step(told: Sequence[BuildRecord]) -> int:
    """How many of the newest all need more than all before them, at least STEP_BUILDS; 0: it is not so."""
    needs = [math.inf if build.result_class == "oom" else build.peak_mem_mib or 0.0 for build in told]
    before = [0.0] * (len(needs) + 1)
    for at in range(len(needs) - 1, -1, -1):
        before[at] = max(before[at + 1], needs[at])
    least = math.inf
    for at, need in enumerate(needs[: len(needs) - STEP_BEFORE + 1]):
        if at >= STEP_BUILDS and least > before[at]:
            return at
        least = min(least, need)
    return 0


def _memory(used: Sequence[BuildRecord], ooms: int, kth: int, aim: Aim) -> tuple[int | None, str]:
    if not kth:
        need = fewest(aim)
        return None, (
            f"{len(used)} of the {need} measured builds that it takes to cover {aim.coverage:.1%} of builds with a "
            f"confidence of {aim.confidence:.1%}: {need - len(used)} more"
        )
    killed_mib = max((held_mem_mib(build) for build in used if build.result_class == "oom"), default=0)
    if kth <= ooms:
        return None, (
            f"{ooms} of {len(used)} builds were killed for want of memory, the largest with {killed_mib} MiB: it needs "
            f"more, and how much can be told after {fewest(aim)} builds that have it"
        )
    peaks = sorted((build.peak_mem_mib or 0.0 for build in used if build.result_class != "oom"), reverse=True)
    bound_mib = peaks[kth - 1 - ooms]
    reached = confidence(len(used), kth, aim.coverage)
    text = f"{aim.coverage:.1%} of builds stay within {bound_mib:.0f} MiB (confidence {reached:.1%})"
    mem_mib = rounded_up(bound_mib * aim.headroom, MEM_STEP_MIB)
    lately_mib = max((held_mem_mib(one) for one in used[: fewest(aim)] if one.result_class == "oom"), default=0)
    if lately_mib >= mem_mib:
        mem_mib = rounded_up(lately_mib + 1, MEM_STEP_MIB)
        return mem_mib, f"{text}; more than {lately_mib} MiB, with which one was killed lately"
    enough_mib = max(held_mem_mib(build) for build in used if build.result_class != "oom")
    if not lately_mib and mem_mib > enough_mib:
        return enough_mib, f"{text}; {enough_mib} MiB have been enough"
    return mem_mib, text


def _cpu(used: Sequence[BuildRecord], aim: Aim) -> tuple[int | None, str]:
    rates = sorted(
        (rate for build in used if went_through(build) and (rate := rate_millis(build)) is not None), reverse=True
    )
    kth = rank(len(rates), aim)
    if not kth:
        return None, ""
    bound = rates[kth - 1]
    text = (
        f"{aim.coverage:.1%} of builds use {bound / 1000:.2f} CPUs on average or less; that is a share, above which "
        "they have what is idle"
    )
    return max(CPU_STEP_MILLIS, rounded_up(bound, CPU_STEP_MILLIS)), text


def rate_millis(build: BuildRecord) -> float | None:
    """CPUs that it used on average while it ran, in thousandths."""
    begun = build.running_at_ms
    ran_ms = build.run_ms if begun is None else build.ended_at_ms - begun
    if build.used_cpu_ms is None or not ran_ms or ran_ms < 0:
        return None
    return 1000 * build.used_cpu_ms / ran_ms


def rounded_up(value: float, step: int) -> int:
    return step * math.ceil(value / step - 1e-9)
