"""Catalogues out of YAML in the test."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.catalog.files import read_catalog
from framework.catalog.matching import Catalog
from framework.errors import InputError

Read = Callable[..., Catalog]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The catalogue of a settings file, and of files beside it by name."""

    def reading(text: str, **files: str) -> Catalog:
        config, beside = tmp_path / "butlery.yaml", tmp_path / "templates"
        config.write_text(textwrap.dedent(text))
        beside.mkdir(exist_ok=True)
        for name, content in files.items():
            (beside / f"{name}.yaml").write_text(textwrap.dedent(content))
        return read_catalog(config, beside)

    return reading


@pytest.fixture
def faults(read: Read, tmp_path: Path) -> Callable[..., list[str]]:
    """What is wrong, one line each, without the directory."""

    def found(text: str, **files: str) -> list[str]:
        with pytest.raises(InputError) as error:
            read(text, **files)
        return [f"{fault.where}: {fault.message}".replace(f"{tmp_path}/", "") for fault in error.value.faults]

    return found
