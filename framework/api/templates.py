"""Routes of templates: which there are, what one is made of, which serves a label."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from framework.api.auth import Administrator, Authenticated, Principal
from framework.api.context import Serving
from framework.api.models import Name
from framework.api.problems import ProblemError, documented, not_found
from framework.catalog.matching import CatalogTemplate, NoTemplate
from framework.catalog.parts import core_template
from framework.core.ids import TenantName
from framework.core.labels import MAX_CHARS

router = APIRouter(prefix="/v1", tags=["templates"])


class TemplateOut(BaseModel):
    """A template in a few words. Resources are of all its containers together."""

    name: str
    version: str = Field(description="Of what its agents are made of.")
    labels: list[str] = Field(description="Of its agents; none where it is only inherited from.")
    default: bool = Field(description="Serves builds that name no label.")
    image: str | None
    cpus: float
    mem_mib: int
    disk_mib: int
    gpus: int
    lifetime: str = Field(description="`one_shot` or `pooled`.")
    spares: int
    max_agents: int | None
    max_agents_per_tenant: int | None

    @classmethod
    def of(cls, template: CatalogTemplate) -> TemplateOut:
        settings, resources = template.settings, core_template(template.settings).resources
        return cls(
            name=template.name,
            version=template.version,
            labels=list(template.labels),
            default=settings.default,
            image=settings.image,
            cpus=resources.cpu_millis / 1000,
            mem_mib=resources.mem_mib,
            disk_mib=resources.disk_mib,
            gpus=resources.gpus,
            lifetime=settings.lifetime,
            spares=settings.spares,
            max_agents=settings.max_agents,
            max_agents_per_tenant=settings.max_agents_per_tenant,
        )


class TemplateList(BaseModel):
    templates: list[TemplateOut]
    notices: list[str] = Field(description="What is wrong with the files, while an older catalogue serves.")


class TemplateDetail(TemplateOut):
    settings: dict[str, Any] = Field(description="Every key, as of the file and all that it inherits.")


class MatchOut(BaseModel):
    """The template that serves a label for a tenant, or why none does."""

    label: str
    tenant: str | None
    template: str | None
    version: str | None = Field(description="Of the template, and of what the label changes of it.")
    node_labels: str | None = Field(description="Of the agent's node in Jenkins.")
    changes: list[str] = Field(description="Atoms of the label that change the template.")
    reason: str | None = Field(description="Why none serves it, and what would help.")


class MatchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: str = Field("", max_length=MAX_CHARS, description="Label expression; empty: none is named.")
    tenant: Name | None = Field(None, description="By default whose token it is.")


class ReloadOut(BaseModel):
    templates: int = Field(description="How many there are now.")
    notices: list[str] = Field(description="Why the files were not taken; none where they were.")


@router.get("/templates", summary="List templates", responses=documented(401))
async def templates(principal: Authenticated, context: Serving) -> TemplateList:
    """Those that serve the tenant; all of them for the administrator."""
    served = [one for one in context.templates.catalog.templates.values() if _sees(principal, one)]
    notices = context.templates.notices if principal.tenant is None else []
    return TemplateList(templates=[TemplateOut.of(one) for one in served], notices=notices)


@router.get("/templates:match", summary="Which template serves a label?", responses=documented(401, 403, 422))
async def match(principal: Authenticated, context: Serving, query: Annotated[MatchQuery, Query()]) -> MatchOut:
    """As it would be asked for by a build of that label now."""
    if principal.tenant is not None and query.tenant not in (None, principal.tenant):
        raise ProblemError(403, "forbidden", f"This token is {principal.name}'s and can act for no other tenant.")
    tenant = principal.tenant or (None if query.tenant is None else TenantName(query.tenant))
    found = context.templates.catalog.match(query.label, tenant)
    if isinstance(found, NoTemplate):
        nothing = dict.fromkeys(("template", "version", "node_labels"))
        return MatchOut(label=query.label, tenant=tenant, changes=[], reason=found.reason, **nothing)
    return MatchOut(
        label=query.label,
        tenant=tenant,
        template=found.template.name,
        version=found.version,
        node_labels=found.node_labels,
        changes=list(found.atoms),
        reason=None,
    )


@router.post("/templates:reload", summary="Read the templates again", responses=documented(401, 403, 503))
async def reload(_: Administrator, context: Serving) -> ReloadOut:
    """Now rather than within seconds. What is wrong with the files leaves the catalogue as it was."""
    notices = await context.templates.reload()
    return ReloadOut(templates=len(context.templates.catalog.templates), notices=notices)


@router.get("/templates/{name}", summary="Show a template", responses=documented(401, 404))
async def show(name: str, principal: Authenticated, context: Serving) -> TemplateDetail:
    """With all that it inherits."""
    found = context.templates.catalog.templates.get(name)
    if found is None or not _sees(principal, found):
        raise not_found("template")
    settings = found.settings.model_dump(mode="json")
    if principal.tenant is not None:
        del settings["tenants"]  # whom else it serves
    return TemplateDetail(**TemplateOut.of(found).model_dump(), settings=settings)


def _sees(principal: Principal, template: CatalogTemplate) -> bool:
    return template.serves(principal.tenant)
