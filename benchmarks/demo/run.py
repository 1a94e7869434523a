"""The demo from its first line to its exit code."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from benchmarks.api import Api
from benchmarks.cluster import OWN_PORTS, Cluster, interruptible, temporary_cluster
from benchmarks.demo import jenkins, masters, repository
from benchmarks.demo.builds import TEMPLATES, TENANTS, PlannedBuild, host_shape, plan
from benchmarks.demo.queued import QueuedBuilds
from benchmarks.demo.report import Finished, deviations, figures_of, show
from benchmarks.demo.watch import Seen, class_of, watch

BUILDS_TIMEOUT_S = 150.0
"""For 60 builds; they were seen to take under 20 s on two free cores."""
BUILDS_TIMEOUT_PER_BUILD_S = 2.5


def run(builds: int, keep: bool, progress: Console, tables: Console) -> dict[str, Any]:
    """Gives the demo and returns its figures; every build ended as it should where ``as_expected`` is ``builds``.

    Raises InputError, UnavailableError or ButleryError where it cannot be given, Interrupted on a signal; nothing is
    left behind then either.
    """
    started = time.monotonic()

    def say(line: str) -> None:
        progress.print(escape(line), soft_wrap=True)

    repository.require_git()  # said before anything is started
    kind = jenkins.choose()
    shape = host_shape(jenkins.CPUS, jenkins.MEM_MIB) if kind is not None else host_shape(0, 0)
    local = {"hosts": [shape.model_dump(exclude_none=True)], "first_port": OWN_PORTS}
    settings: dict[str, Any] = {"local": local}
    if kind is not None:
        settings = {"local": {**local, "marathon": {}, "ingress": True}, "templates": TEMPLATES}
    with interruptible():
        with temporary_cluster(settings, say, keep=keep) as cluster:
            status = cluster.status
            say(f"isolation: {status.isolation} ({status.isolation_reason})")
            setup_s = time.monotonic() - started
            if kind is None:
                say(f"no masters: {jenkins.URL} cannot be had, and there is no stand-in outside of the repository")
                _make_tenants(cluster.api())
            made = masters.make(cluster, kind, say) if kind is not None else None
            addresses = (made or {}).get("addresses", {})
            figures = _give(cluster, plan(builds, queued=bool(addresses)), addresses, progress)
            show(figures, tables)
    figures["masters"] = made
    figures["isolation"] = status.isolation
    figures["isolation_reason"] = status.isolation_reason
    figures["setup_s"] = round(setup_s, 1)
    figures["seconds"] = round(time.monotonic() - started, 1)
    tables.print(
        f"{figures['as_expected']} of {figures['builds']} builds ended as they should, in {figures['seconds']:.0f} s"
        + ("" if keep else "; nothing is left running")
    )
    if keep:
        for address in addresses.values():
            say(f"A master:                            {address['url']}")
        say(f"The cluster is left up. Look at it:  butlery builds list --dir {cluster.directory}")
        say(f"Or live:                             butlery top --dir {cluster.directory}")
        say(f"End it and remove its files:         butlery local down --dir {cluster.directory} --wipe")
    return figures


def _give(
    cluster: Cluster, planned: Sequence[PlannedBuild], addresses: Mapping[str, Any], progress: Console
) -> dict[str, Any]:
    directory = cluster.directory / "git"
    directory.mkdir()
    repository.make_repository(directory / repository.NAME)
    api = cluster.api()
    timeout_s = max(BUILDS_TIMEOUT_S, BUILDS_TIMEOUT_PER_BUILD_S * len(planned))
    jobs = [build for build in planned if not build.queued]
    with repository.served(directory) as url:
        ids = [str(api.submit(build.job(url))["id"]) for build in jobs]
        told = f"{len(TENANTS)} tenants: {len(jobs)} jobs of the API"
        if len(jobs) == len(planned):
            progress.print(f"{told}, of {url}", soft_wrap=True)
            watch(lambda: _seen(api, ids), timeout_s, progress)
            finished = [Finished(build, api.job(job_id)) for build, job_id in zip(jobs, ids, strict=True)]
            return {**figures_of(finished, api.hosts()), "deviations": deviations(api, finished)}
        in_queues = [build for build in planned if build.queued]
        progress.print(f"{told}, {len(in_queues)} builds in their masters' queues, of {url}", soft_wrap=True)
        with contextlib.closing(QueuedBuilds(api, addresses, url, in_queues)) as queued:
            watch(lambda: [*queued.look(), *_seen(api, ids)], timeout_s, progress)
            finished = [Finished(build, api.job(job_id)) for build, job_id in zip(jobs, ids, strict=True)]
            for build, one in zip(in_queues, queued.told(), strict=True):  # watched until the last was queued, at least
                finished.append(Finished(build, api.job(one["request"]) if one["request"] else None, one))
    return {**figures_of(finished, api.hosts()), "deviations": deviations(api, finished)}


def _seen(api: Api, ids: Sequence[str]) -> list[Seen]:
    wanted = set(ids)
    return [Seen(job["tenant"], job["state"], class_of(job)) for job in api.jobs() if job["id"] in wanted]


def _make_tenants(admin: Api) -> None:
    """Which ``butlery tenants apply`` does where there are masters."""
    for name, weight in TENANTS.items():
        admin.set_tenant(name, weight)
