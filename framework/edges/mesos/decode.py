"""From what Mesos sends to what the core knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec

from agents.spec import VERSION
from framework.core import events
from framework.core.ids import HostId, OfferId, TaskId
from framework.core.offers import Offer
from framework.core.tasks import Outcome
from framework.edges.mesos import wire
from framework.edges.mesos.purse import total


class _Versioned(msgspec.Struct, gc=False):
    version: int


_version_decoder = msgspec.json.Decoder(_Versioned)
_outcome_decoder = msgspec.json.Decoder(Outcome)


def offer(raw: wire.Offer) -> Offer:
    return Offer(
        OfferId(raw.id.value),
        HostId(raw.agent_id.value),
        raw.hostname,
        total(raw.resources),
        attributes(raw.attributes) if raw.attributes else {},
        url(raw.url) if raw.url is not None else "",
    )


def attributes(raw: Iterable[wire.Attribute]) -> dict[str, str]:
    """Texts and scalars, scalars as text: ``4`` for 4.0. Ranges are left out; of one name twice the last counts."""
    result = {}
    for attribute in raw:
        if attribute.text is not None:
            result[attribute.name] = attribute.text.value
        elif attribute.scalar is not None:
            result[attribute.name] = f"{attribute.scalar.value:g}"
    return result


def domain(raw: wire.Domain | None) -> dict[str, str]:
    """A host's fault domain, under Marathon's names for it."""
    if raw is None or raw.fault_domain is None:
        return {}
    return {"@region": raw.fault_domain.region.name, "@zone": raw.fault_domain.zone.name}


def url(raw: wire.Url) -> str:
    """Of the host's HTTP API, such as ``http://10.0.0.7:5051/slave(1)``; by address where it has one, as not every

    scheduler can resolve the names of hosts.
    """
    return f"{raw.scheme}://{raw.address.ip or raw.address.hostname}:{raw.address.port}{raw.path}"


def task_update(raw: wire.TaskStatus) -> events.TaskUpdate:
    return events.TaskUpdate(
        TaskId(raw.task_id.value),
        raw.state,
        HostId(raw.agent_id.value) if raw.agent_id is not None else None,
        raw.reason,
        raw.source,
        raw.message,
        raw.uuid,
        outcome(raw.data) if raw.data else None,
    )


def outcome(data: bytes) -> Outcome | None:
    """What our executor measured; None where the data is no ``agents.spec.BuildResult`` with fields of their kinds.

    Its JSON is read as an Outcome, whose fields are among its own: checked, and in 1.3 us where from_json takes 9.7.
    """
    with contextlib.suppress(ValueError, RecursionError):
        if _version_decoder.decode(data).version == VERSION:
            return _outcome_decoder.decode(data)
    return None


def failure(raw: wire.FailureBody) -> events.HostLost | events.ExecutorLost | None:
    if raw.agent_id is None:
        return None
    host_id = HostId(raw.agent_id.value)
    if raw.executor_id is None:
        return events.HostLost(host_id)
    return events.ExecutorLost(host_id, raw.executor_id.value, raw.status)
