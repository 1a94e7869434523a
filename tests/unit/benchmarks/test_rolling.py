"""What the benchmark of the Marathon-compatible server makes of the event stream."""

from __future__ import annotations

from typing import Any

from benchmarks.marathon.rolling import broken_orders, fewest_healthy

APP = "/bench/rolled"


def changed(instance: str, condition: str, app_id: str = APP) -> dict[str, Any]:
    return {
        "eventType": "instance_changed_event",
        "instanceId": instance,
        "condition": condition,
        "runSpecId": app_id,
    }


def health(instance: str, healthy: bool | None) -> dict[str, Any]:
    told = {} if healthy is None else {"healthy": healthy}
    return {"eventType": "instance_health_changed_event", "instanceId": instance, "runSpecId": APP, **told}


def test_an_instance_that_is_being_killed_counts_no_more_and_a_new_one_once_it_is_healthy() -> None:
    one = [changed("old-1", "Killing"), changed("old-1", "Killed")]
    new = [changed("new-1", "Provisioned"), changed("new-1", "Running"), health("new-1", True)]
    assert fewest_healthy([*one, *new], APP, 10) == 9
    assert fewest_healthy([*new, *one], APP, 10) == 10
    assert fewest_healthy([*one, changed("old-2", "Killing"), *new], APP, 10) == 8
    assert fewest_healthy([*one, *new, changed("old-2", "Killing")], APP, 10) == 9
    assert fewest_healthy([changed("other", "Killing", "/bench/scaled")], APP, 10) == 10


def test_health_that_is_lost_counts_once() -> None:
    assert (
        fewest_healthy([health("old-1", False), changed("old-1", "Killing"), changed("old-1", "Killed")], APP, 5) == 4
    )
    new = [changed("new-1", "Scheduled"), health("new-1", None), changed("new-1", "Failed")]
    assert fewest_healthy(new, APP, 5) == 5


def test_conditions_that_lead_backwards_are_counted() -> None:
    fine = [changed("one", name) for name in ("Scheduled", "Provisioned", "Staging", "Running", "Killing", "Killed")]
    assert broken_orders(fine) == 0
    assert broken_orders([*fine, changed("one", "Failed"), changed("one", "Scheduled"), changed("one", "Running")]) == 0
    assert broken_orders([*fine, changed("one", "Running"), changed("two", "Running")]) == 1
