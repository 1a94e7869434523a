"""Host ports: which an app asks for, and which of those that are offered it gets.

As in Marathon 1.9 (mesosphere/mesos/PortsMatcher.scala): ports that nobody named are taken one after the other from a
random place on, so that the ports of one task are not those of the next while load balancers still know the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from framework.local.marathon.definition.app import App, NetworkMode
from framework.ports import Chance

Ranges: TypeAlias = Sequence[tuple[int, int]]
"""First and last of each, both within; disjoint."""

Asked: TypeAlias = tuple[int | None, ...]
"""In the order of the app's port definitions or mappings: the host's port, 0: any, None: none of the host's."""


def asked_by(app: App) -> Asked:
    """With ``requirePorts`` host ports are those of the definitions, else any."""
    if any(network.mode is not NetworkMode.HOST for network in app.networks):
        mappings = (app.container.port_mappings if app.container else None) or ()
        return tuple([mapping.host_port for mapping in mappings])
    definitions = app.port_definitions or ()
    return tuple([definition.port if app.require_ports else 0 for definition in definitions])


def suffice(ranges: Ranges, asked: Asked) -> bool:
    """Whether ``chosen`` can choose."""
    wanted = asked.count(0)
    if wanted < len(asked):
        fixed = {port for port in asked if port}
        if not all(_within(ranges, port) for port in fixed):
            return False
        wanted += len(fixed)
    for first, last in ranges:
        if wanted <= 0:
            break
        wanted -= last - first + 1
    return wanted <= 0


def chosen(ranges: Ranges, asked: Asked, chance: Chance) -> tuple[int, ...]:
    """The host's ports as asked for, 0 where none is. They suffice."""
    if 0 not in asked:
        return tuple([port or 0 for port in asked])
    fixed = {port for port in asked if port}
    others = (port for port in _from_anywhere(ranges, chance) if port not in fixed)
    return tuple([0 if port is None else port or next(others) for port in asked])


def _within(ranges: Ranges, port: int) -> bool:
    return any(first <= port <= last for first, last in ranges)


def _from_anywhere(ranges: Ranges, chance: Chance) -> Iterator[int]:
    """Every port once, from a random one on."""
    total = sum([last - first + 1 for first, last in ranges])
    start = min(int(chance.uniform(0, total)), total - 1)
    before: list[tuple[int, int]] = []
    after: list[tuple[int, int]] = []
    for first, last in ranges:
        size = last - first + 1
        if start >= size:
            before.append((first, last))
        elif start <= 0:
            after.append((first, last))
        else:
            before.append((first, first + start - 1))
            after.append((first + start, last))
        start -= size
    for first, last in (*after, *before):
        yield from range(first, last + 1)


def without(ranges: Ranges, ports: Iterable[int]) -> list[tuple[int, int]]:
    """What is left of the ranges; ports outside of them do not matter."""
    left = list(ranges)
    for port in ports:
        for index, (first, last) in enumerate(left):
            if first <= port <= last:
                left[index : index + 1] = [each for each in ((first, port - 1), (port + 1, last)) if each[0] <= each[1]]
                break
    return left


def less(ranges: Ranges, others: Ranges) -> list[tuple[int, int]]:
    """What of the ranges is not in ``others``."""
    left = list(ranges)
    for begin, end in others:
        parts = [each for first, last in left for each in ((first, min(last, begin - 1)), (max(first, end + 1), last))]
        left = [(first, last) for first, last in parts if first <= last]
    return left


def runs(ports: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Each port once, as ranges in ascending order."""
    result: list[tuple[int, int]] = []
    for port in sorted(set(ports)):
        if result and result[-1][1] == port - 1:
            result[-1] = (result[-1][0], port)
        else:
            result.append((port, port))
    return tuple(result)
