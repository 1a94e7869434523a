"""Records of the builds that agents of pools serve, one after the other: each has its own, its agent's request none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from framework.core.jenkins import JenkinsSide, PooledBuild
from framework.core.tasks import Request, RequestState
from framework.core.templates import Lifetime
from framework.telemetry.figures import figures
from framework.telemetry.making import Spent, bounded_name, bounded_text, message_of, ms, plain_record, times_of
from framework.telemetry.prices import Cost
from framework.telemetry.records import BuildRecord

CostOf = Callable[[float, float], Cost | None]
"""What the agent costs from one time to another, in seconds since the epoch; None where nothing has a price."""


def serves_many(request: Request) -> bool:
    """Whether the request's agent is of a pool and has served a build, so that it stands for no build itself."""
    side = request.jenkins
    return request.template.lifetime is Lifetime.POOLED and side is not None and side.builds > 0


def was_taken(request: Request) -> bool:
    """Whether an agent of a pool, another request's, served what it was for: that one's records tell of it."""
    side = request.jenkins
    return (
        request.template.lifetime is Lifetime.POOLED
        and side is not None
        and side.accepted_at is not None
        and request.launched_at is None
    )


def number_of(record: BuildRecord) -> int:
    """Of ``PooledBuild``."""
    return int(record.id.rpartition("+")[2])


def pooled_records(
    request: Request, told: int, before: Spent, cost_of: CostOf, waited_for: str = ""
) -> Iterator[BuildRecord]:
    """Of the builds after number ``told`` whose agent's time is over: idle time is the next build's, at the end the

    last one's, so the last build is told once another began or the agent has ended.

    ``before``: attempts that were lost before its agent came, which are the first build's; so is ``waited_for``.
    """
    side = request.jenkins
    if side is None:
        return
    ended_at = request.ended_at if request.state is RequestState.ENDED else None
    broken_off = None if ended_at is None else _broken_off(side, ended_at)
    builds = [*side.past, *([] if broken_off is None else [broken_off])]
    for index, build in enumerate(builds):
        is_last = index == len(builds) - 1
        if build.number <= told or (is_last and ended_at is None and side.accepted_at is None):
            continue
        previous = builds[index - 1] if index else None
        over_at = ended_at if is_last and ended_at is not None else build.served_at
        cost = cost_of(_begun_at(request, build, previous), over_at)
        spent = (before if build.number == 1 else Spent()).and_of(cost)
        record = _record(request, side, build, previous, spent, waited_for)
        yield _failed(request, record) if build is broken_off else record


def _broken_off(side: JenkinsSide, ended_at: float) -> PooledBuild | None:
    """The build that the agent ended in the middle of."""
    if side.accepted_at is None or side.served_at is not None:
        return None
    return PooledBuild(
        side.builds + 1,
        side.item,
        side.task,
        side.label,
        side.buildable_at,
        side.accepted_at,
        ended_at,
        side.build_url,
        side.result,
    )


def _begun_at(request: Request, build: PooledBuild, previous: PooledBuild | None) -> float:
    """From when on the agent was the build's."""
    if previous is not None:
        return previous.served_at
    return request.launched_at if build.number == 1 and request.launched_at is not None else build.accepted_at


def _record(
    request: Request, side: JenkinsSide, build: PooledBuild, previous: PooledBuild | None, spent: Spent, waited_for: str
) -> BuildRecord:
    first = build.number == 1
    queued_at = build.buildable_at
    if previous is not None and previous.buildable_at == queued_at:  # nobody told since when it waited
        queued_at = build.accepted_at
    times = times_of(
        queued_at,
        request.claimed_at if first else None,
        request.launched_at if first else None,
        request.running_at if first else None,
        side.online_at if first else None,
        build.accepted_at,
        build.served_at,
    )
    started_at_ms = ms(build.served_at) if times.started_at_ms is None else times.started_at_ms
    ready_at_ms = started_at_ms if times.connected_at_ms is None else times.connected_at_ms
    record = plain_record(request, build.task, f"{request.id}+{build.number}", build.served_at, spent)
    return msgspec.structs.replace(
        record,
        queued_at_ms=times.queued_at_ms,
        queue_item=None if build.item is None else build.item.number,
        label=bounded_name(build.label),
        claimed_at_ms=times.claimed_at_ms,
        launched_at_ms=times.launched_at_ms,
        running_at_ms=times.running_at_ms,
        connected_at_ms=times.connected_at_ms,
        started_at_ms=started_at_ms,
        wait_ms=ready_at_ms - times.queued_at_ms,
        **figures(record.asked_cpu_millis, record.asked_mem_mib, None, ms(build.served_at) - started_at_ms),
        waited_for=waited_for if first else "",
        result=bounded_name(build.result or ""),
        build_url=bounded_text(build.build_url),
        losses=request.losses if first else 0,
        preemptions=request.preemptions if first else 0,
    )


def _failed(request: Request, record: BuildRecord) -> BuildRecord:
    outcome = request.outcome
    assert outcome is not None, "its request has ended"  # noqa: S101
    return msgspec.structs.replace(
        record,
        result_class=outcome.result_class.value,
        message=message_of(request, outcome),
        exit_code=outcome.exit_code,
    )
