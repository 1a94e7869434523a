"""Whatever a message holds, it is read, ignored or refused; no name leaves it that could mean something else."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from framework.edges.forges.payloads import read
from framework.errors import InputError
from framework.serverless_settings import Kind
from tests.fakes import forge_messages as messages
from tests.fakes.forge_messages import FORGES, Message

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["..", "-x", "a/../b", "0" * 40]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ORIGINALS = [(kind, message(kind)) for kind in FORGES for message in (messages.push, messages.pull_request)]


def paths(value: Any, under: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of all that is in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [under, *(path for key, one in items for path in paths(one, (*under, key)))]


def changed(value: Any, path: tuple[Any, ...], to: Any) -> Any:
    if not path:
        return to
    copy = value.copy()
    copy[path[0]] = changed(copy[path[0]], path[1:], to)
    return copy


@st.composite
def sent(draw: st.DrawFn) -> tuple[Kind, Message]:
    """A message of which one part is another."""
    kind, message = draw(st.sampled_from(ORIGINALS))
    payload = json.loads(message.body)
    path = draw(st.sampled_from(paths(payload)))
    return kind, Message(message.headers, json.dumps(changed(payload, path, draw(VALUES))).encode())


@given(sent())
def test_a_message_is_read_ignored_or_refused(given: tuple[Kind, Message]) -> None:
    kind, message = given
    try:
        found = read(kind, message.headers, message.body)
    except InputError:
        return
    assert bool(found.pushed) is not bool(found.ignored)
    for pushed in found.pushed:
        assert re.fullmatch(r"[0-9a-f]{7,64}", pushed.commit)
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", pushed.repository)
        assert not {"", ".", ".."} & set(pushed.repository.split("/"))
        for branch in (pushed.branch, pushed.target or "none"):
            assert re.fullmatch(r"[^-/.\s][^\s]*", branch)
