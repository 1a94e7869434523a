"""How fast the core places, and how tightly: 8000 requests on the 317 hosts of the reference installation.

What is timed is one whole turn of the real core, with the requests waiting: from the offers of all hosts to the frame,
task records included. What it takes to write and send that is measured by ``bench latency``, on the real Mesos.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import as_in_the_scheduler
from framework.core.effects import Effect, Launch
from framework.core.events import Event, HostsObserved, OffersReceived, Submitted, Subscribed, TenantSet
from framework.core.explain import why_not
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TenantName
from framework.core.offers import Host, Offer
from framework.core.resources import ZERO, Resources
from framework.core.state import Config, State
from framework.core.step import turn
from framework.core.tasks import Request, RequestState, Tenant
from framework.core.templates import Template

REFERENCE_HOSTS = ((186, 16_000, 60 * 1024), (66, 8_000, 14 * 1024), (65, 4_000, 14 * 1024))
"""How many, cpu_millis, mem_mib: the installation that ran 2000 Jenkins masters and about 8000 builds at once."""
REFERENCE_COUNT = sum(each for each, _, _ in REFERENCE_HOSTS)
REQUESTS = 8000
MORE_REQUESTS = 2000
WEIGHTS = {"alpha": 100, "beta": 100, "gamma": 200, "delta": 300, "epsilon": 50, "zeta": 250}
CPU_MILLIS = (250, 500)
MEM_MIB = (768, 1536)
LARGE_CPU_MILLIS = (4000, 8000)
LARGE_MEM_MIB = (16 * 1024, 48 * 1024)
_TEMPLATES = 12
TIME = 1_700_000_000.0  # any time will do

Mix = Callable[[random.Random, int], list[Resources]]


def like_templates(chance: random.Random, count: int) -> list[Resources]:
    """As with a dozen templates, which most builds of a company share."""
    shapes = [_drawn(chance) for _ in range(_TEMPLATES)]
    return [chance.choice(shapes) for _ in range(count)]


def all_distinct(chance: random.Random, count: int) -> list[Resources]:
    """The worst case: no two requests alike, so that nothing learnt from one serves the next."""
    shapes: dict[Resources, None] = {}
    while len(shapes) < count:
        shapes[_drawn(chance)] = None
    return list(shapes)


MIXES: dict[str, Mix] = {"templates": like_templates, "distinct": all_distinct}


def _drawn(chance: random.Random) -> Resources:
    return Resources(chance.randint(*CPU_MILLIS), chance.randint(*MEM_MIB))


def reference_hosts(count: int = REFERENCE_COUNT) -> tuple[Host, ...]:
    """So many hosts, of the three shapes in the proportions of the reference installation."""
    hosts: list[Host] = []
    for each, cpu_millis, mem_mib in REFERENCE_HOSTS:
        for _ in range(round(each * count / REFERENCE_COUNT)):
            name = f"host-{len(hosts):04d}"
            hosts.append(Host(HostId(name), name, Resources(cpu_millis, mem_mib)))
    return tuple(hosts)


def lower_bound(hosts: tuple[Host, ...], needs: list[Resources]) -> int:
    """No placement uses fewer hosts: those used must have the needs' sum of each resource, and for each resource the

    largest hosts give the most with the fewest. (The linear relaxation, weakened to one resource at a time.)
    """
    total = ZERO
    for need in needs:
        total += need
    fewest = 0
    for name in ("cpu_millis", "mem_mib"):
        left, used = getattr(total, name), 0
        for size in sorted((getattr(host.total, name) for host in hosts), reverse=True):
            if left <= 0:
                break
            left -= size
            used += 1
        if left > 0:
            raise ValueError(f"the requests need more {name} than all hosts have")
        fewest = max(fewest, used)
    return fewest


def run(seed: int = 1, repeats: int = 7, console: Console | None = None) -> dict[str, Any]:
    """Every mix ``repeats`` times. ``requests_per_s`` and ``hosts_ratio`` are the worst mix's, of medians."""
    with as_in_the_scheduler():
        results = {name: _measure(mix, seed, repeats) for name, mix in MIXES.items()}
    if console is not None:
        console.print(_table(results))
    return {
        "requests": REQUESTS,
        "hosts": REFERENCE_COUNT,
        "tenants": len(WEIGHTS),
        "seed": seed,
        "repeats": repeats,
        "requests_per_s": min(result["requests_per_s"] for result in results.values()),
        "hosts_ratio": max(result["hosts_ratio"] for result in results.values()),
        "why_not_kept": min(result["why_not_kept"] for result in results.values()),
        "mixes": results,
    }


def _measure(mix: Mix, seed: int, repeats: int) -> dict[str, Any]:
    hosts = reference_hosts()
    chance = random.Random(seed)
    shapes = mix(chance, REQUESTS)
    durations_s: list[float] = []
    effects: list[Effect] = []
    state = State(Config())
    for _ in range(repeats):
        duration_s, state, effects = one_turn(hosts, shapes, Config())
        durations_s.append(duration_s)
    launches = [effect for effect in effects if isinstance(effect, Launch)]
    placed = sum(len(launch.tasks) for launch in launches)
    needs = [shape + state.config.overhead for shape in shapes]
    bound = lower_bound(hosts, needs)
    median_s = statistics.median(durations_s)
    return {
        "placed": placed,
        "requests_per_s": round(placed / median_s),
        "turn_ms": [round(duration * 1000, 1) for duration in sorted(durations_s)],
        "hosts_used": len({launch.host_id for launch in launches}),
        "hosts_lower_bound": bound,
        "hosts_ratio": round(len({launch.host_id for launch in launches}) / bound, 4),
        **_overfull(state, hosts, chance),
    }


def one_turn(hosts: tuple[Host, ...], needs: list[Resources], config: Config) -> tuple[float, State, list[Effect]]:
    """One turn of the core in which all hosts are offered, free, while all these wait: its duration in seconds, the

    state after it, and its effects.
    """
    state = _state(hosts, config)
    turn(state, _submissions(needs, 0), TIME)
    offers = _offers(hosts)
    gc.collect()
    started = time.perf_counter()
    effects = turn(state, [offers], TIME)
    return time.perf_counter() - started, state, effects


def _overfull(state: State, hosts: tuple[Host, ...], chance: random.Random) -> dict[str, Any]:
    """The second phase: all that is left is offered, and what is asked for fits only large hosts, which are full."""
    shapes = [
        Resources(chance.randint(*LARGE_CPU_MILLIS), chance.randint(*LARGE_MEM_MIB)) for _ in range(MORE_REQUESTS)
    ]
    used = [host for host in hosts if not state.offers.of(host.id)]  # what the others have is still held
    offers = tuple(
        Offer(OfferId(f"left-{host.id}"), host.id, host.hostname, host.total - state.used_on(host.id)) for host in used
    )
    gc.collect()
    started = time.perf_counter()
    turn(state, [OffersReceived(offers), *_submissions(shapes, REQUESTS)], TIME + 1)
    turn_s = time.perf_counter() - started
    waiting = [request for request in state.requests.values() if request.state is RequestState.WAITING]
    started = time.perf_counter()
    answers = [why_not(state, request.id, TIME + 1) for request in waiting]
    why_s = time.perf_counter() - started
    kept = sum(1 for answer in answers if answer and sum(answer.turned_away.values()) >= len(hosts))
    return {
        "not_fitting": len(waiting),
        "not_fitting_turn_ms": round(turn_s * 1000, 1),
        "why_not_kept": kept,
        "why_not_ms_each": round(why_s / max(1, len(waiting)) * 1000, 3),
        "why_not_example": answers[0].summary if answers and answers[0] else "",
    }


def _state(hosts: tuple[Host, ...], config: Config) -> State:
    state = State(config)
    tenants = [TenantSet(Tenant(TenantName(name), weight)) for name, weight in WEIGHTS.items()]
    turn(state, [*tenants, Subscribed(FrameworkId("benchmark")), HostsObserved(hosts)], TIME)
    return state


def _offers(hosts: tuple[Host, ...]) -> OffersReceived:
    return OffersReceived(
        tuple(Offer(OfferId(f"offer-{host.id}"), host.id, host.hostname, host.total) for host in hosts)
    )


def _submissions(shapes: list[Resources], first: int) -> list[Event]:
    """Of every tenant in turn, each submitted a millisecond after the one before."""
    names = [TenantName(name) for name in WEIGHTS]
    return [
        Submitted(
            Request(
                RequestId(f"r{first + i:05d}"),
                names[i % len(names)],
                "benchmark",
                Template(shape),
                submitted_at=TIME - 20 + (first + i) / 1000,
            )
        )
        for i, shape in enumerate(shapes)
    ]


def _table(results: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=f"{REQUESTS} requests on the reference hosts, then {MORE_REQUESTS} that do not fit")
    table.add_column("")
    for name in results:
        table.add_column(name, justify="right")
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "requests/s (median)": lambda each: f"{each['requests_per_s']:,}",
        "turn, ms (min .. max)": lambda each: f"{each['turn_ms'][0]} .. {each['turn_ms'][-1]}",
        "placed": lambda each: str(each["placed"]),
        "hosts used / lower bound": lambda each: f"{each['hosts_used']} / {each['hosts_lower_bound']}",
        "ratio": lambda each: str(each["hosts_ratio"]),
        "not fitting, with a why-not": lambda each: f"{each['not_fitting']}, {each['why_not_kept']}",
        "turn that finds so, ms": lambda each: str(each["not_fitting_turn_ms"]),
        "one why-not, ms": lambda each: str(each["why_not_ms_each"]),
    }
    for title, cell in rows.items():
        table.add_row(title, *(cell(result) for result in results.values()))
    return table
