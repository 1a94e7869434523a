"""The examples of docs/templates.rst are read, and serve what the page says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from framework.catalog.files import read_catalog
from framework.catalog.inheritance import MERGED_BY, NOT_INHERITED
from framework.catalog.matching import Catalog, Chosen
from framework.catalog.model import OVERRIDES
from framework.core.ids import TenantName
from framework.settings import validate_file

PAGE = (Path(__file__).parents[3] / "docs" / "templates.rst").read_text()


def written(directory: Path) -> Catalog:
    """The catalogue of the page's files, each of which begins with its name."""
    blocks = re.findall(r"\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", PAGE)
    for block in blocks:
        text = textwrap.dedent(block)
        file = directory / text.split("\n")[0].removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert validate_file(directory / "butlery.yaml", {}, {}) == []
    return read_catalog(directory / "butlery.yaml", directory / "templates")


def test_the_labels_of_the_page_are_served_by_the_templates_it_says(tmp_path: Path) -> None:
    catalog = written(tmp_path)
    rows = re.findall(
        r"^   \* - ``(.+)``\n     - (?:``(\S+)``|none)$", PAGE.partition("Labels and what serves")[2], re.MULTILINE
    )
    assert len(rows) == 8
    for label, template in rows:
        found = catalog.match(label, TenantName("payments"))
        assert (found.template.name if isinstance(found, Chosen) else "") == template, (label, found)


def test_the_page_tells_all_rules_of_the_merge_and_all_that_may_be_changed(tmp_path: Path) -> None:
    maven = written(tmp_path).templates["maven"].settings
    assert (maven.cpus, maven.mem_mib, maven.jvm_options) == (1, 4096, ["-Xmx256m"])
    assert (maven.overrides.cpus_max, maven.overrides.images[0]) == (8, "maven:3.*")
    for key in (*NOT_INHERITED, *MERGED_BY):
        assert re.search(rf"[`*]{key}[`*]", PAGE.partition("What is inherited")[2].partition("Which template")[0]), key
    assert [atom.partition("=")[0] for atom in re.findall(r"^   \* - ``(\w+=\S+)``", PAGE, re.MULTILINE)] == list(
        OVERRIDES
    )
