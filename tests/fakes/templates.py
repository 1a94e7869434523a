"""Templates that no files are behind."""

from __future__ import annotations

from typing import Any

from framework.catalog.files import version_of
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
    found = []
    for name, given in templates.items():
        settings = TemplateSettings.model_validate(given)
        labels = (name.replace("_", "-"),) if settings.labels is None else tuple(settings.labels)
        found.append(CatalogTemplate(name.replace("_", "-"), version_of(settings), settings, labels))
    return Catalog(found)


def fixed_templates(**templates: dict[str, Any]) -> FakeTemplates:
    return FakeTemplates(catalog_of(**templates))
