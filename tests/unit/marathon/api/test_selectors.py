from __future__ import annotations

import pytest

from framework.local.marathon.api.problems import RefusedError
from framework.local.marathon.api.selectors import label_selectors
from framework.local.marathon.definition.app import App
from framework.local.marathon.definition.read import Defaults, new_app


def app(**labels: str) -> App:
    raw = {"id": "/x", "cmd": "sleep 1", "labels": labels}
    return new_app(raw, defaults=Defaults(), version="2026-11-21T12:00:00.000Z")


def matches(query: str, **labels: str) -> bool:
    return all(test(app(**labels)) for test in label_selectors(query))


@pytest.mark.parametrize(
    ("query", "matching", "other"),
    [
        ("tier", {"tier": "x"}, {"other": "x"}),
        (" tier == front ", {"tier": "front"}, {"tier": "back"}),
        ("tier!=front", {"tier": "back"}, {"tier": "front"}),
        ("tier != front", {"tier": "back"}, {}),
        ("tier in (a, b)", {"tier": "b"}, {"tier": "c"}),
        ("tier notin(a,b)", {"tier": "c"}, {"tier": "a"}),
        ("tier notin (a)", {"tier": "c"}, {}),
        ("tier in ()", {}, {"tier": ""}),
        ("a, b==1 ,c in (x)", {"a": "", "b": "1", "c": "x"}, {"a": "", "b": "1"}),
        (r"\!\!\! in (\-\,, \))", {"!!!": ")"}, {"!!!": "-"}),
        ("tier==front\\ end", {"tier": "front end"}, {"tier": "front"}),
        ("inside", {"inside": "1"}, {"in": "1"}),
    ],
)
def test_selectors(query: str, matching: dict[str, str], other: dict[str, str]) -> None:
    if query != "tier in ()":
        assert matches(query, **matching)
    assert not matches(query, **other)


@pytest.mark.parametrize("query", [",", "a b", "a==", "a in", "a in (b", "a in (b c)", "a in (b,)", "a=b", "a\\", "é"])
def test_what_is_no_selector_is_told_with_its_place(query: str) -> None:
    with pytest.raises(RefusedError, match=r"Couldn't parse query: .* at position \d+") as error:
        label_selectors(query)
    assert error.value.status == 422


@pytest.mark.parametrize("query", ["", " "])
def test_no_selector_is_met_by_every_app(query: str) -> None:
    assert matches(query)
