"""How the REST API's view of a thing is written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fakes.jenkins.master import Master
from tests.fakes.jenkins.queue import Reasons
from tests.fakes.jenkins.tree import Bean, Kind, Property

EVER = 999
"""The visibility of what is shown however deep."""


class Of(NamedTuple):
    """A thing as one request sees it: ``root`` is the master's address as the caller knows it."""

    thing: Any
    master: Master
    root: str
    reasons: Reasons

    def bean(self, kind: Kind, thing: Any) -> Bean:
        return Bean(kind, self._replace(thing=thing))


def shown(name: str, read: Callable[[Of], Any], visibility: int = 1, inline: bool = False) -> Property:
    return Property(name, visibility, read, inline)


def fixed(name: str, value: Any, visibility: int = 1) -> Property:
    return Property(name, visibility, lambda of: value)


def empty(name: str, tells_class: bool = True) -> Kind:
    return Kind(name, (), tells_class)


NAMELESS = empty("", tells_class=False)
"""A thing that shows nothing, not even its class."""


def named(kind: Kind) -> Bean:
    return Bean(kind, None)
