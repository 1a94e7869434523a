"""The Marathon-compatible server as a process: ``python -m framework.local.marathon.server FILE``, a ``Start``."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import uvloop

from agents import pack
from framework.core.ids import FrameworkId
from framework.core.resources import Resources
from framework.edges.mesos.access import Access, basic
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.errors import ButleryError, Fault, InputError
from framework.local.marathon.api import ApiSettings, make_app
from framework.local.marathon.checks import Checker
from framework.local.marathon.core.config import Config
from framework.local.marathon.core.effects import Placement
from framework.local.marathon.core.state import State
from framework.local.marathon.definition.read import Defaults
from framework.local.marathon.groups.tree import apps_of, group_of, top_of
from framework.local.marathon.launching import LaunchSettings, operations
from framework.local.marathon.matching.match import Matcher
from framework.local.marathon.matching.rules import MatchSettings
from framework.local.marathon.performer import MakeOperations
from framework.local.marathon.runtime import Runtime
from framework.local.marathon.secret_store import SecretFiles
from framework.local.marathon.start import Start
from framework.local.marathon.store import MarathonStore
from framework.log import configure, get_logger, protect
from framework.mesos_ports import Operation, SchedulerDriver
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.garbage import look_seldom
from framework.runtime.serving import HttpServer, allow_files, http_config, listen, own_user, url_of
from framework.secret_files import read_secret

log = get_logger("framework.local.marathon.server")  # __name__ is __main__

NAME = "marathon"
FAILOVER_TIMEOUT_S = 7 * 86_400.0
"""How long Mesos keeps apps running while the server is away, as Marathon's ``--failover_timeout`` has it."""
STOP_GRACE_S = 2
"""For requests under way when it is told to stop; streams of events end with it."""
SECTION = "local.marathon"


def run(start: Start) -> int:
    """Until SIGTERM or SIGINT; the exit code. Apps run on without us. Raises ButleryError."""
    configure(start.log_level, start.log_format)
    user, _, password = read_secret(Path(start.credentials_file)).partition(":")
    protect(password)
    allow_files()
    look_seldom()
    directory = Path(start.directory)
    _make(directory, 0o755)  # Mesos executors of any user start from it
    _make(directory / "secrets", 0o700)
    with (
        closing(listen(start.host, start.port, SECTION)) as listener,
        closing(MarathonStore(directory / "state.db")) as store,
    ):
        for notice in store.notices:
            log.error(notice)
        return uvloop.run(_serve(start, store, listener, (user, password)))


def _make(directory: Path, mode: int) -> None:
    """Raises InputError."""
    try:
        directory.mkdir(exist_ok=True)
        directory.chmod(mode)
    except OSError as error:
        raise InputError([Fault("local.directory", f"{directory} cannot be used: {error.strerror}")]) from error


async def _serve(start: Start, store: MarathonStore, listener: socket.socket, credentials: tuple[str, str]) -> int:
    clock, chance, url = SystemClock(), SystemChance(), url_of(listener)
    secret = read_secret(Path(start.mesos_secret_file))
    access = Access(basic(start.mesos_principal, secret))
    protect(secret)
    overhead = Resources(cpu_millis=start.overhead_cpu_millis, mem_mib=start.overhead_mem_mib)
    snapshot = store.load()
    config = Config(max_running_deployments=start.max_running_deployments, service_ports=start.service_ports)
    matcher = Matcher(MatchSettings(overhead, start.default_accepted_roles), chance, lambda: state.framework_id)
    state = State(snapshot, config, chance, matcher)
    state.mesos_url = start.mesos_url
    framework = FrameworkSettings(
        name=NAME,
        roles=(start.role,),
        user=own_user(SECTION),
        hostname=socket.gethostname(),
        failover_timeout_s=FAILOVER_TIMEOUT_S,
        principal=start.mesos_principal,
        webui_url=url,
    )

    def new_driver(framework_id: FrameworkId | None, roles: tuple[str, ...]) -> SchedulerDriver:
        told = msgspec.structs.replace(framework, roles=roles)
        return MesosDriver([start.mesos_url], told, clock, chance, framework_id, access=access)

    checker = Checker(lambda event: runtime.emit(event), clock, chance)
    roles = dict.fromkeys(
        [start.role, *(app.role for app in apps_of(snapshot.root)), *(one.role for one in snapshot.instances)]
    )
    runtime = Runtime(
        state,
        store,
        new_driver,
        tuple(roles),
        _operations(start, state, overhead),
        checker,
        clock,
        chance,
    )
    app = make_app(runtime, _api_settings(start, config, url, credentials))
    server = HttpServer(http_config(app, STOP_GRACE_S))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.stop)
    log.info("serving", url=url, mesos=start.mesos_url, state=str(store.path))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    serving.add_done_callback(lambda _: runtime.stop())  # a server that nobody can ask is of no use
    try:
        await runtime.run()
    finally:
        await checker.close()
        app.state.hub.close()
        server.should_exit = True
        await serving
    return 0


def _api_settings(start: Start, config: Config, url: str, credentials: tuple[str, str]) -> ApiSettings:
    defaults = Defaults(
        role=start.role,
        accepted_resource_roles=start.default_accepted_roles or None,
        network=start.default_network,
    )
    host, _, port = url.removeprefix("http://").rpartition(":")
    return ApiSettings(
        host=host,
        port=int(port),
        defaults=defaults,
        credentials=credentials,
        allow_origin=start.allow_origin,
        marathon_config=_told(start, config),
        launch_timeout_s=config.launch_timeout_s,
    )


def _told(start: Start, config: Config) -> dict[str, object]:
    """What /v2/info tells of the settings, as the options of Marathon that they stand for. Times in milliseconds."""
    first, last = start.service_ports
    told: dict[str, object] = {
        "decline_offer_duration": _milliseconds(config.refuse_s),
        "failover_timeout": int(FAILOVER_TIMEOUT_S),  # in seconds, as there
        "framework_name": NAME,
        "local_port_max": last,
        "local_port_min": first,
        "mesos_user": own_user(SECTION),
        "min_revive_offers_interval": _milliseconds(config.revive_interval_s),
        "reconciliation_interval": _milliseconds(config.reconcile_interval_s),
        "scale_apps_interval": _milliseconds(config.scale_interval_s),
        "task_launch_confirm_timeout": _milliseconds(config.launch_timeout_s),
        "task_launch_timeout": _milliseconds(config.launch_timeout_s),
    }
    if start.env_vars_prefix:
        told["env_vars_prefix"] = start.env_vars_prefix
    return told


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _operations(start: Start, state: State, overhead: Resources) -> MakeOperations:
    """Raises ButleryError where the Mesos executor cannot be written."""
    directory = Path(start.directory)
    try:
        path, uris = pack.as_hosts_find(start.mesos_executor or str(pack.build_named(directory)))
    except OSError as error:
        message = f"the Mesos executor cannot be written to {directory}: {error.strerror}; make room"
        raise InputError([Fault("local.directory", message)]) from error
    secrets = SecretFiles(directory / "secrets")
    settings = LaunchSettings(
        command=pack.command(path, start.python, service=True),
        uris=uris,
        overhead=overhead,
        policy=start.host_policy(),
        framework_id=FrameworkId(""),
        principal=start.mesos_principal,
        env_vars_prefix=start.env_vars_prefix or "",
        pretend=start.pretend,
    )

    def made(placement: Placement) -> list[Operation]:
        ours = state.framework_id or FrameworkId("")
        app = placement.app
        top = group_of(state.root, top_of(app.id))
        return operations(
            app,
            placement.instance,
            placement.placed,
            msgspec.structs.replace(settings, framework_id=ours),
            secrets.read,
            enforce_role=bool(top and top.enforce_role),
        )

    return made


def main(arguments: Sequence[str]) -> int:
    """Its standard streams are a log file."""
    try:
        return run(Start.load(Path(arguments[0])))
    except ButleryError as error:
        sys.stderr.write(f"failed: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
