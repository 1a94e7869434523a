"""What the files for Grafana, Kibana and Prometheus ask for: expressions, fields, aggregations."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from framework.cli.dashboards import FILES
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, SampleRecord

RECORDS = {Kind.BUILDS: BuildRecord, Kind.CHANGES: ChangeRecord, Kind.SAMPLES: SampleRecord}
HISTORY = "butlery-history.json"
"""The one dashboard of Grafana that asks Elasticsearch."""
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}


class Search(NamedTuple):
    """A request to Elasticsearch that a panel or a visualisation comes to."""

    where: str
    kind: Kind
    query: str  # Lucene's; empty: all
    aggregations: dict[str, Any]


class Asked(NamedTuple):
    """What an expression of PromQL names."""

    metrics: set[str]
    labels: set[str]


def grafana() -> dict[str, dict[str, Any]]:
    """Dashboards by file name."""
    return {file.name: json.loads(file.read_text()) for file in (FILES / "grafana").iterdir()}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    rules: dict[str, Any] = yaml.safe_load((FILES / "prometheus" / "butlery-alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


def kibana() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FILES / "kibana" / "butlery.ndjson").read_text().splitlines()]


def expressions() -> Iterator[tuple[str, str]]:
    """Where each expression of PromQL stands, and the expression as Prometheus takes it."""
    for name, board in grafana().items():
        for panel in panels(board) if name != HISTORY else ():
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", _filled_in(target["expr"])
        for variable in board["templating"]["list"]:
            values = re.fullmatch(r"label_values\((\w+), \w+\)", str(variable.get("definition")))
            if values is not None:
                yield f"{name}: variable {variable['name']}", values[1]
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"]


def _filled_in(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m").replace("$tenant", "team")


def asked(expression: str) -> Asked:
    text = re.sub(r'"[^"]*"', '""', expression)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"\"", text))
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", text)
    for names in re.findall(r"\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)", text):
        labels |= set(re.findall(r"\w+", names))
    text = re.sub(r"\b(?:by|without|on|ignoring|group_left)\s*\([^)]*\)", "", text)
    names = set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*(?!\w)(?!\s*\()", text))
    return Asked(names - _WORDS, labels)


def searches() -> Iterator[Search]:
    for panel in panels(grafana()[HISTORY]):
        for target in panel["targets"]:
            query = target["query"].replace("$tenant", "*")
            yield Search(f"{HISTORY}: {panel['title']}", Kind.BUILDS, query, _of_grafana(target))
    for one in kibana():
        if one["type"] in ("search", "visualization"):
            attributes = one["attributes"]
            source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
            (kind,) = (Kind(ref["id"].removeprefix("butlery-")) for ref in one["references"])
            aggregations = _of_kibana(json.loads(attributes["visState"])) if "visState" in attributes else {}
            yield Search(f"Kibana: {attributes['title']}", kind, _lucene(source["query"]["query"]), aggregations)


def fields(search: Search) -> set[str]:
    """All that the query and the aggregations name."""
    query = re.sub(r'"[^"]*"', "", search.query)
    named = set(re.findall(r"_exists_:(\w+)", query)) | set(re.findall(r"(\w+):", query)) - {"_exists_"}

    def within(aggregations: dict[str, Any]) -> Iterator[str]:
        for aggregation in aggregations.values():
            for name, parameters in aggregation.items():
                if name == "aggs":
                    yield from within(parameters)
                else:
                    yield parameters["field"]

    return named | set(within(search.aggregations))


def _lucene(kuery: str) -> str:
    return kuery.replace(" : ", ":").replace("not ", "NOT ")


def _of_grafana(target: dict[str, Any]) -> dict[str, Any]:
    metrics = {one["id"]: _metric(one["type"], one.get("field"), one.get("settings", {})) for one in target["metrics"]}
    wanted = {name: found for name, found in metrics.items() if found is not None}
    for bucket in reversed(target["bucketAggs"]):
        settings = bucket["settings"]
        order = settings.get("orderBy")
        wanted = _bucket(bucket["id"], bucket["type"], bucket["field"], settings.get("size"), order, metrics, wanted)
    return wanted


def _of_kibana(state: dict[str, Any]) -> dict[str, Any]:
    metrics = {
        one["id"]: _metric(one["type"], one["params"].get("field"), one["params"])
        for one in state["aggs"]
        if one["schema"] == "metric"
    }
    wanted = {name: found for name, found in metrics.items() if found is not None}
    for one in reversed([one for one in state["aggs"] if one["schema"] != "metric"]):
        given = one["params"]
        wanted = _bucket(
            one["id"], one["type"], given["field"], given.get("size"), given.get("orderBy"), metrics, wanted
        )
    return wanted


def _metric(kind: str, field: str | None, settings: dict[str, Any]) -> dict[str, Any] | None:
    """None for a count, which every bucket has."""
    if kind == "count":
        return None
    percents = {"percents": [float(one) for one in settings["percents"]]} if kind == "percentiles" else {}
    return {kind: {"field": field, **percents}}


def _bucket(
    name: str,
    kind: str,
    field: str,
    size: str | int | None,
    order: str | None,
    metrics: dict[str, Any],
    within: dict[str, Any],
) -> dict[str, Any]:
    if kind == "date_histogram":
        return {name: {kind: {"field": field, "fixed_interval": "1d"}, **({"aggs": within} if within else {})}}
    by_metric = order is not None and metrics.get(order) is not None
    parameters = {"field": field, "size": int(size or 10), "order": {order if by_metric else "_count": "desc"}}
    inner = {**within, **({order: metrics[order]} if by_metric and order is not None else {})}
    return {name: {kind: parameters, **({"aggs": inner} if inner else {})}}
