"""The published JSON Schema: up to date, and of one mind with what reads the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from framework.catalog.files import read_catalog
from framework.catalog.schema import schema
from framework.errors import InputError

PUBLISHED = Path(__file__).parents[3] / "docs" / "template.schema.json"

TAKEN: list[dict[str, Any]] = [
    {},
    {"templates": None},
    {"templates": {"a": None, "b": {}}},
    {"templates": {"a": {"image": None, "cpus": 2, "env": {"A": None, "B": "1"}, "attributes": {"os": None}}}},
    {"templates": {"a": {}, "b": {"inherit_from": "a"}, "c": {"inherit_from": ["a", "b"]}}},
    {"templates": {"a": {"containers": [{"name": "db", "image": "x", "ready": {"port": 1}, "env": {"A": "b"}}]}}},
    {
        "templates": {
            "a": {"volumes": [{"path": "/a", "source": "m2", "read_only": True}], "labels": ["a.b", "os=linux"]}
        }
    },
    {"templates": {"a": {"overrides": {"images": ["maven:*", "r.example/**"], "cpus_max": 4}, "spares": 2}}},
]
REFUSED: list[dict[str, Any]] = [
    {"template": {}},
    {"templates": []},
    {"templates": {"a/b": {}}},
    {"templates": {"a": {"cpu": 1}}},
    {"templates": {"a": {"cpus": "1"}}},
    {"templates": {"a": {"inherit_from": 1}}},
    {"templates": {"a": {"labels": ["a b"]}}},
    {"templates": {"a": {"labels": ["cpus=2"]}}},
    {"templates": {"a": {"env": {"BUTLERY_X": "1"}}}},
    {"templates": {"a": {"user": "root", "image": "x"}}},
    {"templates": {"a": {"volumes": [{"source": "/a"}]}}},
    {"templates": {"a": {"volumes": [{"source": "/a", "path": "a/../../b"}]}}},
    {"templates": {"a": {"containers": [{"image": "x"}]}}},
    {"templates": {"a": {"lifetime": "for ever"}}},
    {"templates": {"a": {"overrides": {"cpus": 4}}}},
]


def test_what_is_published_is_of_this_version() -> None:
    fix = "write it anew: `butlery templates schema > docs/template.schema.json`"
    assert json.loads(PUBLISHED.read_text()) == schema(), fix


@pytest.mark.parametrize(("data", "taken"), [*((one, True) for one in TAKEN), *((one, False) for one in REFUSED)])
def test_schema_and_reader_are_of_one_mind(data: dict[str, Any], taken: bool, tmp_path: Path) -> None:
    assert jsonschema_rs.validator_for(schema()).is_valid(data) is taken
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump(data))
    try:
        read_catalog(None, file)
    except InputError:
        assert not taken
    else:
        assert taken
