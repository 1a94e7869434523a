"""Tenants' masters on the reference installation's hosts, and their ingress under a crowd.

The first part has ``butlery tenants apply`` make them of a directory of YAML on a real Mesos with 317 agents and the
Marathon-compatible server, whose tasks only pretend: what is measured is the command, the servers and the way between
them. The second part has masters that are small real HTTP servers, behind the tenants' service with its HAProxy, and
users that notice what is done to them.
"""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from benchmarks.cluster import OWN_PORTS, Cluster, Say, interruptible, temporary_cluster
from benchmarks.command import Butlery
from benchmarks.figures import percentile, rounded
from benchmarks.marathon.client import Client
from benchmarks.masters import small_master
from benchmarks.masters.clients import Clients, Followed
from benchmarks.masters.tenants import name_of, write_pretending, write_small
from framework.errors import UnavailableError
from framework.local.spec import HostShape

TENANTS = 2000
HOSTS = 317
CLIENTS = 1000
STAYING = 20

ROOM = 1.5
"""How much more than is needed the hosts promise."""
MEAN_CPUS, MEAN_MEM_MIB = 0.5, 1600
PORTS_EACH = 2
OVERHEAD_CPUS, OVERHEAD_MEM_MIB = 0.1, 64
APPLY_BASE_S, APPLY_PER_TENANT_S = 120.0, 0.5
LISTS = 3
SMALL_HOSTS = 8
ASK_EVERY_S = 2.0
"""Between two requests of a client that stays, in the mean."""
POLL_S = 0.05
PATIENCE_S = 90.0
LOOK_ON_S = 5.0
"""How long clients go on once all masters have moved."""


def run(tenants: int, hosts: int, clients: int, moving: int, console: Console) -> dict[str, Any]:
    """Measures and returns the figures; ``console`` gets the progress.

    Raises InputError, UnavailableError or ButleryError where it cannot be measured, Interrupted on a signal.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with interruptible():
        local: dict[str, Any] = {"hosts": [_shape(hosts, tenants)], "marathon": {"pretend": True}}
        with temporary_cluster({"local": local}, say) as cluster:
            figures = _pretending(cluster, tenants, say)
        staying = min(STAYING, moving)
        ports = math.ceil(ROOM * (moving + staying) / SMALL_HOSTS)  # so that one host cannot take them all
        small = HostShape(count=SMALL_HOSTS, cpus=64, mem_mib=1 << 16, ports=ports)
        hosts_of_small = [small.model_dump(exclude_none=True)]
        local = {"hosts": hosts_of_small, "first_port": OWN_PORTS, "marathon": {}, "ingress": True}
        with temporary_cluster({"local": local}, say) as cluster:
            figures |= _Crowd(cluster, moving, staying, say).measure(clients)
    return {**figures, "tenants": tenants, "hosts": hosts, "clients": clients, "moving": moving}


def _pretending(cluster: Cluster, count: int, say: Say) -> dict[str, Any]:
    """All of them from nothing, once more with nothing to do, and listed."""
    folder = cluster.directory / "tenants"
    folder.mkdir()
    write_pretending(folder, count)
    butlery = Butlery(cluster.directory)
    timeout_s = APPLY_BASE_S + APPLY_PER_TENANT_S * count
    say(f"{count} tenants from a directory of YAML")
    first = butlery.run("tenants", "apply", str(folder), "--json", "--yes", timeout_s=timeout_s, codes=(0, 1))
    outcomes = Counter(one["outcome"] for one in first.document["results"])
    say(f"{outcomes['done']} made after {first.took_s:.1f} s")
    again = butlery.run("tenants", "apply", str(folder), "--json", "--yes", timeout_s=timeout_s, codes=(0, 1))
    say(f"applied again in {again.took_s:.1f} s: {len(again.document['results'])} changes")
    listed = [butlery.run("tenants", "list", "--json", timeout_s=timeout_s) for _ in range(LISTS)]
    start_s = min(Butlery(None).run("version").took_s for _ in range(LISTS))
    tables = [butlery.run("tenants", "list", timeout_s=timeout_s) for _ in range(LISTS)]
    list_s = max(min(one.took_s for one in form) for form in (listed, tables))
    say(f"listed in {list_s:.2f} s")
    states = Counter((one["master"] or {}).get("state") for one in listed[-1].document["tenants"])
    return {
        "healthy": states["on"],
        "failed": count - outcomes["done"],
        "masters_per_s": round(outcomes["done"] / first.took_s, 2),
        "apply_s": round(first.took_s, 1),
        "reapply_s": round(again.took_s, 1),
        "reapply_changes": len(again.document["results"]),
        "rss_mib": round(max(first.rss_mib, again.rss_mib), 1),
        "list_s": round(list_s, 2),
        "list_beyond_start_s": round(list_s - start_s, 2),
    }


class _Crowd:
    """Small real masters behind the ingress: ``moving`` ones and ``staying`` ones."""

    def __init__(self, cluster: Cluster, moving: int, staying: int, say: Say) -> None:
        status = cluster.status
        if status.ingress_url is None or status.marathon_url is None or status.marathon_credentials is None:
            raise UnavailableError("the tenants' service is not running; it needs HAProxy: `apt-get install haproxy`")
        self._moving = [name_of(number) for number in range(moving)]
        self._staying = [name_of(number) for number in range(moving, moving + staying)]
        self._ingress = urlsplit(status.ingress_url)
        self._marathon = Client(status.marathon_url, Path(status.marathon_credentials).read_text().strip())
        self._cluster, self._say = cluster, say

    def measure(self, clients: int) -> dict[str, Any]:
        count = len(self._moving) + len(self._staying)
        folder, homes = self._cluster.directory / "tenants", self._cluster.directory / "homes"
        folder.mkdir()
        homes.mkdir()
        homes.chmod(0o1777)
        for name in (*self._moving, *self._staying):
            (homes / name).mkdir()
        program = shlex.join([sys.executable, "-S", "-E", small_master.__file__])
        write_small(folder, count, f"exec {program}", homes)
        self._say(f"{count} small masters behind the ingress")
        Butlery(self._cluster.directory).run(
            "tenants", "apply", str(folder), "--json", "--yes", timeout_s=APPLY_BASE_S + count
        )
        try:
            return self._kill() | self._move(clients)
        finally:
            self._marathon.close()

    def _followed(self, names: Sequence[str], steady: Sequence[str] = ()) -> Clients:
        """Clients that run, once each of those that follow has had an answer."""
        clients = Clients(str(self._ingress.hostname), int(self._ingress.port or 80), steady, names, ASK_EVERY_S)
        clients.start()
        try:
            followed = clients.followed.values()
            _until(
                clients, lambda: all(one.last is not None for one in followed), f"answers of {len(followed)} masters"
            )
            _until(clients, lambda: clients.connected() == len(steady), f"answers to {len(steady)} clients")
        except BaseException:
            clients.stop()
            raise
        return clients

    def _kill(self) -> dict[str, Any]:
        """One master's process with kill -9; then those of all masters of one host."""
        names = [_address(name) for name in (*self._moving, *self._staying)]
        clients = self._followed(names)
        try:
            one = clients.followed[names[0]]
            before, killed_at = dict(one.last or {}), time.time()
            os.kill(int(before["pid"]), signal.SIGKILL)
            _until(clients, lambda: bool(one.moves), "the killed master's return")
            back_s = one.moves[0].at - killed_at - small_master.BOOT_S
            starts = int((one.last or {})["starts"]) - int(before["starts"])
            self._say(f"a master killed with kill -9 answered again {back_s:.2f} s beyond its boot")

            hosts = self._hosts()
            host = Counter(hosts.values()).most_common(1)[0][0]
            struck = {name: seen for name, seen in clients.followed.items() if hosts[_task(seen)] == host}
            pids = {name: int((seen.last or {})["pid"]) for name, seen in clients.followed.items()}
            moves, killed_at = {name: len(seen.moves) for name, seen in struck.items()}, time.time()
            for name in struck:
                os.kill(pids[name], signal.SIGKILL)
            _until(
                clients, lambda: all(len(seen.moves) > moves[name] for name, seen in struck.items()), f"all of {host}"
            )
            host_back_s = max(seen.moves[-1].at for seen in struck.values()) - killed_at - small_master.BOOT_S
            others = [name for name in names if name not in struck]
            touched = sum(pids[name] != (clients.followed[name].last or {})["pid"] for name in others)
            self._say(f"all {len(struck)} masters of a host answered again after {host_back_s:.2f} s beyond their boot")
        finally:
            clients.stop()
        return {
            "back_s": round(back_s, 2),
            "back_same_volume": starts == 1,
            "host_masters": len(struck),
            "host_back_s": round(host_back_s, 2),
            "host_others_touched": touched,
        }

    def _move(self, count: int) -> dict[str, Any]:
        """Those that move all at once, while ``count`` clients ask those that stay."""
        names = [_address(name) for name in self._moving]
        steady = [_address(self._staying[number % len(self._staying)]) for number in range(count)]
        clients = self._followed(names, steady)
        try:
            self._say(f"{count} clients of {len(self._staying)} masters; {len(names)} others move")
            followed = clients.followed.values()
            self._marathon.change("POST", "/v2/tasks/delete", {"ids": [_task(one) for one in followed]})
            _until(clients, lambda: all(one.moves for one in followed), f"all {len(names)} in their new places")
            time.sleep(LOOK_ON_S)
        finally:
            clients.stop()
        after_boot = [one.moves[0].follow_s for one in followed]
        told = {task["id"]: _unix_s(task["startedAt"]) for task in self._marathon.get("/v2/tasks")["tasks"]}
        moves = [min(one.moves[0].follow_s, one.moves[0].at - told[_task(one)]) for one in followed]
        elsewhere = sum(one.moves[0].elsewhere for one in followed)
        failures = clients.steady.failures
        self._say(f"{clients.steady.requests} requests to masters that stay, {failures.total()} of them failed")
        return {
            "requests_unmoved": clients.steady.requests,
            "failed_requests_unmoved": failures.total(),
            "failures": dict(failures),
            "slowest_unmoved_s": rounded(clients.steady.slowest_s),
            "moved_elsewhere": elsewhere,
            "misled": sum(one.misled for one in followed),
            "route_follow_p50_s": rounded(percentile(moves, 0.5)),
            "route_follow_max_s": rounded(max(moves)),
            "answer_after_boot_max_s": rounded(max(after_boot)),
        }

    def _hosts(self) -> dict[str, str]:
        """By task."""
        return {task["id"]: task["host"] for task in self._marathon.get("/v2/tasks")["tasks"]}


def _unix_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _task(seen: Followed) -> str:
    return str((seen.last or {})["task"])


def _address(tenant: str) -> str:
    return f"{tenant}.localhost"


def _until(clients: Clients, condition: Callable[[], bool], what: str) -> None:
    """Raises UnavailableError where it does not come to that, or ``clients`` that are to see it have ended."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline or clients.ended():
            raise UnavailableError(f"{what}: not in {PATIENCE_S:g} s")
        time.sleep(POLL_S)


def _shape(hosts: int, tenants: int) -> dict[str, Any]:
    """Room enough that no master waits for any."""
    each = math.ceil(ROOM * tenants / hosts) + 1
    return HostShape(
        count=hosts,
        cpus=round(each * MEAN_CPUS + OVERHEAD_CPUS, 2),
        mem_mib=each * MEAN_MEM_MIB + OVERHEAD_MEM_MIB,
        ports=min(PORTS_EACH * each + PORTS_EACH, 100),
    ).model_dump(exclude_none=True)


def show(figures: Mapping[str, Any], console: Console) -> None:
    """The figures as a table."""
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = (
        ("healthy", f"{figures['healthy']} of {figures['tenants']} after {figures['apply_s']:g} s"),
        ("", f"{figures['masters_per_s']:g} masters/s, {figures['failed']} failed"),
        ("applied again", f"{figures['reapply_s']:g} s, {figures['reapply_changes']} changes"),
        ("resident set of apply, at most", f"{figures['rss_mib']:g} MiB"),
        (
            "listed",
            f"{figures['list_s']:g} s, of which the program's start is all but {figures['list_beyond_start_s']:g}",
        ),
        ("killed with kill -9, back after its boot", f"{figures['back_s']:g} s"),
        (f"{figures['host_masters']} of a host, back after their boot", f"{figures['host_back_s']:g} s"),
        ("", f"{figures['host_others_touched']} others touched"),
        (
            f"{figures['clients']} clients while {figures['moving']} masters move",
            f"{figures['failed_requests_unmoved']} of {figures['requests_unmoved']} requests to others failed",
        ),
        ("", f"{figures['misled']} of those that move answered by another"),
        ("routes follow", f"p50 {figures['route_follow_p50_s']:g} s, max {figures['route_follow_max_s']:g} s"),
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)
