"""Which Marathon, scheduler and secret store tenants' masters are made with: told, or those of ``butlery local up``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framework.cli.connection import SERVER_VARIABLE
from framework.documents import read_document
from framework.errors import Fault, InputError, UnavailableError
from framework.local.spec import default_directory
from framework.local.status import Paths, status_file
from framework.secret_files import read_secret
from framework.settings import load_section
from framework.urls import api_url
from masters.settings import SECTION, MastersContext, MastersSettings

STATE_NAME = "masters.db"
KIT_NAME = "masters-kit.tar.gz"


def resolve(config: Path | None, directory: Path | None, environ: Mapping[str, str]) -> MastersContext:
    """The section ``masters`` of the settings file, completed from the local cluster (of ``directory``).

    Without ``config`` the cluster's own settings count, where there are any. Raises InputError with every fault at
    once, and UnavailableError where a local cluster is needed and none is up.
    """
    folder = directory or default_directory()
    config = settings_file(config, folder)
    settings = load_section(config, SECTION, MastersSettings)
    faults: list[Fault] = []
    scheduler_url = settings.scheduler_url or _told_server(environ, faults)
    credentials = None
    if settings.marathon_credentials_file is not None:
        credentials = _credentials(settings.marathon_credentials_file, config, faults)
    if faults:
        raise InputError(faults)
    cluster = {} if settings.marathon_url and scheduler_url else _cluster(folder, settings)
    secrets, state = settings.secrets, settings.state
    if settings.marathon_url is None:
        secrets = secrets or Paths(folder).marathon / "secrets"
        state = state or folder / STATE_NAME
        if credentials is None:
            credentials = _credentials(Path(cluster["marathon_credentials"]), None, faults)
    if faults:
        raise InputError(faults)
    state = state or _state_home(environ) / "butlery" / STATE_NAME
    return MastersContext(
        marathon_urls=(settings.marathon_url or str(cluster["marathon_url"])).split(","),
        marathon_credentials=credentials,
        scheduler_url=scheduler_url or str(cluster["api_url"]),
        secrets=secrets,
        state=state,
        kit=settings.kit or (state.absolute().parent / KIT_NAME).as_uri(),
        settings=settings,
    )


def settings_file(config: Path | None, directory: Path | None) -> Path | None:
    """The one told, else the local cluster's own, where there is one."""
    own = Paths(directory or default_directory()).config
    return own if config is None and own.is_file() else config


def _told_server(environ: Mapping[str, str], faults: list[Fault]) -> str | None:
    told = environ.get(SERVER_VARIABLE)
    try:
        return api_url(told) if told else None
    except ValueError as error:
        faults.append(Fault(SERVER_VARIABLE, str(error)))
        return None


def _cluster(folder: Path, settings: MastersSettings) -> Mapping[str, Any]:
    """Its status, with all that is not told otherwise. Raises UnavailableError."""
    needed = {} if settings.marathon_url else {"marathon_url": str, "marathon_credentials": str}
    if settings.scheduler_url is None:
        needed["api_url"] = str
    up = f"bring one up with `butlery local up --detach`, or name {SECTION}.marathon_url and {SECTION}.scheduler_url"
    try:
        status = json.loads(status_file(folder).read_bytes())
        missing = [name for name, kind in needed.items() if not isinstance(status.get(name), kind)]
    except OSError as error:
        raise UnavailableError(f"no local cluster in {folder} ({error.strerror}); {up}") from error
    except (ValueError, AttributeError) as error:
        raise UnavailableError(f"{status_file(folder)} cannot be understood; {up}") from error
    if missing:
        raise UnavailableError(f"the local cluster in {folder} is {status.get('state', 'down')}; {up}")
    found: Mapping[str, Any] = status
    return found


def _credentials(file: Path, config: Path | None, faults: list[Fault]) -> tuple[str, str] | None:
    """User and password; None with a fault that holds none of them. ``config``: the settings that name the file."""
    key = "marathon_credentials_file"
    where = f"{SECTION}.{key}" if config is None else read_document(config).where((SECTION, key))
    try:
        text = read_secret(file)
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
        faults.append(Fault(where, f"{file}: {reason}"))
        return None
    if re.fullmatch(r"[!-9;-~]+:[!-~]+", text) is None:
        faults.append(Fault(where, f"{file} must hold USER:PASSWORD, both of visible ASCII characters"))
        return None
    user, _, password = text.partition(":")
    return user, password


def _state_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
