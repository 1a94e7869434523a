"""Records are exact: one of each build that has ended, whoever told it and however often, over faults and crashes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from framework.core.ids import RequestId
from framework.core.jenkins import QueueItem
from framework.core.stories import Stage
from framework.core.tasks import Request, TaskState
from framework.core.templates import Lifetime
from framework.telemetry.pooled import serves_many, was_taken
from framework.telemetry.records import BuildRecord, ChangeRecord, in_order
from tests.property.test_invariants import history_of
from tests.property.test_spare_invariants import SparesSimulation, with_spares
from tests.simulation.fake_jenkins import FakeMaster
from tests.simulation.histories import Action
from tests.simulation.recording import Recording
from tests.simulation.simulation import TENANTS, Simulation


class RecordedJobs(Recording, Simulation):
    pass


class RecordedAgents(Recording, SparesSimulation):
    """Agents of one of the tenants are of pools."""

    def _agent(self, master: FakeMaster, item: QueueItem, label: str) -> Request:
        request = super()._agent(master, item, label)
        if master.tenant == TENANTS[2]:
            request.template = msgspec.structs.replace(request.template, lifetime=Lifetime.POOLED, idle_s=20.0)
        return request


BEFORE_A_BUILD = (Stage.IDLE, Stage.ENDING)
"""A build may begin afterwards: of a pool's agent the next one, and one that its master gave at the last moment."""


def telling(history: list[Action], *seldom: str) -> list[Action]:
    """Every sixth choice is about the spool."""
    names = ("flush", "flush", "spool", "crash", *seldom)
    return [Action(names[each.b % len(names)], each.a, each.b // 8) if each.a % 6 == 1 else each for each in history]


JOBS = st.builds(lambda seed, length: telling(history_of(seed, length)), st.integers(0, 2**64), st.integers(1, 150))
AGENTS = st.builds(lambda seed, length: telling(with_spares(seed, length)), st.integers(0, 2**64), st.integers(1, 150))
CLOCKS = st.builds(
    lambda seed, length: telling(with_spares(seed, length), "set_back"), st.integers(0, 2**64), st.integers(1, 150)
)


def recorded(kind: type[Recording], history: list[Action], check: Callable[[Recording], None]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        made = type("Recorded", (kind,), {"directory": Path(directory)})
        simulation: Recording = made()
        try:
            simulation.play(history)
            simulation.spool.trouble = ""
            simulation.all_told()
            check(simulation)
            simulation.come_to_rest()
            simulation.all_told()
            check(simulation)
        finally:
            simulation.close()


def ids_of(request: Request) -> list[str]:
    """Of the builds that a request which has ended stands for."""
    side = request.jenkins
    if was_taken(request):
        return []
    if side is None or not serves_many(request):
        return [request.id]
    broken_off = side.accepted_at is not None and side.served_at is None
    return [f"{request.id}+{number + 1}" for number in range(side.builds + broken_off)]


def exact(simulation: Recording) -> None:
    ended = {request.id: request for request in simulation.ended()}
    wanted = {build_id for request in ended.values() for build_id in ids_of(request)}
    found = simulation.builds()
    live = {build_id for build_id in found if build_id.partition("+")[0] not in ended}
    assert all("+" in build_id for build_id in live), "only builds of pools' agents have ended before their requests"
    assert found.keys() - live == wanted
    anew = simulation.told_anew()
    assert anew.keys() <= wanted
    for build_id, records in found.items():
        request_id, _, number = build_id.partition("+")
        told = [*records, *([anew[build_id]] if build_id in anew else [])]
        if not priced(simulation, RequestId(request_id)):
            told = [msgspec.structs.replace(each, cost_micros=None, price="") for each in told]
        if number and f"{request_id}+{int(number) - 1}" not in anew:  # what its agent served before may be forgotten
            told = [msgspec.structs.replace(each, cost_micros=None, queued_at_ms=0, wait_ms=None) for each in told]
        assert all(each == told[0] for each in told), "whoever tells of it tells the same"


def priced(simulation: Recording, request_id: RequestId) -> bool:
    """Whether all know what its hosts cost."""
    return all(task.host_id not in simulation.lost for task in simulation.store.tasks_of(request_id))


def orderly(simulation: Recording) -> None:
    for first, *_ in simulation.builds().values():
        check_times(first)
    check_costs(simulation)
    changes = simulation.changes()
    walks: dict[str, list[ChangeRecord]] = {}
    for change, *_ in changes.values():
        walks.setdefault(change.build, []).append(change)
    for request in simulation.ended():
        check_walk(in_order(walks.pop(request.id)))
    for walk in walks.values():
        assert Stage.ENDED not in {each.state for each in walk if each.attempt == walk[-1].attempt}


def check_times(build: BuildRecord) -> None:
    times = [
        build.queued_at_ms, build.claimed_at_ms, build.launched_at_ms, build.running_at_ms, build.connected_at_ms,
        build.started_at_ms, build.ended_at_ms,
    ]  # fmt: skip
    known = [each for each in times if each is not None]
    assert known == sorted(known), build
    ready = build.running_at_ms if build.source == "api" else build.connected_at_ms
    if ready is not None:
        assert build.wait_ms is not None and abs(build.wait_ms - (ready - build.queued_at_ms)) <= 1, build
    if build.started_at_ms is not None:
        assert build.run_ms is not None and 0 <= build.run_ms <= build.ended_at_ms - build.started_at_ms + 1, build
    assert (build.currency, build.at_ms) == ("EUR" if build.attempts else "", build.ended_at_ms)


def check_costs(simulation: Recording) -> None:
    """Of each request that ended its builds cost what its attempts did, and of none more than once."""
    builds: dict[str, list[BuildRecord]] = {}
    for first, *_ in simulation.builds().values():
        builds.setdefault(first.id.partition("+")[0], []).append(first)
    for request in simulation.ended():
        tasks = [each for each in simulation.store.tasks_of(request.id) if each.state is TaskState.ENDED]
        if was_taken(request) or not priced(simulation, request.id):
            continue
        its = builds[request.id]
        assert sum(each.attempts for each in its) == len(tasks) + len(its) - 1
        cost = sum((each.ended_at - each.launched_at) * each.resources.cpu_millis for each in tasks if each.ended_at)
        told = [each.cost_micros for each in its]
        if tasks:
            assert None not in told
            assert abs(sum(each or 0 for each in told) - cost) <= 5 * (len(tasks) + len(its)) + cost / 1000


def check_walk(walk: list[ChangeRecord]) -> None:
    assert walk[-1].state == Stage.ENDED
    attempts = [each.attempt for each in walk]
    assert attempts == sorted(attempts), walk
    for attempt in set(attempts):
        states = [Stage(each.state) for each in walk if each.attempt == attempt]
        known = [each for each in states if each not in BEFORE_A_BUILD]
        places = [list(Stage).index(each) for each in known]
        assert places == sorted(places), walk
        assert Stage.ENDED not in states[:-1]


def both(simulation: Recording) -> None:
    exact(simulation)
    orderly(simulation)


@given(JOBS)
def test_each_job_that_ends_has_one_record(history: list[Action]) -> None:
    recorded(RecordedJobs, history, both)


@given(AGENTS)
def test_each_build_of_a_master_has_one_record(history: list[Action]) -> None:
    recorded(RecordedAgents, history, both)


@given(CLOCKS)
def test_each_build_has_one_record_however_far_the_clock_is_set_back(history: list[Action]) -> None:
    recorded(RecordedAgents, history, exact)
