"""``butlery scheduler run``: puts the parts together and runs them until told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import closing
from pathlib import Path

import msgspec
import uvloop

from agents import pack
from framework.api.app import create_app
from framework.api.context import Scraped
from framework.api.hooks import Hooks
from framework.cli.recording import open_telemetry
from framework.cli.state import SharedState, open_state
from framework.core.ids import FrameworkId, TenantName
from framework.core.resources import Resources
from framework.core.state import Config
from framework.edges.forges.client import Forges
from framework.edges.jenkins.edge import JenkinsEdge
from framework.edges.mesos.access import Access, basic, tls_context
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.operator import MesosOperator
from framework.edges.mesos.pymesos_driver import PymesosDriver, pymesos_faults
from framework.errors import Fault, InputError, MesosRefusedError, StoreError
from framework.log import configure, get_logger, protect
from framework.mesos_ports import SchedulerDriver
from framework.ports import Chance, Clock, Snapshot
from framework.runtime.chance import SystemChance, SystemClock
from framework.runtime.garbage import look_seldom
from framework.runtime.jenkins.desk import MastersAccess
from framework.runtime.leadership import Leadership
from framework.runtime.performer import AgentLaunch
from framework.runtime.scheduler import Scheduler
from framework.runtime.serving import HttpServer, allow_files, http_config, listen, own_user, url_of
from framework.runtime.statuses import Statuses
from framework.runtime.telemetry.desk import TelemetryDesk
from framework.runtime.telemetry.exposition import Exposition
from framework.runtime.telemetry.metrics import Metrics
from framework.runtime.templates import TemplateWatch
from framework.settings import Settings

log = get_logger(__name__)

STOP_GRACE_S = 5
"""For API calls under way, such as somebody's wait for a build, when the scheduler is told to stop."""


def run(settings: Settings, config: Path | None) -> int:
    """Runs until SIGTERM or SIGINT; the exit code. Builds run on without us. ``config`` is the settings' file.

    Raises InputError for what the settings' author must mend, and other ButleryErrors as they are.
    """
    configure(settings.log.level, settings.log.format)
    if settings.admin_token is not None:
        protect(settings.admin_token.get_secret_value())
    digest = settings.admin_token_sha256()
    allow_files()
    clock, chance = SystemClock(), SystemChance()
    templates = TemplateWatch(config, settings.templates_path, clock)
    with closing(listen(settings.api.host, settings.api.port, "api")) as listener:
        url = settings.api.advertise_url or url_of(listener)
        metrics = Metrics()
        with (
            open_state(settings, url, clock, chance) as state,
            open_telemetry(settings, metrics, clock, chance) as telemetry,
        ):
            for notice in state.store.notices:
                log.error(notice)
            look_seldom()
            return uvloop.run(
                _serve(settings, state, telemetry, metrics, listener, url, digest, templates, clock, chance)
            )


def core_config(settings: Settings) -> Config:
    """What of the settings the core decides by."""
    return Config(overhead=_overhead(settings), roles=tuple(settings.mesos.roles), **settings.scheduling.model_dump())


def agent_launch(settings: Settings) -> AgentLaunch:
    """How Mesos executors are started: fetched where they are at a URL, else from a path that hosts see."""
    agents = settings.agents
    path, uris = pack.as_hosts_find(agents.executor or str(_own_executor(settings.state.path.parent)))
    return AgentLaunch(pack.command(path, agents.python), uris, _overhead(settings), agents.policy())


def _own_executor(directory: Path) -> Path:
    """Raises StoreError."""
    try:
        return pack.build_named(directory)
    except OSError as error:
        raise StoreError(
            f"state.path: the Mesos executor cannot be written to {directory}: {error.strerror}; "
            "make room, or name one with agents.executor"
        ) from error


def _overhead(settings: Settings) -> Resources:
    """What a build's Mesos executor takes."""
    agents = settings.agents
    return Resources(cpu_millis=agents.overhead_cpu_millis, mem_mib=agents.overhead_mem_mib)


async def _serve(
    settings: Settings,
    state: SharedState,
    telemetry: TelemetryDesk,
    metrics: Metrics,
    listener: socket.socket,
    url: str,
    admin_token_sha256: str,
    templates: TemplateWatch,
    clock: Clock,
    chance: Chance,
) -> int:
    mesos, told, access = settings.mesos, mesos_framework(settings, url), mesos_access(settings)
    agent = agent_launch(settings)
    config = msgspec.structs.replace(
        core_config(settings), shared_executor_id=pack.shared_id(agent.command, agent.uris, agent.overhead)
    )
    driver_kind = mesos_driver(settings, access)
    cluster = MesosOperator(mesos.urls, access)
    edge = JenkinsEdge(clock, settings.jenkins.call_timeout_s)
    masters = MastersAccess(edge, templates, settings.jenkins, telemetry.sizes)

    hooks, forges = settings.webhooks, Forges(settings.webhooks)
    telling = {one.name: forges.by_hook[one.name] for one in hooks if one.token is not None}

    def new_driver(framework_id: FrameworkId | None) -> SchedulerDriver:
        return driver_kind(mesos.urls, told, clock, chance, framework_id, mesos.heartbeats_missed, access)

    def new_scheduler(found: Snapshot) -> Scheduler:
        confirm = state.election.confirm if state.shared else None
        statuses = Statuses(telling, {TenantName(one.tenant) for one in hooks}, state.store, url, clock, chance)
        return Scheduler(
            state.store,
            found,
            new_driver,
            cluster,
            config,
            agent,
            clock,
            chance,
            confirm,
            masters,
            statuses,
            metrics,
            telemetry,
        )

    seat = Leadership(state.store, state.revision, state.election, new_scheduler, config, url, clock, chance)
    scraped = Scraped(Exposition(metrics, seat, telemetry, clock), settings.telemetry.metrics)
    app = create_app(
        seat,
        settings.api,
        templates,
        admin_token_sha256,
        settings.serverless,
        Hooks(hooks, forges.by_hook),
        telemetry,
        scraped,
        settings.telemetry.sizing,
    )
    server = HttpServer(http_config(app, STOP_GRACE_S))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        seat.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    log.info("serving", url=url, mesos=mesos.url, state=settings.state.zookeeper or str(settings.state.path))
    watching = [asyncio.create_task(each.run()) for each in (templates, telemetry)]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    serving.add_done_callback(lambda _: stop())  # a scheduler that nobody can ask is of no use
    try:
        await seat.run()
    except MesosRefusedError as error:
        raise InputError([Fault("mesos.url", str(error))]) from error
    finally:
        server.should_exit = True
        templates.stop()
        telemetry.stop()
        await serving
        await asyncio.gather(*watching)
        await app.state.forwarder.close()
        await cluster.close()
        await edge.close()
        await forges.close()
        await state.election.close()
    return 0


def mesos_framework(settings: Settings, webui_url: str | None = None) -> FrameworkSettings:
    """What Mesos is told of us. Raises InputError where it is to be our own user, and that has no name."""
    return FrameworkSettings(
        name=settings.mesos.framework_name,
        roles=tuple(settings.mesos.roles),
        user=settings.mesos.user or own_user("mesos.user"),
        hostname=socket.gethostname(),
        failover_timeout_s=settings.mesos.failover_timeout_s,
        principal=settings.mesos.principal,
        webui_url=webui_url,
    )


def mesos_driver(settings: Settings, access: Access) -> type[MesosDriver]:
    """The driver of ``mesos.driver``. Raises InputError where it cannot serve here."""
    if settings.mesos.driver == "own":
        return MesosDriver
    faults = pymesos_faults(settings.mesos.urls, access)
    if faults:
        raise InputError(faults)
    return PymesosDriver


def mesos_access(settings: Settings) -> Access:
    """Who we are to Mesos, and whom we take for it. Raises InputError for certificates that cannot serve."""
    mesos = settings.mesos
    authorization = None
    if mesos.principal is not None and mesos.secret is not None:
        secret = mesos.secret.get_secret_value()
        authorization = basic(mesos.principal, secret)
        protect(secret)
        protect(authorization.removeprefix("Basic "))
    zookeeper_auth = mesos.zookeeper_auth.get_secret_value() if mesos.zookeeper_auth else None
    if zookeeper_auth is not None:
        protect(zookeeper_auth)
        protect(zookeeper_auth.partition(":")[2])
    return Access(
        authorization,
        tls_context(mesos.ca_file, mesos.cert_file, mesos.key_file),
        mesos.zookeeper_scheme == "https",
        zookeeper_auth,
    )
