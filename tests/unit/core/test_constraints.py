"""Constraints by themselves: their form, and what each operator means."""

from __future__ import annotations

import time

import pytest

from framework.core.constraints import Spread, allows, counts, faults, parse, value_of
from framework.core.templates import Constraint, Operator


@pytest.mark.parametrize(
    ("parts", "value", "members", "allowed"),
    [
        (["rack", "IS", "a"], "a", [], True),
        (["rack", "IS", "a"], "ab", [], False),
        (["rack", "CLUSTER", "a"], "a", ["b"], True),
        (["rack", "CLUSTER", "a"], "b", ["b"], False),
        (["rack", "CLUSTER"], "b", [], True),
        (["rack", "CLUSTER"], "b", ["b", "a"], True),
        (["rack", "CLUSTER"], "a", ["b", "a"], False),
        (["rack", "CLUSTER"], "a", [None, "a"], False),
        (["rack", "UNIQUE"], "a", ["b", None], True),
        (["rack", "UNIQUE"], "a", ["b", "a"], False),
        (["rack", "MAX_PER", "2"], "a", ["a", "b", "b"], True),
        (["rack", "MAX_PER", "2"], "a", ["a", "a"], False),
        (["rack", "GROUP_BY"], "a", [], True),
        (["rack", "GROUP_BY"], "a", ["a"], True),  # no other value is known of
        (["rack", "GROUP_BY", "2"], "a", ["a"], False),
        (["rack", "GROUP_BY", "2"], "b", ["a"], True),
        (["rack", "GROUP_BY"], "a", ["a", "b"], True),
        (["rack", "GROUP_BY"], "a", ["a", "a", "b"], False),
        (["rack", "GROUP_BY"], "a", ["a", None], True),
        (["rack", "LIKE", "r[12]"], "r1", [], True),
        (["rack", "LIKE", "r[12]"], "r12", [], False),  # the whole value
        (["rack", "LIKE", "r|r1"], "r1", [], True),
        (["rack", "LIKE", ".*"], "a\nb", [], False),
        (["rack", "UNLIKE", "r[12]"], "r1", [], False),
        (["rack", "UNLIKE", "r[12]"], "xr1", [], True),
        (["rack", "LIKE", ".*ö{2}."], "möö☂", [], True),
        (["rack", "LIKE", "a.b"], "a\udc80b", [], True),
        (["rack", "IS", "[1-2,5-6]"], "[1-2,5-6]", [], True),
    ],
)
def test_what_an_operator_means(parts: list[str], value: str, members: list[str | None], allowed: bool) -> None:
    assert allows(parse(parts), value, Spread(members)) is allowed


@pytest.mark.parametrize("operator", Operator)
def test_a_host_without_the_field_satisfies_unlike_alone(operator: Operator) -> None:
    value = {"MAX_PER": "1", "GROUP_BY": "", "UNIQUE": "", "CLUSTER": ""}.get(operator, ".*")
    constraint = Constraint("rack", operator, value)
    assert faults(constraint) == []
    assert allows(constraint, value_of("rack", "host-1", {}), Spread()) is (operator is Operator.UNLIKE)


def test_where_others_are_is_not_guessed() -> None:
    spread = Spread(["a"])
    spread.unknown = 1
    for parts in (["rack", "UNIQUE"], ["rack", "CLUSTER"], ["rack", "GROUP_BY"], ["rack", "MAX_PER", "9"]):
        assert counts(parse(parts))
        assert not allows(parse(parts), "b", spread)
        assert allows(parse(parts), "b", Spread()) is allows(parse(parts), "b")
    assert not counts(parse(["rack", "CLUSTER", "a"]))


def test_a_host_is_its_name_under_either_word() -> None:
    assert value_of("hostname", "h1", {"hostname": "other"}) == value_of("@hostname", "h1", {}) == "h1"
    assert value_of("@zone", "h1", {"@zone": "z"}) == "z"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "give [FIELD, OPERATOR]"),
        (["a", "IS", "b", "c"], "give [FIELD, OPERATOR]"),
        (["a", "LIKES", "b"], "'LIKES' is no operator; there are CLUSTER, UNIQUE, GROUP_BY, MAX_PER, LIKE, UNLIKE, IS"),
        (
            ["", "UNIQUE", "x"],
            "name the field: hostname, @region, @zone or an attribute of hosts; UNIQUE takes no value",
        ),
        (["a" * 300, "UNIQUE"], "longer than 256"),
        (["a", "IS"], "IS needs the value"),
        (["a", "LIKE"], "LIKE needs a regular expression"),
        (["a", "UNLIKE", "(b"], "missing ): (b"),
        (["a", "LIKE", "(?!b)c"], "RE2 syntax"),
        (["a", "LIKE", "((a{1,500}){1,500}){1,500}"], "no regular expression that can be used"),
        (["a", "LIKE", "\ud800"], "no Unicode text"),
        (["a", "LIKE", "a" * 1001], "longer than 1000"),
        (["a", "MAX_PER", "0"], "a whole number from 1, not '0'"),
        (["a", "MAX_PER"], "a whole number from 1, not ''"),
        (["a", "MAX_PER", "²"], "a whole number from 1"),
        (["a", "GROUP_BY", "many"], "over how many values to spread, a whole number from 1, not 'many'"),
    ],
)
def test_every_fault_of_form_is_told(parts: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(parts)
    assert says in str(caught.value)


def test_no_pattern_takes_long() -> None:
    constraint = parse(["rack", "LIKE", "(a|a)*(a|aa)+$b"])
    began = time.process_time()
    assert not allows(constraint, "a" * 5000 + "!")
    assert time.process_time() - began < 5.0  # a backtracking engine needs longer than the universe has


def test_a_spread_is_counted_down_as_it_was_counted_up() -> None:
    spread = Spread(["a", "b", "a", None])
    assert (spread.counts, spread.least, spread.first) == ({"a": 2, "b": 1, None: 1}, 1, "a")
    for value in ("b", None):
        spread.remove(value)
    assert (spread.counts, spread.least) == ({"a": 2}, 2)
    spread.remove("a")
    spread.remove("a")
    assert (spread.counts, spread.least) == ({}, 0)
