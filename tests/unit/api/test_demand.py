"""What a master tells of its queue: who may, in which form, and that a batch is taken whole or not at all."""

from __future__ import annotations

import json

from framework.api.demand import MAX_LINES
from framework.core.ids import TenantName
from framework.core.jenkins import QueueItem
from framework.errors import StoreFullError
from framework.jenkins_ports import DemandRecord, RateLimitedError, Unserved
from tests.fakes.control import FakeControl
from tests.unit.api.conftest import Client

PATH = "/v1/demand"
NDJSON = "application/x-ndjson"
BUILDABLE = {
    "event": "buildable",
    "session": "s1",
    "seq": 1,
    "item": 7,
    "in_queue_since_ms": 5,
    "task": "fs",
    "more": 1,
}


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


async def test_lines_are_taken_with_the_tenants_own_token(
    red: Client, admin: Client, nobody: Client, control: FakeControl
) -> None:
    answer = await red("POST", PATH, lines(BUILDABLE, {"event": "left", "item": 7}), Content_Type=NDJSON)
    assert (answer.status_code, answer.json()) == (200, {"taken": 2, "unserved": [], "skipped": 0})
    told = control.demanded[TenantName("red")]
    assert told[0] == DemandRecord("buildable", "s1", 1, item=7, in_queue_since_ms=5, task="fs")
    for asking, status in ((admin, 403), (nobody, 401)):
        refused = await asking("POST", PATH, lines(BUILDABLE), Content_Type=NDJSON)
        assert refused.status_code == status
        assert refused.headers["content-type"] == "application/problem+json"
    assert len(told) == 2


async def test_items_that_nobody_serves_are_told(red: Client, control: FakeControl) -> None:
    reason = "no template serves gpu"
    control.hopeless[TenantName("red")] = [Unserved(QueueItem(7, 5), "fs", "gpu", reason)]
    answer = await red("POST", PATH, lines(BUILDABLE), Content_Type=NDJSON)
    assert answer.json()["unserved"] == [
        {"item": {"number": 7, "since_ms": 5}, "task": "fs", "label": "gpu", "reason": reason}
    ]


async def test_events_of_a_newer_script_are_left_out_and_counted(red: Client, control: FakeControl) -> None:
    sent = b'\n{"event":"paused","of":[1]}\r\n' + lines(BUILDABLE)
    answer = await red("POST", PATH, sent, Content_Type=NDJSON)
    assert answer.json() == {"taken": 1, "unserved": [], "skipped": 1}
    assert [record.event for record in control.demanded[TenantName("red")]] == ["buildable"]


async def test_every_wrong_line_is_told_and_nothing_is_taken(red: Client, control: FakeControl) -> None:
    sent = lines(
        BUILDABLE,
        {"event": "left", "seq": -1},
        {"task": "fs"},
        ["left"],
        {"event": "left", "item": "hunter2"},
        {"event": "alive", "session": "s" * 101},
    )
    answer = await red("POST", PATH, sent, Content_Type=NDJSON)
    assert answer.status_code == 422
    assert [fault["where"] for fault in answer.json()["faults"]] == [f"line {number}" for number in range(2, 7)]
    assert "hunter2" not in answer.text
    for broken in (
        b'{"event"',
        b'{"event":"left","task":"\\ud800"}',
        b'{"event":"left","task":"\xff"}',
    ):
        answer = await red("POST", PATH, lines(BUILDABLE) + broken, Content_Type=NDJSON)
        assert (answer.status_code, [fault["where"] for fault in answer.json()["faults"]]) == (400, ["line 2"])
    deep = b'{"event":"left","more":' + b"[" * 100_000
    assert (await red("POST", PATH, deep, Content_Type=NDJSON)).status_code in (400, 422)
    assert control.demanded == {}


async def test_what_is_too_much_or_of_another_kind_is_refused(red: Client, control: FakeControl) -> None:
    too_many = await red("POST", PATH, b'{"event":"alive"}\n' * (MAX_LINES + 1), Content_Type=NDJSON)
    assert too_many.status_code == 413
    assert (await red("POST", PATH, b"x" * 2_000_000, Content_Type=NDJSON)).status_code == 413
    assert (await red("POST", PATH, BUILDABLE)).status_code == 415
    assert control.demanded == {}


async def test_who_sends_too_much_is_told_when_to_come_again(red: Client, control: FakeControl) -> None:
    control.failing = RateLimitedError(3.2)
    answer = await red("POST", PATH, lines(BUILDABLE), Content_Type=NDJSON)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "4")
    control.failing = StoreFullError("the disk is full")
    answer = await red("POST", PATH, lines(BUILDABLE), Content_Type=NDJSON)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_no_other_method_is_taken(red: Client) -> None:
    answer = await red("GET", PATH)
    assert (answer.status_code, answer.headers["allow"], answer.json()["type"]) == (
        405,
        "POST",
        "urn:butlery:problem:method",
    )
