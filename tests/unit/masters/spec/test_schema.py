"""The published JSON Schema: up to date, and of one mind with what reads the files."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from framework.errors import InputError
from masters.spec.files import read_tenants
from masters.spec.schema import schema

PUBLISHED = Path(__file__).parents[4] / "docs" / "tenant.schema.json"
VOLUME = {"host_path": "/srv/{tenant}", "shared": True}
SMALL = {"image": "j", "volume": VOLUME}

TAKEN: list[dict[str, Any]] = [
    SMALL,
    {"tenants": [SMALL | {"name": "a"}]},
    SMALL | {"image": None, "command": "true", "env": None},
    SMALL | {"volume": {"docker": {"driver": "nfs", "options": {"type": "nfs"}}, "persistent": False}},
    SMALL | {"volume": {"persistent": True, "size_mib": 64}},
    SMALL | {"quota": {"cpus": 1.5, "builds": 3}, "backup": {"to": "/b", "every_h": 24}, "uid": 0},
    SMALL | {"secrets": {"A": {"env": "X"}, "B": {"marathon": "/b"}}, "labels": {"a.b": "c"}, "plugins": ["git:5"]},
    SMALL | {"constraints": [["pool", "IS", "x"], ["hostname", "UNIQUE"]], "hibernate": {"after_idle_min": 30}},
]
REFUSED: list[dict[str, Any]] = [
    {"tenants": 3},
    {"tenants": [], "cpus": 1},
    SMALL | {"war": "/x.war"},
    SMALL | {"nmae": "x"},
    SMALL | {"name": "Upper"},
    SMALL | {"cpus": "1"},
    SMALL | {"mem_mib": 10},
    SMALL | {"volume": VOLUME | {"docker": {}}},
    SMALL | {"volume": {"host_path": "relative", "shared": True}},
    SMALL | {"env": {"not a name": "x"}},
    SMALL | {"env": {"A": 1}},
    SMALL | {"secrets": {"A": {"env": "X", "file": "y"}}},
    SMALL | {"plugins": ["git 5"]},
    SMALL | {"address": {"path": "/a/b"}},
    SMALL | {"ports": {"http": 70_000}},
    SMALL | {"jvm": {"heap_percent": 99}},
]


def test_what_is_published_is_of_this_version() -> None:
    fix = "write it anew: `butlery tenants schema > docs/tenant.schema.json`"
    assert json.loads(PUBLISHED.read_text()) == schema(), fix


def _taken(data: dict[str, Any], folder: Path) -> bool:
    (folder / "a.yaml").write_text(yaml.safe_dump(data))
    try:
        return len(read_tenants(folder, "localhost")) == 1
    except InputError:
        return False


@pytest.mark.parametrize(("data", "taken"), [(data, True) for data in TAKEN] + [(data, False) for data in REFUSED])
def test_it_takes_and_refuses_what_reading_does(data: dict[str, Any], taken: bool, tmp_path: Path) -> None:
    assert jsonschema_rs.Draft202012Validator(schema()).is_valid(data) is taken
    assert _taken(data, tmp_path) is taken
