"""Changes are made once, whatever becomes of the answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from framework.errors import Fault, UnavailableError
from masters.errors import ChangedError, MarathonError, MarathonRefusedError
from masters.marathon import MarathonEdge
from masters.names import LABEL_STATE
from tests.fakes import odd_marathon as odd
from tests.fakes.odd_marathon import Odd, OddMarathon
from tests.unit.masters.marathon.samples import app, app_id, edge_to

ID = app_id("payments")
LOST = [
    odd.done_but(odd.cut),
    odd.done_but(odd.html()),
    odd.done_but(odd.html(502)),
    odd.done_but(odd.answer(503, {"message": "no leader"})),
    odd.done_but(odd.answer(500, {"message": "internal"})),
    odd.done_but(odd.trickle),
    odd.half,
]
NOT_DONE = [odd.cut, odd.html(), odd.html(500), odd.answer(503, {"message": "no leader"}), odd.trickle_headers]


def test_a_new_app_is_made(marathon: OddMarathon, edge: MarathonEdge) -> None:
    deployed = edge.put(ID, app("payments"), expect=None)
    assert deployed.version == marathon.apps[ID]["version"]
    assert deployed.deployment == "deployment-1"


def test_an_app_is_replaced_as_a_whole(marathon: OddMarathon, edge: MarathonEdge) -> None:
    first = edge.put(ID, app("payments", user="jenkins"), expect=None)
    edge.put(ID, app("payments", cpus=2), expect=first.version)
    assert "user" not in marathon.apps[ID]
    assert marathon.apps[ID]["cpus"] == 2


@pytest.mark.parametrize("fault", LOST)
def test_what_was_made_though_the_answer_was_lost_is_not_made_again(marathon: OddMarathon, fault: Odd) -> None:
    edge = edge_to(marathon.url)
    marathon.odd.append(fault)
    first = edge.put(ID, app("payments"), expect=None)
    marathon.odd.append(fault)
    second = edge.put(ID, app("payments", cpus=2), expect=first.version)
    marathon.odd.append(fault)
    third = edge.restart(ID)
    marathon.odd.append(fault)
    edge.scale(ID, 0, {**app("payments")["labels"], LABEL_STATE: "asleep"})
    marathon.odd.append(fault)
    edge.put(ID, {"version": second.version}, expect=marathon.apps[ID]["version"])
    marathon.odd.append(fault)
    edge.delete(ID)
    assert first.version < second.version < third.version
    assert [method for method, _ in marathon.applied] == ["POST", "PUT", "POST", "PUT", "PUT", "DELETE"]
    assert marathon.apps == {}


@pytest.mark.parametrize("fault", NOT_DONE)
def test_what_was_not_made_is_tried_again(marathon: OddMarathon, fault: Odd) -> None:
    edge = edge_to(marathon.url)
    marathon.odd.append(fault)
    first = edge.put(ID, app("payments"), expect=None)
    marathon.odd.append(fault)
    edge.put(ID, app("payments", cpus=2), expect=first.version)
    marathon.odd.append(fault)
    edge.restart(ID)
    marathon.odd.append(fault)
    edge.delete(ID)
    assert [method for method, _ in marathon.applied] == ["POST", "PUT", "POST", "DELETE"]


def test_a_restart_that_is_asked_for_again_after_an_outage_is_one(marathon: OddMarathon, edge: MarathonEdge) -> None:
    edge.put(ID, app("payments"), expect=None)
    marathon.odd.append(odd.done_but(odd.cut))
    marathon.odd_reads.extend([lambda handler, asked: handler.tell(marathon.perform(asked)), *[odd.html(503)] * 200])
    with pytest.raises(UnavailableError):
        edge.restart(ID)
    marathon.odd_reads.clear()
    assert edge.restart(ID).version == marathon.apps[ID]["version"]
    assert [method for method, _ in marathon.applied] == ["POST", "POST"]
    edge.restart(ID)
    assert len(marathon.applied) == 3


def test_a_change_that_comes_late_is_taken_for_ours(marathon: OddMarathon, edge: MarathonEdge) -> None:
    first = edge.put(ID, app("payments"), expect=None)
    marathon.odd.extend([odd.later(0.01), odd.locked("deployment-2")])
    second = edge.put(ID, app("payments", cpus=2), expect=first.version)
    assert second.version > first.version
    assert marathon.apps[ID]["cpus"] == 2


def test_a_locked_app_is_waited_for(marathon: OddMarathon, edge: MarathonEdge) -> None:
    marathon.running = {"deployment-9": 3, "another": 1000}
    marathon.odd.append(odd.locked("deployment-9"))
    edge.put(ID, app("payments"), expect=None)
    assert "deployment-9" not in marathon.running
    assert [method for method, _ in marathon.applied] == ["POST"]


def test_an_app_that_somebody_else_changes_meanwhile_is_left_to_them(marathon: OddMarathon, edge: MarathonEdge) -> None:
    first = edge.put(ID, app("payments"), expect=None)

    def change_of_another(handler: odd.Handler, asked: odd.Asked) -> None:
        marathon.change(ID, cpus=7)
        odd.locked("theirs")(handler, asked)

    marathon.odd.append(change_of_another)
    with pytest.raises(ChangedError, match="somebody else"):
        edge.put(ID, app("payments", cpus=2), expect=first.version)
    assert marathon.apps[ID]["cpus"] == 7


def test_a_deployment_that_never_ends_is_named(marathon: OddMarathon) -> None:
    marathon.running = {"deployment-9": 1_000_000}
    marathon.odd.append(odd.locked("deployment-9"))
    with pytest.raises(MarathonError, match=r"deployment-9.* still under way after 0\.3 s"):
        edge_to(marathon.url, deployment_timeout_s=0.3).put(ID, app("payments"), expect=None)
    assert marathon.applied == []


def test_another_version_is_not_written_over(marathon: OddMarathon, edge: MarathonEdge) -> None:
    first = edge.put(ID, app("payments"), expect=None)
    marathon.change(ID, cpus=7)
    for expect in (first.version, None):
        with pytest.raises(ChangedError):
            edge.put(ID, app("payments", cpus=2), expect=expect)
    marathon.apps.clear()
    with pytest.raises(ChangedError, match="deleted"):
        edge.put(ID, app("payments"), expect=first.version)


def test_the_same_twice_is_one_change(marathon: OddMarathon, edge: MarathonEdge) -> None:
    first = edge.put(ID, app("payments"), expect=None)
    again = edge.put(ID, app("payments"), expect=None)
    assert again.version == first.version
    assert len(marathon.applied) == 1


def test_a_group_in_its_place_is_told(marathon: OddMarathon, edge: MarathonEdge) -> None:
    marathon.odd.append(odd.answer(409, {"message": f"Group {ID} is already created. Use PUT to change this group."}))
    with pytest.raises(MarathonError, match="already created"):
        edge.put(ID, app("payments"), expect=None)


@pytest.mark.parametrize(
    ("status", "details", "faults"),
    [
        (
            422,
            [{"path": "/cpus", "errors": ["must be > 0"]}, {"path": "/env(0)", "errors": ["a", "b"]}],
            [Fault("/cpus", "must be > 0"), Fault("/env(0)", "a; b")],
        ),
        (422, [{"attribute": "mem", "error": "negative"}], [Fault("mem", "negative")]),
        (400, None, [Fault("", "Invalid JSON")]),
        (422, "nonsense", [Fault("", "Invalid JSON")]),
    ],
)
def test_each_refused_field_is_named(
    marathon: OddMarathon, edge: MarathonEdge, status: int, details: object, faults: list[Fault]
) -> None:
    marathon.odd.append(odd.answer(status, {"message": "Invalid JSON", "details": details}))
    with pytest.raises(MarathonRefusedError) as raised:
        edge.put(ID, app("payments"), expect=None)
    assert raised.value.faults == faults
    assert not raised.value.retryable
    assert len(marathon.asked) == 1


def test_an_outage_ends_with_what_is_wrong(marathon: OddMarathon) -> None:
    marathon.odd.extend([odd.answer(500, {"message": "out of memory"})] * 200)
    with pytest.raises(UnavailableError, match="500 Internal Server Error to POST /v2/apps: out of memory"):
        edge_to(marathon.url).put(ID, app("payments"), expect=None)


def test_all_slow_down_where_too_many_deployments_run(marathon: OddMarathon) -> None:
    edge = edge_to(marathon.url, deployment_timeout_s=20)
    tenants = [f"team-{number}" for number in range(12)]
    at_once = threading.Barrier(len(tenants))

    def crowded(handler: odd.Handler, asked: odd.Asked) -> None:
        at_once.wait(10)
        odd.CROWDED(handler, asked)

    marathon.odd.extend([*[crowded] * len(tenants), *[odd.CROWDED] * 3])
    with ThreadPoolExecutor(len(tenants)) as pool:
        list(pool.map(lambda tenant: edge.put(app_id(tenant), app(tenant), expect=None), tenants))
    assert len(marathon.applied) == len(tenants)
    assert len(marathon.sent("POST")) <= 2 * len(tenants) + 3


def test_too_many_deployments_for_too_long_are_told(marathon: OddMarathon) -> None:
    marathon.odd.extend([odd.CROWDED] * 200)
    with pytest.raises(MarathonError, match=r"as many deployments as it takes for 0\.3 s"):
        edge_to(marathon.url, deployment_timeout_s=0.3).put(ID, app("payments"), expect=None)


def test_a_master_is_not_scaled_as_it_was_before_somebody_changed_it(marathon: OddMarathon, edge: MarathonEdge) -> None:
    first = edge.put(ID, app("payments"), expect=None)
    second = edge.put(
        ID, {**app("payments"), "labels": {**app("payments")["labels"], "NOTE": "new"}}, expect=first.version
    )
    asleep = {**app("payments")["labels"], LABEL_STATE: "asleep"}
    with pytest.raises(ChangedError, match="somebody else"):
        edge.scale(ID, 0, asleep, expect=first.version)
    assert marathon.apps[ID]["labels"]["NOTE"] == "new"
    done = edge.scale(ID, 0, asleep, expect=second.version)
    assert edge.scale(ID, 0, asleep, expect=second.version).version == done.version  # made already


@pytest.mark.parametrize("ask", [lambda edge: edge.restart(ID), lambda edge: edge.scale(ID, 1, {})])
def test_what_is_not_there_cannot_be_changed(edge: MarathonEdge, ask: Callable[[MarathonEdge], object]) -> None:
    with pytest.raises(MarathonError, match="is not there"):
        ask(edge)


def test_what_is_gone_is_deleted(edge: MarathonEdge) -> None:
    edge.delete(ID)
    edge.cancel("deployment-7")
