"""What a template makes of a request: the core's template, the executor's spec, the Jenkins side."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from agents.shared import RUNNER_MEM_MIB
from agents.spec import AgentSpec, BuildSpec, ContainerSpec, ReadyCheck, VolumeSpec
from framework.catalog.matching import Chosen
from framework.catalog.model import ContainerSettings, TemplateSettings, VolumeSettings
from framework.core import constraints
from framework.core.ids import TenantName
from framework.core.jenkins import JenkinsSide
from framework.core.pieces import ReservedUse
from framework.core.resources import GROUP_DISK_MIB, Resources
from framework.core.templates import Container, Lifetime, Sized, Template

POOLED_S = 1e9
"""A pooled agent lasts for as long as it is used: the scheduler holds each of its builds to the template's time."""


class AgentParts(NamedTuple):
    """Of a request for an agent of a tenant's master, whatever item of a label it is for: what is the item's own, and

    the spec's job, is still to be put in.
    """

    template: Template
    spec: BuildSpec
    jenkins: JenkinsSide
    retries: int
    sizable: frozenset[str] = frozenset()  # of ``cpu_millis`` and ``mem_mib``: what the job's history may change
    most: Mapping[str, int] = {}  # of them, where the template says how much a job may have


def agent_parts(chosen: Chosen, tenant: TenantName, label: str) -> AgentParts:
    """``label`` as Jenkins told it, empty where the job has none."""
    settings = chosen.settings
    side = JenkinsSide(
        item=None,
        task="",
        task_url="",
        label=label,
        node_labels=chosen.node_labels,
        buildable_at=0.0,
        exclusive=not settings.default,
        web_socket=settings.web_socket,
        tunnel=settings.tunnel,
        resubmit=settings.resubmit,
    )
    return AgentParts(agent_template(chosen), agent_spec(chosen, tenant, ""), side, settings.retries, *_sizing(chosen))


def _sizing(chosen: Chosen) -> tuple[frozenset[str], Mapping[str, int]]:
    """What of an agent's size may be changed, and up to what. Nothing of agents that may serve whoever comes first; not

    what the label asks for itself.
    """
    settings = chosen.settings
    if Lifetime(settings.lifetime) is not Lifetime.ONE_SHOT or settings.spares:
        return frozenset(), {}
    asked = {atom.partition("=")[0] for atom in chosen.atoms}
    most = {}
    if settings.overrides.cpus_max is not None:
        most["cpu_millis"] = round(settings.overrides.cpus_max * 1000)
    if settings.overrides.mem_mib_max is not None:
        most["mem_mib"] = settings.overrides.mem_mib_max
    names = {"cpu_millis": "cpus", "mem_mib": "mem_mib"}
    return frozenset(field for field, name in names.items() if name not in asked), most


def sized(parts: AgentParts, job: str, cpu_millis: int, mem_mib: int) -> AgentParts:
    """The same for an agent whose container that builds has that size, and which is for this job alone."""
    template, spec = parts.template, parts.spec
    change = Resources(cpu_millis=cpu_millis - spec.cpu_millis, mem_mib=mem_mib - spec.mem_mib)
    if not change.cpu_millis and not change.mem_mib:
        return parts
    digits = hashlib.sha256(f"{job} {cpu_millis} {mem_mib}".encode()).hexdigest()[:6]
    return parts._replace(
        template=msgspec.structs.replace(
            template,
            resources=template.resources + change,
            version=f"{template.version}~{digits}",
            sized=Sized(job, spec.cpu_millis, spec.mem_mib),
        ),
        spec=dataclasses.replace(spec, cpu_millis=cpu_millis, mem_mib=mem_mib),
    )


def agent_template(chosen: Chosen) -> Template:
    """What deciding needs to know of an agent of Jenkins; of a spare too."""
    settings = chosen.settings
    return msgspec.structs.replace(
        core_template(settings, chosen.template.name, chosen.version),
        connect_timeout_s=settings.connect_timeout_s,
        lifetime=Lifetime(settings.lifetime),
        idle_s=settings.idle_min * 60,
    )


def agent_spec(chosen: Chosen, tenant: str, job: str) -> BuildSpec:
    """What the executor needs to make the agent ready; whose it is at the master comes with the node."""
    settings = chosen.settings
    spec = build_spec(settings, tenant, job)
    spec.keep_failed_h = settings.keep_failed_h
    if settings.lifetime == "pooled":
        spec.timeout_s = POOLED_S
    spec.agent = AgentSpec(
        web_socket=settings.web_socket,
        tunnel=settings.tunnel,
        java=settings.java,
        jvm_options=list(settings.jvm_options),
    )
    return spec


def core_template(settings: TemplateSettings, name: str = "", version: str = "") -> Template:
    """What deciding needs to know of it, of a job as of an agent."""
    containers = tuple(Container(one.name, one.resources, one.image) for one in settings.containers)
    shared = settings.mesos_executor == "shared" and not containers
    own = settings.resources + watching(len(containers), shared=shared)
    return Template(
        resources=sum((one.resources for one in containers), own),
        image=settings.image,
        attributes=dict(settings.attributes),
        timeout_s=settings.timeout_s,
        constraints=tuple(constraints.parse(parts) for parts in settings.constraints),
        reserved=ReservedUse(settings.reserved),
        preemptible=settings.preemptible,
        shared=shared,
        containers=containers,
        name=name,
        version=version,
    )


def build_spec(settings: TemplateSettings, tenant: str, job: str) -> BuildSpec:
    """What the executor needs to know of it, of a job as of an agent; the template's command, where it has one."""
    return BuildSpec(
        task_id="",
        tenant=tenant,
        job=job,
        command=settings.command or "",
        cpu_millis=settings.resources.cpu_millis,
        mem_mib=settings.mem_mib,
        disk_mib=settings.disk_mib,
        image=settings.image,
        env=dict(settings.env),
        timeout_s=settings.timeout_s,
        gpus=settings.gpus,
        containers=[_container(one) for one in settings.containers],
        volumes=_volumes(settings.volumes),
        user=settings.user,
        network=settings.network,
    )


def watching(containers: int, *, shared: bool) -> Resources:
    """What an agent asks for on top of its containers: memory to watch over them, a group's disk.

    Mesos may hold an executor to the sum of its tasks. Watching over one container is in the executor's own overhead.
    """
    return Resources(mem_mib=RUNNER_MEM_MIB * (containers + shared), disk_mib=GROUP_DISK_MIB if containers else 0)


def _container(settings: ContainerSettings) -> ContainerSpec:
    resources, ready = settings.resources, settings.ready
    return ContainerSpec(
        name=settings.name,
        command=settings.command or "",
        cpu_millis=resources.cpu_millis,
        mem_mib=resources.mem_mib,
        disk_mib=resources.disk_mib,
        gpus=resources.gpus,
        image=settings.image,
        env=dict(settings.env),
        volumes=_volumes(settings.volumes),
        ready=None if ready is None else ReadyCheck(ready.command, ready.port, ready.timeout_s),
    )


def _volumes(given: list[VolumeSettings]) -> list[VolumeSpec]:
    return [VolumeSpec(one.source or "", one.path, one.read_only) for one in given]
