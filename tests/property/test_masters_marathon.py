"""Whatever answers are lost, and however a stream is cut into pieces."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from masters.marathon.events import Parser, apps_of
from masters.names import LABEL_STATE
from tests.fakes import odd_marathon as odd
from tests.fakes.odd_marathon import Odd, odd_marathon
from tests.unit.masters.marathon.samples import app, app_id, edge_to

ID = app_id("payments")
FAULTS: dict[str, Odd] = {
    "cut": odd.cut,
    "done, cut": odd.done_but(odd.cut),
    "done, half": odd.half,
    "page": odd.html(),
    "done, page": odd.done_but(odd.html()),
    "503": odd.answer(503, {"message": "no leader"}),
    "done, 500": odd.done_but(odd.answer(500, {"message": "internal"})),
    "locked": odd.locked("somebody's"),
    "crowded": odd.CROWDED,
}
READ_FAULTS: dict[str, Odd] = {"cut": odd.cut, "page": odd.html(), "503": odd.html(503), "half": odd.half}
CHANGES = ("put", "scale", "restart", "back", "delete")


@settings(max_examples=15)
@given(
    changes=st.lists(st.sampled_from(CHANGES), max_size=4),
    faults=st.lists(st.sampled_from(sorted(FAULTS)), max_size=8),
    reads=st.lists(st.sampled_from(sorted(READ_FAULTS)), max_size=4),
)
def test_every_change_is_made_once(changes: list[str], faults: list[str], reads: list[str]) -> None:
    with odd_marathon() as marathon:
        edge = edge_to(marathon.url, retry_for_s=5.0, deployment_timeout_s=30)
        marathon.odd.extend(FAULTS[one] for one in faults)
        marathon.odd_reads.extend(READ_FAULTS[one] for one in reads)
        first = version = edge.put(ID, app("payments"), expect=None).version
        made, there = 1, True
        for number, change in enumerate(changes):
            if not there:
                version, there, made = edge.put(ID, app("payments"), expect=None).version, True, made + 1
            match change:
                case "put":
                    version = edge.put(ID, app("payments", cpus=2 + number), expect=version).version
                case "scale":
                    labels = {**app("payments")["labels"], LABEL_STATE: f"state-{number}"}
                    version = edge.scale(ID, 0, labels).version
                case "restart":
                    version = edge.restart(ID).version
                case "back":
                    back = edge.put(ID, {"version": first}, expect=version)
                    version = back.version
                case "delete":
                    edge.delete(ID)
                    there = False
            made += 1
            assert len(marathon.applied) == made
            if there:
                assert marathon.apps[ID]["version"] == version


@given(st.data())
def test_a_stream_tells_the_same_however_it_is_cut(data: st.DataObject) -> None:
    happened = data.draw(st.lists(st.sampled_from(("/a", "/b/c", "/long" * 40)), max_size=6))
    end = data.draw(st.sampled_from((b"\r\n", b"\n")))
    stream = b"".join(
        b"event: status_update_event" + end + b"data: " + json.dumps({"appId": one}).encode() + end + end + end
        for one in happened
    )
    parser, told, at = Parser(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        told += [apps_of(one) for one in parser.feed(stream[at : at + size])]
        at += size
    assert told == [{one} for one in happened]
