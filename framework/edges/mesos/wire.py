"""What the Mesos v1 scheduler API sends, as far as we read it (include/mesos/v1/scheduler/scheduler.proto, as JSON).

Fields that are not named here are skipped without a cost. ``gc=False``: these trees hold no cycles, and the collector
need not walk them.
"""

from __future__ import annotations

import contextlib
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct

_ABSENT = msgspec.Raw()


class Value(Struct, gc=False):
    """Any of Mesos' ids, and a text."""

    value: str


class Scalar(Struct, gc=False):
    value: float


class Range(Struct, gc=False):
    """Both ends are within."""

    begin: int
    end: int


class Ranges(Struct, gc=False):
    range: list[Range] = []


class Items(Struct, gc=False):
    item: list[str] = []


class Label(Struct, gc=False, omit_defaults=True):
    key: str
    value: str | None = None


class Labels(Struct, gc=False):
    labels: list[Label] = []


class Allocation(Struct, gc=False, frozen=True):
    """To which of our roles something is offered."""

    role: str = "*"


class Reservation(Struct, gc=False, omit_defaults=True):
    type: str  # STATIC or DYNAMIC
    role: str
    principal: str | None = None
    labels: Labels | None = None


class Persistence(Struct, gc=False, omit_defaults=True):
    id: str
    principal: str | None = None


class VolumeInfo(Struct, gc=False):
    container_path: str
    mode: str  # RW or RO


class Root(Struct, gc=False, omit_defaults=True):
    root: str = ""


class Source(Struct, gc=False, omit_defaults=True):
    type: str
    path: Root | None = None
    mount: Root | None = None
    vendor: str = ""
    id: str = ""
    metadata: Labels | None = None
    profile: str = ""


class Disk(Struct, gc=False, omit_defaults=True):
    persistence: Persistence | None = None
    volume: VolumeInfo | None = None
    source: Source | None = None


class Resource(Struct, gc=False, omit_defaults=True):
    """As frameworks with the capability RESERVATION_REFINEMENT are told of it, and tell of it."""

    name: str
    type: str = ""  # SCALAR, RANGES or SET
    scalar: Scalar | None = None
    ranges: Ranges | None = None
    set: Items | None = None
    allocation_info: Allocation | None = None
    reservations: list[Reservation] = []  # the innermost last
    disk: Disk | None = None  # a persistent volume or a disk of its own
    revocable: dict[str, object] | None = None
    shared: dict[str, object] | None = None
    provider_id: Value | None = None


class PlainResource(Struct, gc=False, forbid_unknown_fields=True):
    """A Resource that any task can take: nothing of it is reserved or otherwise out of the ordinary."""

    name: str
    type: str = ""
    scalar: Scalar | None = None
    ranges: Ranges | None = None
    role: Literal["*"] = "*"
    allocation_info: msgspec.Raw = _ABSENT


class Attribute(Struct, gc=False):
    name: str
    text: Value | None = None
    scalar: Scalar | None = None
    ranges: Ranges | None = None
    set: Items | None = None


class Named(Struct, gc=False):
    name: str


class FaultDomain(Struct, gc=False):
    region: Named
    zone: Named


class Domain(Struct, gc=False):
    fault_domain: FaultDomain | None = None


class Nanoseconds(Struct, gc=False):
    nanoseconds: int


class Unavailability(Struct, gc=False):
    """``start`` since the epoch; no ``duration``: for good."""

    start: Nanoseconds
    duration: Nanoseconds | None = None


class Offer(Struct, gc=False):
    """What is Raw is the same in many offers, so that what it means is looked up by its bytes (``decode``)."""

    id: Value
    agent_id: Value
    hostname: str
    resources: msgspec.Raw = msgspec.Raw(b"[]")
    attributes: msgspec.Raw = msgspec.Raw(b"[]")
    domain: msgspec.Raw = msgspec.Raw(b"null")
    allocation_info: Allocation = Allocation()
    unavailability: Unavailability | None = None
    executor_ids: msgspec.Raw = msgspec.Raw(b"[]")


class AnyOffer(Struct, gc=False):
    """An offer that can be read no further."""

    id: Value


class InverseOffer(Struct, gc=False):
    id: Value
    unavailability: Unavailability
    agent_id: Value | None = None


class Uuid(Struct, gc=False):
    value: bytes


class OperationStatus(Struct, gc=False):
    state: str
    operation_id: Value | None = None
    message: str = ""
    converted_resources: list[Resource] = []
    uuid: Uuid | None = None
    agent_id: Value | None = None
    resource_provider_id: Value | None = None


class IpAddress(Struct, gc=False):
    ip_address: str = ""


class NetworkInfo(Struct, gc=False):
    ip_addresses: list[IpAddress] = []


class ContainerStatus(Struct, gc=False):
    network_infos: list[NetworkInfo] = []


class CommandCheck(Struct, gc=False):
    exit_code: int | None = None


class HttpCheck(Struct, gc=False):
    status_code: int | None = None


class TcpCheck(Struct, gc=False):
    succeeded: bool | None = None


class CheckStatus(Struct, gc=False):
    """One of the three is there; it is empty as long as its check has found nothing."""

    command: CommandCheck | None = None
    http: HttpCheck | None = None
    tcp: TcpCheck | None = None


class TaskStatus(Struct, gc=False):
    """``uuid`` and ``data`` are base64 on the wire."""

    task_id: Value
    state: str
    agent_id: Value | None = None
    uuid: bytes = b""
    source: str = ""
    reason: str = ""
    message: str = ""
    data: bytes = b""
    healthy: bool | None = None
    container_status: ContainerStatus | None = None
    check_status: CheckStatus | None = None


class SubscribedBody(Struct, gc=False):
    framework_id: Value
    heartbeat_interval_seconds: Annotated[float, msgspec.Meta(gt=0)] = 15.0  # the default of Mesos' master


class OffersBody(Struct, gc=False):
    offers: list[Offer] = []
    unread: list[str] = []  # ids of those that cannot be read; never on the wire


class RescindBody(Struct, gc=False):
    offer_id: Value


class InverseOffersBody(Struct, gc=False):
    inverse_offers: list[InverseOffer] = []


class RescindInverseBody(Struct, gc=False):
    inverse_offer_id: Value


class MessageBody(Struct, gc=False):
    agent_id: Value
    executor_id: Value
    data: bytes = b""


class OperationBody(Struct, gc=False):
    status: OperationStatus


class UpdateBody(Struct, gc=False):
    status: TaskStatus


class FailureBody(Struct, gc=False):
    agent_id: Value | None = None
    executor_id: Value | None = None
    status: int | None = None  # as of waitpid(2)


class ErrorBody(Struct, gc=False):
    message: str = ""


class Subscribed(Struct, gc=False, tag_field="type", tag="SUBSCRIBED"):
    subscribed: SubscribedBody


class Offers(Struct, gc=False, tag_field="type", tag="OFFERS"):
    offers: OffersBody


class Rescind(Struct, gc=False, tag_field="type", tag="RESCIND"):
    rescind: RescindBody


class Update(Struct, gc=False, tag_field="type", tag="UPDATE"):
    update: UpdateBody


class Failure(Struct, gc=False, tag_field="type", tag="FAILURE"):
    failure: FailureBody


class Error(Struct, gc=False, tag_field="type", tag="ERROR"):
    error: ErrorBody


class InverseOffers(Struct, gc=False, tag_field="type", tag="INVERSE_OFFERS"):
    inverse_offers: InverseOffersBody


class RescindInverse(Struct, gc=False, tag_field="type", tag="RESCIND_INVERSE_OFFER"):
    rescind_inverse_offer: RescindInverseBody


class Message(Struct, gc=False, tag_field="type", tag="MESSAGE"):
    message: MessageBody


class UpdateOperation(Struct, gc=False, tag_field="type", tag="UPDATE_OPERATION_STATUS"):
    update_operation_status: OperationBody


class Heartbeat(Struct, gc=False, tag_field="type", tag="HEARTBEAT"):
    pass


Event: TypeAlias = (
    Subscribed
    | Offers
    | Rescind
    | InverseOffers
    | RescindInverse
    | Update
    | UpdateOperation
    | Message
    | Failure
    | Error
    | Heartbeat
)

EVENT_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Event))


class AnyEvent(Struct, gc=False):
    """The type alone, of an event that is none of ours, such as later versions may bring."""

    type: str


class AgentInfo(Struct, gc=False):
    hostname: str
    id: Value
    attributes: list[Attribute] = []
    domain: Domain | None = None
    resources: list[Resource] = []


class Agent(Struct, gc=False):
    """``pid`` is such as ``slave(1)@10.0.0.7:5051``."""

    agent_info: AgentInfo
    pid: str = ""
    active: bool = True
    deactivated: bool = False
    total_resources: list[Resource] = []


class GetAgentsBody(Struct, gc=False):
    """``recovered_agents`` have not registered with this master yet, which leads since a moment ago."""

    agents: list[Agent] = []
    recovered_agents: list[AgentInfo] = []


class GetAgents(Struct, gc=False):
    """The operator API's answer to GET_AGENTS (include/mesos/v1/master/master.proto)."""

    get_agents: GetAgentsBody


class Version(Struct, gc=False):
    version: str


class _RawOffers(Struct, gc=False):
    offers: list[msgspec.Raw] = []


class _AnyOffers(Struct, gc=False, tag_field="type", tag="OFFERS"):
    offers: _RawOffers


event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
any_event_decoder = msgspec.json.Decoder(AnyEvent)
version_decoder = msgspec.json.Decoder(Version)
_offers_decoder = msgspec.json.Decoder(_AnyOffers)
_offer_decoder = msgspec.json.Decoder(Offer)
_any_offer_decoder = msgspec.json.Decoder(AnyOffer)


def read_event(record: bytes | memoryview) -> Event:
    """An event; of OFFERS every offer that can be read. Raises msgspec.DecodeError."""
    try:
        return event_decoder.decode(record)
    except ValueError:  # msgspec.DecodeError, or UnicodeDecodeError
        return _repaired(utf8(record))
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deep") from error


def _repaired(record: bytes) -> Event:
    try:
        return event_decoder.decode(record)
    except msgspec.DecodeError as error:
        try:
            offers = _offers_decoder.decode(record).offers.offers
        except msgspec.DecodeError:
            raise error from None
        return Offers(_one_by_one(offers))


def _one_by_one(raw_offers: list[msgspec.Raw]) -> OffersBody:
    body = OffersBody()
    for raw in raw_offers:
        try:
            body.offers.append(_offer_decoder.decode(raw))
        except msgspec.DecodeError:
            with contextlib.suppress(msgspec.DecodeError):
                body.unread.append(_any_offer_decoder.decode(raw).id.value)
    return body


def utf8(text: bytes | memoryview) -> bytes:
    """With what is no UTF-8 replaced: Mesos passes on what its flags and other people's programs gave it."""
    return bytes(text).decode("utf-8", "replace").encode()
