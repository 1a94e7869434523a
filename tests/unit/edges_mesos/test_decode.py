from __future__ import annotations

import base64
import dataclasses
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.spec import RESULT_CLASSES, BuildResult
from framework.core import events
from framework.core.ids import HostId, OfferId
from framework.core.offers import InverseOffer, Offer, Window
from framework.core.pieces import DiskSource, Piece, Reservation, Volume
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, Outcome
from framework.edges.mesos import decode, wire
from framework.edges.mesos.resources import encoded, piece

OFFER = {
    "id": {"value": "O0"},
    "framework_id": {"value": "F"},
    "agent_id": {"value": "S1"},
    "hostname": "host-1",
    "url": {
        "scheme": "http",
        "address": {"hostname": "host-1", "ip": "127.0.0.1", "port": 5050},
        "path": "/slave(1)",
    },
    "attributes": [
        {"name": "rack", "type": "TEXT", "text": {"value": "r1"}},
        {"name": "disks", "type": "SCALAR", "scalar": {"value": 4.0}},
        {"name": "clock", "type": "SCALAR", "scalar": {"value": 2.5}},
        {"name": "slots", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]}},
    ],
    "resources": [
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31000, "end": 32000}]}, "role": "*"},
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 3.4}, "role": "*", "allocation_info": {"role": "b"}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 8096.0}, "role": "*"},
        {"name": "disk", "type": "SCALAR", "scalar": {"value": 10000.0}, "role": "*"},
    ],
    "executor_ids": [{"value": "t1"}],
    "allocation_info": {"role": "b"},
}


def event(raw: object) -> wire.Event:
    return wire.read_event(json.dumps(raw).encode())


def offered(**fields: object) -> tuple[Offer, decode.Live]:
    offers = event({"type": "OFFERS", "offers": {"offers": [OFFER | fields]}})
    assert isinstance(offers, wire.Offers)
    return decode.OfferReader().read(offers.offers.offers[0])


def scalar(name: str, value: float, **fields: object) -> dict[str, object]:
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, "allocation_info": {"role": "b"}, **fields}


def test_offer() -> None:
    offer, live = offered()
    assert offer == Offer(
        "O0",  # type: ignore[arg-type]
        "S1",  # type: ignore[arg-type]
        "host-1",
        Resources(3400, 8096, 10000, ports=1001),
        {"rack": "r1", "disks": "4", "clock": "2.5", "slots": "[1-2]"},
        "b",
        port_ranges=((31000, 32000),),
    )
    assert (live.role, live.held.plain, decode.executor_ids(live)) == ("b", True, frozenset({"t1"}))


def test_an_offer_of_little() -> None:
    raw = {"id": {"value": "O"}, "agent_id": {"value": "S"}, "hostname": "h", "future": {"field": 1}}
    offers = event({"type": "OFFERS", "offers": {"offers": [raw]}})
    assert isinstance(offers, wire.Offers)
    assert decode.OfferReader().read(offers.offers.offers[0])[0] == Offer(OfferId("O"), HostId("S"), "h", Resources())


RESERVATION = {
    "type": "DYNAMIC",
    "role": "b",
    "principal": "p",
    "labels": {"labels": [{"key": "k", "value": "v"}, {"key": "k", "value": "w"}, {"key": "n"}]},
}
STACK = [{"type": "STATIC", "role": "a"}, RESERVATION]
VOLUME = {"persistence": {"id": "v", "principal": "p"}, "volume": {"mode": "RO", "container_path": "data"}}
MOUNT = {"source": {"type": "MOUNT", "mount": {"root": "/mnt/1"}, "id": "x", "vendor": "v", "profile": "fast"}}


def test_what_is_reserved_and_what_no_plain_task_can_take() -> None:
    resources = [
        scalar("cpus", 1.5),
        scalar("cpus", 0.5, reservations=STACK),
        scalar("cpus", 9, revocable={}),
        scalar("mem", 99.5),
        scalar("mem", 0.5, reservations=STACK),
        scalar("gpus", 2),
        scalar("bugs", 7),
        scalar("disk", 100, reservations=STACK, disk=VOLUME, shared={}),
        scalar("disk", 500, disk=MOUNT, provider_id={"value": "rp"}),
        {"name": "tools", "type": "SET", "set": {"item": ["z", "a"]}},
        {"name": "ports", "ranges": {"range": [{"begin": 7, "end": 8}]}, "reservations": STACK},
        {"name": "ports", "ranges": {"range": [{"begin": 1, "end": 5}]}},
    ]
    offer, live = offered(resources=resources)
    assert offer.resources == Resources(2000, 99, 0, 2, 7), "no half MiB of either makes a whole one"
    assert offer.reserved == Resources(500, ports=2)
    assert offer.port_ranges == ((1, 5), (7, 8))
    stack = (
        Reservation("a", dynamic=False),
        Reservation("b", principal="p", labels=(("k", "v"), ("k", "w"), ("n", None))),
    )
    assert offer.pieces == (
        Piece("cpus", 9000, revocable=True),
        Piece("bugs", 7000),
        Piece("disk", 100_000, reservations=stack, volume=Volume("v", "data", "p", read_only=True), shared=True),
        Piece("disk", 500_000, source=DiskSource("MOUNT", "/mnt/1", "x", "fast", "v"), provider_id="rp"),
        Piece("tools", items=("z", "a")),
    )
    assert live.held.drawable is not None
    assert [piece.thousandths for piece in live.held.drawable if piece.reservations == stack] == [500, 500, 0]


def test_pieces_are_told_as_they_came() -> None:
    resources = [
        scalar("cpus", 0.5, reservations=STACK),
        scalar("disk", 100, reservations=STACK, disk=VOLUME, shared={}),
        scalar("disk", 500, disk=MOUNT | VOLUME, provider_id={"value": "rp"}, revocable={}),
        {"name": "tools", "type": "SET", "set": {"item": ["z", "a"]}, "allocation_info": {"role": "b"}},
        {
            "name": "ports",
            "type": "RANGES",
            "ranges": {"range": [{"begin": 7, "end": 8}]},
            "allocation_info": {"role": "b"},
        },
    ]
    read = msgspec.json.decode(json.dumps(resources), type=list[wire.Resource])
    assert json.loads(bytes(encoded([piece(each) for each in read], "b"))) == resources


def test_attributes_as_marathon_compares_them() -> None:
    raw = [
        {"name": "a", "scalar": {"value": 1234.5678}},
        {"name": "a", "text": {"value": "the first counts"}},
        {"name": "b", "scalar": {"value": 10.0}},
        {"name": "r", "ranges": {"range": [{"begin": 10, "end": 12}, {"begin": 1, "end": 2}]}},
        {"name": "s", "set": {"item": ["b", "a"]}},
        {"name": "odd", "text": {"value": 'a:b;\u0000 "\\ü\n'}},
        {"name": "of a kind to come"},
    ]
    offer, _ = offered(attributes=raw, domain={"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "eu-1"}}})
    assert offer.attributes == {
        "a": "1,234.568",
        "b": "10",
        "r": "[1-2,10-12]",
        "s": "{a,b}",
        "odd": 'a:b;\u0000 "\\ü\n',
        "@region": "eu",
        "@zone": "eu-1",
    }


def test_maintenance() -> None:
    raw = {"start": {"nanoseconds": 1_500_000_000}, "duration": {"nanoseconds": 2_000_000_000}}
    assert offered(unavailability=raw)[0].window == Window(1.5, 2.0)
    inverse = {"id": {"value": "I"}, "agent_id": {"value": "S1"}, "unavailability": {"start": {"nanoseconds": 10**9}}}
    told = event({"type": "INVERSE_OFFERS", "inverse_offers": {"inverse_offers": [inverse]}})
    assert isinstance(told, wire.InverseOffers)
    assert decode.inverse_offer(told.inverse_offers.inverse_offers[0]) == InverseOffer(
        OfferId("I"), HostId("S1"), Window(1.0)
    )


def test_one_offer_that_cannot_be_read_loses_no_other() -> None:
    raw = [OFFER, OFFER | {"id": {"value": "bad"}, "hostname": 7}, 7, OFFER | {"id": {"value": "O2"}}]
    offers = event({"type": "OFFERS", "offers": {"offers": raw}})
    assert isinstance(offers, wire.Offers)
    assert [offer.id.value for offer in offers.offers.offers] == ["O0", "O2"]
    assert offers.offers.unread == ["bad"]


@pytest.mark.parametrize("field", [{"resources": [7]}, {"resources": [scalar("cpus", 1e308)]}, {"attributes": {}}])
def test_what_an_offer_holds_may_be_unreadable(field: dict[str, object]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        offered(**field)


def test_what_is_no_utf8_is_replaced() -> None:
    raw = json.dumps({"type": "OFFERS", "offers": {"offers": [OFFER]}}).encode()
    offers = wire.read_event(raw.replace(b'"host-1"', b'"h\xff"').replace(b'"r1"', b'"\xfe"'))
    assert isinstance(offers, wire.Offers)
    offer, _ = decode.OfferReader().read(offers.offers.offers[0])
    assert (offer.hostname, offer.attributes["rack"]) == ("h\ufffd", "\ufffd")


def test_operation_update() -> None:
    raw = {
        "operation_id": {"value": "op"},
        "state": "OPERATION_FINISHED",
        "uuid": {"value": base64.b64encode(bytes(16)).decode()},
        "agent_id": {"value": "S1"},
        "converted_resources": [scalar("cpus", 0.5, reservations=[RESERVATION])],
    }
    told = event({"type": "UPDATE_OPERATION_STATUS", "update_operation_status": {"status": raw}})
    assert isinstance(told, wire.UpdateOperation)
    update = decode.operation_update(told.update_operation_status.status)
    assert update is not None
    assert (update.operation_id, update.host_id, update.uuid) == ("op", "S1", bytes(16))
    assert [piece.thousandths for piece in update.converted] == [500]


def status(**fields: object) -> wire.TaskStatus:
    raw = {"task_id": {"value": "r.1"}, "state": "TASK_RUNNING", **fields}
    update = event({"type": "UPDATE", "update": {"status": raw}})
    assert isinstance(update, wire.Update)
    return update.update.status


def test_update() -> None:
    raw = status(
        agent_id={"value": "S1"},
        uuid=base64.b64encode(bytes(range(16))).decode(),
        source="SOURCE_EXECUTOR",
        reason="REASON_X",
        message="words",
        timestamp=1.5,
        container_status={"executor_pid": 1},
    )
    assert decode.task_update(raw) == events.TaskUpdate(
        "r.1",  # type: ignore[arg-type]
        "TASK_RUNNING",
        "S1",  # type: ignore[arg-type]
        "REASON_X",
        "SOURCE_EXECUTOR",
        "words",
        bytes(range(16)),
    )


def test_an_update_without_host_or_uuid_needs_no_acknowledgement() -> None:
    update = decode.task_update(status(reason="REASON_RECONCILIATION"))
    assert (update.uuid, update.host_id) == (b"", None)


def test_an_update_tells_of_health_addresses_and_the_check() -> None:
    network = {"ip_addresses": [{"protocol": "IPv4", "ip_address": "172.17.0.2"}], "name": "x"}
    update = decode.task_update(
        status(
            healthy=False,
            container_status={"network_infos": [network, {}, network]},
            check_status={"type": "HTTP", "http": {"status_code": 503}},
        )
    )
    assert (update.healthy, update.addresses) == (False, ("172.17.0.2",))
    assert update.check == events.CheckResult(status_code=503)
    assert decode.task_update(status(check_status={"type": "COMMAND", "command": {}})).check == events.CheckResult()


@pytest.mark.parametrize("name", RESULT_CLASSES)
def test_every_class_an_executor_may_name_is_the_cores_too(name: str) -> None:
    result = BuildResult(name, "why", exit_code=1, wall_s=2.0, artifacts=["a/b"], log_bytes=7)
    update = decode.task_update(status(data=base64.b64encode(result.to_json()).decode()))
    assert update.outcome is not None
    assert update.outcome.result_class == FailureClass(name)
    assert (update.outcome.message, update.outcome.exit_code, update.outcome.artifacts) == ("why", 1, ["a/b"])


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"version":1}',
        b'{"version":2,"result_class":"passed","message":""}',
        b'{"version":1,"result_class":"no such class","message":""}',
        b'{"version":1,"result_class":"passed","message":7}',
        b'{"version":1,"result_class":"passed","message":"","exit_code":"one"}',
        b'{"version":1,"result_class":"passed","message":"","artifacts":{"a":1}}',
        b'{"version":1,"result_class":"passed","message":"\\ud800","artifacts":[null]}',
        b'{"version":1,"result_class":"passed","message":"\\ud800"}',
        b'{"version":1,"result_class":"passed","wall_s":NaN}',
        b"[" * 100_000,
        b'{"version":1,"x":' + b"[" * 100_000,
    ],
)
def test_data_that_is_no_result_is_no_outcome(data: bytes) -> None:
    assert decode.outcome(data) is None


@given(st.binary(max_size=100))
def test_any_data_is_taken(data: bytes) -> None:
    decode.outcome(data)


def test_an_outcome_has_no_field_that_a_result_lacks() -> None:
    assert set(Outcome.__struct_fields__) <= {field.name for field in dataclasses.fields(BuildResult)}


def test_failures() -> None:
    def failure(**fields: object) -> object:
        raw = event({"type": "FAILURE", "failure": fields})
        assert isinstance(raw, wire.Failure)
        return decode.failure(raw.failure)

    host = {"value": "S1"}
    assert failure(agent_id=host) == events.HostLost("S1")  # type: ignore[arg-type]
    assert failure(agent_id=host, executor_id={"value": "t"}, status=9) == events.ExecutorLost("S1", "t", 9)  # type: ignore[arg-type]
    assert failure() is None


def test_an_offer_is_read_anew_whenever_anything_of_it_differs_from_the_last() -> None:
    reader = decode.OfferReader()
    less = [scalar("cpus", 1.0)]
    changes: list[dict[str, object]] = [
        {},
        {},
        {"resources": less},
        {"attributes": []},
        {"executor_ids": []},
        {"domain": {"fault_domain": {"region": {"name": "r"}, "zone": {"name": "z"}}}},
        {"allocation_info": {"role": "c"}},
        {"agent_id": {"value": "S2"}, "resources": less},
        {},
    ]
    for fields in changes:
        offers = event({"type": "OFFERS", "offers": {"offers": [OFFER | fields]}})
        assert isinstance(offers, wire.Offers)
        raw = offers.offers.offers[0]
        assert reader.read(raw) == decode.OfferReader().read(raw)
