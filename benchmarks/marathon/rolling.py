"""What the event stream tells of instances, one event after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_PLACE = {
    name: place
    for place, names in enumerate(
        (
            ("Scheduled",),
            ("Provisioned",),
            ("Staging",),
            ("Starting",),
            ("Running",),
            ("Killing",),
            ("Finished", "Failed", "Killed", "Error", "Gone", "Dropped", "Unknown"),
        )
    )
    for name in names
}


def fewest_healthy(events: Iterable[Mapping[str, Any]], app_id: str, begun: int) -> int:
    """The fewest instances of the app that were healthy at any time; ``begun`` were so before the first event.

    An instance that is being killed, or has ended, is healthy no more, whatever was said of it last.
    """
    healthy: dict[str, bool] = {}  # those that are not in it were there, and healthy, before
    count = fewest = begun
    for event in events:
        if event.get("runSpecId") != app_id:
            continue
        instance, kind = event["instanceId"], event["eventType"]
        before = healthy.get(instance, True)
        if kind == "instance_health_changed_event":
            healthy[instance] = bool(event.get("healthy"))
        elif kind == "instance_changed_event":
            place = _PLACE.get(event["condition"], 0)
            if place < _PLACE["Running"] and instance not in healthy:
                healthy[instance] = before = False  # it is new
            elif place > _PLACE["Running"]:
                healthy[instance] = False
        count += healthy.get(instance, True) - before
        fewest = min(fewest, count)
    return fewest


def broken_orders(events: Iterable[Mapping[str, Any]]) -> int:
    """How many changes of an instance's condition lead backwards along its life; its next task begins another."""
    last: dict[str, int] = {}
    broken = 0
    for event in events:
        if event["eventType"] == "instance_changed_event" and event["condition"] in _PLACE:
            place = _PLACE[event["condition"]]
            was = last.get(event["instanceId"], 0)
            again = event["condition"] == "Scheduled" and was > _PLACE["Running"]
            broken += place < was and not again
            last[event["instanceId"]] = place
    return broken
