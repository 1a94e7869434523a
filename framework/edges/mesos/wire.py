"""What the Mesos v1 scheduler API sends, as far as we read it (include/mesos/v1/scheduler/scheduler.proto, as JSON).

Fields that are not named here are skipped without a cost. ``gc=False``: these trees hold no cycles, and the collector
need not walk them.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Struct

_ABSENT = msgspec.Raw()


class Value(Struct, gc=False):
    """Any of Mesos' ids, and a text."""

    value: str


class Scalar(Struct, gc=False):
    value: float


class Resource(Struct, gc=False):
    """``scalar`` is None for ranges and sets, which are not read; what is Raw is empty where it is not there (msgspec

    has no ``Raw | None``).
    """

    name: str
    scalar: Scalar | None = None
    role: str = "*"
    reservation: msgspec.Raw = _ABSENT
    disk: msgspec.Raw = _ABSENT  # a persistent volume or a disk of its own: not plain disk space
    revocable: msgspec.Raw = _ABSENT


class Attribute(Struct, gc=False):
    name: str
    text: Value | None = None
    scalar: Scalar | None = None


class Named(Struct, gc=False):
    name: str


class FaultDomain(Struct, gc=False):
    region: Named
    zone: Named


class Domain(Struct, gc=False):
    fault_domain: FaultDomain | None = None


class Address(Struct, gc=False):
    port: int
    hostname: str = ""
    ip: str = ""


class Url(Struct, gc=False):
    address: Address
    scheme: str = "http"
    path: str = ""


class Offer(Struct, gc=False):
    id: Value
    agent_id: Value
    hostname: str
    resources: list[Resource] = []
    attributes: list[Attribute] = []
    url: Url | None = None


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


class SubscribedBody(Struct, gc=False):
    framework_id: Value
    heartbeat_interval_seconds: Annotated[float, msgspec.Meta(gt=0)] = 15.0  # the default of Mesos' master


class OffersBody(Struct, gc=False):
    offers: list[Offer] = []


class RescindBody(Struct, gc=False):
    offer_id: Value


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


class Heartbeat(Struct, gc=False, tag_field="type", tag="HEARTBEAT"):
    pass


Event: TypeAlias = Subscribed | Offers | Rescind | Update | Failure | Error | Heartbeat


EVENT_TYPES = frozenset({"SUBSCRIBED", "OFFERS", "RESCIND", "UPDATE", "FAILURE", "ERROR", "HEARTBEAT"})


class AnyEvent(Struct, gc=False):
    """The type alone, of an event that is none of ours: MESSAGE, INVERSE_OFFERS, and what later versions bring."""

    type: str


class AgentInfo(Struct, gc=False):
    hostname: str
    id: Value
    attributes: list[Attribute] = []
    domain: Domain | None = None


class Agent(Struct, gc=False):
    """``pid`` is such as ``slave(1)@10.0.0.7:5051``."""

    agent_info: AgentInfo
    pid: str = ""
    active: bool = True
    deactivated: bool = False
    total_resources: list[Resource] = []


class GetAgentsBody(Struct, gc=False):
    agents: list[Agent] = []


class GetAgents(Struct, gc=False):
    """The operator API's answer to GET_AGENTS (include/mesos/v1/master/master.proto)."""

    get_agents: GetAgentsBody


class Version(Struct, gc=False):
    version: str


event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
any_event_decoder = msgspec.json.Decoder(AnyEvent)
version_decoder = msgspec.json.Decoder(Version)
