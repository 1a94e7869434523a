from __future__ import annotations

import base64
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.spec import RESULT_CLASSES, BuildResult
from framework.core import events
from framework.core.offers import Offer
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, Outcome
from framework.edges.mesos import decode, wire

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
    return wire.event_decoder.decode(json.dumps(raw).encode())


def test_offer() -> None:
    offers = event({"type": "OFFERS", "offers": {"offers": [OFFER]}})
    assert isinstance(offers, wire.Offers)
    assert decode.offer(offers.offers.offers[0]) == Offer(
        "O0",  # type: ignore[arg-type]
        "S1",  # type: ignore[arg-type]
        "host-1",
        Resources(3400, 8096, 10000),
        {"rack": "r1", "disks": "4", "clock": "2.5"},
        "http://127.0.0.1:5050/slave(1)",
    )


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
