"""From a tenant to its Marathon app: the whole document that is PUT, made of the spec and nothing else. Pure.

Every key that an app of ours may ever have is always given, so that what a tenant's YAML no longer says also goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

from framework.urls import found_at
from masters import names
from masters.names import Variable
from masters.records import Policy
from masters.settings import IngressSettings, MastersContext
from masters.spec.rules import tag_of

if TYPE_CHECKING:
    from masters.spec.model import DockerVolume, ExternalVolume, HealthSpec, TenantSpec, VolumeSpec

Document: TypeAlias = dict[str, Any]

HOME_IN_IMAGE = "/var/jenkins_home"
"""As Jenkins' own image has it."""
HOME_IN_SANDBOX = "home"
"""Of a volume without an image, and of Mesos' persistent volumes, which can be nowhere else."""
SANDBOX_IN_IMAGE = "/mnt/mesos/sandbox"
"""Where Mesos' Docker containerizer mounts it."""
WAR = "jenkins.war"
"""In the sandbox."""
CHECK_DELAY_S = 1
"""Until the first health check; Marathon's 15 s would hide every master that starts faster."""
BOOTS_OF_GRACE = 3
"""How many of its last boots a master has until failed health checks count."""
INACTIVE_AFTER_S, EXPUNGE_AFTER_S = 300, 600
"""A host that Mesos lost may still run its master, and two must not write to one home: so long the network has to come

back, before another is started elsewhere."""


@dataclass(frozen=True, slots=True)
class AppContext:
    """What apps are made of beside tenants' specs; the same for all of them."""

    group: str
    shards: int
    scheduler_url: str  # as masters reach it
    public_url: str  # of the ingress, without a path
    domain: str  # of the ingress: masters are below it that have no address of their own
    kit: str
    store: bool  # whether secrets go to a secret store; else they are plain variables
    real: bool = True  # False: masters only pretend (benchmarks)

    @staticmethod
    def of(context: MastersContext) -> AppContext:
        settings = context.settings
        return AppContext(
            group=settings.group,
            shards=settings.shards,
            scheduler_url=context.scheduler_url,
            public_url=public_url(settings.ingress),
            domain=settings.ingress.domain,
            kit=context.kit,
            store=context.secrets is not None,
        )


def public_url(ingress: IngressSettings) -> str:
    """How users reach the ingress, without a ``/`` at the end."""
    if ingress.public_url is not None:
        return ingress.public_url.rstrip("/")
    tls = ingress.https_port is not None
    scheme, port, usual = ("https", ingress.https_port, 443) if tls else ("http", ingress.http_port, 80)
    host = found_at(ingress.host)
    return f"{scheme}://{host}" if port == usual else f"{scheme}://{host}:{port}"


def root_url(host: str | None, path: str | None, public: str) -> str:
    """Of a master, as its users see it; with a ``/`` at the end, as Jenkins wants it."""
    parts = urlsplit(public)
    netloc = parts.netloc
    if host is not None:
        netloc = host if parts.port is None else f"{host}:{parts.port}"
    return f"{parts.scheme}://{netloc}{path or ''}/"


def grace_s(configured_s: float, boot_s: float | None) -> int:
    """How long failed health checks do not count; whole seconds. ``boot_s``: the last boot, where one is known."""
    return math.ceil(max(configured_s, BOOTS_OF_GRACE * (boot_s or 0)))


def learned_checks(document: Mapping[str, Any], boot_s: float | None) -> list[Document] | None:
    """The health checks of an app that starts anew anyway, with a longer grace; None where it has as much."""
    checks = [dict(check) for check in document.get("healthChecks", ())]
    grown = False
    for check in checks:
        learned_s = grace_s(check["gracePeriodSeconds"], boot_s)
        grown = grown or learned_s != check["gracePeriodSeconds"]
        check["gracePeriodSeconds"] = learned_s
    return checks if grown else None


def app_of(
    spec: TenantSpec,
    context: AppContext,
    *,
    configuration: str | None = None,
    clear: Mapping[str, str] | None = None,
    boot_s: float | None = None,
) -> Document:
    """The app that is to be; wanted ``on``, with one instance.

    ``configuration``: the packed files of configuration-as-code. ``clear``: what secrets hold, by source, where there
    is no store; those that ``apply`` draws may be missing there and are then left to it.
    """
    secrets = _secrets(spec)
    container = _container(spec)
    uid = None if spec.user_id is None else str(spec.user_id)
    env: Document = {**spec.env, **_variables(spec, context, configuration)}
    hidden: list[str] = []
    for variable, (name, source, by_marathon) in secrets.items():
        if context.store or by_marathon:
            env[variable] = {"secret": name}
        else:
            hidden.append(variable)
            if source in (clear or {}):
                env[variable] = (clear or {})[source]
    policy = policy_of(spec, context, hidden)
    agents = [_port("agents", 0)] if spec.ports.agents else []
    document: Document = {
        "id": names.app_id(context.group, spec.name, context.shards),
        "instances": 1,
        "cpus": spec.cpus,
        "mem": spec.mem_mib,
        "disk": 0,
        "cmd": _command(spec),
        "user": None if container["type"] == "DOCKER" else uid,
        "container": container,
        "networks": [{"mode": "host"}],
        "portDefinitions": [_port("http", spec.ports.http), *agents],
        "requirePorts": spec.ports.http != 0,
        "env": env,
        "secrets": {
            name: {"source": source} for name, source, by_marathon in secrets.values() if context.store or by_marathon
        },
        "labels": {
            **spec.labels,
            names.LABEL_TENANT: spec.name,
            names.LABEL_POLICY: msgspec.json.encode(policy, order="deterministic").decode(),
            names.LABEL_STATE: "on",
        },
        "fetch": _fetched(spec, context),
        "constraints": [list(parts) for parts in spec.constraints],
        "healthChecks": [_health(spec.health, policy.path, boot_s)],
        "taskKillGracePeriodSeconds": math.ceil(spec.stop_timeout_s),
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
        "unreachableStrategy": "disabled"
        if _on_one_host(spec.volume)
        else {"inactiveAfterSeconds": INACTIVE_AFTER_S, "expungeAfterSeconds": EXPUNGE_AFTER_S},
        "role": _role(spec, context),
    }
    return {key: value for key, value in document.items() if value is not None}


def policy_of(spec: TenantSpec, context: AppContext, hidden: list[str]) -> Policy:
    """What the app's label tells the tenants' service. ``hidden``: variables that hold secrets in clear."""
    hibernate, backup = spec.hibernate, spec.backup
    return Policy(
        host=spec.host_name(context.domain),
        path=spec.address.path,
        agents=spec.ports.agents,
        idle_s=None if hibernate is None else hibernate.after_idle_min * 60,
        backup_every_s=None if backup is None or backup.every_h is None else backup.every_h * 3600,
        volume=volume_of(spec),
        volume_mib=spec.volume.size_mib,
        version=spec.version or tag_of(spec.full_image or "") or None,
        real=context.real,
        hidden=tuple(sorted(hidden)),
    )


def volume_of(spec: TenantSpec) -> str:
    """Kind and name of the tenant's volume, such as ``host_path:/srv/pay`` or ``docker:local/jenkins-pay``."""
    volume = spec.volume
    if volume.host_path is not None:
        return f"host_path:{spec.host_path}"
    if volume.docker is not None:
        return f"docker:{volume.docker.driver}/{spec.volume_name}"
    if volume.external is not None:
        return f"external:{volume.external.provider}/{volume.external.driver}/{spec.volume_name}"
    return f"persistent:{spec.name}"


def _on_one_host(volume: VolumeSpec) -> bool:
    """Whether the master could start nowhere else anyway."""
    docker = volume.docker
    local = docker is not None and docker.driver == "local" and not docker.options
    return volume.persistent or local or (volume.host_path is not None and not volume.shared)


def _role(spec: TenantSpec, context: AppContext) -> str | None:
    """None: Marathon's own. A volume cannot be reserved for ``*``, which that may be; the other that it takes is the

    name of the group at the top."""
    if spec.role is None and spec.volume.persistent:
        return context.group.split("/")[1]
    return spec.role


def _variables(spec: TenantSpec, context: AppContext, configuration: str | None) -> dict[str, str]:
    """Of the environment, all that is not secret."""
    found = {
        Variable.TENANT: spec.name,
        Variable.ROOT_URL: root_url(spec.host_name(context.domain), spec.address.path, context.public_url),
        Variable.PATH: spec.address.path or "",
        Variable.SCHEDULER_URL: context.scheduler_url,
    }
    if spec.image is not None:
        at = f"{SANDBOX_IN_IMAGE}/{HOME_IN_SANDBOX}" if spec.volume.persistent else HOME_IN_IMAGE
        found[Variable.HOME] = at
    if spec.uid == 0:
        found[Variable.AS_ROOT] = "1"
    if spec.jvm_plan is not None:
        found[Variable.JAVA_OPTIONS] = " ".join(spec.jvm_plan.options)
    if spec.plugins:
        found[Variable.PLUGINS] = " ".join(spec.plugins)
    if configuration:
        found[Variable.CONFIGURATION] = configuration
    if spec.backup is not None:
        found[Variable.BACKUP_TO] = spec.backup.to
        found[Variable.BACKUP_KEEP] = str(spec.backup.keep)
    return found


def _secrets(spec: TenantSpec) -> dict[str, tuple[str, str, bool]]:
    """By variable: its name in the app, its source, and whether Marathon's own store alone knows it."""
    found = {
        Variable.TENANT_TOKEN: ("token", names.secret_source(spec.name, "token"), False),
        Variable.ADMIN_PASSWORD: ("admin-password", names.secret_source(spec.name, "admin-password"), False),
    }
    for variable, secret in spec.secrets.items():
        name = f"env-{variable}"
        if secret.marathon is not None:
            found[variable] = (name, secret.marathon, True)
        else:
            found[variable] = (name, names.secret_source(spec.name, name), False)
    return found


def _container(spec: TenantSpec) -> Document:
    """Docker's parameters name the user; with the type MESOS the app does."""
    volume, image = spec.volume, spec.full_image
    path = HOME_IN_SANDBOX if image is None or volume.persistent else HOME_IN_IMAGE
    volumes: list[Document] = []
    parameters: list[Document] = []
    kind = "MESOS" if image is None else "DOCKER"
    if volume.persistent:
        volumes = [{"containerPath": path, "mode": "RW", "persistent": {"type": "root", "size": volume.size_mib}}]
    elif volume.host_path is not None:
        volumes = [{"containerPath": path, "mode": "RW", "hostPath": spec.host_path}]
    elif volume.docker is not None:
        parameters = [{"key": "mount", "value": _mount(volume.docker, spec.volume_name or "", path)}]
    elif volume.external is not None:
        external = _external(volume.external, spec.volume_name or "", volume.size_mib)
        volumes = [{"containerPath": path, "mode": "RW", "external": external}]
        if "size" in external or len(external["options"]) > 1:
            kind = "MESOS"  # with Docker's containerizer Marathon refuses both
    if image is not None and spec.backup is not None:  # without one the host's directory is there anyway
        own = f"{spec.backup.to.rstrip('/')}/{spec.name}"  # alone: those of others hold others' secrets
        volumes.append({"containerPath": own, "mode": "RW", "hostPath": own})
    container: Document = {"type": kind, "volumes": volumes}
    if image is not None:
        if kind == "DOCKER":
            parameters = [{"key": "user", "value": str(spec.user_id)}, *parameters]
        container["docker"] = {
            "image": image,
            "forcePullImage": False,
            "privileged": False,
            "parameters": parameters,
        }
    return container


def _mount(volume: DockerVolume, name: str, path: str) -> str:
    """Of ``docker run --mount``, which reads it as a line of CSV: options may have commas in them."""
    options = [f"volume-opt={key}={value}" for key, value in sorted(volume.options.items())]
    fields = ["type=volume", f"source={name}", f"target={path}", f"volume-driver={volume.driver}", *options]
    return ",".join(_csv(one) for one in fields)


def _csv(field: str) -> str:
    if "," not in field and '"' not in field:
        return field
    doubled = field.replace('"', '""')
    return f'"{doubled}"'


def _external(volume: ExternalVolume, name: str, size_mib: int | None) -> Document:
    options = {**volume.options, f"{volume.provider}/driver": volume.driver}
    found: Document = {"name": name, "provider": volume.provider, "options": options}
    if size_mib is not None:
        found["size"] = math.ceil(size_mib / 1024)  # GiB
    return found


def _command(spec: TenantSpec) -> str | None:
    if spec.image is not None:
        return None
    home = f'export {Variable.HOME}="$MESOS_SANDBOX/{HOME_IN_SANDBOX}"'
    run = spec.command if spec.command is not None else f"exec kit/start --war {WAR}"
    return f"{home}\n{run}"


def _fetched(spec: TenantSpec, context: AppContext) -> list[Document]:
    """The war and the kit. The war of a version never changes, so that hosts may keep it."""
    if spec.image is not None:
        return []
    fetched: list[Document] = [{"uri": context.kit, "extract": True, "executable": False, "cache": False}]
    if spec.war is not None:
        fetched.append({"uri": spec.full_war, "extract": False, "executable": False, "cache": True, "destPath": WAR})
    return fetched


def _health(health: HealthSpec, path: str | None, boot_s: float | None) -> Document:
    return {
        "protocol": "MESOS_HTTP",
        "portIndex": 0,
        "path": (path or "") + health.path,
        "gracePeriodSeconds": grace_s(health.grace_s, boot_s),
        "intervalSeconds": math.ceil(health.interval_s),
        "timeoutSeconds": math.ceil(health.timeout_s),
        "maxConsecutiveFailures": health.failures,
        "delaySeconds": CHECK_DELAY_S,
    }


def _port(name: str, number: int) -> Document:
    return {"port": number, "protocol": "tcp", "name": name}
