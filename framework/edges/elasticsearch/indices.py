"""The indices of one kind of records: made, followed by new ones, deleted when all in them is old enough.

Two schedulers may do all of it at once: each step is one that Elasticsearch takes once, or the same twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from framework.edges.elasticsearch import mapping
from framework.edges.elasticsearch.edge import ElasticsearchEdge, RefusedError
from framework.edges.elasticsearch.mapping import MAPPING_VERSION, IndexName
from framework.errors import UnavailableError
from framework.setting_types import DAY_S
from framework.telemetry.records import Kind
from framework.telemetry_ports import OperatorError
from framework.telemetry_settings import ElasticsearchSettings

_MADE_AT, _BLOCKED = "index.creation_date", "index.blocks.write"
_ATTEMPTS = 4  # at installing, where another does it at the same time


class Index(NamedTuple):
    """One of ours."""

    name: IndexName
    made_at: float  # seconds since the epoch, by Elasticsearch's clock
    writes: bool  # whether records go into it


class _Alias(msgspec.Struct, frozen=True):
    is_write_index: bool = False


class _Aliases(msgspec.Struct, frozen=True):
    aliases: dict[str, _Alias] = {}


class _Settings(msgspec.Struct, frozen=True):
    settings: dict[str, str]


class _Newest(msgspec.Struct, frozen=True):
    value: float | None


class _Aggregations(msgspec.Struct, frozen=True):
    newest: _Newest


class _Answer(msgspec.Struct, frozen=True):
    aggregations: _Aggregations


class Indices:
    """Not for use from several threads. Every method raises as ``ElasticsearchEdge.call``, but no RefusedError."""

    def __init__(self, edge: ElasticsearchEdge, settings: ElasticsearchSettings, kind: Kind, keep_d: int) -> None:
        self.kind = kind
        self.alias = mapping.alias(settings.prefix, kind)
        self._edge = edge
        self._settings = settings
        self._keep_d = keep_d
        self._known: list[Index] = []

    @property
    def target(self) -> Index:
        """Where new records go. Raises UnavailableError where there is none, which ``install`` makes."""
        for index in self._known:
            if index.writes:
                return index
        raise UnavailableError(f"{self.alias} of Elasticsearch has no index to write to")

    @property
    def others(self) -> list[str]:
        """Names of those that records may be in that were sent earlier."""
        return [index.name.name for index in self._known if not index.writes]

    def install(self) -> None:
        """The template, an index that is written to, and its mapping, where they are missing."""
        try:
            self._install()
        except RefusedError as error:
            raise OperatorError(f"{self.alias} of Elasticsearch cannot be set up: {error.reason}") from error

    def _install(self) -> None:
        prefix, kind = self._settings.prefix, self.kind
        body = mapping.template(prefix, kind, self._settings.replicas)
        self._edge.call("PUT", f"/_index_template/{self.alias}-v{MAPPING_VERSION}", body)
        for _ in range(_ATTEMPTS):
            self._look()
            mine = [index for index in self._known if index.name.version == MAPPING_VERSION]
            target = next((index for index in self._known if index.writes), None)
            if target is None:  # the first of all, or somebody took the alias away
                newest = max((index.name.number for index in mine), default=0)
                self._make(mapping.index_name(prefix, kind, newest + 1))
            elif target.name.version < MAPPING_VERSION:
                self._roll_over(None, mapping.index_name(prefix, kind, 1))
            else:
                self._check_mapping(target)
                return
        raise UnavailableError(f"{self.alias} of Elasticsearch has no index to write to yet")

    def _look(self) -> None:
        """What is there. Raises OperatorError where the alias is not ours alone."""
        wanted = mapping.pattern(self._settings.prefix, self.kind, None)
        settings = f"/{wanted}/_settings/{_MADE_AT},{_BLOCKED}?flat_settings=true"
        made = self._edge.ask(dict[str, _Settings], "GET", settings)
        try:
            aliased = self._edge.ask(dict[str, _Aliases], "GET", f"/_alias/{self.alias}")
        except RefusedError as error:
            if error.status != 404:
                raise
            aliased = {}
        foreign = sorted(name for name in aliased if self._parsed(name) is None)
        if foreign:
            raise OperatorError(
                f"the alias {self.alias} of Elasticsearch names {', '.join(foreign)[:200]}, which is not ours: take it "
                "away, or set another telemetry.elasticsearch.prefix"
            )
        self._known = []
        for name, told in made.items():
            parsed = self._parsed(name)
            if parsed is None:
                continue
            if name not in aliased:
                self._add_alias(name)
            writes = name in aliased and aliased[name].aliases[self.alias].is_write_index
            if not writes and told.settings.get(_BLOCKED) != "true":
                self._shut(name)
            self._known.append(Index(parsed, int(told.settings[_MADE_AT]) / 1000, writes))

    def _parsed(self, name: str) -> IndexName | None:
        return mapping.parsed(self._settings.prefix, self.kind, name)

    def _add_alias(self, name: str) -> None:
        """For it to be read."""
        action = {"add": {"index": name, "alias": self.alias, "is_write_index": False}}
        self._edge.call("POST", "/_aliases", {"actions": [action]})

    def _shut(self, name: str) -> None:
        """From now on another scheduler that still writes to it has to see that there is a newer one."""
        self._edge.call("PUT", f"/{name}/_block/write")

    def _make(self, name: str) -> None:
        try:
            self._edge.call("PUT", f"/{name}", {"aliases": {self.alias: {"is_write_index": True}}})
        except RefusedError as error:
            if error.kind != "resource_already_exists_exception":  # else another scheduler was first
                raise

    def _check_mapping(self, target: Index) -> None:
        """Fields of a newer Butlery are added; one of another type is somebody else's doing."""
        if target.name.version > MAPPING_VERSION:  # a newer Butlery's: what we know of it is in it
            return
        try:
            self._edge.call("PUT", f"/{target.name.name}/_mapping", mapping.mappings(self.kind))
        except RefusedError as error:
            raise OperatorError(
                f"index {target.name.name} of Elasticsearch is of somebody else's making: {error.reason}; delete it or "
                "set another telemetry.elasticsearch.prefix"
            ) from error

    def roll_over(self) -> None:
        """To a new index, where the one that is written to is old or large enough. ``install`` comes before."""
        days = min(self._settings.rollover_d, max(1, self._keep_d // 2))
        try:
            self._roll_over({"max_age": f"{days}d", "max_docs": self._settings.rollover_docs})
            self._look()
        except RefusedError as error:
            raise OperatorError(f"{self.alias} of Elasticsearch cannot be rolled over: {error.reason}") from error

    def _roll_over(self, conditions: dict[str, Any] | None, name: str = "") -> None:
        path = f"/{self.alias}/_rollover" + (f"/{name}" if name else "")
        try:
            self._edge.call("POST", path, {} if conditions is None else {"conditions": conditions})
        except RefusedError as error:
            if error.kind != "resource_already_exists_exception":  # else another scheduler was first
                raise

    def delete_old(self, now: float) -> None:
        """Deletes each index whose newest record, and itself, is older than records are kept.

        ``now``: seconds since the epoch. Records from the future, of a clock that was wrong, do not keep an index.
        """
        kept_from = now - self._keep_d * DAY_S
        for index in list(self._known):
            name = index.name.name
            if index.writes or index.made_at > kept_from:
                continue
            body = {
                "size": 0,
                "query": {"range": {"at_ms": {"lte": int(now * 1000)}}},
                "aggs": {"newest": {"max": {"field": "at_ms"}}},
            }
            try:
                newest = self._edge.ask(_Answer, "POST", f"/{name}/_search", body).aggregations.newest.value
                if newest is not None and newest / 1000 > kept_from:
                    continue
                self._edge.call("DELETE", f"/{name}")
            except RefusedError as error:
                if error.status != 404:  # else another scheduler was first
                    raise OperatorError(f"old index {name} of Elasticsearch cannot go: {error.reason}") from error
            self._known.remove(index)
