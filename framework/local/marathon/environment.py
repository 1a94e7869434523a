"""The environment that Marathon 1.9 gives a task (mesosphere/mesos/TaskBuilder.scala, EnvironmentHelper.scala)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import sha256

from framework.errors import ButleryError
from framework.local.marathon.definition.app import App, NetworkMode, SecretRef
from framework.local.marathon.matching.ports import asked_by

Secrets = Callable[[str], str]
"""What a secret's source holds. Raises ButleryError where there is none."""

MAX_CHARS = 512
"""Labels whose name with its prefix, or whose value, has so many are left out."""

_LABEL_PREFIX = "MARATHON_APP_LABEL_"
_UNSAFE = re.compile(r"[^a-zA-Z0-9_]+")

_FIRST_MADE_UP, _LAST_MADE_UP = 1025, 65535


def environment(
    app: App,
    task_id: str,
    hostname: str,
    ports: Sequence[int],
    secrets: Secrets,
    *,
    prefix: str = "",
    enforce_role: bool = False,
) -> dict[str, str]:
    """All of it; what the app sets itself goes before everything else.

    ``ports``: as ``Instance.ports``. ``prefix``: before the names of HOST and of the ports. ``enforce_role``: of the
    app's group at the top.
    """
    about = {
        "MESOS_TASK_ID": task_id,
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": app.version,
        "MARATHON_APP_RESOURCE_CPUS": as_double(app.cpus),
        "MARATHON_APP_RESOURCE_MEM": as_double(app.mem),
        "MARATHON_APP_RESOURCE_DISK": as_double(app.disk),
        "MARATHON_APP_RESOURCE_GPUS": str(app.gpus),
        "MARATHON_APP_ENFORCE_GROUP_ROLE": "TRUE" if enforce_role else "FALSE",
        **_labels(app.labels),
    }
    if app.container is not None and app.container.docker is not None:
        about["MARATHON_APP_DOCKER_IMAGE"] = app.container.docker.image
    where = {"HOST": hostname, **ports_environment(app, task_id, ports)}
    own = {name: _value(app, value, secrets) for name, value in app.env.items()}
    return {**about, **{prefix + name: value for name, value in where.items()}, **own}


def _value(app: App, value: str | SecretRef, secrets: Secrets) -> str:
    """Of a secret without the line break that a file of text ends with."""
    return value if isinstance(value, str) else secret_of(app, value.secret, secrets).removesuffix("\n")


def secret_of(app: App, name: str, secrets: Secrets) -> str:
    """What one of the app's secrets holds. Raises ButleryError where it has none of the name, or ``secrets`` does."""
    source = app.secrets.get(name)
    if source is None:
        raise ButleryError(f"{app.id} has no secret {name!r}: name its source in the app's secrets")
    return secrets(source.source)


def ports_environment(app: App, task_id: str, ports: Sequence[int]) -> dict[str, str]:
    """PORT, PORTS, and for each port PORT0, PORT_8080 and PORT_HTTP: by its place, number and name.

    The number is that of the container, or with host networking that of the definition. What a mapping has none of
    the host's for is told as the container's own, made up where that is 0 too.
    """
    if not ports:
        return {}
    numbers, names = _requested(app)
    asked = asked_by(app)
    # A mapping of the host's port 0 has got one; only where none was asked for there is none.
    effective = [port if wanted is not None else None for wanted, port in zip(asked, ports, strict=True)]
    made_up = _made_up(task_id, {*numbers, *ports})
    result: dict[str, str] = {}
    told: list[int] = []
    extra: list[int] = []
    for index, (number, port, name) in enumerate(zip(numbers, effective, names, strict=True)):
        if port is not None:
            told.append(port)
            shown = port
            if name:
                result[f"PORT_{name.upper()}"] = str(port)
        elif number:
            shown = number
        else:
            shown = next(made_up)
            extra.append(shown)
        result[f"PORT{index}"] = str(shown)
        result[f"PORT_{number or shown}"] = str(shown)
    told += extra
    if told:
        result["PORT"] = str(told[0])
    result["PORTS"] = ",".join(map(str, told))
    return result


def _requested(app: App) -> tuple[list[int], list[str | None]]:
    """Numbers, 0 for any, and names."""
    if any(network.mode is not NetworkMode.HOST for network in app.networks):
        mappings = (app.container.port_mappings if app.container else None) or ()
        return [each.container_port for each in mappings], [each.name for each in mappings]
    definitions = app.port_definitions or ()
    return [each.port for each in definitions], [each.name for each in definitions]


def _made_up(task_id: str, used: set[int]) -> Iterator[int]:
    """Ports for a container that has its own network, the same whenever the same task is told of."""
    for nth in itertools.count():
        digest = sha256(f"{task_id} {nth}".encode()).digest()
        port = _FIRST_MADE_UP + int.from_bytes(digest[:4], "big") % (_LAST_MADE_UP - _FIRST_MADE_UP + 1)
        if port not in used:
            used.add(port)
            yield port


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    most = MAX_CHARS - len(_LABEL_PREFIX)
    safe = {
        _UNSAFE.sub("_", name).upper(): value
        for name, value in labels.items()
        if len(name) < most and len(value) < MAX_CHARS
    }
    return {"MARATHON_APP_LABELS": " ".join(safe), **{_LABEL_PREFIX + name: value for name, value in safe.items()}}


def as_double(number: float) -> str:
    """As Java shows it: 1 as ``1.0``, ten million as ``1.0E7``."""
    if not number or 1e-3 <= abs(number) < 1e7:
        return repr(float(number))
    exact = Decimal(repr(number))
    exponent = exact.adjusted()
    return f"{float(exact.scaleb(-exponent))!r}E{exponent}"
