"""Every rule on where a build goes, over random clusters, against a slow, plain reading of each."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from framework.core import events as ev
from framework.core.effects import Launch
from framework.core.explain import why_not
from framework.core.ids import FrameworkId, HostId, OfferId, RequestId, TaskId, TenantName
from framework.core.offers import Host, Offer, Window, drawn
from framework.core.pieces import Piece, Reservation, ReservedUse
from framework.core.resources import ZERO, Resources
from framework.core.state import Config, State
from framework.core.step import turn
from framework.core.tasks import FailureClass, Outcome, Request, RequestState, Task, Tenant
from framework.core.templates import Constraint, Neighbour, Operator, Template
from framework.edges.mesos.purse import Purse

SEEDS = st.integers(0, 2**64)
NOW = 1_700_000_000.0
ROLES = ("ants", "bees")
TENANTS = (Tenant(TenantName("any")), Tenant(TenantName("one"), role="ants"))
NAMES = ("cpus", "mem", "disk", "gpus")


def pieces_of(resources: Resources, role: str | None) -> list[Piece]:
    reservations = () if role is None else (Reservation(role),)
    amounts = (resources.cpu_millis, resources.mem_mib * 1000, resources.disk_mib * 1000, resources.gpus * 1000)
    return [Piece(name, amount, reservations=reservations) for name, amount in zip(NAMES, amounts, strict=True)]


@dataclass
class Live:
    """A build as the oracle knows it: which one, and where."""

    request: Request
    host: Host


@dataclass
class Machine:
    """What is free of a host: to all, and what is reserved for a role."""

    host: Host
    unreserved: Resources
    reserved: dict[str, Resources]
    ports: set[int]
    taken: dict[TaskId, tuple[Resources, str, Resources]] = field(default_factory=dict)  # unreserved, role, reserved
    executor: tuple[Resources, str, Resources] | None = None  # the shared one's, while builds of it live


class Watched(State):
    """Holds every placing, at the moment it is decided, against the oracle."""

    def __init__(self, hosts: dict[HostId, Host], config: Config) -> None:
        super().__init__(config)
        self.by_id = hosts
        self.now = NOW
        self.live: dict[TaskId, Live] = {}

    def count(self, request: Request, host_id: HostId) -> None:
        host = self.by_id[host_id]
        assert refusals(request, host, list(self.live.values()), self.now) == []
        self.live[TaskId(f"{request.id}.{request.attempt + 1}")] = Live(request, host)
        super().count(request, host_id)


def value_at(host: Host, name: str) -> str | None:
    return host.hostname if name in ("hostname", "@hostname") else host.attributes.get(name)


def refusals(request: Request, host: Host, live: list[Live], now: float) -> list[str]:
    """Why it may not go there, by what the rules say in so many words."""
    template = request.template
    found = [name for name, value in template.attributes.items() if host.attributes.get(name) != value]
    for constraint in template.constraints:
        values = [value_at(each.host, constraint.field) for each in mates_of(request, live)]
        if not holds(constraint, value_at(host, constraint.field), values):
            found.append(str(constraint))
    for neighbour in template.neighbours:
        some = [
            value_at(each.host, neighbour.field)
            for each in live
            if each.request.tenant == request.tenant and is_part(neighbour.labels, each.request.template.labels)
        ]
        here = value_at(host, neighbour.field)
        if neighbour.near:
            first = not some and is_part(neighbour.labels, template.labels)
            if not first and (here is None or here not in some):
                found.append(str(neighbour))
        elif here is not None and here in some:
            found.append(str(neighbour))
    for each in live:
        for shunned in (other for other in each.request.template.neighbours if not other.near):
            here = value_at(host, shunned.field)
            meant = each.request.tenant == request.tenant and is_part(shunned.labels, template.labels)
            if meant and here is not None and here == value_at(each.host, shunned.field):
                found.append(f"{each.request.id} must be apart from it")
    if host.window is not None and now + template.timeout_s + template.grace_s > host.window.start_at:
        found.append("window")
    return found


def mates_of(request: Request, live: list[Live]) -> list[Live]:
    return [each for each in live if (each.request.tenant, each.request.job) == (request.tenant, request.job)]


def is_part(labels: dict[str, str], of: dict[str, str]) -> bool:
    return all(of.get(name) == value for name, value in labels.items())


def holds(constraint: Constraint, here: str | None, values: list[str | None]) -> bool:
    wanted = constraint.value
    if here is None:
        return constraint.operator is Operator.UNLIKE
    groups = Counter(values)
    match constraint.operator:
        case Operator.IS:
            return here == wanted
        case Operator.LIKE:
            return re.fullmatch(wanted, here) is not None
        case Operator.UNLIKE:
            return re.fullmatch(wanted, here) is None
        case Operator.CLUSTER:
            return here == wanted if wanted else (not values or values[0] == here)
        case Operator.UNIQUE:
            return here not in values
        case Operator.MAX_PER:
            return groups[here] < int(wanted)
        case Operator.GROUP_BY:
            return here not in groups or (len(groups) >= int(wanted or 0) and groups[here] == min(groups.values()))


CONSTRAINTS = (
    *(Constraint(name, Operator.UNIQUE) for name in ("hostname", "rack")),
    *(Constraint(name, Operator.CLUSTER) for name in ("hostname", "rack")),
    Constraint("rack", Operator.CLUSTER, "r1"),
    *(Constraint("rack", Operator.GROUP_BY, value) for value in ("", "2", "3")),
    Constraint("@hostname", Operator.MAX_PER, "2"),
    Constraint("rack", Operator.MAX_PER, "3"),
    Constraint("rack", Operator.LIKE, "r[01]"),
    Constraint("hostname", Operator.LIKE, ".*-[0-3]"),
    Constraint("rack", Operator.UNLIKE, "r0|r2"),
    Constraint("rack", Operator.IS, "r0"),
)
LABELS: tuple[dict[str, str], ...] = ({}, {}, {"app": "db"}, {"app": "web"}, {"app": "web", "tier": "front"})
SIZES = ((100, 100), (500, 256, 10), (1000, 1024), (250, 64, 0, 1), (100, 64, 0, 0, 2), (1900, 3000))


class World:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.machines = {machine.host.id: machine for machine in map(self._machine, range(self.chance.randint(1, 6)))}
        self.config = Config(starving_after_s=1e9, reconcile_every_s=1e9, hold_idle_s=1e9, preempt_after_s=1e9)
        hosts = {host_id: machine.host for host_id, machine in self.machines.items()}
        self.state = Watched(hosts, self.config)
        self.offered: dict[OfferId, Offer] = {}
        self.count = 0
        self.turn(*map(ev.TenantSet, TENANTS), ev.Subscribed(FrameworkId("f")), ev.HostsObserved(tuple(hosts.values())))

    def _machine(self, nth: int) -> Machine:
        chance = self.chance
        unreserved = Resources(
            chance.choice((500, 2000, 4000)), chance.choice((512, 4096)), 50, chance.choice((0, 0, 2))
        )
        reserved = {role: Resources(1000, 1024) for role in ROLES if chance.random() < 0.3}
        attributes = {"rack": f"r{chance.randrange(3)}"} if chance.random() < 0.85 else {}
        window = Window(NOW + chance.choice((100, 5000)), 1000) if chance.random() < 0.2 else None
        ports = {*range(31000, 31004), *range(31010, 31010 + chance.randrange(4))}
        total = sum(reserved.values(), unreserved) + Resources(ports=len(ports))
        host = Host(HostId(f"h{nth}"), f"host-{nth}", total, attributes, window=window)
        return Machine(host, unreserved, reserved, ports)

    def turn(self, *events: ev.Event) -> None:
        for effect in turn(self.state, events, self.state.now):
            if isinstance(effect, Launch):
                self._launch(effect)
            for offer_id in getattr(effect, "offer_ids", ()):
                self.offered.pop(offer_id)
        self._nothing_that_fits_is_left()

    def _launch(self, launch: Launch) -> None:
        """Draws as the driver does, and finds all of it there."""
        offers = [self.offered[offer_id] for offer_id in launch.offer_ids]
        (role,) = {offer.role for offer in offers}
        machine = self.machines[launch.host_id]
        purse, unreserved, reserved = self._purse(offers)
        ports = {port for offer in offers for first, last in offer.port_ranges for port in range(first, last + 1)}
        assert {offer.host_id for offer in offers} == {launch.host_id}
        for task in launch.tasks:
            request = self.state.requests[task.request_id]
            template = request.template
            tenant = self.state.tenants[task.tenant].tenant
            assert task.role == role
            assert tenant.role in (None, role)
            assert len(task.ports) == template.resources.ports
            assert ports >= set(task.ports)
            ports -= set(task.ports)
            machine.ports -= set(task.ports)
            starts = not template.shared or machine.executor is None
            if template.shared and machine.executor is not None:
                assert machine.executor[1] == role
            taken = self._draw(purse, template.resources, template.reserved, role)
            machine.taken[task.id] = taken
            overhead = (
                self._draw(purse, self.config.overhead, template.reserved, role) if starts else (ZERO, role, ZERO)
            )
            if template.shared and starts:
                machine.executor = overhead
            elif starts:
                machine.taken[task.id] = (taken[0] + overhead[0], role, taken[2] + overhead[2])
            for each in (taken, overhead):
                machine.unreserved -= each[0]
                if each[2] != ZERO:
                    machine.reserved[role] -= each[2]
                unreserved, reserved = unreserved - each[0], reserved - each[2]
            assert ZERO.fits_in(unreserved + Resources(ports=99))
            assert ZERO.fits_in(reserved)

    def _purse(self, offers: list[Offer]) -> tuple[Purse, Resources, Resources]:
        unreserved = sum((offer.resources - offer.reserved for offer in offers), ZERO)
        reserved = sum((offer.reserved for offer in offers), ZERO)
        purse = Purse(())
        for piece in pieces_of(unreserved, None) + pieces_of(reserved, offers[0].role):
            purse.gain(piece)
        return purse, unreserved, reserved

    def _draw(self, purse: Purse, need: Resources, use: ReservedUse, role: str) -> tuple[Resources, str, Resources]:
        parts: list[Counter[str]] = [Counter(), Counter()]
        for piece in purse.draw(need, use):
            parts[bool(piece.reservations)][piece.name] += piece.thousandths
        unreserved, reserved = (
            Resources(each["cpus"], each["mem"] // 1000, each["disk"] // 1000, each["gpus"] // 1000) for each in parts
        )
        return unreserved, role, reserved

    def _nothing_that_fits_is_left(self) -> None:
        """No request waits that could be launched on what is held."""
        state = self.state
        for request in state.requests.values():
            if request.state is not RequestState.WAITING or request.not_before > state.now:
                continue
            for held in state.offers:
                machine = self.machines[held.host_id]
                tenant, template = state.tenants[request.tenant].tenant, request.template
                if tenant.role not in (None, held.role):
                    continue
                if template.shared and machine.executor is not None and machine.executor[1] != held.role:
                    continue
                # A build that is killed before it ran may take the executor with it, so the next one pays for its own.
                own = ZERO if template.shared and state.serving(held.host_id) else self.config.overhead
                need = template.resources + own
                ports = sum(last - first + 1 for each in held.offers.values() for first, last in each.port_ranges)
                if template.resources.ports > ports:
                    continue
                left = drawn(held.available - held.reserved, held.reserved, need, template.reserved)
                if not all(map(ZERO.fits_in, left)):
                    continue
                said = refusals(request, machine.host, list(state.live.values()), state.now)
                assert said, f"{request} waits though {held} would do"
            answer = why_not(state, request.id, state.now)
            assert answer is not None
            assert answer.summary
            assert sum(answer.turned_away.values()) >= len(state.hosts)

    def play(self, turns: int) -> None:
        for _ in range(turns):
            self.state.now += self.chance.choice((0.0, 1.0, 10.0))
            events = [*self._ended(), *self._submitted(), *self._offers()]
            self.turn(*events)

    def come_to_rest(self) -> None:
        state = self.state
        waiting = [each.id for each in state.requests.values() if each.state is RequestState.WAITING]
        self.turn(*(ev.CancelAsked(each, "no longer wanted") for each in waiting))
        while state.tasks:
            self.turn(*self._ended())

    def _submitted(self) -> list[ev.Event]:
        return [ev.Submitted(self._request()) for _ in range(self.chance.randrange(5))]

    def _request(self) -> Request:
        chance = self.chance
        self.count += 1

        def some(choices: tuple[Constraint, ...] | tuple[Neighbour, ...], often: float) -> list[int]:
            return (
                [chance.randrange(len(choices)) for _ in range(chance.randint(1, 2))] if chance.random() < often else []
            )

        neighbours = tuple(
            Neighbour(labels, near, name)
            for labels in ({"app": "db"}, {"app": "web"})
            for near in (True, False)
            for name in ("hostname", "rack")
        )
        template = Template(
            Resources(*chance.choice(SIZES)),
            attributes={"rack": "r0"} if chance.random() < 0.1 else {},
            timeout_s=chance.choice((50.0, 4000.0)),
            constraints=tuple(CONSTRAINTS[i] for i in some(CONSTRAINTS, 0.5)),
            labels=chance.choice(LABELS),
            neighbours=tuple(neighbours[i] for i in some(neighbours, 0.25)),
            reserved=chance.choice((ReservedUse.LAST, ReservedUse.LAST, *ReservedUse)),
            shared=chance.random() < 0.3,
        )
        tenant, job = chance.choice(TENANTS).name, chance.choice(("build", "test"))
        return Request(RequestId(f"r{self.count}"), tenant, job, template, self.state.now + self.count / 1e6)

    def _ended(self) -> list[ev.Event]:
        events: list[ev.Event] = []
        for task in list(self.state.tasks.values()):
            if self.chance.random() < 0.2:
                self._free(task)
                outcome = Outcome(FailureClass.PASSED)
                events.append(ev.TaskUpdate(task.id, "TASK_FINISHED", task.host_id, uuid=b"u", outcome=outcome))
        return events

    def _free(self, task: Task) -> None:
        machine = self.machines[task.host_id]
        del self.state.live[task.id]
        self._give_back(machine, machine.taken.pop(task.id))
        machine.ports |= set(task.ports)
        others = (self.state.requests[each.rpartition(".")[0]].template.shared for each in machine.taken)  # type: ignore[index]
        if machine.executor is not None and not any(others):
            self._give_back(machine, machine.executor)
            machine.executor = None

    def _give_back(self, machine: Machine, taken: tuple[Resources, str, Resources]) -> None:
        unreserved, role, reserved = taken
        machine.unreserved += unreserved
        if reserved != ZERO:
            machine.reserved[role] += reserved

    def _offers(self) -> list[ev.Event]:
        offers: list[Offer] = []
        for machine in self.machines.values():
            mine = [offer for offer in self.offered.values() if offer.host_id == machine.host.id]
            free = machine.unreserved - sum((offer.resources - offer.reserved for offer in mine), ZERO)
            free = Resources(free.cpu_millis, free.mem_mib, free.disk_mib, free.gpus)
            held = {port for offer in mine for first, last in offer.port_ranges for port in range(first, last + 1)}
            for role in self.chance.sample(ROLES, self.chance.randint(0, 2)):
                reserved = machine.reserved.get(role, ZERO) - sum((o.reserved for o in mine if o.role == role), ZERO)
                ports = sorted(machine.ports - held)
                total = free + reserved + Resources(ports=len(ports))
                if total == ZERO:
                    continue
                self.count += 1
                offers.append(
                    Offer(
                        OfferId(f"o{self.count}"), machine.host.id, machine.host.hostname, total,
                        machine.host.attributes, role=role, reserved=reserved,
                        port_ranges=tuple((port, port) for port in ports),
                    )
                )  # fmt: skip
                held |= set(ports)
                free = ZERO
        self.offered.update({offer.id: offer for offer in offers})
        return [ev.OffersReceived(tuple(offers))]


@given(SEEDS)
@example(25113)
def test_invariant_1_no_offer_port_or_reservation_is_over_spent_and_every_build_satisfies_its_rules(seed: int) -> None:
    world = World(seed)
    world.play(25)
    world.come_to_rest()
    assert len(world.state.groups) == 0


AMOUNTS = st.builds(Resources, *[st.integers(0, 6)] * 4)


@given(AMOUNTS, AMOUNTS, st.lists(st.tuples(AMOUNTS, st.sampled_from(ReservedUse)), max_size=5))
def test_what_is_reckoned_is_what_the_driver_draws(
    unreserved: Resources, reserved: Resources, needs: list[tuple[Resources, ReservedUse]]
) -> None:
    purse = Purse(())
    for piece in pieces_of(unreserved, None) + pieces_of(reserved, "ants"):
        purse.gain(piece)
    for need, use in needs:
        left = drawn(unreserved, reserved, need, use)
        if not all(map(ZERO.fits_in, left)):
            continue
        taken = purse.draw(need, use)
        for is_reserved, before, after in ((False, unreserved, left[0]), (True, reserved, left[1])):
            amounts = [amount for piece in pieces_of(before - after, None) if (amount := piece.thousandths)]
            assert sorted(amounts) == sorted(p.thousandths for p in taken if bool(p.reservations) is is_reserved)
        unreserved, reserved = left
