"""Records, made of requests as they are saved: plain values in, plain values out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from framework.core.answers import Health, TenantUse
from framework.core.resources import Resources
from framework.core.stories import Stage, ending, stage
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task
from framework.telemetry.figures import figures
from framework.telemetry.prices import Cost
from framework.telemetry.records import (
    MAX_NAME_BYTES,
    MAX_TEXT_BYTES,
    RECORD_VERSION,
    BuildRecord,
    ChangeRecord,
    SampleRecord,
)

MAX_TITLE_BYTES = 32_000
_HASH_DIGITS = 12  # of SHA-256, 48 bits: two names of one tenant's thousands that begin alike never meet
_PART = re.compile(r"part of (.+?)(?: #\d+)?", re.DOTALL)
"""What Jenkins calls a ``node`` block of a Pipeline's build."""


class Times(NamedTuple):
    """Of a build's record; each is None or no earlier than those before it."""

    queued_at_ms: int
    claimed_at_ms: int | None
    launched_at_ms: int | None
    running_at_ms: int | None
    connected_at_ms: int | None
    started_at_ms: int | None


class Spent(NamedTuple):
    """What attempts at a request have cost so far."""

    attempts: int = 0
    micros: int | None = None  # None where a part has no price
    currency: str = ""
    price: str = ""  # the newest attempt's

    def and_of(self, attempt: Cost | None) -> Spent:
        """With one attempt more; None where nothing has a price."""
        if attempt is None:
            return Spent(self.attempts + 1)
        before = self.micros if self.attempts else 0
        micros = None if before is None or attempt.micros is None else before + attempt.micros
        return Spent(self.attempts + 1, micros, attempt.currency, attempt.price)


def job_of(task: str) -> str:
    """The job, of what Jenkins calls something that waits in its queue: ``part of payments #7`` is of ``payments``."""
    found = _PART.fullmatch(task)
    return task if found is None else found[1]


def bounded_name(name: str) -> str:
    """The name where it has no more than ``MAX_NAME_BYTES``, else its begin and a hash of all of it."""
    if len(name) * 4 <= MAX_NAME_BYTES or len(whole := name.encode()) <= MAX_NAME_BYTES:
        return name
    digits = hashlib.sha256(whole).hexdigest()[:_HASH_DIGITS]
    return f"{whole[: MAX_NAME_BYTES - _HASH_DIGITS - 1].decode(errors='ignore')}~{digits}"


def bounded_text(text: str, most: int = MAX_TEXT_BYTES) -> str:
    if len(text) * 4 <= most or len(whole := text.encode()) <= most:
        return text
    return whole[:most].decode(errors="ignore")


def build_record(request: Request, spent: Spent, waited_for: str = "") -> BuildRecord:
    """Of a request that has ended, which was for one build or came to none."""
    outcome, side = request.outcome, request.jenkins
    assert outcome is not None and request.ended_at is not None, "it has ended"  # noqa: S101
    queued_at = request.submitted_at if side is None else side.buildable_at
    started_at = request.running_at if side is None else side.accepted_at
    over_at = request.ended_at if side is None or side.served_at is None else side.served_at
    online_at = None if side is None else side.online_at
    claimed_at, launched_at, running_at = request.claimed_at, request.launched_at, request.running_at
    times = times_of(queued_at, claimed_at, launched_at, running_at, online_at, started_at, request.ended_at)
    ready_at_ms = times.running_at_ms if side is None else times.connected_at_ms
    record = plain_record(request, request.job if side is None else side.task, request.id, request.ended_at, spent)
    return msgspec.structs.replace(
        record,
        result_class=outcome.result_class.value,
        queued_at_ms=times.queued_at_ms,
        queue_item=None if side is None or side.item is None else side.item.number,
        label="" if side is None else bounded_name(side.label),
        used_cpu_ms=None if outcome.cpu_s is None else round(outcome.cpu_s * 1000),
        peak_mem_mib=outcome.peak_mem_mib,
        limit_mem_mib=outcome.limit_mem_mib,
        peak_disk_mib=outcome.peak_disk_mib,
        claimed_at_ms=times.claimed_at_ms,
        launched_at_ms=times.launched_at_ms,
        running_at_ms=times.running_at_ms,
        connected_at_ms=times.connected_at_ms,
        started_at_ms=times.started_at_ms,
        wait_ms=None if ready_at_ms is None else ready_at_ms - times.queued_at_ms,
        **figures(
            record.asked_cpu_millis,
            record.asked_mem_mib,
            outcome.peak_mem_mib,
            None if times.started_at_ms is None else max(0, ms(over_at) - times.started_at_ms),
        ),
        waited_for=waited_for,
        result="" if side is None else bounded_name(side.result or ""),
        message=message_of(request, outcome),
        exit_code=outcome.exit_code,
        build_url="" if side is None else bounded_text(side.build_url),
        isolation=outcome.isolation or "",
        losses=request.losses,
        preemptions=request.preemptions,
    )


def times_of(
    queued_at: float,
    claimed_at: float | None,
    launched_at: float | None,
    running_at: float | None,
    connected_at: float | None,
    started_at: float | None,
    ended_at: float,
) -> Times:
    """In the order in which a build goes through them, whatever order word of them came in.

    What a later one proves was so by then: an agent that is online runs. One that was there before the build was queued
    was there at once.
    """
    bound = ms(ended_at)
    bounded: list[int | None] = []
    for at in (started_at, connected_at, running_at, launched_at, claimed_at):
        if at is not None:
            bound = min(bound, ms(at))
        bounded.append(None if at is None else bound)
    queued_at_ms = min(ms(queued_at), ms(ended_at) if bounded[0] is None else bounded[0])
    return Times(queued_at_ms, *(None if at is None else max(queued_at_ms, at) for at in reversed(bounded)))


def plain_record(request: Request, name: str, build_id: str, ended_at: float, spent: Spent) -> BuildRecord:
    """What is the same for all: of a build ``name`` that passed and waited for nothing."""
    template, job = request.template, name if request.jenkins is None else job_of(name)
    bounded, need = bounded_name(job), template.resources
    source = "jenkins" if request.jenkins is not None else "api" if request.origin is None else "webhook"
    at_ms = ms(ended_at)
    return BuildRecord(
        id=build_id,
        at_ms=at_ms,
        v=RECORD_VERSION,
        tenant=request.tenant,
        job=bounded,
        title="" if bounded == name else bounded_text(name, MAX_TITLE_BYTES),
        source=source,
        result_class=FailureClass.PASSED.value,
        attempts=spent.attempts,
        asked_cpu_millis=need.cpu_millis,
        asked_mem_mib=need.mem_mib,
        asked_disk_mib=need.disk_mib,
        asked_gpus=need.gpus,
        queued_at_ms=at_ms,
        ended_at_ms=at_ms,
        template=bounded_name(template.name),
        template_version=bounded_name(template.version),
        host=bounded_name(request.hostname),
        image=bounded_name(template.image or ""),
        priority=request.priority,
        cost_micros=spent.micros,
        currency=spent.currency,
        price=spent.price,
    )


def message_of(request: Request, outcome: Outcome) -> str:
    if outcome.result_class is FailureClass.PASSED:
        return ""
    return bounded_text(ending(request, outcome).removeprefix(f"{outcome.result_class.value}: "))


def attempt_of(request: Request) -> int:
    """The number of the attempt that the request's state is about; of one that waits, the one to come."""
    waits = request.state in (RequestState.WAITING, RequestState.PREPARING)
    unplaced = request.state is RequestState.ENDED and request.launched_at is None
    return request.attempt + 1 if waits or unplaced else request.attempt


def reached(request: Request) -> Iterator[tuple[Stage, float | None]]:
    """The states that the newest attempt at a live request has come to, and when where that is known."""
    side, waits = request.jenkins, request.state in (RequestState.WAITING, RequestState.PREPARING)
    yield Stage.WAITING, request.submitted_at if attempt_of(request) == 1 else None
    if side is not None and request.claimed_at is not None:
        yield Stage.PREPARING, request.claimed_at
    if waits:
        return
    if request.launched_at is not None and request.given is None:
        yield Stage.STARTING, request.launched_at
    if request.running_at is not None:
        online_at = None if side is None else side.online_at  # word of which may have come first
        running_at = request.running_at if online_at is None else min(online_at, request.running_at)
        yield (Stage.BUILDING if side is None else Stage.CONNECTING), running_at
    if side is not None and side.online_at is not None:
        yield Stage.ONLINE, side.online_at
    if side is not None and side.accepted_at is not None:
        yield Stage.BUILDING, side.accepted_at
    now = stage(request)
    if now in (Stage.IDLE, Stage.ENDING):
        yield now, None


def change_record(request: Request, state: Stage, at: float) -> ChangeRecord:
    """That the newest attempt came to ``state``."""
    attempt = attempt_of(request)
    placed = state not in (Stage.WAITING, Stage.PREPARING)
    return ChangeRecord(
        id=f"{request.id}.{attempt}.{state.value}",
        at_ms=ms(at),
        v=RECORD_VERSION,
        build=request.id,
        tenant=request.tenant,
        state=state.value,
        attempt=attempt,
        host=bounded_name(request.hostname) if placed else "",
    )


def end_record(request: Request) -> ChangeRecord:
    """That the request has ended."""
    outcome = request.outcome
    assert outcome is not None and request.ended_at is not None, "it has ended"  # noqa: S101
    return msgspec.structs.replace(
        change_record(request, Stage.ENDED, request.ended_at),
        result_class=outcome.result_class.value,
        message=message_of(request, outcome),
    )


def lost_record(request: Request, task: Task) -> ChangeRecord | None:
    """That an attempt has ended which was not the request's last; None for any other."""
    if task.outcome is None or task.ended_at is None or task.attempt >= attempt_of(request):
        return None
    return ChangeRecord(
        id=f"{task.request_id}.{task.attempt}.{Stage.ENDED.value}",
        at_ms=ms(task.ended_at),
        v=RECORD_VERSION,
        build=task.request_id,
        tenant=task.tenant,
        state=Stage.ENDED.value,
        attempt=task.attempt,
        host=bounded_name(task.hostname),
        result_class=task.outcome.result_class.value,
        message=message_of(request, task.outcome),
    )


def cluster_sample(
    at: float, uses: list[TenantUse], reasons: Mapping[str, Mapping[str, int]], total: Resources, health: Health
) -> SampleRecord:
    """Of the cluster; ``reasons`` as in ``framework.telemetry_ports.Use``."""
    merged: dict[str, int] = {}
    for of_tenant in reasons.values():
        for reason, count in of_tenant.items():
            merged[reason] = merged.get(reason, 0) + count
    return SampleRecord(
        id=f"{ms(at)}~",
        at_ms=ms(at),
        v=RECORD_VERSION,
        scope="cluster",
        waiting=sum(use.waiting for use in uses),
        launching=sum(use.launching for use in uses),
        running=sum(use.running for use in uses),
        used_cpu_millis=sum(use.used.cpu_millis for use in uses),
        used_mem_mib=sum(use.used.mem_mib for use in uses),
        total_cpu_millis=total.cpu_millis,
        total_mem_mib=total.mem_mib,
        hosts=health.hosts,
        offers=health.offers_held,
        tenants=len(uses),
        breakers=len(health.breakers),
        reasons=merged,
    )


def tenant_sample(at: float, use: TenantUse, reasons: Mapping[str, int]) -> SampleRecord:
    return SampleRecord(
        id=f"{ms(at)}~{use.tenant.name}",
        at_ms=ms(at),
        v=RECORD_VERSION,
        scope="tenant",
        tenant=use.tenant.name,
        waiting=use.waiting,
        launching=use.launching,
        running=use.running,
        used_cpu_millis=use.used.cpu_millis,
        used_mem_mib=use.used.mem_mib,
        dominant_share=use.dominant_share,
        fair_share=use.fair_share,
        reasons=dict(reasons),
    )


def ms(at: float) -> int:
    return round(at * 1000)
