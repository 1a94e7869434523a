"""/v2/deployments and /v2/queue"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from framework.core.pieces import PER_UNIT, Piece
from framework.core.resources import Resources
from framework.local.marathon.api.exchange import Answer, Call, deployed, encoded, listed
from framework.local.marathon.api.happened import actions_of, steps_of
from framework.local.marathon.api.problems import RefusedError
from framework.local.marathon.api.render import readiness_result, stamp
from framework.local.marathon.control import NoSuchDeploymentError, QueueEntry, UnusedOffer
from framework.local.marathon.records import Deployment

_ENTRIES_AT_ONCE = 20


async def running(call: Call) -> Answer:
    return encoded([_deployment(call, one) for one in call.view.deployments()])


async def cancel(call: Call) -> Answer:
    deployment_id, force = call.path["deployment"], call.flag("force")
    try:
        started = await call.control.cancel(deployment_id, force=force)
    except NoSuchDeploymentError:
        raise RefusedError(404, f"DeploymentPlan {deployment_id} does not exist") from None
    return deployed(started) if started is not None else Answer(status=202)


async def queue(call: Call) -> Answer:
    with_offers = "lastUnusedOffers" in call.several("embed")
    items: list[bytes] = []
    for index, entry in enumerate(call.view.queue(), 1):
        item: dict[str, Any] = _queued(entry)
        item["app"] = msgspec.Raw(call.render.app(entry.app))
        if with_offers:
            item["lastUnusedOffers"] = [_unused(one, entry.role) for one in entry.unused_offers]
        items.append(msgspec.json.encode(item))
        if index % _ENTRIES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return Answer(b'{"queue":' + listed(items) + b"}")


async def reset_delay(call: Call) -> Answer:
    if call.view.app(call.id) is None or not await call.control.reset_delay(call.id):
        raise RefusedError(404, f"Application {call.id} not found in tasks queue.")
    return Answer(status=204)


def _deployment(call: Call, deployment: Deployment) -> dict[str, object]:
    steps = deployment.steps
    actions: list[dict[str, object]] = []
    if deployment.current < len(steps):
        for action in actions_of(steps[deployment.current]):
            results = [readiness_result(one) for one in call.view.readiness(action["app"])]
            actions.append({**action, "readinessCheckResults": results})
    return {
        "id": deployment.id,
        "version": deployment.version,
        "affectedApps": deployment.affected,
        "affectedPods": [],
        "steps": steps_of(steps),
        "currentActions": actions,
        "currentStep": min(deployment.current + 1, len(steps)),  # as the real one, which counts from 1
        "totalSteps": len(steps),
    }


def _queued(entry: QueueEntry) -> dict[str, Any]:
    declined = _declined(entry.last_offers)
    summary: dict[str, object] = {
        "processedOffersCount": entry.processed,
        "unusedOffersCount": entry.unused,
        "rejectSummaryLastOffers": declined,
        "rejectSummaryLaunchAttempt": declined,  # reasons are found when they are asked for, so of these offers alone
    }
    if entry.last_unused_at is not None:
        summary["lastUnusedOfferAt"] = stamp(entry.last_unused_at)
    if entry.last_used_at is not None:
        summary["lastUsedOfferAt"] = stamp(entry.last_used_at)
    return {
        "count": entry.count,
        "role": entry.role,
        "delay": {"timeLeftSeconds": int(entry.delay_s), "overdue": entry.delay_s <= 0},
        "since": stamp(entry.since),
        "processedOffersSummary": summary,
    }


def _declined(steps: Sequence[tuple[str, int, int]]) -> list[dict[str, object]]:
    return [{"reason": reason, "declined": declined, "processed": processed} for reason, declined, processed in steps]


def _unused(unused: UnusedOffer, role: str) -> dict[str, object]:
    """``role``: of the app, for which what is reserved was offered."""
    offer = {
        "id": unused.offer_id,
        "hostname": unused.hostname,
        "agentId": unused.host_id,
        "resources": list(_resources(unused, role)),
        "attributes": [{"name": name, "text": value} for name, value in unused.attributes.items() if name[:1] != "@"],
    }
    return {"offer": offer, "reason": unused.reasons, "timestamp": stamp(unused.timestamp)}


def _resources(unused: UnusedOffer, role: str) -> Iterator[dict[str, object]]:
    resources, reserved, port_ranges, pieces = unused.resources
    for whose, amounts in (("*", resources - reserved), (role, reserved)):
        for name, amount in _scalars(amounts):
            if amount > 0:
                yield {"name": name, "role": whose, "scalar": amount}
    if port_ranges:
        yield {"name": "ports", "role": "*", "ranges": _ranges(port_ranges)}
    for piece in pieces:
        yield _piece(piece)


def _scalars(amounts: Resources) -> tuple[tuple[str, float], ...]:
    return (
        ("cpus", amounts.cpu_millis / 1000),
        ("mem", float(amounts.mem_mib)),
        ("disk", float(amounts.disk_mib)),
        ("gpus", float(amounts.gpus)),
    )


def _piece(piece: Piece) -> dict[str, object]:
    shown: dict[str, object] = {"name": piece.name, "role": piece.reservations[-1].role if piece.reservations else "*"}
    if piece.ranges:
        shown["ranges"] = _ranges(piece.ranges)
    elif piece.items:
        shown["set"] = piece.items
    else:
        shown["scalar"] = piece.thousandths / PER_UNIT
    return shown


def _ranges(ranges: Sequence[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"begin": first, "end": last} for first, last in ranges]
