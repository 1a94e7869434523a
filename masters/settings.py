"""The ``masters:`` section of the settings file: Marathon, the ingress, and where what must be remembered is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, model_validator

from framework.documents import DocumentModel
from framework.setting_types import LocalPath, Matching, PositiveSeconds, Text
from framework.urls import api_url, marathon_urls

SECTION = "masters"
"""Of the settings file."""

Port = Annotated[int, Field(ge=1, le=65_535)]
_HOST_PART = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = rf"{_HOST_PART}(\.{_HOST_PART}){{0,99}}"


class IngressSettings(DocumentModel):
    """The one public address of all masters."""

    host: Text = Field(default="127.0.0.1", description="Address to listen on.")
    http_port: Port = Field(default=8082, description="Port for HTTP and WebSocket.")
    https_port: Port | None = Field(default=None, description="Port for TLS; needs ``certificate``.")
    certificate: LocalPath | None = Field(
        default=None, description="PEM with chain and key, or a directory of such, readable by its owner alone."
    )
    public_url: Annotated[str, AfterValidator(api_url)] | None = Field(
        default=None,
        description="How users reach it, where that is not ``host`` and port: ``https://jenkins.example``.",
    )
    domain: Annotated[str, Matching(_HOST_NAME, "a host name, such as jenkins.example")] = Field(
        default="localhost", description="Masters are ``TENANT.DOMAIN`` unless they say otherwise."
    )
    agent_ports: Annotated[tuple[Port, Port], Field(strict=False)] | None = Field(
        default=None, description="First and last port for inbound agents by TCP, one a tenant that wants it."
    )
    hold_s: PositiveSeconds = Field(
        default=120, description="How long a request to a master that wakes or moves is held before 503."
    )
    held_requests: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000,
        description="How many are held at once in all, besides two of each tenant; of one at most a tenth of them.",
    )
    haproxy: Text = Field(default="haproxy", description="The program.")

    @model_validator(mode="after")
    def _whole(self) -> IngressSettings:
        if (self.https_port is None) is not (self.certificate is None):
            raise ValueError("https_port and certificate are of use together alone")
        if self.agent_ports is not None and self.agent_ports[0] > self.agent_ports[1]:
            raise ValueError("agent_ports must be the first and the last port, such as [50000, 50999]")
        # HAProxy would listen twice, and connections would go to either.
        if self.https_port is not None and self.https_port == self.http_port:
            raise ValueError("http_port and https_port must differ")
        for port in (self.http_port, self.https_port):
            if self.agent_ports is not None and port is not None and self.agent_ports[0] <= port <= self.agent_ports[1]:
                raise ValueError(f"agent_ports must not hold {port}, which is for HTTP")
        return self


class MastersSettings(DocumentModel):
    """Tenants' masters."""

    marathon_url: Annotated[str, AfterValidator(marathon_urls)] | None = Field(
        default=None, description="Marathon, several instances with commas; by default that of ``butlery local up``."
    )
    marathon_credentials_file: LocalPath | None = Field(
        default=None, description="File with ``USER:PASSWORD``, readable by its owner alone."
    )
    ca_file: LocalPath | None = Field(default=None, description="Certificates (PEM) that Marathon's is signed by.")
    group: Annotated[
        str,
        Field(max_length=100),
        Matching(r"(/[a-z0-9]([a-z0-9-]*[a-z0-9])?)+", "a group of Marathon, such as /butlery/masters"),
    ] = Field(default="/butlery/masters", description="Marathon group of the masters; nothing else may be in it.")
    shards: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=64,
        description="Groups below it that masters are dealt out to by name, so that no body passes 500 kB (Marathon "
        "kept groups in single ZooKeeper nodes of 1 MB). Fixed once masters run.",
    )
    parallel: Annotated[int, Field(ge=1, le=90)] = Field(
        default=40, description="Deployments at once. Marathon refuses more than 100 of all its clients."
    )
    call_timeout_s: PositiveSeconds = Field(default=30, description="Of one call to Marathon.")
    deployment_timeout_s: PositiveSeconds = Field(
        default=1200, description="Of one master's deployment; then it is taken back to its last good version."
    )
    secrets: LocalPath | None = Field(
        default=None,
        description="Directory that Marathon's secret store reads, where ``apply`` puts resolved secrets; by default "
        "that of ``butlery local up``. Without one, secrets that Marathon's store does not hold are refused, unless "
        "``clear_secrets``.",
    )
    clear_secrets: bool = Field(
        default=False, description="Whether secrets may go into apps as plain variables, which Marathon shows."
    )
    state: LocalPath | None = Field(
        default=None,
        description="SQLite file with what Marathon does not remember; by default in the cluster's "
        "directory, else ``~/.local/state/butlery/masters.db``.",
    )
    kit: Text | None = Field(
        default=None,
        description="URL of the start script and init scripts for masters with ``war`` (``butlery "
        "tenants kit`` writes them); by default made beside ``state``, for hosts that are this machine.",
    )
    scheduler_url: Annotated[str, AfterValidator(api_url)] | None = Field(
        default=None, description="The scheduler as masters reach it; by default as commands here do."
    )
    ingress: IngressSettings = Field(default_factory=IngressSettings)


class MastersContext(DocumentModel):
    """Settings with every default that depends on the machine filled in (``masters.connection.resolve``)."""

    marathon_urls: list[str]
    marathon_credentials: tuple[str, str] | None  # user, password
    scheduler_url: str  # as masters reach it
    secrets: Path | None
    state: Path
    kit: str
    settings: MastersSettings

    @property
    def own_kit(self) -> Path | None:
        """Where ``kit`` is to be written before masters start; None where ``masters.kit`` says that it is somewhere."""
        return Path(unquote(urlsplit(self.kit).path)) if self.settings.kit is None else None
