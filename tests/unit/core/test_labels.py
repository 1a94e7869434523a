"""Label expressions as Jenkins 2.463 takes, means and prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.core.labels import MAX_CHARS, MAX_DEPTH, LabelSyntaxError, parse, quoted
from tests.fakes.jenkins import labels as stand_in

NAMES = ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "printed", "matching", "others"),
    [
        ("docker", "docker", ["docker"], ["mesos", ""]),
        ("32bit.dot", "32bit.dot", ["32bit.dot"], ["32bit"]),
        ("foo || bar && zot", "foo||bar&&zot", ["foo", "bar zot"], ["bar", "zot"]),
        ("(foo||bar)&&zot", "(foo||bar)&&zot", ["foo zot"], ["foo"]),
        ("foo ->\tbar", "foo->bar", ["", "bar", "foo bar"], ["foo"]),
        ("!foo <-> bar", "!foo<->bar", ["foo", "bar"], ["", "foo bar"]),
        ("a<->b<->c", "a<->b<->c", ["a", "b", "c", "a b c"], ["", "a b"]),
        ("a -> b <-> c", "a->b<->c", ["c", "b c", "a"], ["a c", "b"]),
        ("a || b -> c", "a||b->c", ["", "c", "a c"], ["a", "b"]),
        ("a->(b->c)", "a->(b->c)", ["", "a", "a b c"], ["a b"]),
        ("!(a&&!b)", "!(a&&!b)", ["", "b", "a b"], ["a"]),
        ("solaris-x86", "solaris-x86", ["solaris-x86"], ["solaris"]),
        ("a--->b", "a--->b", ["", "b", "a-- b"], ["a--"]),
        ("jdk=17&&cpus=2", "jdk=17&&cpus=2", ["jdk=17 cpus=2"], ["jdk=17"]),
        ("image=maven:3.9", '"image=maven:3.9"', ["image=maven:3.9"], ["image=maven"]),
        (r'"abc\\\"def"', r'"abc\\\"def"', ['abc\\"def'], ["abc"]),
        ('"with blank"&&x', '"with blank"&&x', [], ["x", "with blank"]),
        ('"plain"', "plain", ["plain"], [""]),
    ],
)
def test_an_expression_means_and_is_printed_as_jenkins_has_it(
    text: str, printed: str, matching: list[str], others: list[str]
) -> None:
    label = parse(text)
    assert label.text == printed
    assert parse(label.text).text == label.text
    assert all(label.matches(set(one.split())) for one in matching)
    assert not any(label.matches(set(one.split())) for one in others)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        (" \t", "it is empty"),
        ("foo bar", "column 5, at `bar`: an operator such as && was to stand there"),
        ("foo (bar)", "column 5, at `(`: an operator"),
        ("a &&", "at its end a label is missing"),
        ("&& a", "column 1, at `&&`: a label is missing"),
        ("(a", "at its end a `)` is missing"),
        ("a)", "column 2, at `)`: an operator"),
        ("a & b", "column 3: `&` is not taken there"),
        ("a | b", "column 3: `|` is not taken there"),
        ("a <- b", "column 3: `<` is not taken there"),
        ("it's", "column 3: `'` is not taken there"),
        ('"a', 'column 1: `"` is not taken there'),
        (r'"\x"', 'column 1: `"` is not taken there'),
        ("!!a", "column 2, at `!`: a label is missing"),
        ("a->b->c", "column 5, at `->`: `a -> b -> c` has two meanings"),
        ("a" * (MAX_CHARS + 1), "more than 4096 characters"),
        ("(" * (MAX_DEPTH + 1), "more than 50 parentheses"),
    ],
)
def test_what_jenkins_does_not_take_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(LabelSyntaxError) as error:
        parse(text)
    assert told in str(error.value)


def test_atoms_are_told_once_each_without_their_quotes() -> None:
    assert parse('b && "a b" || !(b && c)').atoms == ("b", "a b", "c")


_atoms = st.sampled_from(["a", "b", "c", '"a"', "x-y", '"d e"'])
_expressions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        inner.map("({})".format),
        inner.map("!({})".format),
        st.tuples(inner, st.sampled_from(["&&", " || ", "<->", " -> "]), inner).map("".join),
    ),
    max_leaves=12,
)


@given(_expressions, st.frozensets(st.sampled_from(["a", "b", "c", "x-y", "d e"])))
def test_it_agrees_with_the_stand_in_that_is_held_to_a_recording(text: str, names: frozenset[str]) -> None:
    other = stand_in.parse(text)
    try:
        label = parse(text)
    except LabelSyntaxError as error:
        assert "two meanings" in str(error)  # the stand-in takes these
        return
    assert label.matches(names) == other.matches(names)
    assert label.text == other.expression


@given(st.text(alphabet="ab&|!()<>-\"'\\ \t\n:", max_size=14))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        label = parse(text)
    except LabelSyntaxError:
        return
    again = parse(label.text)
    assert (again.text, again.atoms) == (label.text, label.atoms)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=30))
def test_any_name_can_be_quoted(name: str) -> None:
    assert parse(quoted(name)).atoms == (name,)


def test_a_label_of_any_length_is_understood() -> None:
    for sign in ("<->", "&&", "||"):
        assert parse(sign.join(["a"] * 1000)).matches({"a"})
    assert not parse("<->".join(["a"] * 3)).matches(set())
    assert parse("<->".join(["a"] * 4)).matches(set())
