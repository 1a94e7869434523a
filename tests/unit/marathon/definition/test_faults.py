"""All that is wrong with a document, in one error."""

from __future__ import annotations

import pytest

from framework.local.marathon.definition.faults import MOST, Detail, Faults, InvalidJsonError, InvalidObjectError
from tests.unit.marathon.definition.reading import faults


def test_faults_of_one_path_are_told_together_and_once() -> None:
    found = Faults()
    found.rule("/a", "is less than 0")
    found.rule("", "must not be root")
    found.rule("/a", "is odd")
    found.rule("/a", "is odd")
    with pytest.raises(InvalidObjectError, match="/a: is less than 0, is odd; /: must not be root") as caught:
        found.raise_rules()
    assert caught.value.details == [Detail("/a", ["is less than 0", "is odd"]), Detail("/", ["must not be root"])]


def test_kinds_come_before_rules() -> None:
    found = Faults()
    found.raise_kinds()
    found.raise_rules()
    found.rule("/a", "is odd")
    found.raise_kinds()
    found.kind("/b", "error.expected.jsstring")
    with pytest.raises(InvalidJsonError) as caught:
        found.raise_kinds()
    assert caught.value.details == [Detail("/b", ["error.expected.jsstring"])]


def test_what_means_nothing_stops_the_reading() -> None:
    found = Faults()
    found.rule("/a", "is odd")
    found.unknown("/b", "error.unknown.enum.literal")
    with pytest.raises(InvalidObjectError) as caught:
        found.raise_kinds()
    assert [one.path for one in caught.value.details] == ["/a", "/b"]


def test_faults_of_what_is_inside_get_its_path() -> None:
    below, found = Faults(), Faults()
    below.rule("", "must not be root")
    below.rule("/cpus", "is less than 0.001")
    found.take(below, "/apps(3)")
    with pytest.raises(InvalidObjectError) as caught:
        found.raise_rules()
    assert [one.path for one in caught.value.details] == ["/apps(3)", "/apps(3)/cpus"]


def test_an_answer_does_not_grow_without_end() -> None:
    assert len(faults(labels={str(number): number for number in range(2 * MOST)})) == MOST
