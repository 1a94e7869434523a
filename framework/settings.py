"""Settings: one YAML file, with secrets from the environment or from files of their own.

Every key has its unit in its name, and its default and reason here, from which docs/settings.rst is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, PrivateAttr, SecretStr, model_validator

from agents.spec import HostPolicy
from framework.catalog.files import read_catalog
from framework.documents import Document, DocumentModel, check, parse_document, read_document
from framework.errors import Fault, InputError
from framework.mesos_settings import MesosSettings
from framework.secret_files import (
    ADMIN_TOKEN_VARIABLE,
    given_admin_token,
    given_mesos_secret,
    given_zookeeper_auth,
    resolved,
)
from framework.serverless_settings import ServerlessSettings, Webhooks, read_secrets
from framework.setting_types import (
    DAY_S,
    HostPath,
    LocalPath,
    PositiveSeconds,
    Pyz,
    Seconds,
    Text,
    UidRange,
)
from framework.telemetry_settings import TelemetrySettings, price_sheet_of, read_telemetry_secrets
from framework.urls import api_url, zookeeper_url

_HOST_DEFAULTS = HostPolicy()

Section = TypeVar("Section", bound=BaseModel)


class ApiSettings(DocumentModel):
    """The HTTP API."""

    host: Text = Field(
        default="127.0.0.1", description="Address to listen on. Reached from this machine only, unless set."
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8080, description="Port to listen on; 0 takes a free one."
    )
    admin_token_file: LocalPath | None = Field(
        default=None,
        description=f"File with the administrator's token, readable by its owner alone. The environment variable "
        f"``{ADMIN_TOKEN_VARIABLE}`` goes before it.",
    )
    advertise_url: Annotated[str, AfterValidator(api_url)] | None = Field(
        default=None,
        description="Where other schedulers, and Mesos' pages, find this one: ``http(s)://HOST:PORT``. By default its "
        "own address and port, with this machine's name where it listens on all addresses.",
    )
    allow_file_urls: bool = Field(
        default=False,
        description="Whether a build may check out ``file://`` repositories, which are those of the host it lands on.",
    )
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 << 20)] = Field(
        default=1_114_112,
        description="Largest request body taken. 1 MiB and 64 KiB: no job is as large, and a mistaken upload is "
        "refused before it is read.",
    )


class StateSettings(DocumentModel):
    """Where the scheduler keeps its state: in a file of its own, or in ZooKeeper, which several schedulers share."""

    path: LocalPath = Field(
        default=Path("~/.local/state/butlery/state.db"),
        validate_default=True,
        description="SQLite file. On a local disk: SQLite's locks do not hold on network file systems. With "
        "``zookeeper`` no state is in it, and only our own Mesos executor is made beside it.",
    )
    zookeeper: Annotated[str, AfterValidator(zookeeper_url)] | None = Field(
        default=None,
        description="``zk://HOST:PORT,HOST:PORT/PATH``: keeps the state there in place of ``path``. Of all schedulers "
        "with the same one leads; the others stand by.",
    )
    zookeeper_auth_file: LocalPath | None = Field(
        default=None,
        description="File with ``USER:PASSWORD`` for ZooKeeper's digest authentication, readable by its owner alone. "
        "With it, what is kept in ZooKeeper is open to that user alone.",
    )
    cluster: Text | None = Field(
        default=None,
        description="Whose state it is, written down in ZooKeeper by the first scheduler: one of another cluster is "
        "refused there. By default the framework's name and Mesos' address; set it before changing either.",
    )
    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = Field(
        default=10,
        description="How long ZooKeeper hears nothing from the leader before another takes over. Garbage collection of "
        "ZooKeeper and short losses of the network must fit in; ZooKeeper itself grants 2 to 20 of its ticks.",
    )
    _zookeeper_auth: SecretStr | None = PrivateAttr(None)

    @property
    def zookeeper_auth(self) -> SecretStr | None:
        """``USER:PASSWORD``; never a key of the file."""
        return self._zookeeper_auth

    @model_validator(mode="after")
    def _in_zookeeper(self) -> StateSettings:
        if self.zookeeper_auth_file is not None and self.zookeeper is None:
            raise ValueError("zookeeper_auth_file is of no use without zookeeper")
        return self


class SchedulingSettings(DocumentModel):
    """Offers, launches and retries."""

    hold_idle_s: Seconds = Field(
        default=5,
        description="How long offers are kept after the last request was served, before they are declined and Mesos is "
        "asked to send none (SUPPRESS). A build that comes meanwhile starts without waiting for an offer.",
    )
    hold_starving_s: PositiveSeconds = Field(
        default=600,
        description="Longest time that a host is kept for a request that small ones would starve; then another host "
        "may be. Ten minutes see most builds of a host to their end.",
    )
    starving_after_s: PositiveSeconds = Field(
        default=30,
        description="How long a request waits before a host may be kept for it. At most one host in ten is kept so.",
    )
    refuse_s: Seconds = Field(
        default=5,
        description="For how long a declined offer's resources are not offered again. Mesos' own default; REVIVE ends "
        "it early when a request comes.",
    )
    revive_every_s: PositiveSeconds = Field(
        default=0.5, description="Least time between two REVIVEs: each makes Mesos offer everything anew."
    )
    launch_timeout_s: PositiveSeconds = Field(
        default=120,
        description="Longest from launch to TASK_RUNNING; then the attempt is ended and tried on another host.",
    )
    kill_confirm_s: PositiveSeconds = Field(
        default=30,
        description="How long after a build's own grace a kill is asked for again where Mesos has not confirmed it.",
    )
    unreachable_s: PositiveSeconds = Field(
        default=90,
        description="How long a build on a host that Mesos lost sight of is waited for, before it is tried again on "
        "another. Mesos itself takes 75 s to say so.",
    )
    reconcile_every_s: Annotated[float, Field(ge=10, le=DAY_S)] = Field(
        default=600, description="How often Mesos is asked for the state of every task, to find updates that were lost."
    )
    timeout_slack_s: PositiveSeconds = Field(
        default=60,
        description="How long after its timeout and grace a build is killed from here, where its executor, which "
        "keeps the time, has not ended it.",
    )
    max_waiting: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=20_000,
        description="Requests that may wait at once; more are refused with 503. Two and a half times the 8000 builds "
        "of the reference installation.",
    )
    retry_base_s: PositiveSeconds = Field(
        default=1,
        description="Longest wait before the second attempt after a loss that was none of the build's doing; doubles "
        "after. Waits are spread over their upper half.",
    )
    retry_cap_s: PositiveSeconds = Field(default=60, description="Longest such wait.")
    max_drops: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=10,
        description="Launches of one request that may go astray before a host has them (offer gone, Mesos away). They "
        "do not count as attempts; beyond these the request ends with class ``infrastructure``.",
    )
    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Failures in a row to get one image after which builds of it wait."
    )
    breaker_open_s: PositiveSeconds = Field(default=60, description="First such wait; doubles while the image fails.")
    breaker_max_s: PositiveSeconds = Field(default=1800, description="Longest such wait.")
    image_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3, description="Attempts of one build whose image cannot be had, before it ends with class ``image``."
    )
    preempt_after_s: PositiveSeconds = Field(
        default=15,
        description="How long a request that no offer fits waits, where its tenant is below its fair share, before "
        "preemptible builds of tenants above theirs are ended for it. Less than ``starving_after_s``, so that room is "
        "made before a host is kept empty; more than the seconds in which offers come and builds end by themselves.",
    )
    max_preemptions: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=3,
        description="How often one build may be ended for others; after these it runs to its end. 0: never one.",
    )
    maintenance_warn_s: PositiveSeconds = Field(
        default=600,
        description="How long before its host's maintenance begins a build is told so in its log. Those that may "
        "outlast the begin are ended ``timeout_slack_s`` and their grace before it, and tried again elsewhere.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> SchedulingSettings:
        if self.breaker_open_s > self.breaker_max_s:
            raise ValueError("breaker_open_s must be at most breaker_max_s")
        if self.retry_base_s > self.retry_cap_s:
            raise ValueError("retry_base_s must be at most retry_cap_s")
        return self


class AgentSettings(DocumentModel):
    """How builds are held on hosts."""

    isolation: Literal["auto", "docker", "mesos", "cgroup2", "watchdog"] = Field(
        default="auto",
        description="What holds a build to its limits. ``auto``: Docker where an engine answers on the host; else "
        "Mesos' cgroup isolators where they are on; else a cgroup v2 group of the executor's own; else a watchdog.",
    )
    executor: Pyz | None = Field(
        default=None,
        description="Path on the hosts, or http(s) URL, of ``butlery-executor.pyz``. By default it is built at start "
        "beside the state file and given by path, which serves where hosts see that path: on one machine.",
    )
    python: HostPath = Field(
        default="/usr/bin/python3", description="Python 3.8 or later on the hosts, for the executor."
    )
    uids: UidRange | None = Field(
        default=_HOST_DEFAULTS.uids,
        description="User ids for builds, one each while it runs, where the executor runs as root: so none of a "
        "build's processes can outlive it. Away from ids people have. ``null``: the executor's own user.",
    )
    docker_socket: HostPath = Field(
        default=_HOST_DEFAULTS.docker_socket, description="The engine's socket on the hosts."
    )
    docker_network: Text = Field(
        default=_HOST_DEFAULTS.docker_network, description="Docker network of builds; ``host`` is the host's own."
    )
    pids: Annotated[int, Field(ge=16, le=4_194_304)] = Field(
        default=_HOST_DEFAULTS.pids,
        description="Processes and threads one build may have. A large Java build has about 300.",
    )
    log_mib: Annotated[int, Field(ge=1, le=10_240)] = Field(
        default=_HOST_DEFAULTS.log_mib, description="Output of one build, in MiB; one that writes more is ended."
    )
    overhead_cpu_millis: Annotated[int, Field(ge=10, le=8000)] = Field(
        default=50, description="Thousandths of a CPU asked for the executor on top of each build. It mostly sleeps."
    )
    overhead_mem_mib: Annotated[int, Field(ge=32, le=8192)] = Field(
        default=32,
        description="MiB asked for the executor on top of each build. 32 is the least Mesos takes, and is enough.",
    )

    def policy(self, isolation: str | None = None) -> HostPolicy:
        """What travels to the executor with each build."""
        return HostPolicy(
            isolation=isolation or self.isolation,
            uids=self.uids,
            docker_socket=self.docker_socket,
            docker_network=self.docker_network,
            pids=self.pids,
            log_mib=self.log_mib,
        )


class JenkinsSettings(DocumentModel):
    """Tenants' masters, as far as their builds are served."""

    call_timeout_s: PositiveSeconds = Field(
        default=10, description="Longest that one call to a master may take. A master that is slow slows its tenant."
    )
    calls_at_once: Annotated[int, Field(ge=1, le=64)] = Field(
        default=8,
        description="Calls to one master at once, and so nodes of it in the making; each node takes it some 10 ms.",
    )
    events_per_s: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        default=1000,
        description="Events taken of one master, on average; up to ten times as many at once. More are refused (429) "
        "until it keeps to it. 800 items at once are some 4000 events in a minute.",
    )
    poll_every_s: PositiveSeconds = Field(
        default=5, description="How often a master is looked at that has something waiting and tells no events."
    )
    cross_check_every_s: PositiveSeconds = Field(
        default=60, description="How often a master is looked at whose events come, or that has nothing to do."
    )


class LogSettings(DocumentModel):
    """The scheduler's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level written.")
    format: Literal["human", "json"] = Field(default="human", description="``json`` writes one object a line.")


class Settings(DocumentModel):
    """All of the file."""

    mesos: MesosSettings = Field(default_factory=MesosSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    state: StateSettings = Field(default_factory=StateSettings)
    scheduling: SchedulingSettings = Field(default_factory=SchedulingSettings)
    agents: AgentSettings = Field(default_factory=AgentSettings)
    templates: dict[str, Any] = Field(
        default_factory=dict,
        description="What agents are made of, by name (:doc:`templates`). Read again while the scheduler runs.",
    )
    templates_path: LocalPath | None = Field(
        default=None,
        description="More templates: a file, or a directory of files, each with a mapping ``templates`` of its own.",
    )
    jenkins: JenkinsSettings = Field(default_factory=JenkinsSettings)
    serverless: ServerlessSettings = Field(default_factory=ServerlessSettings)
    webhooks: Webhooks = Field(default_factory=list, description="Webhooks of forges, whose pushes are built.")
    telemetry: TelemetrySettings = Field(default_factory=TelemetrySettings)
    log: LogSettings = Field(default_factory=LogSettings)
    local: dict[str, Any] = Field(
        default_factory=dict, description="The cluster that ``butlery local up`` makes; read by that command alone."
    )
    masters: dict[str, Any] = Field(
        default_factory=dict, description="Tenants' Jenkins masters; read by ``butlery tenants`` alone."
    )
    _admin_token: SecretStr | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, data: Any) -> Any:
        """A section whose every line is commented out is null in YAML, and means its defaults."""
        return {key: {} if value is None else value for key, value in data.items()} if isinstance(data, dict) else data

    @property
    def admin_token(self) -> SecretStr | None:
        """The administrator's token; never a key of the file."""
        return self._admin_token

    def admin_token_sha256(self) -> str:
        """SHA-256 (hex) of the administrator's token. Raises InputError where none was given."""
        if self._admin_token is None:
            raise InputError([Fault("api.admin_token_file", f"no admin token: set it, or {ADMIN_TOKEN_VARIABLE}")])
        return hashlib.sha256(self._admin_token.get_secret_value().encode()).hexdigest()


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the file, or the defaults where there is none, with secrets from the environment.

    Raises InputError with every fault at once, each with its line and key path.
    """
    return _load(_document(path), _base(path), environ)


def load_section(path: Path | None, section: str, model: type[Section]) -> Section:
    """One section of the file, by a model of the room that it belongs to. Raises InputError as ``load_settings``,

    with the faults of that section alone.
    """
    return check(_document(path), model, (section,), {"base": _base(path)})


def validate_file(path: Path, environ: Mapping[str, str], sections: Mapping[str, type[BaseModel]]) -> list[Fault]:
    """Every fault of the file, its ``sections`` that other rooms read, its templates and its price sheet included; none

    where it is right.
    """
    try:
        document = _document(path)
    except InputError as error:
        return error.faults
    base, faults = _base(path), []
    try:
        _load(document, base, environ)
    except InputError as error:
        faults += error.faults
    for name, model in sections.items():
        try:
            check(document, model, (name,), {"base": base})
        except InputError as error:
            faults += error.faults
    try:
        price_sheet_of(document, base)
    except InputError as error:
        faults += error.faults
    told = {fault.where for fault in faults}
    return faults + [fault for fault in _faults_of_templates(path, document, base) if fault.where not in told]


def notices_of_file(path: Path) -> list[str]:
    """What of a file without faults may not be as its author meant it: what has no price in its price sheet."""
    prices = price_sheet_of(_document(path), _base(path))
    return [] if prices is None else prices.notices


def _faults_of_templates(path: Path, document: Document, base: Path) -> list[Fault]:
    given = document.data.get("templates_path") if isinstance(document.data, dict) else None
    try:
        read_catalog(path, resolved(given, base) if isinstance(given, str) else None)
    except InputError as error:
        return error.faults
    except ValueError:  # told already: it is no path
        return []
    return []


def _document(path: Path | None) -> Document:
    return parse_document("", "") if path is None else read_document(path)


def _base(path: Path | None) -> Path:
    return Path.cwd() if path is None else path.absolute().parent


def _load(document: Document, base: Path, environ: Mapping[str, str]) -> Settings:
    faults: list[Fault] = []
    secrets: dict[str, SecretStr | None] = {}
    for name, read in (
        ("admin_token", partial(given_admin_token, document, base, environ)),
        ("mesos", partial(given_mesos_secret, document, base, environ)),
        ("mesos.zookeeper", partial(given_zookeeper_auth, document, base, "mesos")),
        ("state.zookeeper", partial(given_zookeeper_auth, document, base, "state")),
    ):
        try:
            found = read()
        except InputError as error:
            faults += error.faults
        else:
            secrets[name] = None if found is None else SecretStr(found)
    try:
        settings = check(document, Settings, (), {"base": base})
    except InputError as error:
        raise InputError(error.faults + faults) from error
    if secrets.get("mesos") and settings.mesos.principal is None:
        faults.append(Fault(document.where(("mesos",)), "a secret needs mesos.principal, whose it is"))
    faults += read_secrets(document, settings.webhooks)
    faults += read_telemetry_secrets(document, settings.telemetry, environ)
    if faults:
        raise InputError(faults)
    settings._admin_token = secrets["admin_token"]
    settings.mesos._secret, settings.mesos._zookeeper_auth = secrets["mesos"], secrets["mesos.zookeeper"]
    settings.state._zookeeper_auth = secrets["state.zookeeper"]
    return settings
