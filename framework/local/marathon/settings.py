"""The section ``local.marathon`` of the settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from framework.documents import DocumentModel
from framework.setting_types import AnyRole, LocalPath, Text


class MarathonSettings(DocumentModel):
    """The Marathon-compatible server of the one-machine cluster. Its defaults are Marathon's own where it has any."""

    enabled: bool = Field(default=True, description="Whether ``butlery local up`` starts it.")
    host: Text = Field(
        default="127.0.0.1", description="Address to listen on. Reached from this machine only, unless set."
    )
    port: Annotated[int, Field(ge=1024, le=65535)] | None = Field(
        default=None,
        description="Port to listen on. By default 8081 where that is free, else any; kept for restarts. Marathon's "
        "usual 8080 is that of the scheduler's API.",
    )
    credentials_file: LocalPath | None = Field(
        default=None,
        description="File with ``USER:PASSWORD``, readable by its owner alone, that its clients have to give (HTTP "
        "Basic). By default one is made; ``butlery local status`` tells where. Apps run as who runs the cluster, so "
        "nobody else on the machine may launch any.",
    )
    role: AnyRole = Field(
        default="*",
        description="Mesos role of apps that give none. Apps with persistent volumes need another than ``*``.",
    )
    default_accepted_roles: list[AnyRole] = Field(
        default_factory=list,
        description="``acceptedResourceRoles`` of apps that give none; empty takes what is reserved and what is not.",
    )
    default_network: Text | None = Field(
        default=None, description="Docker network of apps that ask for a container network without naming one."
    )
    service_port_first: Annotated[int, Field(ge=1, le=65535)] = Field(
        default=10_000, description="First of the service ports that are given to apps which ask for port 0."
    )
    service_port_last: Annotated[int, Field(ge=1, le=65535)] = Field(default=20_000, description="Last of them.")
    max_running_deployments: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="Deployments at once; more are refused with 403."
    )
    env_vars_prefix: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] | None = Field(
        default=None, description="Put before the names of ``PORT``, ``HOST`` and the like in tasks' environments."
    )
    access_control_allow_origin: list[Text] = Field(
        default_factory=list,
        description="Origins whose web pages may ask it from a browser (CORS), or ``*``; none by default.",
    )
    pretend: bool = Field(
        default=False,
        description="For load tests: tasks start nothing. They run, are healthy, and end when they are killed.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> MarathonSettings:
        if self.service_port_first > self.service_port_last:
            raise ValueError("service_port_first must be at most service_port_last")
        return self
