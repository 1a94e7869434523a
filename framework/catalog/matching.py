"""Which template serves a label expression, as Jenkins would take its agents, and with what changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from framework.catalog.model import TemplateSettings
from framework.core.events import TemplateLimits
from framework.core.ids import TenantName


class CatalogTemplate(NamedTuple):
    """A template with all that it inherits."""

    name: str
    version: str  # first 12 hex digits of the SHA-256 of its content
    settings: TemplateSettings
    labels: tuple[str, ...]  # of its agents' nodes


class Chosen(NamedTuple):
    """The template that serves a label, with what the label changes of it within its bounds."""

    template: CatalogTemplate
    settings: TemplateSettings  # the template's, changed
    atoms: tuple[str, ...]  # of the label, ``NAME=VALUE`` each, that changed it

    @property
    def node_labels(self) -> str:
        """Labels of the node of such an agent, with spaces between."""
        return " ".join((*self.template.labels, *self.atoms))

    @property
    def version(self) -> str:
        """Agents of one version can serve one another's builds."""
        return "+".join((self.template.version, *self.atoms))


class NoTemplate(NamedTuple):
    """No template serves the label; ``reason`` is for the tenant, and says what would help."""

    reason: str


class Catalog:
    """All templates, which never change: another catalogue takes this one's place."""

    def __init__(self, templates: Iterable[CatalogTemplate]) -> None:
        self.templates: Mapping[str, CatalogTemplate] = {one.name: one for one in templates}

    def match(self, label: str | None, tenant: TenantName | None) -> Chosen | NoTemplate:
        """``label`` None or empty: of a build that names none. ``tenant`` None: whoever it is."""
        raise NotImplementedError

    @property
    def limits(self) -> dict[str, TemplateLimits]:
        raise NotImplementedError

    @property
    def versions(self) -> dict[str, str]:
        return {name: one.version for name, one in self.templates.items()}


class Templates(Protocol):
    """The catalogue as it is now, and whether it could be read."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def notices(self) -> list[str]:
        """What is wrong with the files, where the catalogue is an older one because of it."""
        ...

    async def reload(self) -> list[str]:
        """Looks at the files now; the notices. Bounded."""
        ...
