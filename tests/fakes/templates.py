"""Templates that no files are behind."""

from __future__ import annotations

from typing import Any

from framework.catalog.matching import Catalog, CatalogTemplate
from framework.catalog.model import TemplateSettings


class FakeTemplates:
    """``framework.catalog.matching.Templates``."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.notices: list[str] = []
        self.reloads = 0

    async def reload(self) -> list[str]:
        self.reloads += 1
        return self.notices


def catalog_of(**templates: dict[str, Any]) -> Catalog:
    """Of templates by name, whose keys are those of the file; a ``_`` in a name is a ``-``."""
    return Catalog(
        CatalogTemplate.of(name.replace("_", "-"), TemplateSettings.model_validate(given))
        for name, given in templates.items()
    )


def fixed_templates(**templates: dict[str, Any]) -> FakeTemplates:
    return FakeTemplates(catalog_of(**templates))
