"""The event stream of the Marathon-compatible server: every event once and in order, for those who read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from benchmarks.marathon.rolling import broken_orders
from benchmarks.marathon.subscribers import StuckSubscriber, Subscribers
from tests.acceptance.marathon_events import Listener
from tests.acceptance.marathon_server import (
    MarathonApi,
    MarathonServer,
    checked,
    marathon_server,
    sleeper,
)

MANY = 200
LARGE = 600_000
"""A few plans with an app of this size fill the buffers of a connection."""


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server(pretend=True) as server:
        yield server


def test_an_apps_life_is_told_in_order(api: MarathonApi) -> None:
    with Listener(api) as listener:
        api.deploy("POST", "/v2/apps", checked("/told", 2))
        api.deploy("DELETE", "/v2/apps/told")
        listener.wait_for("app_terminated_event")
        listener.wait_for("deployment_success", 2)
    kinds = [event["eventType"] for event in listener.events]
    assert kinds[0] == "event_stream_attached"
    once = ("group_change_success", "deployment_info", "deployment_step_success")
    assert [kinds.index(kind) for kind in once] == sorted(kinds.index(kind) for kind in once)
    states: dict[str, list[str]] = {}
    for event in listener.of("status_update_event"):
        states.setdefault(event["taskId"], []).append(event["taskStatus"])
    assert len(states) == 2
    for told in states.values():
        assert told[-1] == "TASK_KILLED"
        assert len(told) == len(set(told))
    assert broken_orders(listener.events) == 0
    assert {event["healthy"] for event in listener.of("instance_health_changed_event") if "healthy" in event} >= {True}
    assert listener.events == sorted(listener.events, key=lambda event: str(event["timestamp"]))


def test_only_what_is_asked_for_is_told(api: MarathonApi) -> None:
    with (
        Listener(api, "?event_type=deployment_info&event_type=deployment_success") as chosen,
        Listener(api, "?plan-format=light") as light,
        Listener(api) as whole,
    ):
        api.deploy("POST", "/v2/apps", sleeper("/chosen", instances=0))
        for listener in (chosen, light, whole):
            listener.wait_for("deployment_success")
    assert {event["eventType"] for event in chosen.events} == {"deployment_info", "deployment_success"}
    plans = [listener.of("deployment_success")[0]["plan"] for listener in (light, whole)]
    assert [{"original", "target"} <= plan.keys() for plan in plans] == [False, True]
    assert [app["id"] for app in plans[1]["target"]["apps"]] == ["/chosen"]
    assert plans[1]["original"]["apps"] == []
    assert plans[0]["id"] == plans[1]["id"]


def test_a_stream_is_only_given_to_those_who_ask_for_one(api: MarathonApi) -> None:
    assert api.call("GET", "/v2/events", headers={"Accept": "application/json"}).status_code in (405, 406)
    refused = httpx.get(f"{api.server.url}/v2/events", headers={"Accept": "text/event-stream"}, trust_env=False)
    assert refused.status_code == 401


def test_many_subscribers_get_the_same_and_one_that_reads_nothing_is_cut(api: MarathonApi) -> None:
    server = api.server
    host, port = server.url.removeprefix("http://").split(":")
    subscribers = Subscribers(host, int(port), server.authorization, 20, "/mark-first", "/mark-last")
    subscribers.start()
    api.deploy("POST", "/v2/apps", sleeper("/large", instances=0, env={"FILLER": "x" * LARGE}))
    with ExitStack() as stack:
        stuck = StuckSubscriber(host, int(port), server.authorization, "/v2/events")  # with whole groups in its plans
        stack.callback(stuck.close)
        stack.callback(subscribers.leave)
        listener = stack.enter_context(Listener(api, "?event_type=event_stream_detached"))
        api.deploy("POST", "/v2/apps", sleeper("/mark-first", instances=0))
        for _ in range(3):
            api.deploy("PUT", "/v2/apps/many", checked("/many", MANY, cpus=0.01, mem=1, portDefinitions=[]))
            api.deploy("DELETE", "/v2/apps/many")
        api.deploy("POST", "/v2/apps", sleeper("/mark-last", instances=0))
        subscribers.wait()
        listener.wait_for("event_stream_detached", 21)  # the twenty that have seen the last mark, and the stuck one
        assert stuck.was_cut()
    reference = subscribers.seen[0]
    assert reference.ended
    assert reference.events > 3 * MANY * 4
    assert [seen == reference for seen in subscribers.seen] == [True] * 20
    assert len(set(subscribers.kept)) == len(subscribers.kept)
    assert broken_orders(subscribers.events()) == 0
