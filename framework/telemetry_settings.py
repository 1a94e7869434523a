"""Settings of telemetry: where records go, how long they are kept, what things cost, who is told of failures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, model_validator

from framework.documents import Document, DocumentModel, read_document
from framework.errors import Fault
from framework.secret_files import read_secret, resolved
from framework.setting_types import LocalPath, Matching, Name, PositiveSeconds, Text
from framework.telemetry.prices import PriceSheet, price_sheet
from framework.telemetry.sizing import MAX_BUILDS, Aim, fewest
from framework.urls import service_url

ELASTICSEARCH_PASSWORD_VARIABLE = "BUTLERY_ELASTICSEARCH_PASSWORD"  # noqa: S105 the variable's name

Days = Annotated[int, Field(ge=1, le=3650)]
ServiceUrl = Annotated[str, AfterValidator(service_url)]
Prefix = Annotated[str, Matching(r"[a-z0-9][a-z0-9_.-]{0,49}", "up to 50 of a-z, 0-9, `_`, `.`, `-`")]
ResultClass = Literal[
    "failed", "oom", "timeout", "pids", "log_limit", "disk", "cancelled", "checkout", "image", "connect",
    "infrastructure", "preempted",
]  # fmt: skip


class ElasticsearchSettings(DocumentModel):
    """The Elasticsearch that records go to where ``telemetry.sink`` says so: 7.17 and later, 8 and 9."""

    urls: list[ServiceUrl] = Field(
        default=["http://127.0.0.1:9200"],
        min_length=1,
        max_length=100,
        description="Addresses of its servers, ``http(s)://HOST:PORT``; one that does not answer is left out a while.",
    )
    user: Text | None = Field(default=None, description="Who we are to it.")
    password_file: LocalPath | None = Field(
        default=None,
        description=f"File with that user's password, readable by its owner alone. The environment variable "
        f"``{ELASTICSEARCH_PASSWORD_VARIABLE}`` goes before it.",
    )
    api_key_file: LocalPath | None = Field(
        default=None, description="File with an API key (its ``encoded`` form), in place of user and password."
    )
    ca_file: LocalPath | None = Field(
        default=None,
        description="Certificates (PEM) of the CAs that sign its servers'. By default the system's.",
    )
    prefix: Prefix = Field(
        default="butlery",
        description="What the names of our indices, aliases and templates begin with: ``PREFIX-builds`` and so on.",
    )
    replicas: Annotated[int, Field(ge=0, le=10)] = Field(
        default=1, description="Copies of each index beside the first. 0 where there is one server."
    )
    rollover_d: Days = Field(default=30, description="Age at which an index is followed by a new one.")
    rollover_docs: Annotated[int, Field(ge=1000, le=2_000_000_000)] = Field(
        default=20_000_000, description="Documents at which it is. 20 million builds are some 10 GB."
    )
    timeout_s: PositiveSeconds = Field(default=30, description="Longest that one call may take.")

    _password: SecretStr | None = PrivateAttr(None)
    _api_key: SecretStr | None = PrivateAttr(None)

    @property
    def password(self) -> SecretStr | None:
        """Never a key of the file."""
        return self._password

    @property
    def api_key(self) -> SecretStr | None:
        return self._api_key

    @model_validator(mode="after")
    def _one_way_in(self) -> ElasticsearchSettings:
        if self.api_key_file is not None and (self.user is not None or self.password_file is not None):
            raise ValueError("api_key_file takes the place of user and password_file; give one of the two")
        if self.password_file is not None and self.user is None:
            raise ValueError("password_file is of no use without user")
        return self


class SizingSettings(DocumentModel):
    """Sizes of jobs from their history (``butlery builds sizes``)."""

    apply: bool = Field(
        default=False,
        description="Whether agents of Jenkins get the size that their job's history says, within these bounds. A size "
        "that a label names itself stays as it is.",
    )
    tenants: list[Name] = Field(
        default_factory=list, max_length=10_000, description="Only jobs of these tenants; empty: of all."
    )
    coverage: Annotated[float, Field(ge=0.5, le=0.999)] = Field(
        default=0.95, description="Part of a job's builds that its size shall be enough for."
    )
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = Field(
        default=0.95,
        description="Least confidence, from 0 to 1, that it is: with coverage 0.95, 0.95 takes 59 measured builds.",
    )
    headroom: Annotated[float, Field(ge=1.0, le=4.0)] = Field(
        default=1.2, description="Times what the history says, so that a build may grow a little."
    )
    least: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.25, description="Smallest part of what the template gives that is applied."
    )
    most: Annotated[float, Field(ge=1, le=16)] = Field(
        default=2.0, description="Largest multiple of what the template gives that is applied."
    )
    history_d: Days = Field(default=30, description="How far back builds are looked at; the newest 300 at most.")

    @property
    def aim(self) -> Aim:
        return Aim(self.coverage, self.confidence, self.headroom)

    @model_validator(mode="after")
    def _within_reach(self) -> SizingSettings:
        builds = fewest(self.aim)
        if builds > MAX_BUILDS:
            raise ValueError(
                f"coverage {self.coverage:g} with confidence {self.confidence:g} takes {builds} measured builds of a "
                f"job, of which the newest {MAX_BUILDS} are looked at; lower one of the two"
            )
        return self


class TracesSettings(DocumentModel):
    """OpenTelemetry traces of builds' lives, sent by OTLP over HTTP."""

    url: ServiceUrl | None = Field(
        default=None,
        description="Where traces are posted, such as ``http://127.0.0.1:4318/v1/traces``. By default nowhere.",
    )
    headers_file: LocalPath | None = Field(
        default=None,
        description="File with headers to send along, ``NAME: VALUE`` a line, readable by its owner alone.",
    )
    _headers: dict[str, SecretStr] = PrivateAttr(default_factory=dict)

    @property
    def headers(self) -> dict[str, SecretStr]:
        return self._headers

    @model_validator(mode="after")
    def _whole(self) -> TracesSettings:
        if self.headers_file is not None and self.url is None:
            raise ValueError("headers_file is of no use without url")
        return self


class AlertSettings(DocumentModel):
    """A channel that is told of builds which ended badly: a webhook that takes what Slack's takes."""

    name: Name = Field(description="In messages and logs, in place of the address.")
    url_file: LocalPath = Field(
        description="File with the webhook's address, readable by its owner alone: who knows it can write there."
    )
    classes: list[ResultClass] = Field(
        default=["infrastructure", "image", "connect", "oom", "disk"],
        min_length=1,
        description="Failure classes that are told. By default what an operator or a template's author can mend.",
    )
    tenants: list[Name] = Field(default_factory=list, max_length=10_000, description="Only of these; empty: of all.")
    every_s: Annotated[float, Field(ge=1, le=86_400)] = Field(
        default=60,
        description="Least time between two messages; what comes meanwhile is told in one, by class and job.",
    )
    _url: SecretStr = PrivateAttr(SecretStr(""))

    @property
    def url(self) -> SecretStr:
        return self._url


class MetricsSettings(DocumentModel):
    """``/metrics``, for Prometheus."""

    open: bool = Field(default=False, description="Whether it is told without a token.")
    token_file: LocalPath | None = Field(
        default=None,
        description="File with a token that opens ``/metrics`` and nothing else, readable by its owner alone. The "
        "administrator's opens it too.",
    )
    _token: SecretStr | None = PrivateAttr(None)

    @property
    def token(self) -> SecretStr | None:
        return self._token


def _different(alerts: list[AlertSettings]) -> list[AlertSettings]:
    names = [one.name for one in alerts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    return alerts


class TelemetrySettings(DocumentModel):
    """Records of every build, and what is made of them."""

    sink: Literal["sqlite", "elasticsearch"] = Field(
        default="sqlite",
        description="Where records are kept that have left the spool. Several schedulers that share their state should "
        "share an Elasticsearch too: a file has what its own scheduler led.",
    )
    path: LocalPath | None = Field(
        default=None,
        description="Directory of the spool and of SQLite's file, on a local disk; by default ``telemetry`` beside "
        "``state.path``. Several schedulers of one machine have one each.",
    )
    spool_mib: Annotated[int, Field(ge=16, le=1_048_576)] = Field(
        default=4096,
        description="Largest size of the spool, which grows while Elasticsearch is away. 30 builds a second are some "
        "8 GB a day. When it is full, builds are told later from the state; state changes and samples are not kept.",
    )
    keep_builds_d: Days = Field(default=400, description="How long builds are kept: a year, and the month before it.")
    keep_changes_d: Days = Field(default=30, description="How long state changes are.")
    keep_samples_d: Days = Field(default=90, description="How long samples are.")
    sample_every_s: Annotated[float, Field(ge=5, le=3600)] = Field(
        default=30, description="How often the use of the cluster and of tenants is sampled."
    )
    prices_path: LocalPath | None = Field(
        default=None, description="Price sheet (:doc:`telemetry`). Without one builds have no cost."
    )
    elasticsearch: ElasticsearchSettings = Field(
        default_factory=ElasticsearchSettings, description="The Elasticsearch of ``sink: elasticsearch``."
    )
    sizing: SizingSettings = Field(default_factory=SizingSettings, description="Sizes of jobs from their history.")
    traces: TracesSettings = Field(default_factory=TracesSettings, description="OpenTelemetry traces of builds.")
    metrics: MetricsSettings = Field(default_factory=MetricsSettings, description="``/metrics``, for Prometheus.")
    alerts: Annotated[list[AlertSettings], Field(max_length=100), AfterValidator(_different)] = Field(
        default_factory=list, description="Channels that are told of builds which ended badly."
    )


def price_sheet_of(document: Document, base: Path) -> PriceSheet | None:
    """The price sheet that settings name, which stand in the folder ``base``; None where they name none, or no path.

    Raises InputError with every fault of the sheet.
    """
    section = document.data.get("telemetry") if isinstance(document.data, dict) else None
    given = section.get("prices_path") if isinstance(section, dict) else None
    if not isinstance(given, str):
        return None
    try:
        path = resolved(given, base)
    except ValueError:
        return None
    return price_sheet(read_document(path))


def read_telemetry_secrets(document: Document, telemetry: TelemetrySettings, environ: Mapping[str, str]) -> list[Fault]:
    """Gives each its secrets from their files or the environment; what is wrong with them."""
    faults: list[Fault] = []

    def taken(path: Path, *keys: str | int) -> str | None:
        try:
            found = read_secret(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            faults.append(Fault(document.where(("telemetry", *keys)), f"cannot be read: {reason}"))
            return None
        if re.fullmatch(r"[ -~\n]+", found):
            return found
        faults.append(Fault(document.where(("telemetry", *keys)), "must hold visible ASCII characters"))
        return None

    def kept(path: Path | None, *keys: str | int) -> SecretStr | None:
        found = None if path is None else taken(path, *keys)
        return None if found is None else SecretStr(found)

    search = telemetry.elasticsearch
    given = environ.get(ELASTICSEARCH_PASSWORD_VARIABLE)
    if given is not None and search.user is None and search.api_key_file is None and telemetry.sink != "sqlite":
        where = document.where(("telemetry", "elasticsearch", "user"))
        faults.append(Fault(where, f"{ELASTICSEARCH_PASSWORD_VARIABLE} needs the user whose it is"))
    search._password = (
        SecretStr(given) if given is not None else kept(search.password_file, "elasticsearch", "password_file")
    )
    if telemetry.sink == "elasticsearch" and search.user is not None and search._password is None and not faults:
        where = document.where(("telemetry", "elasticsearch", "user"))
        faults.append(Fault(where, f"has no password: set password_file, or {ELASTICSEARCH_PASSWORD_VARIABLE}"))
    search._api_key = kept(search.api_key_file, "elasticsearch", "api_key_file")
    telemetry.metrics._token = kept(telemetry.metrics.token_file, "metrics", "token_file")
    headers = kept(telemetry.traces.headers_file, "traces", "headers_file")
    for line in [] if headers is None else headers.get_secret_value().splitlines():
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9_-]+", name.strip()) or not value.strip():
            where = document.where(("telemetry", "traces", "headers_file"))
            faults.append(Fault(where, "must hold lines of NAME: VALUE"))
            break
        telemetry.traces._headers[name.strip()] = SecretStr(value.strip())
    for index, alert in enumerate(telemetry.alerts):
        address = taken(alert.url_file, "alerts", index, "url_file")
        if address is None:
            continue
        if not _is_address(address):
            where = document.where(("telemetry", "alerts", index, "url_file"))
            faults.append(Fault(where, "must hold an address, http(s)://HOST/..., with no name or password in it"))
            continue
        alert._url = SecretStr(address)
    return faults


def _is_address(text: str) -> bool:
    """Of a channel; a query may be part of its secret."""
    try:
        return re.fullmatch(r"[!-~]+", text) is not None and service_url(text.partition("?")[0]) != ""
    except ValueError:  # whose words may repeat it
        return False
