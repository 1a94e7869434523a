"""Label expressions of the stand-in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.jenkins.labels import LabelSyntaxError, parse, taken


@pytest.mark.parametrize(
    ("text", "printed", "matching", "others"),
    [
        ("docker", "docker", ["docker"], ["mesos", ""]),
        ("a && b", "a&&b", ["a b"], ["a", "b", ""]),
        ("a || b", "a||b", ["a", "b"], ["c", ""]),
        ("!a", "!a", ["", "b"], ["a"]),
        ("a || b && c", "a||b&&c", ["a", "b c"], ["b", "c"]),
        ("(a || b) && c", "(a||b)&&c", ["a c", "b c"], ["a", "c"]),
        ("a -> b", "a->b", ["", "b", "a b"], ["a"]),
        ("a <-> b", "a<->b", ["", "a b"], ["a", "b"]),
        ('"with blank" && jdk-17', '"with blank"&&jdk-17', [], ["jdk-17", "with blank"]),
        ("linux-amd64", "linux-amd64", ["linux-amd64"], ["linux"]),
        ("-a- -> b", "-a-->b", ["", "b", "-a- b"], ["-a-"]),
        ('"-"', "-", ["-"], ["a"]),
        ("! (a && !b)", "!(a&&!b)", ["", "b", "a b"], ["a"]),
    ],
)
def test_an_expression_is_printed_and_means_what_jenkins_makes_of_it(
    text: str, printed: str, matching: list[str], others: list[str]
) -> None:
    label = parse(text)
    assert label.expression == printed
    assert parse(printed).expression == printed
    assert all(label.matches(frozenset(one.split())) for one in matching)
    assert not any(label.matches(frozenset(one.split())) for one in others)


@pytest.mark.parametrize("text", ["", "a &&", "&& a", "(a", "a)", "a b", "a & b", "!", '"a', "a | b"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(LabelSyntaxError):
        parse(text)


@pytest.mark.parametrize(("text", "printed"), [("a && (", '"a && ("'), ('a "b', '"a \\"b"'), ("a&&b", "a&&b")])
def test_a_job_may_name_what_is_no_expression(text: str, printed: str) -> None:
    assert taken(text).expression == printed
    assert parse(printed).expression == printed


@given(st.text(alphabet='ab&|!()<>-" ', max_size=12))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        label = parse(text)
    except LabelSyntaxError:
        return
    assert parse(label.expression).expression == label.expression
