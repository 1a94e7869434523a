"""The invariants of the design over histories in which agents stand ready, and are given away, lost and forgotten."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from framework.core import effects as ef
from framework.core import events as ev
from framework.core.ids import RequestId, TaskId
from framework.core.jenkins import QueueItem
from framework.core.tasks import SPARES, Request, RequestState
from tests.property.test_agent_invariants import history_of
from tests.simulation.fake_jenkins import FakeNode
from tests.simulation.histories import Action
from tests.simulation.jenkins import LABELS, JenkinsSimulation
from tests.simulation.simulation import Simulation, Turn, Watcher


def with_spares(seed: int, length: int) -> list[Action]:
    """Every fifth choice is about spares."""
    history = history_of(seed, length)
    return [
        Action("lose_message" if each.b % 8 == 0 else "spare", each.a, each.b) if each.a % 5 == 0 else each
        for each in history
    ]


HISTORIES = st.builds(with_spares, st.integers(0, 2**64), st.integers(1, 250))


class SparesSimulation(JenkinsSimulation):
    """Spares are asked for by the history; one runs as an agent once it has heard what it is to be."""

    def __init__(self, *watchers: Watcher) -> None:
        self.spares: set[RequestId] = set()
        self.assigned: dict[TaskId, set[RequestId]] = {}
        self.losing = False
        super().__init__(*watchers)

    def call(self, call: ef.Call) -> None:
        if not isinstance(call, ef.Assign):
            super().call(call)
        elif self.losing:
            self.losing = False
        else:
            self.assigned.setdefault(call.task.id, set()).add(call.request.id)

    def _do_spare(self, a: int, b: int) -> None:
        kind = b % len(LABELS)
        made = self._agent(self._master(a), QueueItem(0, 0), LABELS[kind])
        template = msgspec.structs.replace(made.template, connect_timeout_s=None, timeout_s=1e9, preemptible=True)
        request = Request(made.id, SPARES, "spare", template, self.now)
        self.spares.add(request.id)
        self.submitted.append(request.id)
        self.disk.save(ef.SaveRequest(request))
        self.turn([ev.Submitted(request)])

    def _do_lose_message(self, a: int, b: int) -> None:
        self.losing = True

    def _runs(self, node: FakeNode) -> bool:
        is_spare = RequestId(node.task_id.rpartition(".")[0]) in self.spares
        return super()._runs(node) and (not is_spare or node.task_id in self.assigned)

    def live_on(self) -> None:
        self.losing = False
        super().live_on()


@given(HISTORIES)
def test_nothing_is_lost_or_runs_twice_with_spares(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        for request in state.requests.values():
            launched = request.state not in (RequestState.WAITING, RequestState.PREPARING)
            assert (state.live_task(request) is not None) == launched
            promised = request.id in state.spares.promised_to
            claimed = state.claims.of(request.id) is not None
            assert (promised or claimed) == (request.state is RequestState.PREPARING)
            assert not (promised and claimed)
        for task_id in state.spares.ready:
            assert state.tasks[task_id].tenant == SPARES
        owners = [task.request_id for task in state.tasks.values()]
        assert len(owners) == len(set(owners))

    simulation = SparesSimulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest(), f"never ended: {simulation.state.requests}"
    assert simulation.mesos.faults == []
    saved = simulation.disk.load_requests()
    assert all(request.state is RequestState.ENDED for request in saved.values())
    for task_id, given_to in simulation.assigned.items():
        assert len(given_to) == 1, f"{task_id} was given to several"
    for master in simulation.masters.values():
        assert not master.nodes
        assert set(master.ended.values()) <= {1}
    assert not simulation.state.spares.promised and not simulation.state.spares.ready


@given(HISTORIES)
def test_what_is_counted_is_what_there_is_with_spares(history: list[Action]) -> None:
    def watch(simulation: Simulation, turn: Turn) -> None:
        state = simulation.state
        for name, book in state.tenants.items():
            tasks = [task for task in state.tasks.values() if task.tenant == name]
            claims = [claim for claim in state.claims if claim.tenant == name]
            promised = [each for each in state.spares.promised.values() if state.requests[each].tenant == name]
            assert book.builds == len(tasks) + len(claims) + len(promised)
            cpu_millis = sum(task.resources.cpu_millis for task in tasks)
            held = [*(claim.request_id for claim in claims), *promised]
            cpu_millis += sum(state.requests[each].template.resources.cpu_millis for each in held)
            assert book.used_cpu_millis == cpu_millis

    simulation = SparesSimulation(watch)
    simulation.play(history)
    assert simulation.come_to_rest()
    assert len(simulation.state.caps) == 0
