"""Ids of apps and groups."""

from __future__ import annotations

import pytest

from framework.local.marathon.definition import paths


@pytest.mark.parametrize(
    ("path", "base", "meant"),
    [
        ("/a/b", "/c", "/a/b"),
        ("a", "/", "/a"),
        ("a/b", "/c", "/c/a/b"),
        ("../a", "/c/d", "/c/a"),
        ("..", "/c/d", "/c"),
        ("../../..", "/c", "/"),
        ("./a", "/c", "/c/a"),
        ("//a///b/", "/", "/a/b"),
        ("", "/c", "/c"),
        ("/", "/c", "/"),
        ("/a/../b", "/", "/b"),
    ],
)
def test_relative_ids_start_at_their_base(path: str, base: str, meant: str) -> None:
    assert paths.absolute(path, base) == meant


@pytest.mark.parametrize("path", ["/a", "a", "/a-b/c.d.e/0", "../a", ".", "/a.b-c", "/"])
def test_ids_that_are_fine(path: str) -> None:
    assert paths.faults_of(path) == []


@pytest.mark.parametrize("path", ["/A", "/a_b", "/-a", "/a-", "/a..b", "/.a", "/a b", "/ä", "/a/...", "/a\n", "/*"])
def test_ids_with_wrong_characters(path: str) -> None:
    (fault,) = paths.faults_of(path)
    assert fault.startswith("must fully match regular expression '^((")


@pytest.mark.parametrize("path", ["/tasks", "/a/restart", "versions"])
def test_words_of_the_api_end_no_id_of_an_app(path: str) -> None:
    assert paths.faults_of(path) == [
        "must not end with any of the following reserved keywords: restart, tasks, versions"
    ]
    assert paths.faults_of(path, reserved=False) == []
    assert paths.faults_of(path + "/a") == []


def test_an_endless_id_is_refused_at_once() -> None:
    assert paths.faults_of("a" * 1_000_000) == [f"must not be longer than {paths.MAX_LENGTH} characters"]


def test_what_an_id_is_in() -> None:
    assert paths.parent("/a/b/c") == "/a/b"
    assert paths.parent("/a") == "/"
    assert paths.parent("/") == "/"
    assert paths.top("/a/b/c") == "/a"
    assert paths.top("/a") is None
