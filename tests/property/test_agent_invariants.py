"""The invariants of the design, by name, over histories with tenants' masters that fail, lie late and lose things."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from framework.core import effects as ef
from framework.core.claims import MAKING_AT_MOST
from framework.core.explain import why_not
from framework.core.ids import agent_task_id
from framework.core.tasks import RequestState, TaskState
from tests.simulation.histories import Action, drawn
from tests.simulation.jenkins import JenkinsSimulation
from tests.simulation.simulation import Simulation, Turn

OFTEN = (
    *["flow"] * 40,
    *("item", "work", "work", "deliver", "deliver", "run", "come", "take", "hear", "hear", "finish", "advance"),
    *("item", "work", "work", "deliver", "deliver", "run", "come", "take", "hear", "hear", "look", "advance"),
) * 3
SELDOM = (
    *("items", "items", "submit", "submit", "burst", "end", "end", "answer", "look_as_asked", "old_look"),
    *("lose_word", "repeat_word", "swap_words", "master_down", "master_up", "master_up", "cancel_item", "delete_node"),
    *("node_by_hand", "cancel", "quota", "deaf", "lose_host", "host_back", "host_back", "observe", "rescind"),
    *("duplicate", "lose_update", "disconnect", "connect", "connect", "crash", "remove_framework", "maintain"),
    *("drain", "drain", "no_image"),
)


def history_of(seed: int, length: int) -> list[Action]:
    return drawn(OFTEN + SELDOM, seed, length)


HISTORIES = st.builds(history_of, st.integers(0, 2**64), st.integers(1, 250))


def told_by(simulation: Simulation) -> JenkinsSimulation:
    assert isinstance(simulation, JenkinsSimulation)
    return simulation


@given(HISTORIES)
def test_invariant_1_no_offer_is_over_spent_by_claims(history: list[Action]) -> None:
    simulation = JenkinsSimulation()
    simulation.play(history)
    simulation.come_to_rest()
    assert simulation.mesos.faults == []


@given(HISTORIES)
def test_invariant_2_every_offer_is_used_held_for_claims_or_declined(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        for held in state.offers:
            assert held.held_until > simulation.now
            assert state.deadlines.has("host", held.host_id)
        if state.suppressed:
            assert len(state.offers) == 0
        for claim in state.claims:
            bounded = claim.ready_at is None or claim.uncovered_at is not None
            assert state.deadlines.has("claim", claim.task_id) == bounded
            if state.connected and not bounded:
                assert state.offers.of(claim.host_id)
                assert state.deadlines.has("claims", claim.host_id), "it is launched in company within moments"

    simulation = JenkinsSimulation(watch)
    simulation.play(history)
    simulation.come_to_rest()


@given(HISTORIES)
def test_invariant_3_no_request_and_no_item_is_lost_across_a_crash_at_any_point(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        for request in state.requests.values():
            launched = request.state not in (RequestState.WAITING, RequestState.PREPARING)
            assert (state.live_task(request) is not None) == launched
            assert (state.claims.of(request.id) is not None) == (request.state is RequestState.PREPARING)

    simulation = JenkinsSimulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest(), f"never ended: {simulation.state.requests}"
    saved = simulation.disk.load_requests()
    assert saved.keys() == set(simulation.submitted)
    for request in saved.values():
        assert request.state is RequestState.ENDED
        assert request.outcome is not None
    for master in simulation.masters.values():
        assert not master.items
        assert set(master.ended.values()) <= {1}


@given(HISTORIES)
def test_invariant_4_at_most_one_live_task_a_request_and_one_agent_an_item(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state, mesos = simulation.state, simulation.mesos
        owners = [task.request_id for task in state.tasks.values()]
        owners += [claim.request_id for claim in state.claims]
        assert len(owners) == len(set(owners))
        for launch in (each for each in turn.effects if isinstance(each, ef.Launch)):
            for task in launch.tasks:
                for other in mesos.tasks.values():
                    builds = other.id == agent_task_id(other.id)
                    if builds and other.id.rpartition(".")[0] == task.request_id and other.id != task.id:
                        assert not other.alive or other.told_out_of_sight
        for name in simulation.state.tenants:
            sides = [each.jenkins for each in state.masters.of(name).requests.values()]
            items = [side.item for side in sides if side is not None and side.item is not None and not side.served_at]
            assert len(items) == len(set(items)), "two agents come for one item"

    simulation = JenkinsSimulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest()
    assert not [task for task in simulation.mesos.tasks.values() if task.alive]


@given(HISTORIES)
def test_invariant_5_after_a_sweep_nodes_and_live_tasks_match_both_ways(history: list[Action]) -> None:
    simulation = JenkinsSimulation()
    simulation.play(history)
    for master in simulation.masters.values():
        simulation.sweep(master)
        live = simulation.live_agents(master.tenant)
        preparing = {each.task_id for each in simulation.state.claims}
        nodes = {node.task_id for node in master.nodes.values()}
        assert nodes <= live | preparing, "no node without its task"
        ending = {each.id for each in simulation.state.tasks.values() if each.state is TaskState.KILLING}
        assert live <= nodes | ending, "no task without its node, but those that are being ended"
    assert simulation.come_to_rest()
    assert not any(master.nodes for master in simulation.masters.values())
    assert not simulation.mesos.tasks


@given(HISTORIES)
def test_invariant_6_claims_count_in_a_tenants_quota(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        launching = {task.tenant for each in turn.effects if isinstance(each, ef.Launch) for task in each.tasks}
        for name, book in state.tenants.items():
            sizes = [task.resources for task in state.tasks.values() if task.tenant == name]
            sizes += [
                state.requests[claim.request_id].template.resources for claim in state.claims if claim.tenant == name
            ]
            assert book.builds == len(sizes)
            assert book.used_cpu_millis == sum(each.cpu_millis for each in sizes)
            assert book.used_mem_mib == sum(each.mem_mib for each in sizes)
            if name in launching:
                quota = book.tenant.quota
                assert quota.builds is None or book.builds <= quota.builds
                assert quota.cpu_millis is None or book.used_cpu_millis <= quota.cpu_millis
                assert quota.mem_mib is None or book.used_mem_mib <= quota.mem_mib

    simulation = JenkinsSimulation(watch)
    simulation.play(history)
    simulation.come_to_rest()


@given(HISTORIES)
def test_invariant_7_memory_is_bounded_by_what_is_live(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        making = [claim for claim in state.claims if claim.ready_at is None]
        for name in state.tenants:
            assert state.claims.making(name) == sum(claim.tenant == name for claim in making) <= MAKING_AT_MOST
        assert state.claims.uncovered <= {claim.task_id for claim in state.claims}
        assert state.offline.keys() <= state.tasks.keys()
        assert sum(len(state.masters.of(name).requests) for name in state.tenants) <= len(state.requests)
        tenants_and_singles = len(state.tenants) + 8
        live = 2 * len(state.requests) + 2 * len(state.tasks) + 4 * len(simulation.mesos.hosts)
        assert len(state.deadlines) <= live + tenants_and_singles

    simulation = JenkinsSimulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest()
    simulation.advance(simulation.config.reconcile_every_s + 2 * simulation.config.breaker_max_s)
    simulation.advance(simulation.config.reconcile_every_s)
    state = simulation.state
    left = (state.requests, state.tasks, list(state.claims), state.claims.hosts(), list(state.offers), state.offline)
    assert not any(left), left
    for name in state.tenants:
        assert not state.masters.of(name).requests
        assert not state.masters.of(name).bound()
    assert len(state.deadlines) <= 2


@given(HISTORIES)
def test_there_are_never_more_nodes_in_the_making_than_claims(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        claims = {each.task_id for each in simulation.state.claims}
        prepared = {each.task_id for each in turn.effects if isinstance(each, ef.PrepareNode)}
        launched = {task.id for each in turn.effects if isinstance(each, ef.Launch) for task in each.tasks}
        removed = {each.node for each in turn.effects if isinstance(each, ef.RemoveNode)}
        for task_id in prepared - claims - launched:
            assert any(task_id in node for node in removed), "it was given up in the same turn"

    JenkinsSimulation(watch).play(history)


@given(HISTORIES)
def test_every_request_that_waits_or_is_prepared_can_say_why(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        for request in simulation.state.requests.values():
            answer = why_not(simulation.state, request.id, simulation.now)
            if request.state not in (RequestState.WAITING, RequestState.PREPARING):
                assert answer is None
                continue
            assert answer is not None
            assert answer.summary

    JenkinsSimulation(watch).play(history)


@given(HISTORIES)
def test_the_same_history_has_the_same_effects(history: list[Action]) -> None:
    first, second = JenkinsSimulation(), JenkinsSimulation()
    for each in (first, second):
        each.play(history)
        each.come_to_rest()
    assert first.log == second.log
