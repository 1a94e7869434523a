"""The invariants of the design, by name, over whole histories with faults and crashes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from framework.core import effects as ef
from framework.core.explain import why_not
from framework.core.ids import agent_task_id
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, RequestState, Task, TaskState
from tests.simulation.histories import Action, drawn
from tests.simulation.simulation import Simulation, Turn

OFTEN = ("submit", "submit", "deliver", "deliver", "deliver", "advance", "advance", "run", "run", "end") * 6
SELDOM = (
    *("burst", "burst", "deliver", "connect", "connect", "host_back", "host_back", "no_image", "no_image"),
    "cancel",
    "quota",
    "deaf",
    "lose_host",
    "host_back",
    "observe",
    "rescind",
    "duplicate",
    "lose_update",
    "disconnect",
    "connect",
    "crash",
    "remove_framework",
    *("burst", "maintain", "maintain", "drain", "drain"),
)


def history_of(seed: int, length: int) -> list[Action]:
    return drawn(OFTEN + SELDOM, seed, length)


HISTORIES = st.builds(history_of, st.integers(0, 2**64), st.integers(1, 250))


@given(HISTORIES)
def test_invariant_1_no_offer_is_over_spent_and_none_is_used_twice(history: list[Action]) -> None:
    simulation = Simulation()
    simulation.play(history)
    simulation.come_to_rest()
    assert simulation.mesos.faults == []


@given(HISTORIES)
def test_invariant_2_every_offer_is_used_held_with_an_expiry_or_declined(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        for held in state.offers:
            assert held.held_until > simulation.now
            assert state.deadlines.has("host", held.host_id)
        if state.suppressed and not state.unserved:
            assert len(state.offers) == 0
        answers = ef.Launch | ef.Decline | ef.AcceptInverse | ef.DeclineInverse
        gone = {offer_id for each in turn.effects if isinstance(each, answers) for offer_id in each.offer_ids}
        on_their_way = {offer.id for event in simulation.mesos.inbox for offer in getattr(event, "offers", ())}
        held_ids = {offer_id for held in state.offers for offer_id in held.offers}
        if state.connected:
            assert simulation.mesos.offers.keys() <= held_ids | gone | on_their_way
            asked = {fake.asked for fake in simulation.mesos.hosts.values() if fake.asked is not None}
            assert asked <= gone | on_their_way, "every inverse offer is answered in the turn it comes in"

    simulation = Simulation(watch)
    simulation.play(history)
    simulation.come_to_rest()


@given(HISTORIES)
def test_invariant_3_no_request_is_lost_across_a_crash_at_any_point(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        for request in state.requests.values():
            assert (state.live_task(request) is None) == (request.state is RequestState.WAITING)
        for task in state.tasks.values():
            assert task.state is not TaskState.ENDED
            assert task.request_id in state.requests

    simulation = Simulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest(), f"never ended: {simulation.state.requests}"
    saved = simulation.disk.load_requests()
    assert saved.keys() == set(simulation.submitted)
    for request in saved.values():
        assert request.state is RequestState.ENDED
        assert request.outcome is not None
        assert request.outcome.result_class in set(FailureClass) - {FailureClass.PREEMPTED}
        assert request.losses <= request.retries + 1
        assert request.preemptions <= simulation.config.max_preemptions
        assert (request.outcome.result_class is FailureClass.CANCELLED) <= (request.cancel_reason is not None)


@given(HISTORIES)
def test_invariant_4_at_most_one_live_task_a_request(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state, mesos = simulation.state, simulation.mesos
        owners = [task.request_id for task in state.tasks.values()]
        assert len(owners) == len(set(owners))
        for launch in (each for each in turn.effects if isinstance(each, ef.Launch)):
            for task in launch.tasks:
                for other in mesos.tasks.values():  # earlier attempts may only run where Mesos said it cannot see them
                    builds = other.id == agent_task_id(other.id)
                    if builds and other.id.rpartition(".")[0] == task.request_id and other.id != task.id:
                        assert not other.alive or other.told_out_of_sight

    simulation = Simulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest()
    assert not [task for task in simulation.mesos.tasks.values() if task.alive]


@given(HISTORIES)
def test_invariant_6_a_tenant_never_exceeds_its_quota(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        launching = {task.tenant for each in turn.effects if isinstance(each, ef.Launch) for task in each.tasks}
        for name, book in simulation.state.tenants.items():
            tasks = [task for task in simulation.state.tasks.values() if task.tenant == name]
            assert book.builds == len(tasks)
            assert book.used_cpu_millis == sum(task.resources.cpu_millis for task in tasks)
            assert book.used_mem_mib == sum(task.resources.mem_mib for task in tasks)
            if name in launching:
                quota = book.tenant.quota
                assert quota.builds is None or book.builds <= quota.builds
                assert quota.cpu_millis is None or book.used_cpu_millis <= quota.cpu_millis
                assert quota.mem_mib is None or book.used_mem_mib <= quota.mem_mib

    simulation = Simulation(watch)
    simulation.play(history)
    simulation.come_to_rest()


@given(HISTORIES)
def test_invariant_7_memory_is_bounded_by_what_is_live(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        singles = 6  # reconcile, idle, revive, starving, preempt and an image's breaker
        live = len(state.requests) + len(state.tasks) + 3 * len(simulation.mesos.hosts)
        assert state.warned.keys() <= state.tasks.keys()
        assert {task_id for some in state.preemptible.values() for task_id in some} <= state.tasks.keys()
        assert len(state.announced) <= len(simulation.mesos.hosts)
        assert len(state.deadlines) <= live + singles
        assert len(state.earmarks) <= max(1, len(state.hosts) // 10)
        assert sum(len(book.queue) for book in state.tenants.values()) <= len(state.requests)

    simulation = Simulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest()
    simulation.advance(simulation.config.reconcile_every_s + 2 * simulation.config.breaker_max_s)
    simulation.advance(simulation.config.reconcile_every_s)
    state = simulation.state
    left = (state.requests, state.tasks, state.tasks_on, state.earmarks, list(state.offers), state.announced)
    assert not any(left), left
    assert len(state.breakers) == 0
    assert len(state.deadlines) <= 2
    for book in state.tenants.values():
        assert len(book.queue) == 0
        assert book.builds == book.used_cpu_millis == book.used_mem_mib == book.used_disk_mib == 0


def _ended_in(turn: Turn, task: Task) -> bool:
    return any(isinstance(each, ef.SaveTask) and each.task is task for each in turn.effects)


@given(HISTORIES)
def test_preemption_never_pushes_a_tenant_below_its_share(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        just_now = f"kill@{simulation.now:.3f}"
        victims = [task for task in state.tasks.values() if task.made_room_for is not None and task.kills_sent == 1]
        victims = [task for task in victims if task.history[-1] == just_now and _ended_in(turn, task)]
        told = {each.task_id for each in turn.effects if isinstance(each, ef.Tell)}
        weights = sum(book.tenant.weight for book in state.tenants.values() if book.builds or len(book.queue))
        for victim in victims:
            assert victim.made_room_for is not None
            its, wanted = state.requests[victim.request_id], state.requests[victim.made_room_for]
            assert its.template.preemptible
            assert its.preemptions < simulation.config.max_preemptions
            assert victim.tenant != wanted.tenant
            assert victim.id in told
            assert wanted.id in victim.kill_reason
            stay = [t for t in state.tasks.values() if t.tenant == victim.tenant and t.state is not TaskState.KILLING]
            share = sum((task.resources for task in stay), Resources()).dominant_share(state.total)
            assert share >= state.tenants[victim.tenant].tenant.weight / weights
        on_hosts = {(t.made_room_for, t.host_id) for t in state.tasks.values() if t.made_room_for is not None}
        assert len(on_hosts) == len({request_id for request_id, _ in on_hosts}), "two sets for one request at once"

    simulation = Simulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest()


@given(HISTORIES)
def test_no_build_that_could_outlast_it_is_left_on_a_host_whose_maintenance_begins(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state, now = simulation.state, simulation.now
        for task in state.tasks.values():
            window = state.window_of(task.host_id, now)
            if window is None or task.state is not TaskState.RUNNING or task.running_at is None:
                continue
            template = state.requests[task.request_id].template
            if task.running_at + template.timeout_s + template.grace_s > window.start_at:
                assert now < window.start_at - template.grace_s - simulation.config.timeout_slack_s
        for launch in (each for each in turn.effects if isinstance(each, ef.Launch)):
            window = state.window_of(launch.host_id, now)
            for task in launch.tasks:
                assert window is None or now + state.requests[task.request_id].template.timeout_s <= window.start_at

    Simulation(watch).play(history)


@given(HISTORIES)
def test_while_it_drains_nothing_is_launched_or_held(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        if state.draining:
            assert not [each for each in turn.effects if isinstance(each, ef.Launch | ef.Revive)]
            assert not state.connected or (len(state.offers) == 0 and state.suppressed)

    Simulation(watch).play(history)


@given(HISTORIES)
def test_all_containers_of_an_agent_run_or_none(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        for killed in (each.task_id for each in turn.effects if isinstance(each, ef.Kill)):
            if killed != agent_task_id(killed):
                assert agent_task_id(killed) not in simulation.state.tasks, "its Mesos executor ends it with the build"

    simulation = Simulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest()
    assert not simulation.mesos.tasks, "of agents whose build is over no container is left"


@given(HISTORIES)
def test_every_waiting_request_can_say_why(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        for request in state.requests.values():
            answer = why_not(state, request.id, simulation.now)
            if request.state is not RequestState.WAITING:
                assert answer is None
                continue
            assert answer is not None
            assert answer.summary
            assert answer.blockers or not state.hosts or sum(answer.turned_away.values()) >= len(state.hosts)

    simulation = Simulation(watch)
    simulation.play(history)


@given(HISTORIES)
def test_whatever_can_time_out_has_a_wake_up(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        times = [task.deadline for task in state.tasks.values()]
        times += [held.held_until for held in state.offers]
        times += [earmark.until for earmark in state.earmarks.values()]
        times += [each.not_before for each in state.requests.values() if each.not_before > simulation.now]
        wake_up = state.deadlines.next()
        if times:
            assert wake_up is not None
            assert wake_up <= min(times)
        if wake_up is not None:
            assert wake_up > simulation.now

    Simulation(watch).play(history)


@given(HISTORIES)
def test_the_same_history_has_the_same_effects(history: list[Action]) -> None:
    first, second = Simulation(), Simulation()
    for each in (first, second):
        each.play(history)
        each.come_to_rest()
    assert first.log == second.log


def digest(seed: int) -> str:
    simulation = Simulation()
    simulation.play(history_of(seed, 300))
    return hashlib.sha256(b"".join(simulation.log)).hexdigest()


def test_the_same_history_has_the_same_effects_in_another_process() -> None:
    """Where sets of strings have another order."""
    program = "import sys; from tests.property.test_invariants import digest; sys.stdout.write(digest(7))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {digest(7)}
