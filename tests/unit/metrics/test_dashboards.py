"""The files for Grafana, Kibana and Prometheus name only what is there."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import ProcessCollector

from framework.cli.dashboards import FILES, written
from framework.cli.program import run
from framework.runtime.telemetry.families import FAMILIES
from framework.telemetry.records import Kind
from tests.fakes import dashboard_files
from tests.fakes.dashboard_files import HISTORY, RECORDS, alerts, asked, expressions, fields, grafana, kibana, panels

LABELS = {family.name: set(family.labels) for family in FAMILIES}
for _family in FAMILIES:
    if _family.kind == "histogram":
        LABELS[_family.name + "_bucket"] = {*_family.labels, "le"}
for _metric in ProcessCollector(registry=None).collect():
    LABELS[_metric.name + ("_total" if _metric.type == "counter" else "")] = set()
OF_TARGET = {"instance", "job"}


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_expressions_name_metrics_and_labels_that_there_are(where: str, expression: str) -> None:
    metrics, labels = asked(expression)
    assert metrics, f"{where} asks for nothing"
    assert metrics <= LABELS.keys(), f"{where}: {metrics - LABELS.keys()}"
    known = set().union(*(LABELS[name] for name in metrics)) | OF_TARGET
    assert labels <= known, f"{where}: {labels - known}"


def test_every_family_is_shown_or_watched_but_for_what_helps_to_join_them() -> None:
    named = set().union(*(asked(expression).metrics for _, expression in expressions()))
    shown = {name.removesuffix("_bucket") for name in named}
    assert {family.name for family in FAMILIES} - shown == {"butlery_draining"}


@pytest.mark.parametrize("search", list(dashboard_files.searches()), ids=lambda search: search.where)
def test_searches_name_fields_that_records_have(search: dashboard_files.Search) -> None:
    known = set(RECORDS[search.kind].__struct_fields__)
    assert fields(search) <= known, f"{search.where}: {fields(search) - known}"


@pytest.mark.parametrize("name", grafana())
def test_grafanas_dashboards_are_whole(name: str) -> None:
    board = grafana()[name]
    assert name == f"{board['uid']}.json"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    kind = "elasticsearch" if name == HISTORY else "prometheus"
    for panel in panels(board):
        assert panel["title"], name
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": kind, "uid": "${source}"}, panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)
        for target in panel["targets"]:
            text = json.dumps(target).replace("$__rate_interval", "")
            assert "$tenant" not in text or "tenant" in variables
            assert kind == "prometheus" or target["timeField"] == "at_ms"
    _assert_apart([panel["gridPos"] for panel in board["panels"]], 24)


def _assert_apart(places: list[dict[str, Any]], width: int) -> None:
    taken: set[tuple[int, int]] = set()
    for at in places:
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= width
        taken |= cells


def test_legends_and_summaries_name_labels_that_their_metrics_have() -> None:
    named = [
        (f"{name}: {panel['title']}", target["expr"], target["legendFormat"].replace("{{", "{{$labels."))
        for name, board in grafana().items()
        if name != HISTORY
        for panel in panels(board)
        for target in panel["targets"]
    ]
    named += [(rule["alert"], rule["expr"], json.dumps(rule["annotations"])) for rule in alerts()]
    for where, expression, text in named:
        known = set().union(*(LABELS[name] for name in asked(expression).metrics)) | OF_TARGET
        for _, label in pairwise(text.split("$labels.")):
            used = label.partition("}")[0].partition(" ")[0]
            assert used in known, f"{where}: {used}"


def test_kibanas_objects_are_whole() -> None:
    objects = kibana()
    known = {(one["type"], one["id"]) for one in objects}
    assert len(known) == len(objects)
    for one in objects:
        attributes, references = one["attributes"], one["references"]
        assert attributes["title"]
        assert {(ref["type"], ref["id"]) for ref in references} <= known, one["id"]
        source = json.loads(attributes.get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}"))
        wanted = {source["indexRefName"]} if "indexRefName" in source else set()
        if one["type"] == "dashboard":
            laid_out = json.loads(attributes["panelsJSON"])
            wanted |= {panel["panelRefName"] for panel in laid_out}
            assert len({panel["panelIndex"] for panel in laid_out}) == len(laid_out)
            _assert_apart([panel["gridData"] for panel in laid_out], 48)
        assert {ref["name"] for ref in references} == wanted, one["id"]
        if one["type"] == "index-pattern":
            record = RECORDS[Kind(one["id"].removeprefix("butlery-"))]
            assert attributes["timeFieldName"] in record.__struct_fields__
            assert set(json.loads(attributes["fieldFormatMap"])) <= set(record.__struct_fields__)
        if one["type"] == "search":
            (ref,) = references
            columns = RECORDS[Kind(ref["id"].removeprefix("butlery-"))].__struct_fields__
            assert set(attributes["columns"]) <= set(columns)
    (board,) = (one for one in objects if one["type"] == "dashboard")
    visualisations = {one["id"] for one in objects if one["type"] == "visualization"}
    assert visualisations <= {ref["id"] for ref in board["references"]}


def test_the_files_are_written_with_the_prefix_of_ones_indices(tmp_path: Path) -> None:
    paths = written(tmp_path / "a", "butlery")
    assert len(paths) == len({*paths}) == sum(1 for room in FILES.iterdir() for _ in room.iterdir())
    for path in paths:
        shipped = (FILES / path.parent.name / path.name).read_text()
        assert path.read_text() == shipped
    written(tmp_path / "a", "acme.ci")
    objects = [json.loads(line) for line in (tmp_path / "a/kibana/butlery.ndjson").read_text().splitlines()]
    titles = [one["attributes"]["title"] for one in objects if one["type"] == "index-pattern"]
    assert titles == ["acme.ci-builds", "acme.ci-changes", "acme.ci-samples"]
    patterns = [one for one in objects if one["type"] != "index-pattern"]
    assert patterns == [one for one in kibana() if one["type"] != "index-pattern"]


def test_a_prefix_that_no_index_can_have_and_a_place_that_cannot_be_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["telemetry", "dashboards", str(tmp_path / "a"), "--prefix", "ACME"]) == 2
    assert "--prefix: must be up to 50 of a-z" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run(["telemetry", "dashboards", str(tmp_path / "file")]) == 1
    assert "cannot be written: Not a directory" in capsys.readouterr().err
    assert run(["telemetry", "dashboards", str(tmp_path / "a")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(list((tmp_path / "a").glob("*/*")))
