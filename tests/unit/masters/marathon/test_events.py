"""Events are a hint: they come as they like, and whatever comes does no harm."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from masters.marathon import MarathonEdge
from masters.marathon.events import ANY, Parser, apps_of
from tests.fakes import odd_marathon as odd
from tests.fakes.odd_marathon import Handler, OddMarathon
from tests.unit.masters.marathon.samples import app_id

ID, OTHER = app_id("payments"), app_id("search")
PATIENCE_S = 10


def event(kind: str, **fields: object) -> bytes:
    data = json.dumps({"eventType": kind, "timestamp": "2026-11-21T12:00:00.000Z", **fields})
    return f"event: {kind}\r\ndata: {data}\r\n\r\n".encode()


def deployed(*app_ids: str) -> bytes:
    steps = [{"actions": [{"action": "ScaleApplication", "app": one}]} for one in app_ids]
    return event("deployment_success", id="d", plan={"id": "d", "steps": steps})


class Following:
    """What is told, in a thread of its own."""

    def __init__(self, edge: MarathonEdge) -> None:
        self.over = threading.Event()
        self.told: list[str] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, args=(edge.events(self.over.is_set),), daemon=True)
        self._thread.start()

    def _follow(self, events: Iterator[str]) -> None:
        for one in events:
            with self._news:
                self.told.append(one)
                self._news.notify_all()

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        with self._news:
            assert self._news.wait_for(lambda: seen(self.told), PATIENCE_S), self.told
            return list(self.told)

    def stop(self) -> None:
        self.over.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@contextmanager
def following(edge: MarathonEdge) -> Iterator[Following]:
    follower = Following(edge)
    try:
        yield follower
    finally:
        follower.stop()


def streams(marathon: OddMarathon, *each: list[bytes]) -> None:
    """One connection after the other; the last one stays open."""
    left = list(each)

    def stream(handler: Handler) -> None:
        handler.begin_stream()
        pieces = left.pop(0) if left else []
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
        while not left and not handler.server.over.wait(0.05):
            handler.wfile.write(b"\r\n")

    marathon.stream = stream


def test_apps_are_named_whose_events_come(marathon: OddMarathon, edge: MarathonEdge) -> None:
    happened = [
        event("status_update_event", appId=ID, taskStatus="TASK_RUNNING"),
        event("instance_health_changed_event", runSpecId=OTHER, healthy=True),
        deployed(ID, OTHER, "/somebody/elses"),
        event("status_update_event", appId="/somebody/elses"),
        b": a comment\r\nretry: 3\r\n\r\n",
    ]
    streams(marathon, [piece for one in happened for piece in (one[:20], one[20:])])
    with following(edge) as follower:
        told = follower.until(lambda told: {ID, OTHER} <= set(told))
    assert told[0] == ANY
    assert set(told) == {ANY, ID, OTHER}
    asked = marathon.asked[0]
    assert asked.parameters["plan-format"] == ["light"]
    assert "deployment_success" in asked.parameters["event_type"]


def test_what_was_missed_between_two_streams_may_be_anything(marathon: OddMarathon, edge: MarathonEdge) -> None:
    streams(marathon, [deployed(ID)], [], [deployed(OTHER)])
    with following(edge) as follower:
        told = follower.until(lambda told: OTHER in told)
    assert told == [ANY, ID, ANY, ANY, OTHER]


@pytest.mark.parametrize(
    "garbage",
    [b"data: {]\r\n\r\n", b"data: \xff\xfe\r\n\r\n", b"data: [1]\n\n", b'data: {"plan": 3}\n\n'],
    ids=repr,
)
def test_garbage_ends_the_stream_and_not_the_following(
    marathon: OddMarathon, edge: MarathonEdge, garbage: bytes
) -> None:
    streams(marathon, [deployed(ID), garbage], [deployed(OTHER)])
    with following(edge) as follower:
        told = follower.until(lambda told: OTHER in told)
    assert told[-2:] == [ANY, OTHER]


def test_a_page_in_the_place_of_a_stream_and_silence_are_left(marathon: OddMarathon, edge: MarathonEdge) -> None:
    def silent(handler: Handler, _asked: odd.Asked) -> None:
        handler.begin_stream()
        handler.server.over.wait(PATIENCE_S)

    def half_a_page(handler: Handler, _asked: odd.Asked) -> None:
        handler.send(503, "text/html", odd.HTML, length=1000)
        handler.cut()

    marathon.odd_reads.extend(
        [odd.html(), odd.html(503), half_a_page, odd.cut, silent, odd.answer(302, location="/v2/events")]
    )
    streams(marathon, [deployed(ID)])
    with following(edge) as follower:
        told = follower.until(lambda told: ID in told)
    assert told == [ANY, ANY, ID]  # the silent one said nothing, but might have missed something


def test_a_stream_that_is_silent_is_left_at_once_when_it_is_to_end(marathon: OddMarathon, edge: MarathonEdge) -> None:
    streams(marathon, [])
    with following(edge) as follower:
        follower.until(lambda told: told == [ANY])


def test_an_event_without_end_is_not_kept() -> None:
    parser = Parser(most_bytes=100)
    with pytest.raises(ValueError, match="longer than"):
        for _ in range(200):
            list(parser.feed(b"x"))
    parser = Parser(most_bytes=100)
    with pytest.raises(ValueError, match="longer than"):
        for _ in range(20):
            list(parser.feed(b"data: 0123456789\n"))


def test_an_event_of_several_lines_is_one() -> None:
    parser = Parser()
    (data,) = parser.feed(b'data: {"appId":\ndata:"/a"}\nid: 3\n\ndata: {')
    assert apps_of(data) == {"/a"}
