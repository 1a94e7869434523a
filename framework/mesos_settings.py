"""Settings of the Mesos that the scheduler is a framework of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, model_validator

from framework.documents import DocumentModel
from framework.secret_files import MESOS_SECRET_VARIABLE
from framework.setting_types import DAY_S, LocalPath, PositiveSeconds, Principal, Roles, Text
from framework.urls import mesos_url


class MesosSettings(DocumentModel):
    """How to reach the Mesos masters, and what to tell them of us."""

    url: Annotated[str, AfterValidator(mesos_url)] = Field(
        default="http://127.0.0.1:5050",
        description="Mesos master, as ``http://HOST:PORT`` or ``https://HOST:PORT``; several with commas between them "
        "are tried in turn and the leading one is found from any of them. 5050 is Mesos' own default port. Or "
        "``zk://HOST:PORT,HOST:PORT/PATH``, where the masters elect the leading one.",
    )
    roles: Roles = Field(
        default=["butlery"],
        description="Mesos roles whose shares of the cluster are asked for. A tenant's builds take offers of any of "
        "them, or of the one it is given (``butlery tenants set --role``).",
    )
    user: Text | None = Field(
        default=None,
        description="System user that Mesos starts the Mesos executor as; by default the scheduler's own. Builds run "
        "as ``agents.uids`` where that is root.",
    )
    framework_name: Text = Field(default="butlery", description="Name shown in Mesos' own pages.")
    failover_timeout_s: PositiveSeconds = Field(
        default=7 * DAY_S,
        description="How long Mesos keeps builds running while no scheduler is connected. One week: a long weekend "
        "without the scheduler must not end a build.",
    )
    principal: Principal | None = Field(
        default=None, description="Principal told to Mesos, for its quotas and access rules."
    )
    secret_file: LocalPath | None = Field(
        default=None,
        description=f"File with the principal's secret, readable by its owner alone, for a Mesos that asks who we are "
        f"(HTTP Basic). The environment variable ``{MESOS_SECRET_VARIABLE}`` goes before it.",
    )
    ca_file: LocalPath | None = Field(
        default=None,
        description="Certificates (PEM) of the CAs that sign those of masters and hosts. By default the system's.",
    )
    cert_file: LocalPath | None = Field(
        default=None, description="Our own certificate (PEM) with its chain, for masters that ask for one."
    )
    key_file: LocalPath | None = Field(
        default=None,
        description="Its key (PEM, no password), readable by its owner alone; by default it is in ``cert_file``.",
    )
    zookeeper_auth_file: LocalPath | None = Field(
        default=None,
        description="File with ``USER:PASSWORD`` for ZooKeeper's digest authentication, readable by its owner alone, "
        "where a ``zk://`` address is open to some only.",
    )
    zookeeper_scheme: Literal["http", "https"] = Field(
        default="http", description="How the masters that a ``zk://`` address leads to are spoken to."
    )
    driver: Literal["own", "pymesos"] = Field(
        default="own",
        description="What speaks to the masters: our own driver, or pymesos, which is slower, knows neither TLS nor "
        "IPv6, and is installed by ``python -m framework.edges.mesos.install_pymesos``.",
    )
    heartbeats_missed: Annotated[int, Field(ge=2, le=100)] = Field(
        default=5,
        description="Heartbeats of Mesos (15 s apart by its default) in a row that may be missed before reconnecting.",
    )

    _secret: SecretStr | None = PrivateAttr(None)
    _zookeeper_auth: SecretStr | None = PrivateAttr(None)

    @property
    def secret(self) -> SecretStr | None:
        """The principal's; never a key of the file."""
        return self._secret

    @property
    def zookeeper_auth(self) -> SecretStr | None:
        """``USER:PASSWORD``; never a key of the file."""
        return self._zookeeper_auth

    @model_validator(mode="after")
    def _whole(self) -> MesosSettings:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is of no use without cert_file")
        if self.zookeeper_auth_file is not None and not self.url.startswith("zk://"):
            raise ValueError("zookeeper_auth_file is of no use without a zk:// address")
        return self

    @property
    def urls(self) -> list[str]:
        """The addresses of ``url``, one by one, without a slash at the end; ``zk://`` is one."""
        if self.url.startswith("zk://"):
            return [self.url]
        return [address.strip().rstrip("/") for address in self.url.split(",")]
