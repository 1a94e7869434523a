"""From what Mesos sends to what the core knows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from agents.spec import VERSION
from framework.core import events
from framework.core.ids import HostId, OfferId, TaskId
from framework.core.offers import InverseOffer, Offer, Window
from framework.core.tasks import Outcome
from framework.edges.mesos import wire
from framework.edges.mesos.accept import NANOSECONDS
from framework.edges.mesos.resources import Held, held_in, piece


class _Versioned(msgspec.Struct, gc=False):
    version: int


_version_decoder = msgspec.json.Decoder(_Versioned)
_outcome_decoder = msgspec.json.Decoder(Outcome)
_attributes_decoder = msgspec.json.Decoder(list[wire.Attribute])
_domain_decoder = msgspec.json.Decoder(wire.Domain | None)
_values_decoder = msgspec.json.Decoder(list[wire.Value])


class Live(msgspec.Struct, frozen=True, gc=False):
    """What an ACCEPT needs to know of an offer."""

    role: str
    held: Held
    executor_ids: bytes  # JSON; those that the host runs for us


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What a host's last offer said, and what that means."""

    resources: msgspec.Raw
    attributes: msgspec.Raw
    domain: msgspec.Raw
    executor_ids: msgspec.Raw
    attributes_read: dict[str, str]
    live: Live


class OfferReader:
    """Reads offers. What a host told last it most often tells again: it is compared with that, and not looked up."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}  # by host

    def read(self, raw: wire.Offer) -> tuple[Offer, Live]:
        """Raises ValueError (msgspec.DecodeError is one) and OverflowError where it cannot be made out."""
        host_id = raw.agent_id.value
        role = raw.allocation_info.role
        told = self._told.get(host_id)
        if (
            told is None
            or told.resources != raw.resources
            or told.executor_ids != raw.executor_ids
            or told.attributes != raw.attributes
            or told.domain != raw.domain
            or told.live.role != role
        ):
            told = self._told[host_id] = _told(raw)
        live = told.live
        held = live.held
        offer = Offer(
            OfferId(raw.id.value),
            HostId(host_id),
            raw.hostname,
            held.resources,
            told.attributes_read,
            role,
            held.reserved,
            held.port_ranges,
            window(raw.unavailability) if raw.unavailability is not None else None,
            held.others,
            held.reserved_pieces,
        )
        return offer, live

    def forget(self, host_id: HostId) -> None:
        """One that is gone."""
        self._told.pop(host_id, None)


def _told(raw: wire.Offer) -> _Told:
    """Of copies, for what came holds its whole event in memory."""
    resources, attributes, domain = bytes(raw.resources), bytes(raw.attributes), bytes(raw.domain)
    executor_ids = bytes(raw.executor_ids)
    return _Told(
        msgspec.Raw(resources),
        msgspec.Raw(attributes),
        msgspec.Raw(domain),
        msgspec.Raw(executor_ids),
        _attributes(attributes, domain),
        Live(raw.allocation_info.role, held_in(resources), executor_ids),
    )


@lru_cache(maxsize=4096)
def _attributes(raw: bytes, raw_domain: bytes) -> dict[str, str]:
    told = _attributes_decoder.decode(wire.utf8(raw))
    return attributes(told) | domain(_domain_decoder.decode(wire.utf8(raw_domain)))


def executor_ids(live: Live) -> frozenset[str]:
    return frozenset(each.value for each in _values_decoder.decode(live.executor_ids))


def attributes(raw: Iterable[wire.Attribute]) -> dict[str, str]:
    """Each as the text that Marathon's constraints compare (its ``Constraints.scala``): of one name twice the first,

    4.0 as ``4``, 1234.5678 as ``1,234.568``, ranges as ``[1-2,5-7]``, sets as ``{a,b}``.
    """
    result: dict[str, str] = {}
    for attribute in raw:
        if attribute.text is not None:
            result.setdefault(attribute.name, attribute.text.value)
        elif attribute.scalar is not None:
            text = f"{attribute.scalar.value:,.3f}".rstrip("0").rstrip(".")
            result.setdefault(attribute.name, text)
        elif attribute.ranges is not None:
            ranges = sorted((each.begin, each.end) for each in attribute.ranges.range)
            result.setdefault(attribute.name, f"[{','.join(f'{first}-{last}' for first, last in ranges)}]")
        elif attribute.set is not None:
            result.setdefault(attribute.name, f"{{{','.join(sorted(attribute.set.item))}}}")
    return result


def window(raw: wire.Unavailability) -> Window:
    duration = raw.duration.nanoseconds / NANOSECONDS if raw.duration is not None else None
    return Window(raw.start.nanoseconds / NANOSECONDS, duration)


def inverse_offer(raw: wire.InverseOffer) -> InverseOffer | None:
    """None where it is of no host: Mesos may come to ask for resources wherever they are, but 1.11 does not."""
    if raw.agent_id is None:
        return None
    return InverseOffer(OfferId(raw.id.value), HostId(raw.agent_id.value), window(raw.unavailability))


def operation_update(raw: wire.OperationStatus) -> events.OperationUpdate | None:
    """None where it is of an operation without an id."""
    if raw.operation_id is None:
        return None
    return events.OperationUpdate(
        raw.operation_id.value,
        raw.state,
        HostId(raw.agent_id.value) if raw.agent_id is not None else None,
        raw.resource_provider_id.value if raw.resource_provider_id is not None else None,
        raw.message,
        raw.uuid.value if raw.uuid is not None else b"",
        tuple([piece(each) for each in raw.converted_resources]),
    )


def domain(raw: wire.Domain | None) -> dict[str, str]:
    """A host's fault domain, under Marathon's names for it."""
    if raw is None or raw.fault_domain is None:
        return {}
    return {"@region": raw.fault_domain.region.name, "@zone": raw.fault_domain.zone.name}


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
        raw.healthy,
        addresses(raw.container_status) if raw.container_status is not None else (),
        check_result(raw.check_status) if raw.check_status is not None else None,
    )


def addresses(raw: wire.ContainerStatus) -> tuple[str, ...]:
    """Each once, in their order."""
    told = [each.ip_address for info in raw.network_infos for each in info.ip_addresses if each.ip_address]
    return tuple(dict.fromkeys(told))


def check_result(raw: wire.CheckStatus) -> events.CheckResult:
    return events.CheckResult(
        raw.command.exit_code if raw.command is not None else None,
        raw.http.status_code if raw.http is not None else None,
        raw.tcp.succeeded if raw.tcp is not None else None,
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
