"""Tree expressions and depths of the stand-in's REST API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.jenkins.tree import Bean, Kind, Property, TreeSyntaxError, pruner, show

LEAF = Kind("Leaf", (Property("name", 3, lambda leaf: leaf), Property("size", 1, lambda leaf: len(leaf))))
NAMELESS = Kind("", (), tells_class=False)
BRANCH = Kind("Branch", (
    Property("title", 2, lambda branch: "oak"),
    Property("leaves", 1, lambda branch: [Bean(LEAF, name) for name in branch]),
    Property("hidden", -2, lambda branch: "deep"),
    Property("nothing", 1, lambda branch: None),
    Property("bark", 1, lambda branch: Bean(NAMELESS, None)),
))  # fmt: skip
OAK = Bean(BRANCH, ["a", "bb", "ccc"])


def shown(tree: str | None = None, depth: str | None = None) -> Any:
    return show(OAK, pruner(tree, depth))


def leaves(*pairs: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"_class": "Leaf", **pair} for pair in pairs]


def test_at_the_depth_of_none_nested_things_show_what_is_always_visible() -> None:
    assert shown() == {
        "_class": "Branch", "title": "oak", "leaves": leaves({"name": "a"}, {"name": "bb"}, {"name": "ccc"}),
        "nothing": None, "bark": {},
    }  # fmt: skip


def test_a_depth_shows_more_of_nested_things() -> None:
    assert shown(depth="1")["leaves"][0] == {"_class": "Leaf", "name": "a", "size": 1}
    assert "hidden" not in shown(depth="1")
    assert shown(depth="nonsense") == shown()


@pytest.mark.parametrize(
    ("tree", "wanted"),
    [
        ("title", {"title": "oak"}),
        ("hidden", {"hidden": "deep"}),
        ("unknown,bark", {"bark": {}}),
        ("leaves", {"leaves": leaves({}, {}, {})}),
        ("leaves[size]", {"leaves": leaves({"size": 1}, {"size": 2}, {"size": 3})}),
        ("leaves[name]{1,2}", {"leaves": leaves({"name": "bb"})}),
        ("leaves[name]{,1}", {"leaves": leaves({"name": "a"})}),
        ("leaves[name]{2,}", {"leaves": leaves({"name": "ccc"})}),
        ("leaves[name]{1}", {"leaves": leaves({"name": "bb"})}),
        (" title , leaves[ name , size ]{0,1}", {"title": "oak", "leaves": leaves({"name": "a", "size": 1})}),
        ("leaves[name],leaves[size]{0,1}", {"leaves": leaves({"name": "a", "size": 1})}),
        ("title[more],leaves[name[x]]{0,1}", {"title": "oak", "leaves": leaves({"name": "a"})}),
    ],
)
def test_a_tree_shows_what_it_names(tree: str, wanted: dict[str, Any]) -> None:
    assert shown(tree) == {"_class": "Branch", **wanted}


def test_a_star_names_all_whatever_its_depth() -> None:
    assert set(shown("*")) == {"_class", "title", "leaves", "hidden", "nothing", "bark"}
    assert shown("*")["leaves"][0] == {"_class": "Leaf"}
    assert shown("leaves[*]")["leaves"][0] == {"_class": "Leaf", "name": "a", "size": 1}


@pytest.mark.parametrize("tree", ["", ",", "a[", "a]", "a[]", "a[b", "a{", "a{x}", "a,,b", "a[b]]"])
def test_what_is_no_tree_is_refused(tree: str) -> None:
    with pytest.raises(TreeSyntaxError):
        pruner(tree, None)
