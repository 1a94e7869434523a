"""Which app waits for which others: its own dependencies and those of the groups it is in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from framework.local.marathon.definition.app import Group
from framework.local.marathon.groups.tree import app_of, apps_of, group_of, groups_above


class _Visit(Enum):
    BEGUN = 0
    DONE = 1


class Dependencies:
    """The dependencies of one tree. What is not there is not waited for; to wait for a group is to wait for its apps.

    Inside, a vertex is an app's id, or a group's id with a slash behind it.
    """

    def __init__(self, root: Group) -> None:
        self._root = root
        self._found: dict[str, tuple[str, ...]] = {}

    def cycle(self, app_ids: Iterable[str]) -> bool:
        """Whether any of them, or of what they wait for, waits for itself through whatever else."""
        visits: dict[str, _Visit] = {}
        for start in app_ids:
            way = [start]
            while way:
                vertex = way[-1]
                if vertex in visits:
                    visits[vertex] = _Visit.DONE
                    way.pop()
                    continue
                visits[vertex] = _Visit.BEGUN
                for after in self._awaited(vertex):
                    visit = visits.get(after)
                    if visit is _Visit.BEGUN:
                        return True
                    if visit is None:
                        way.append(after)
        return False

    def layers(self, app_ids: Iterable[str]) -> list[list[str]]:
        """Put into layers by the longest way through the dependencies of the whole tree, those that wait for nothing

        first; apps of one layer do not wait for one another. There must be no cycle.
        """
        depths: dict[str, int] = {}
        by_depth: dict[int, list[str]] = {}
        for app_id in app_ids:
            by_depth.setdefault(self._depth(app_id, depths), []).append(app_id)
        return [by_depth[depth] for depth in sorted(by_depth)]

    def _depth(self, start: str, depths: dict[str, int]) -> int:
        way = [start]
        while way:
            vertex = way[-1]
            awaited = self._awaited(vertex)
            missing = [after for after in awaited if after not in depths]
            if missing:
                way.extend(missing)
                continue
            way.pop()
            # A group stands for its apps: to wait for it is no further than to wait for them.
            deepest = max((depths[after] for after in awaited), default=0)
            depths[vertex] = deepest if vertex.endswith("/") else deepest + 1
        return depths[start]

    def _awaited(self, vertex: str) -> tuple[str, ...]:
        known = self._found.get(vertex)
        if known is None:
            known = self._found[vertex] = tuple(dict.fromkeys(self._find(vertex)))
        return known

    def _find(self, vertex: str) -> Iterator[str]:
        if vertex.endswith("/"):
            group = group_of(self._root, vertex[:-1] or "/")
            if group is not None:
                yield from (app.id for app in apps_of(group))
            return
        app = app_of(self._root, vertex)
        if app is not None:
            yield from self._vertices(app.dependencies)
        for above in groups_above(self._root, vertex):
            yield from self._vertices(above.dependencies)

    def _vertices(self, ids: Iterable[str]) -> Iterator[str]:
        for one in ids:
            if app_of(self._root, one) is not None:
                yield one
            elif group_of(self._root, one) is not None:
                yield one.rstrip("/") + "/"
