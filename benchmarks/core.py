"""What a build costs the core as the cluster grows: events in, effects out, nothing else.

Mesos is played by this module: it offers what is free once a second, knows which offers went back and for how long, and
tells of tasks. The cluster is full and a fifth of all builds wait, at both sizes. Builds run for ten minutes, so that
``running / BUILD_S`` end each second and as many are submitted. Each is submitted, launched on an offer, and told of as
STARTING, RUNNING and FINISHED, which is acknowledged each time. Every event is a turn of its own (``EVENTS_A_TURN``),
but for offers, which come together once a second, as Mesos sends them. Measured is the CPU time of those turns.

Both sizes run in one process, in turns, some hundred builds each; told are the medians, and their ratio ``growth``.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.figures import as_in_the_scheduler
from benchmarks.placement import reference_hosts
from framework.core.effects import Decline, Effect, Kill, Launch, Revive, Suppress
from framework.core.events import Event, HostsObserved, OffersReceived, Submitted, Subscribed, TaskUpdate, TenantSet
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.offers import Offer
from framework.core.resources import Resources
from framework.core.state import Config, State
from framework.core.step import turn
from framework.core.tasks import FailureClass, Outcome, Request, Tenant
from framework.core.templates import Template

BUILD_S = 600.0
EVENTS_A_TURN = 1
BUILDS = 500  # that end in each repeat, at either size
SETTLING_S = 200  # before anything is measured, so that all that wait have come in that time
BUILDS_A_TENANT = 200
TEMPLATES = tuple(
    Template(Resources(cpu_millis, mem_mib), timeout_s=24 * 3600.0)
    for cpu_millis, mem_mib in (
        (250, 768), (250, 1024), (250, 1536), (300, 900), (300, 1200), (350, 768),
        (350, 1400), (400, 1024), (400, 1536), (450, 1100), (500, 768), (500, 1536),
    )
)  # fmt: skip
_START = 1_700_000_000.0  # any time will do
_PASSED = Outcome(FailureClass.PASSED, exit_code=0, wall_s=60.0, cpu_s=30.0, peak_mem_mib=512.0, limit_mem_mib=1024)


class Size(NamedTuple):
    """Hosts, and builds on them."""

    hosts: int
    running: int
    waiting: int

    @property
    def tenants(self) -> int:
        return max(3, (self.running + self.waiting) // BUILDS_A_TENANT)


SMALL = Size(hosts=317, running=800, waiting=200)
LARGE = Size(hosts=5000, running=32_000, waiting=8_000)


class Played:
    """A core of one size, and the Mesos it sees."""

    def __init__(self, size: Size, seed: int) -> None:
        self.size = size
        self.now = _START
        self.cpu_s = 0.0
        self.turns = self.ended = 0
        self._chance = random.Random(seed)
        self._count = 0
        self._due = 0.0  # builds that are to end, and have not as they are no whole one
        self._suppressed = False
        self._config = Config()
        self.state = State(self._config)
        hosts = reference_hosts(size.hosts)
        mean_cpu_millis = statistics.mean(each.resources.cpu_millis for each in TEMPLATES)
        mean_mem_mib = statistics.mean(each.resources.mem_mib for each in TEMPLATES)
        overhead, density = self._config.overhead, size.running / len(hosts) + 0.5  # half a build's room stays unused
        ours = Resources(
            round((mean_cpu_millis + overhead.cpu_millis) * density), round((mean_mem_mib + overhead.mem_mib) * density)
        )
        self._hostname = {host.id: host.hostname for host in hosts}
        self._free = {host.id: ours for host in hosts}  # what other frameworks leave us, and we do not use or hold
        self._unasked = set(self._free)  # hosts whose free part may be offered
        self._offered: dict[OfferId, tuple[HostId, Resources]] = {}
        self._refused: dict[HostId, float] = {}
        self._needs: dict[TaskId, tuple[HostId, Resources]] = {}
        self._launched: list[TaskId] = []  # and not told of yet
        self._running: list[TaskId] = []
        self._tenants = [TenantName(f"tenant-{i:04d}") for i in range(size.tenants)]
        tenants = [TenantSet(Tenant(name, 50 + 50 * (i % 4))) for i, name in enumerate(self._tenants)]
        self._turn([*tenants, Subscribed(FrameworkId("benchmark")), HostsObserved(hosts)])
        self._fill()

    def _fill(self) -> None:
        """Brings the cluster to its steady state."""
        self._submit(self.size.running + self.size.waiting, batch=1000)
        self._second(0)
        for _ in range(SETTLING_S):
            self._second()
        self._submit(max(0, self.size.waiting - self.state.waiting()), batch=1000)
        self.cpu_s, self.turns, self.ended = 0.0, 0, 0

    def measure(self, builds: int) -> float:
        """CPU seconds of the core a build, while so many end or a few more."""
        cpu_s, ended = self.cpu_s, self.ended
        while self.ended < ended + builds:
            self._second()
        return (self.cpu_s - cpu_s) / (self.ended - ended)

    def _second(self, ends: int | None = None) -> None:
        self.now += 1.0
        if ends is None:
            self._due += self.size.running / BUILD_S
            ends = int(self._due)
            self._due -= ends
        chosen = [self._running.pop(self._chance.randrange(len(self._running))) for _ in range(ends)]
        self._tell(chosen, "TASK_FINISHED", _PASSED)
        for task_id in chosen:
            host_id, need = self._needs.pop(task_id)
            self._give_back(host_id, need)
        self.ended += ends
        self._submit(ends, EVENTS_A_TURN)
        self._offer()
        self._turn([])
        launched, self._launched = self._launched, []
        self._tell(launched, "TASK_STARTING")
        self._tell(launched, "TASK_RUNNING")
        self._running += launched

    def _tell(self, tasks: Sequence[TaskId], state: str, outcome: Outcome | None = None) -> None:
        updates = [
            TaskUpdate(task_id, state, self._needs[task_id][0], uuid=b"0123456789abcdef", outcome=outcome)
            for task_id in tasks
        ]
        for first in range(0, len(updates), EVENTS_A_TURN):
            self._turn(updates[first : first + EVENTS_A_TURN])

    def _submit(self, count: int, batch: int) -> None:
        events = []
        for _ in range(count):
            self._count += 1
            tenant = self._chance.choice(self._tenants)
            template = self._chance.choice(TEMPLATES)
            job = f"job-{self._chance.randrange(20)}"
            events.append(Submitted(Request(RequestId(f"r{self._count:07d}"), tenant, job, template, self.now)))
        for first in range(0, len(events), batch):
            self._turn(events[first : first + batch])

    def _offer(self) -> None:
        """Offers what is free, where Mesos would."""
        if self._suppressed:
            return
        offers = []
        for host_id in sorted(self._unasked):
            if self._refused.get(host_id, 0.0) > self.now:
                continue
            free = self._free[host_id]
            if free.cpu_millis <= 0 or free.mem_mib <= 0:
                continue
            self._count += 1
            offer = Offer(OfferId(f"o{self._count:07d}"), host_id, self._hostname[host_id], free)
            self._offered[offer.id] = (host_id, free)
            self._free[host_id] = Resources()
            offers.append(offer)
        self._unasked.difference_update(offer.host_id for offer in offers)
        if offers:
            self._turn([OffersReceived(tuple(offers))])

    def _give_back(self, host_id: HostId, resources: Resources) -> None:
        self._free[host_id] += resources
        self._unasked.add(host_id)

    def _turn(self, events: Sequence[Event]) -> None:
        started = time.process_time()
        effects = turn(self.state, events, self.now)
        self.cpu_s += time.process_time() - started
        self.turns += 1
        self._perform(effects)

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Launch():
                    self._launch(effect)
                case Decline():
                    for offer_id in effect.offer_ids:
                        host_id, resources = self._offered.pop(offer_id)
                        self._give_back(host_id, resources)
                        self._refused[host_id] = self.now + effect.refuse_s
                case Revive():
                    self._suppressed = False
                    self._refused.clear()
                case Suppress():
                    self._suppressed = True
                case Kill():
                    raise ValueError(f"nothing is to be killed here, but {effect.task_id} was")
                case _:
                    pass

    def _launch(self, launch: Launch) -> None:
        left = Resources()
        for offer_id in launch.offer_ids:
            left += self._offered.pop(offer_id)[1]
        for task in launch.tasks:
            need = task.resources + self._config.overhead
            left -= need
            self._needs[task.id] = (launch.host_id, need)
        if not Resources().fits_in(left):
            raise ValueError(f"the offers of {launch.host_id} were over-spent")
        self._give_back(launch.host_id, left)
        self._launched += [task.id for task in launch.tasks]


def run(
    seed: int = 1,
    repeats: int = 7,
    console: Console | None = None,
    *,
    small: Size = SMALL,
    large: Size = LARGE,
    builds: int = BUILDS,
) -> dict[str, Any]:
    """``growth``: the large cluster's CPU time a build to the small one's, of medians."""
    played = {"small": Played(small, seed), "large": Played(large, seed)}
    costs_s: dict[str, list[float]] = {name: [] for name in played}
    with as_in_the_scheduler():
        for _ in range(repeats):
            for name, each in played.items():
                costs_s[name].append(each.measure(builds))
    figures: dict[str, Any] = {"seed": seed, "repeats": repeats, "events_a_turn": EVENTS_A_TURN}
    for name, each in played.items():
        figures[name] = {
            "hosts": each.size.hosts,
            "tenants": each.size.tenants,
            "templates": len(TEMPLATES),
            "running": len(each.state.tasks),
            "waiting": each.state.waiting(),
            "cpu_us_a_build": round(statistics.median(costs_s[name]) * 1e6, 1),
            "cpu_us_a_build_each": [round(cost_s * 1e6, 1) for cost_s in sorted(costs_s[name])],
            "turns_a_build": round(each.turns / each.ended, 2),
            "builds_ended": each.ended,
            "builds_per_s": round(each.size.running / BUILD_S, 1),
            "hosts_kept": len(each.state.earmarks),
        }
    growth = statistics.median(costs_s["large"]) / statistics.median(costs_s["small"])
    figures["growth"] = round(growth, 3)
    if console is not None:
        console.print(_table(figures))
    return figures


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title=f"CPU time of a build in the core: growth {figures['growth']}")
    table.add_column("")
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "hosts": lambda each: str(each["hosts"]),
        "tenants": lambda each: str(each["tenants"]),
        "builds running, waiting": lambda each: f"{each['running']}, {each['waiting']}",
        "us a build (median)": lambda each: str(each["cpu_us_a_build"]),
        "us, min .. max": lambda each: f"{each['cpu_us_a_build_each'][0]} .. {each['cpu_us_a_build_each'][-1]}",
        "turns a build": lambda each: str(each["turns_a_build"]),
        "hosts kept for those that starve": lambda each: str(each["hosts_kept"]),
    }
    for name in ("small", "large"):
        table.add_column(name, justify="right")
    for title, cell in rows.items():
        table.add_row(title, *(cell(figures[name]) for name in ("small", "large")))
    return table
