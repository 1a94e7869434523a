"""Which template serves a label expression, as Jenkins would take its agents, and with what changes."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple, Protocol

from framework.catalog.model import TemplateSettings
from framework.catalog.overriding import Override, changed, choices, overrides_of, repeated
from framework.core import labels
from framework.core.events import TemplateLimits
from framework.core.ids import TenantName

MAX_REMEMBERED = 4096
"""Labels whose templates are known; there are far fewer of them in use than jobs."""
NOT_OF_AGENTS = {"inherit_from", "abstract", "tenants", "spares", "max_agents", "max_agents_per_tenant", "overrides"}
"""Keys that change no agent: where only they change, spares and pooled agents stay."""
MAX_TOLD = 20
"""Labels that a reason lists."""


class CatalogTemplate(NamedTuple):
    """A template with all that it inherits."""

    name: str
    version: str  # first 12 hex digits of the SHA-256 of what its agents are made of
    settings: TemplateSettings
    labels: tuple[str, ...]  # of its agents' nodes; none where it is abstract
    tenants: frozenset[str] | None  # whom it serves; None: all

    @staticmethod
    def of(name: str, settings: TemplateSettings) -> CatalogTemplate:
        """The content is all that its agents are made of, as JSON with the keys in order."""
        made_of = settings.model_dump(mode="json", exclude=NOT_OF_AGENTS)
        content = json.dumps(made_of, sort_keys=True, separators=(",", ":"))
        own = (name,) if settings.labels is None else tuple(settings.labels)
        return CatalogTemplate(
            name,
            hashlib.sha256(content.encode()).hexdigest()[:12],
            settings,
            () if settings.abstract else own,
            None if settings.tenants is None else frozenset(settings.tenants),
        )

    def serves(self, tenant: TenantName | None) -> bool:
        """``tenant`` None: whoever it is."""
        return tenant is None or self.tenants is None or tenant in self.tenants


class Chosen(NamedTuple):
    """The template that serves a label, with what the label changes of it within its bounds."""

    template: CatalogTemplate
    settings: TemplateSettings  # the template's, changed
    atoms: tuple[str, ...] = ()  # of the label, ``NAME=VALUE`` each, that changed it

    @property
    def node_labels(self) -> str:
        """Labels of the node of such an agent, with spaces between."""
        return " ".join((*self.template.labels, *self.atoms))

    @property
    def version(self) -> str:
        """Agents of one name and version can serve one another's builds."""
        if not self.atoms:
            return self.template.version
        return f"{self.template.version}+{hashlib.sha256(' '.join(sorted(self.atoms)).encode()).hexdigest()[:6]}"


class NoTemplate(NamedTuple):
    """No template serves the label; ``reason`` is for the tenant, and says what would help."""

    reason: str


class Catalog:
    """All templates, which never change: another catalogue takes this one's place.

    A template serves a label expression that its labels make true, as they do for Jenkins, together with those atoms of
    the expression that change it within its bounds. Of several the one that asks for least is taken: of GPUs, then
    CPUs, memory, disk, and then the first by name.
    """

    def __init__(self, templates: Iterable[CatalogTemplate]) -> None:
        self.templates: Mapping[str, CatalogTemplate] = {
            one.name: one for one in sorted(templates, key=lambda one: one.name)
        }
        self._served = [one for one in self.templates.values() if not one.settings.abstract]
        self._suiting: dict[str, tuple[Chosen, ...]] = {}

    def match(self, label: str | None, tenant: TenantName | None) -> Chosen | NoTemplate:
        """``label`` None or empty: of a build that names none. ``tenant`` None: whoever it is."""
        if label is None or not label.strip():
            return self._default(tenant)
        try:
            expression = labels.parse(label)
        except labels.LabelSyntaxError as error:
            return NoTemplate(f"{_shown(label)} is no label expression: {error}; {HOW}")
        suiting = self._suiting.get(expression.text)
        if suiting is None:
            suiting = self._remember(expression)
        for chosen in suiting:
            if chosen.template.serves(tenant):
                return chosen
        return NoTemplate(self._why_none(expression, tenant))

    @cached_property
    def limits(self) -> dict[str, TemplateLimits]:
        """By template, where there are any."""
        return {
            one.name: TemplateLimits(one.settings.max_agents, one.settings.max_agents_per_tenant)
            for one in self._served
            if one.settings.max_agents is not None or one.settings.max_agents_per_tenant is not None
        }

    @cached_property
    def versions(self) -> dict[str, str]:
        """Of templates that serve anybody, by name."""
        return {one.name: one.version for one in self._served}

    def _default(self, tenant: TenantName | None) -> Chosen | NoTemplate:
        for one in self._served:
            if one.settings.default and one.serves(tenant):
                return Chosen(one, one.settings)
        return NoTemplate(f"it names no label, and no template is for such builds; {self._told(tenant)}")

    def _remember(self, expression: labels.Label) -> tuple[Chosen, ...]:
        ways = _Ways(expression)
        found = [one for template in self._served if (one := _within(template, ways)) is not None]
        if len(self._suiting) >= MAX_REMEMBERED:
            self._suiting.clear()
        self._suiting[expression.text] = ordered = tuple(sorted(found, key=lambda one: _order(one, expression)))
        return ordered

    def _why_none(self, expression: labels.Label, tenant: TenantName | None) -> str:
        ways = _Ways(expression)
        if ways.repeated is not None:
            return f"{_shown(expression.text)} asks for {ways.repeated} more than once; ask for one"
        refusals = list(dict.fromkeys(self._refusals(ways, tenant)))
        if refusals:
            return "; ".join(refusals[:3]) + ": ask for what it takes, or have its operator allow more"
        known = self._known(tenant)
        changes = {one.atom for one in ways.overrides}
        missing = [atom for atom in expression.atoms if atom not in known and atom not in changes]
        blank = next((atom for atom in missing if any(char.isspace() for char in atom)), None)
        if blank is not None:
            return f"{_shown(blank)} is one name with blanks in it, which no agent has; {HOW}"
        near = list(dict.fromkeys(one for atom in missing[:5] for one in difflib.get_close_matches(atom, known, n=2)))
        hint = f"the nearest are {', '.join(near[:5])}; " if near else ""
        return f"no template is for {_shown(expression.text)}; {hint}{self._told(tenant)}"

    def _refusals(self, ways: _Ways, tenant: TenantName | None) -> Iterator[str]:
        """Of templates that would serve it but for their bounds."""
        for template in self._served if ways.overrides else ():
            for way in ways.serving(template)[:1] if template.serves(tenant) else ():
                for override in way:
                    try:
                        changed(template.settings, [override])
                    except ValueError as error:
                        yield f"the template {template.name} {error}"

    def _known(self, tenant: TenantName | None) -> list[str]:
        return sorted({label for one in self._served if one.serves(tenant) for label in one.labels})

    def _told(self, tenant: TenantName | None) -> str:
        known = self._known(tenant)
        if not known:
            return "there are no templates"
        more = f" and {len(known) - MAX_TOLD} more" if len(known) > MAX_TOLD else ""
        return f"known are {', '.join(known[:MAX_TOLD])}{more}"


class Templates(Protocol):
    """The catalogue as it is now, and whether its files can be read."""

    @property
    def catalog(self) -> Catalog: ...

    @property
    def notices(self) -> list[str]:
        """What is wrong with the files, where the catalogue is an older one because of it."""
        ...

    async def reload(self) -> list[str]:
        """Looks at the files now; the notices. Bounded."""
        ...


HOW = "write it as Jenkins takes it, such as `maven && !windows`"


class _Ways:
    """With which of its changes an expression is true of which templates; the same for all whose labels it names

    alike, and so soon told of hundreds.
    """

    def __init__(self, expression: labels.Label) -> None:
        self.overrides = overrides_of(expression.atoms)
        self.repeated = repeated(self.overrides)
        self._expression = expression
        self._atoms = frozenset(expression.atoms)
        self._choices = choices(self.overrides) if self.repeated is None else []
        self._true: dict[frozenset[str], list[tuple[Override, ...]]] = {}

    def serving(self, template: CatalogTemplate) -> list[tuple[Override, ...]]:
        """The changes with which the template serves it, the fewest first."""
        named = self._atoms.intersection(template.labels)
        if named not in self._true:
            self._true[named] = [
                way for way in self._choices if self._expression.matches(named.union(one.atom for one in way))
            ]
        return self._true[named]


def _within(template: CatalogTemplate, ways: _Ways) -> Chosen | None:
    """With the fewest changes that the template takes."""
    for way in ways.serving(template):
        try:
            return Chosen(template, changed(template.settings, way), tuple(one.atom for one in way))
        except ValueError:
            continue
    return None


def _order(chosen: Chosen, expression: labels.Label) -> tuple[object, ...]:
    """What is asked for by changes alone is of the template for builds that name no label, if that takes them."""
    settings = chosen.settings
    by_changes = bool(chosen.atoms) and expression.matches(set(chosen.atoms)) and not settings.default
    whole = sum((one.resources for one in settings.containers), settings.resources)
    return by_changes, whole.gpus, whole.cpu_millis, whole.mem_mib, whole.disk_mib, chosen.template.name


def _shown(label: str) -> str:
    shown = label if len(label) <= 100 else label[:100] + "..."
    return f"`{shown}`" if shown.isprintable() else repr(shown)
