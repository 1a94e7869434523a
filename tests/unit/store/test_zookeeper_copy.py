"""The state in memory that followers of a ZooKeeper's log keep, and its form there."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.core.ids import RequestId
from framework.core.tasks import RequestState, TaskState
from framework.edges.zookeeper import changes, copy
from framework.edges.zookeeper.changes import Change, pack, pack_groups, record_of, unpack, unpack_groups
from framework.edges.zookeeper.copy import Copy
from framework.ports import JobQuery
from tests.contract.store_contract import plain
from tests.fakes import samples

REQUESTS = [f"r{number}" for number in range(6)]


def added(request_id: str, secrets: bytes | None = None, spec: bytes = b"{}") -> changes.AddRequest:
    request = samples.request(request_id)
    return changes.AddRequest(
        request.id, request.tenant, request.job, "waiting", record_of(request), spec, secrets, f"k-{request_id}", "d"
    )


def put(request_id: str, state: RequestState) -> changes.PutRequest:
    request = samples.request(request_id, state=state)
    return changes.PutRequest(request.id, state.value, record_of(request))


def put_task(request_id: str, attempt: int, state: TaskState) -> changes.PutTask:
    task = samples.task(samples.request(request_id), attempt, state)
    return changes.PutTask(task.id, task.request_id, state is not TaskState.ENDED, record_of(task))


def any_change() -> st.SearchStrategy[Change]:
    names = st.sampled_from(REQUESTS)
    return st.one_of(
        st.builds(added, names, st.sampled_from([None, b'{"T":"s"}'])),
        st.builds(put, names, st.sampled_from(list(RequestState))),
        st.builds(put_task, names, st.integers(1, 3), st.sampled_from(list(TaskState))),
        st.builds(changes.PutToken, st.just(samples.TEAM), st.just("t")),
        st.builds(changes.WithdrawRequests, st.tuples(names).map(lambda ids: tuple(map(RequestId, ids)))),
        st.builds(changes.PutDraining, st.booleans()),
    )


def seen(of: Copy) -> object:
    """All that can be asked of a copy."""
    return (
        plain(of.snapshot()),
        of.draining,
        of.requests(JobQuery()),
        [(of.request(RequestId(each)), of.tasks_of(RequestId(each))) for each in REQUESTS],
        [of.repeat_of(samples.TEAM, f"k-{each}", "d") for each in REQUESTS],
        of.size,
    )


@given(st.lists(any_change(), max_size=30), st.integers(1, 4))
def test_a_checkpoint_makes_the_same_copy_and_so_do_later_changes(history: list[Change], kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy, "KEPT_ENDED", kept)
        original = Copy()
        for change in history:
            original.apply(change)
        frozen = original.frozen()
        before = seen(original)
        original.apply(added("r0"))
        other = Copy()
        for change in unpack_groups(pack_groups(frozen.changes())):
            other.apply(change)
        assert seen(other) == before
        other.apply(added("r0"))
        assert seen(other) == seen(original)


@given(st.lists(any_change(), max_size=30))
def test_what_is_forgotten_leaves_nothing(history: list[Change]) -> None:
    of = Copy()
    for change in history:
        of.apply(change)
    of.apply(changes.WithdrawRequests(tuple(map(RequestId, REQUESTS))))
    for request_id in REQUESTS:
        for attempt in (1, 2, 3):
            of.apply(put_task(request_id, attempt, TaskState.ENDED))
    assert of.size == 0
    assert of.snapshot().requests == of.requests(JobQuery()) == []
    assert of.snapshot().tasks == []


def test_what_has_ended_is_bounded_by_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "KEPT_ENDED_MIB", 1)
    of = Copy()
    for request_id in REQUESTS:
        of.apply(added(request_id, spec=b" " * 300_000))
        of.apply(put(request_id, RequestState.ENDED))
    assert [request.id for request in of.requests(JobQuery())] == ["r5", "r4", "r3"]


def test_an_ended_request_with_a_live_attempt_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "KEPT_ENDED", 1)
    of = Copy()
    for request_id in REQUESTS[:3]:
        of.apply(added(request_id))
    of.apply(put_task("r0", 1, TaskState.KILLING))
    for request_id in REQUESTS[:3]:
        of.apply(put(request_id, RequestState.ENDED))
    assert [task.id for task in of.snapshot().tasks] == ["r0.1"]
    assert of.request(RequestId("r0")) is not None


def test_large_states_are_packed_in_groups() -> None:
    every = [added(f"r{number}", spec=b"x" * 1000) for number in range(2000)]
    packed = pack_groups(every)
    assert len(packed) < sum(len(change.spec) for change in every) / 4
    assert list(unpack_groups(packed)) == every


@pytest.mark.parametrize("data", [b"", b"\0", b"\1", b"\2x", b"\0\xc1", b"\1" + zlib.compress(b"\x90")[:-2]])
def test_what_we_did_not_pack_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(data)


def test_changes_have_a_stable_form() -> None:
    """What is in a ZooKeeper must be read by later versions: a change of this is a new layout."""
    assert msgspec.msgpack.decode(pack((changes.PutDraining(True), changes.PutToken(samples.TEAM, "t")))[1:]) == [
        [2, True],
        [4, "team", "t"],
    ]
