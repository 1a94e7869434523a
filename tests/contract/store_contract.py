"""What every ``framework.ports.Store`` does. A store's own tests subclass ``StoreContract`` and give it a factory."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from framework.core.effects import Save, SaveDraining, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId, RequestId, TenantName
from framework.core.origin import Origin
from framework.core.pieces import ReservedUse
from framework.core.resources import Resources
from framework.core.tasks import FailureClass, Quota, RequestState, TaskState, Tenant
from framework.core.templates import Constraint, Container, Neighbour, Operator, Template
from framework.errors import IdempotencyConflictError
from framework.jenkins_ports import MasterRecord
from framework.ports import JobQuery, Snapshot, Store, TenantRecord
from tests.fakes import samples

ORIGIN = Origin("shop", "acme/shop", "6113728", "main", "d-1")

StoreFactory = Callable[[], Store]
"""Opens the one state of a test; called again it closes the store it gave before and opens the same state anew."""

UNSAVABLE = "\ud800"
"""A lone surrogate: no store can write it as text."""


def plain(snapshot: Snapshot) -> dict[str, object]:
    """For comparing: the order of a snapshot's parts means nothing."""
    return {
        "framework_id": snapshot.framework_id,
        "tenants": sorted(snapshot.tenants, key=lambda record: record.tenant.name),
        "requests": sorted(snapshot.requests, key=lambda request: request.id),
        "tasks": sorted(snapshot.tasks, key=lambda task: task.id),
    }


class StoreContract:
    """Needs a fixture ``open_store``, a StoreFactory."""

    @pytest.fixture
    def open_store(self) -> StoreFactory:
        raise NotImplementedError

    def test_a_new_store_is_empty(self, open_store: StoreFactory) -> None:
        store = open_store()
        assert store.load() == Snapshot(None, [], [], [])
        assert store.notices == []
        assert store.requests(JobQuery()) == []
        assert store.request(RequestId("none")) is None
        assert store.payload(RequestId("none")) is None
        assert store.tasks_of(RequestId("none")) == []

    def test_what_lives_comes_back_as_it_was_saved(self, open_store: StoreFactory) -> None:
        store = open_store()
        tenants = [samples.tenant(), Tenant(TenantName("other"), 7, Quota(cpu_millis=500, builds=3))]
        waits, runs = samples.request("r1", priority=3), samples.request("r2", not_before=5.5)
        store.commit([SaveFrameworkId(FrameworkId("f-1")), *(SaveTenant(tenant) for tenant in tenants)])
        store.commit((), [samples.new(waits), samples.new(runs)])
        task = samples.task(runs)
        runs.state, runs.attempt, runs.running_at = RequestState.RUNNING, 1, 1002.25
        store.commit([SaveTask(task), SaveRequest(runs)])
        store.set_token(TenantName("other"), "0" * 64)
        expected = {
            "framework_id": "f-1",
            "tenants": [TenantRecord(tenants[1], "0" * 64), TenantRecord(tenants[0], None)],
            "requests": [waits, runs],
            "tasks": [task],
        }
        assert plain(store.load()) == expected
        assert plain(open_store().load()) == expected

    def test_a_task_that_is_given_to_another_request_is_an_attempt_at_that_one(self, open_store: StoreFactory) -> None:
        store = open_store()
        spare, build = samples.request("r1", "~spares"), samples.request("r2")
        store.commit((), [samples.new(spare), samples.new(build)])
        task = samples.task(spare)
        store.commit([SaveTask(task), SaveRequest(spare)])
        task.request_id, task.tenant = build.id, build.tenant
        build.state, build.attempt, build.given = RequestState.RUNNING, 1, task.id
        spare.state = RequestState.ENDED
        store.commit([SaveTask(task), SaveRequest(build), SaveRequest(spare)])
        for opened_again in (False, True):
            store = open_store() if opened_again else store
            assert [one.id for one in store.tasks_of(build.id)] == [task.id]
            assert store.tasks_of(spare.id) == []
            assert [(one.id, one.request_id) for one in store.load().tasks] == [(task.id, build.id)]
            assert [one.id for one in store.load().requests] == [build.id]

    def test_what_has_ended_lives_no_more_but_is_kept(self, open_store: StoreFactory) -> None:
        store = open_store()
        request = samples.request("r1")
        store.commit((), [samples.new(request)])
        store.commit(samples.ended(request, FailureClass.OOM))
        store = open_store()
        assert store.load() == Snapshot(None, [], [], [])
        assert store.request(request.id) == request
        assert [task.outcome for task in store.tasks_of(request.id)] == [request.outcome]

    def test_the_last_of_several_saves_of_one_thing_counts(self, open_store: StoreFactory) -> None:
        store = open_store()
        request = samples.request("r1")
        store.commit((), [samples.new(request)])
        first, last = (msgspec.structs.replace(request, attempt=number) for number in (1, 2))
        ends = samples.task(request, state=TaskState.ENDED)
        saves: list[Save] = [SaveTask(samples.task(request)), SaveRequest(first), SaveTask(ends), SaveRequest(last)]
        store.commit([*saves, SaveTenant(samples.tenant(weight=1)), SaveTenant(samples.tenant(weight=2))])
        assert plain(store.load()) == {
            "framework_id": None,
            "tenants": [TenantRecord(samples.tenant(weight=2))],
            "requests": [last],
            "tasks": [],
        }

    def test_attempts_are_told_the_first_first(self, open_store: StoreFactory) -> None:
        store = open_store()
        request = samples.request("r1")
        store.commit((), [samples.new(request)])
        attempts = [samples.task(request, number) for number in (10, 9, 2, 1)]
        store.commit([SaveTask(task) for task in attempts])
        assert [task.id for task in store.tasks_of(request.id)] == ["r1.1", "r1.2", "r1.9", "r1.10"]

    def test_changing_a_tenant_keeps_its_token(self, open_store: StoreFactory) -> None:
        store = open_store()
        store.commit([SaveTenant(samples.tenant())])
        store.set_token(samples.TEAM, "1" * 64)
        store.commit([SaveTenant(samples.tenant(weight=5))])
        assert store.load().tenants == [TenantRecord(samples.tenant(weight=5), "1" * 64)]

    def test_how_a_master_is_spoken_to_is_kept_replaced_and_forgotten(self, open_store: StoreFactory) -> None:
        store = open_store()
        store.commit([SaveTenant(samples.tenant())])
        assert store.master(samples.TEAM) is None
        first, last = (MasterRecord("http://h:1/a", "butlery", "11" + c * 32, "2.463", c * 8) for c in "ab")
        for master in (first, last, last, None, first):
            store.set_master(samples.TEAM, master)
            assert store.master(samples.TEAM) == master
            store.commit([SaveTenant(samples.tenant(weight=5))])
            assert open_store().master(samples.TEAM) == master
            store = open_store()
        store.set_master(TenantName("nobody"), first)
        assert store.master(TenantName("nobody")) is None
        assert "11a" not in repr(store.load()) + repr(first)

    def test_the_framework_id_can_be_replaced_and_forgotten(self, open_store: StoreFactory) -> None:
        store = open_store()
        for framework_id in (FrameworkId("f-1"), FrameworkId("f-2"), None):
            store.commit([SaveFrameworkId(framework_id)])
            store = open_store()
            assert store.load().framework_id == framework_id

    def test_draining_is_kept_until_it_is_ended(self, open_store: StoreFactory) -> None:
        store = open_store()
        for draining in (True, True, False):
            store.commit([SaveDraining(draining)])
            assert store.load().draining is draining
            store = open_store()
            assert store.load().draining is draining

    def test_every_field_of_requests_and_tasks_comes_back(self, open_store: StoreFactory) -> None:
        store = open_store()
        template = Template(
            Resources(1500, 2048, 10, gpus=2, ports=3),
            constraints=(Constraint("rack", Operator.GROUP_BY, "3"), Constraint("hostname", Operator.UNIQUE)),
            labels={"app": "web"},
            neighbours=(Neighbour({"app": "db"}, near=True, field="rack"),),
            reserved=ReservedUse.ONLY,
            preemptible=True,
            shared=True,
            containers=(Container("db", Resources(500, 512), "postgres:16"),),
        )
        request = samples.request("r1", template=template, preemptions=2, not_before=7.5, origin=ORIGIN)
        store.commit((), [samples.new(request)])
        task = samples.task(request)
        task.role, task.ports, task.mesos_executor_id = "team/a", [31000, 31001], "shared-1"
        store.commit([SaveTask(task), SaveRequest(request), SaveTenant(Tenant(samples.TEAM, role="team/a"))])
        for loaded in (store.load(), open_store().load()):
            assert (loaded.requests, loaded.tasks) == ([request], [task])
            assert loaded.tenants[0].tenant.role == "team/a"

    def test_that_a_forge_knows_the_end_can_be_noted_after_it(self, open_store: StoreFactory) -> None:
        store = open_store()
        request = samples.request("r1", origin=ORIGIN)
        store.commit((), [samples.new(request)])
        store.commit(samples.ended(request))
        ended = store.request(request.id)
        assert ended is not None
        told = msgspec.structs.replace(ended, origin=msgspec.structs.replace(ORIGIN, told=True))
        store.commit([SaveRequest(told)])
        assert store.requests(JobQuery(states=("ended",))) == [told]
        assert store.load().requests == []
        assert open_store().requests(JobQuery(states=("ended",))) == [told]

    def test_what_is_unknown_is_not_made_up(self, open_store: StoreFactory) -> None:
        store = open_store()
        store.commit([SaveRequest(samples.request("never-submitted"))])
        store.set_token(TenantName("nobody"), "3" * 64)
        store.commit([])
        assert store.load() == Snapshot(None, [], [], [])

    # A frame is all or nothing.

    def test_of_a_frame_with_a_fault_in_its_middle_nothing_is_saved(self, open_store: StoreFactory) -> None:
        store = open_store()
        request = samples.request("r1")
        store.commit([SaveTenant(samples.tenant())])
        store.commit((), [samples.new(request)])
        before = plain(store.load())
        unsavable = samples.task(request, 2)
        unsavable.hostname = UNSAVABLE
        frame: list[Save] = [
            SaveTenant(samples.tenant("other")),
            SaveRequest(msgspec.structs.replace(request, attempt=2, state=RequestState.LAUNCHING)),
            SaveTask(samples.task(request)),
            SaveTask(unsavable),
        ]
        with pytest.raises(ValueError, match="surrogate"):
            store.commit(frame)
        assert plain(store.load()) == before
        assert plain(open_store().load()) == before

    def test_of_a_batch_with_a_fault_in_its_middle_nothing_is_saved(self, open_store: StoreFactory) -> None:
        store = open_store()
        batch = [
            samples.new(samples.request("r1"), key="k1"),
            samples.new(samples.request("r2", job=UNSAVABLE)),
            samples.new(samples.request("r3")),
        ]
        with pytest.raises(ValueError, match="surrogate"):
            store.commit((), batch)
        assert store.requests(JobQuery()) == []
        assert store.commit((), [samples.new(samples.request("r4"), key="k1")]) == ["r4"]

    def test_a_frame_and_a_batch_are_saved_together_or_not_at_all(self, open_store: StoreFactory) -> None:
        store = open_store()
        running = samples.request("r1")
        store.commit((), [samples.new(running)])
        frame = [SaveTenant(samples.tenant("other")), *samples.ended(running)]
        with pytest.raises(ValueError, match="surrogate"):
            store.commit(frame, [samples.new(samples.request("r2", job=UNSAVABLE))])
        assert [record.tenant.name for record in store.load().tenants] == []
        assert [request.id for request in store.load().requests] == ["r1"]
        assert store.commit(frame, [samples.new(samples.request("r2"), key="k")]) == ["r2"]
        store = open_store()
        assert [record.tenant.name for record in store.load().tenants] == ["other"]
        assert [request.id for request in store.load().requests] == ["r2"]
        assert store.commit(frame, [samples.new(samples.request("r3"), key="k")]) == ["r2"]

    # Idempotency.

    def test_a_repeat_of_a_key_stands_for_the_first(self, open_store: StoreFactory) -> None:
        store = open_store()
        assert store.commit((), [samples.new(samples.request("r1"), key="k")]) == ["r1"]
        assert open_store().commit((), [samples.new(samples.request("r2"), key="k")]) == ["r1"]
        assert [request.id for request in open_store().requests(JobQuery())] == ["r1"]

    def test_a_key_stands_for_its_request_after_that_has_ended(self, open_store: StoreFactory) -> None:
        store = open_store()
        request = samples.request("r1")
        store.commit((), [samples.new(request, key="k")])
        store.commit(samples.ended(request))
        assert store.commit((), [samples.new(samples.request("r2"), key="k")]) == ["r1"]

    def test_a_key_with_another_digest_is_refused_and_the_rest_of_the_batch_taken(
        self, open_store: StoreFactory
    ) -> None:
        store = open_store()
        store.commit((), [samples.new(samples.request("r1"), key="k", digest="d1")])
        taken = store.commit(
            (),
            [
                samples.new(samples.request("r2"), key="k", digest="d2"),
                samples.new(samples.request("r3"), key="k3", digest="d2"),
            ],
        )
        assert isinstance(taken[0], IdempotencyConflictError)
        assert taken[1] == "r3"

    def test_one_key_twice_in_a_batch(self, open_store: StoreFactory) -> None:
        store = open_store()
        taken = store.commit(
            (),
            [
                samples.new(samples.request("r1"), key="k", digest="d1"),
                samples.new(samples.request("r2"), key="k", digest="d1"),
                samples.new(samples.request("r3"), key="k", digest="d2"),
            ],
        )
        assert taken[:2] == ["r1", "r1"]
        assert isinstance(taken[2], IdempotencyConflictError)
        assert [request.id for request in store.requests(JobQuery())] == ["r1"]

    def test_keys_are_the_tenants_own_and_no_key_is_no_key(self, open_store: StoreFactory) -> None:
        store = open_store()
        batch = [samples.new(samples.request("r1"), key="k"), samples.new(samples.request("r2", "other"), key="k")]
        batch += [samples.new(samples.request(name)) for name in ("r3", "r4")]
        assert store.commit((), batch) == ["r1", "r2", "r3", "r4"]

    def test_a_known_key_is_told_without_a_submission(self, open_store: StoreFactory) -> None:
        store = open_store()
        store.commit((), [samples.new(samples.request("r1"), key="k", digest="d1")])
        assert store.repeat_of(samples.TEAM, "k", "d1") == "r1"
        assert isinstance(store.repeat_of(samples.TEAM, "k", "d2"), IdempotencyConflictError)
        assert store.repeat_of(samples.TEAM, "k2", "d1") is None
        assert store.repeat_of(TenantName("other"), "k", "d1") is None

    # Listing.

    def test_lists_are_filtered_and_paged_newest_first(self, open_store: StoreFactory) -> None:
        store = open_store()
        requests = [
            samples.request(f"r{number}", samples.TEAM if number % 2 else "other", job=f"job-{number % 3}")
            for number in range(1, 10)
        ]
        store.commit((), [samples.new(request) for request in requests])
        store.commit(samples.ended(requests[4]))

        def ids(query: JobQuery) -> str:
            return " ".join(request.id for request in store.requests(query))

        assert ids(JobQuery()) == "r9 r8 r7 r6 r5 r4 r3 r2 r1"
        assert ids(JobQuery(limit=2)) == "r9 r8"
        assert ids(JobQuery(before=RequestId("r8"), limit=2)) == "r7 r6"
        assert ids(JobQuery(tenant=samples.TEAM)) == "r9 r7 r5 r3 r1"
        assert ids(JobQuery(tenant=samples.TEAM, job="job-1")) == "r7 r1"
        assert ids(JobQuery(states=("ended",))) == "r5"
        assert ids(JobQuery(states=("ended", "waiting"), before=RequestId("r6"), limit=2)) == "r5 r4"
        assert ids(JobQuery(tenant=TenantName("none"))) == ""
        assert ids(JobQuery(job="' OR 1 --")) == ""

    # What has ended lately.

    def test_what_ended_since_is_told_in_that_order(self, open_store: StoreFactory) -> None:
        store = open_store()
        requests = [samples.request(f"r{number:04}") for number in range(1200)]
        store.commit((), [samples.new(request) for request in requests])
        assert list(store.ended_since(0.0)) == []
        order = requests[600:] + requests[:600]
        for second, begin in enumerate(range(0, 1200, 100)):  # many at once, as a turn of the loop ends them
            frame: list[Save] = []
            for request in order[begin : begin + 100]:
                frame += samples.ended(request)
                request.ended_at = 2000.25 + second
            store.commit(frame)
        store.commit([SaveRequest(order[0])])  # again, as when a forge was told
        for opened_again in (False, True):
            store = open_store() if opened_again else store
            assert [one.id for one in store.ended_since(0.0)] == [one.id for one in order]
            assert list(store.ended_since(2010.25)) == order[1000:]
            assert list(store.ended_since(2010.5)) == order[1100:]
            assert list(store.ended_since(2012.0)) == []

    # Payloads and secrets.

    def test_a_payload_comes_back_whole(self, open_store: StoreFactory) -> None:
        store = open_store()
        build = samples.spec(env={"A": "ä\n"}, secrets={"TOKEN": "hunter2hunter2"}, artifacts=["*.xml"])
        store.commit((), [samples.new(samples.request("r1"), build)])
        assert open_store().payload(RequestId("r1")) == build

    def test_secrets_are_gone_once_the_request_has_ended(self, open_store: StoreFactory) -> None:
        store = open_store()
        request, other = samples.request("r1"), samples.request("r2")
        build = samples.spec(secrets={"TOKEN": "hunter2hunter2"})
        store.commit((), [samples.new(request, build), samples.new(other, build)])
        store.commit(samples.ended(request))
        store = open_store()
        assert store.payload(request.id) == samples.spec()
        assert store.payload(other.id) == build
