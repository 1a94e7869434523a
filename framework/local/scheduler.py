"""The scheduler as a child process on the one-machine cluster, and the settings file it is given."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from framework.catalog.files import read_catalog
from framework.documents import read_document
from framework.local.cluster import choose_port, get_json
from framework.local.credentials import Credentials, write_secret
from framework.local.files import PRIVATE, write_whole
from framework.local.server_process import ServerProcess, url_at
from framework.local.status import Paths
from framework.secret_files import MESOS_SECRET_VARIABLE
from framework.serverless_settings import WebhookSettings
from framework.settings import load_settings

API_PORT = 8080  # the usual one of the settings
INGRESS_PORT = 8082  # as well
HEALTH_TIMEOUT_S = 5.0
FILES_OF_MASTERS = ("marathon_credentials_file", "ca_file", "secrets", "state", "certificate")
"""Keys of the section ``masters``, and of its ``ingress``, that name a file or directory."""


class Urls(NamedTuple):
    """Where commands on this machine find them."""

    api: str
    ingress: str | None  # all masters' address, where there is one


def write_config(
    directory: Path,
    given: Path | None,
    mesos_url: str,
    isolation: str,
    *,
    ingress: bool = False,
    elasticsearch_url: str | None = None,
) -> Urls:
    """Writes this cluster's settings: what ``given`` says, and where it says nothing what the cluster is.

    Mesos' address, who we are to it, and the isolation are always the cluster's own. Makes the administrator's token.
    With ``ingress`` a port of it is chosen too; telemetry goes to ``elasticsearch_url`` where there is one.

    Raises InputError where ``given`` is faulty or a port is taken.
    """
    paths = Paths(directory)
    environment = {name: value for name, value in os.environ.items() if name != MESOS_SECRET_VARIABLE}
    settings = load_settings(given, environment)  # that secret is for another Mesos
    read_catalog(given, settings.templates_path)
    data: dict[str, Any] = dict(read_document(given).data) if given else {}
    sections: dict[str, Any] = {name: dict(data.get(name) or {}) for name in ("mesos", "api", "state", "agents")}
    port = choose_port(sections["api"].get("port") or None, paths.api_port, API_PORT, "api.port")
    scheduler = Credentials(directory).scheduler
    for key in ("ca_file", "cert_file", "key_file", "zookeeper_auth_file"):  # of another Mesos
        sections["mesos"].pop(key, None)
    sections["mesos"].update(url=mesos_url, principal=scheduler.principal, secret_file=str(scheduler.secret_file))
    sections["api"].update(host=settings.api.host, port=port, admin_token_file=str(paths.admin_token))
    _write_token(paths.admin_token, settings.admin_token.get_secret_value() if settings.admin_token else None)
    sections["state"]["path"] = str(settings.state.path if "path" in sections["state"] else paths.state)
    sections["agents"]["isolation"] = isolation
    ingress_url = None
    if ingress:
        base = given.absolute().parent if given else directory
        sections["masters"] = _with_whole_paths(data.get("masters") or {}, base)
        sections["masters"]["ingress"] = its = _with_whole_paths(sections["masters"].get("ingress") or {}, base)
        name = "masters.ingress.http_port"
        its["http_port"] = choose_port(its.get("http_port") or None, paths.ingress_port, INGRESS_PORT, name)
        ingress_url = url_at(its.get("host") or "127.0.0.1", its["http_port"])
    sections["telemetry"] = _with_paths_of(data.get("telemetry") or {}, settings.telemetry)
    if elasticsearch_url is not None:
        sections["telemetry"] = _sent_to(elasticsearch_url, sections["telemetry"])
    if settings.webhooks:
        sections["webhooks"] = [
            _with_its_files(one, hook) for one, hook in zip(data["webhooks"], settings.webhooks, strict=True)
        ]
    if settings.templates_path is not None:
        sections["templates_path"] = str(settings.templates_path)
    text = yaml.safe_dump({**data, **sections}, sort_keys=True, allow_unicode=True)
    heading = "# Written by `butlery local up` at every start; your own file is given with --config.\n"
    write_whole(paths.config, heading + text, PRIVATE)
    return Urls(url_at(settings.api.host, port), ingress_url)


def _with_paths_of(section: Any, settings: object) -> Any:
    """What the user's file says, with the paths that were read from it: what they name is beside that file."""
    if isinstance(settings, Path):
        return str(settings)
    if isinstance(section, Mapping):
        return {key: _with_paths_of(value, getattr(settings, key, None)) for key, value in section.items()}
    if isinstance(section, list) and isinstance(settings, list):
        return [_with_paths_of(value, one) for value, one in zip(section, settings, strict=True)]
    return section


def _sent_to(elasticsearch_url: str, telemetry: Mapping[str, Any]) -> dict[str, Any]:
    search = dict(telemetry.get("elasticsearch") or {})
    for key in ("user", "password_file", "api_key_file", "ca_file"):  # of another Elasticsearch
        search.pop(key, None)
    search |= {"urls": [elasticsearch_url], "replicas": 0}
    return {**telemetry, "sink": "elasticsearch", "elasticsearch": search}


def _with_whole_paths(section: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """What it names beside the user's file is not beside this cluster's."""
    return {
        key: str(base / value) if key in FILES_OF_MASTERS and isinstance(value, str) else value
        for key, value in section.items()
    }


def _with_its_files(section: Mapping[str, Any], hook: WebhookSettings) -> dict[str, Any]:
    """A webhook of the user's file, whose files are beside that."""
    files: dict[str, Any] = {"secret_file": str(hook.secret_file)}
    files |= {"token_file": str(hook.token_file)} if hook.token_file is not None else {}
    return {**section, **files, "secret_files": {name: str(path) for name, path in hook.secret_files.items()}}


def _write_token(path: Path, token: str | None) -> None:
    """The given token, else the one of an earlier start, else a new one; where the commands on this machine find it."""
    if token is None:
        if path.exists():
            return
        token = secrets.token_urlsafe(32)
    write_secret(path, token)


def scheduler_process(directory: Path, command: Sequence[str], api_url: str) -> ServerProcess:
    """``command`` is the whole of it, its settings file included."""
    paths = Paths(directory)

    def healthy() -> None:
        get_json(f"{api_url}/v1/health", HEALTH_TIMEOUT_S)

    return ServerProcess("the scheduler", directory, command, paths.scheduler_pid, paths.scheduler_log, healthy)
