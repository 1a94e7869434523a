"""What the driver does with events and refusals; all else of it is held against a real Mesos."""

from __future__ import annotations

import json
from typing import Any

from framework.core.events import Event, OffersReceived, OperationUpdate, TaskUpdate
from framework.core.ids import HostId, OfferId, TaskId
from framework.core.pieces import Piece, Reservation
from framework.core.resources import Resources
from framework.edges.mesos import wire
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.encode import FrameworkSettings
from framework.edges.mesos.subscription import Sent
from framework.mesos_ports import LaunchTasks, MesosExecutor, Reserve, TaskLaunch
from tests.fakes.driving import FastClock, SeededChance

S1 = HostId("S1")
DISK = Piece("disk", 1000, reservations=(Reservation("butlery"),))


class Recording:
    """Stands where a session that stands would."""

    def __init__(self) -> None:
        self.sent: list[tuple[Sent, Any]] = []

    def send(self, sent: Sent, body: bytes) -> None:
        self.sent.append((sent, json.loads(body)))


def driver(told: list[Event], roles: tuple[str, ...] = ("butlery",)) -> tuple[MesosDriver, Recording]:
    made = MesosDriver(
        ["http://127.0.0.1:1"], FrameworkSettings("d", "root", roles, 60.0, "h"), FastClock(), SeededChance()
    )
    session = Recording()
    made._emit = told.append
    made._session = session  # type: ignore[assignment]
    return made, session


def raw_offer(offer_id: str, role: str = "butlery", **fields: object) -> dict[str, object]:
    resources = [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 4.0}, "allocation_info": {"role": role}}]
    ids = {"id": {"value": offer_id}, "agent_id": {"value": "S1"}, "hostname": "h"}
    return {**ids, "resources": resources, "allocation_info": {"role": role}, **fields}


def offers(*raw: object) -> wire.Event:
    return wire.read_event(json.dumps({"type": "OFFERS", "offers": {"offers": raw}}).encode())


def launch(name: str, executor_id: str = "shared") -> TaskLaunch:
    return TaskLaunch(TaskId(name), "t", Resources(500), MesosExecutor(executor_id, "e", Resources(100), "run"))


def test_a_refused_accept_is_told_of_every_task_and_operation() -> None:
    told: list[Event] = []
    made, session = driver(told)
    made.accept([OfferId("O")], S1, [Reserve((DISK,), "op"), Reserve((DISK,)), LaunchTasks((launch("a"), launch("b")))])
    made._on_refused(session.sent[0][0], 400)
    assert [(each.task_id, each.state) for each in told if isinstance(each, TaskUpdate)] == [
        ("a", "TASK_DROPPED"),
        ("b", "TASK_DROPPED"),
    ]
    assert [(each.operation_id, each.state) for each in told if isinstance(each, OperationUpdate)] == [
        ("op", "OPERATION_DROPPED")
    ]


def test_an_offer_that_cannot_be_read_is_declined_and_the_others_are_told() -> None:
    told: list[Event] = []
    made, session = driver(told)
    made._on_event(offers(raw_offer("good"), raw_offer("bad", resources=[7]), raw_offer("worse", hostname=7)))
    assert isinstance(told[0], OffersReceived)
    assert [offer.id for offer in told[0].offers] == ["good"]
    sent, body = session.sent[0]
    assert (sent.kind, body["decline"]["offer_ids"]) == ("DECLINE", [{"value": "worse"}, {"value": "bad"}])


def test_what_is_drawn_is_of_the_offers_role() -> None:
    made, session = driver([], ("a", "b"))
    made._on_event(offers(raw_offer("O", "b")))
    made.accept([OfferId("O")], S1, [LaunchTasks((launch("t"),))])
    task = session.sent[0][1]["accept"]["operations"][0]["launch"]["task_infos"][0]
    of = [each["allocation_info"]["role"] for each in [*task["resources"], *task["executor"]["resources"]]]
    assert of == ["b", "b"]


def test_a_running_mesos_executor_is_told_as_it_was_started() -> None:
    """Though it was started for one role, and the offer is to another."""
    made, session = driver([], ("a", "b"))
    made._on_event(offers(raw_offer("O1", "a"), raw_offer("O2", "b", executor_ids=[{"value": "shared"}])))
    for offer_id in ("O1", "O2"):
        made.accept([OfferId(offer_id)], S1, [LaunchTasks((launch(offer_id),))])
    infos = [body["accept"]["operations"][0]["launch"]["task_infos"][0] for _, body in session.sent]
    assert infos[0]["executor"] == infos[1]["executor"]
    assert infos[1]["resources"][0]["allocation_info"] == {"role": "b"}
    failure = {"agent_id": {"value": "S1"}, "executor_id": {"value": "shared"}}
    made._on_event(wire.read_event(json.dumps({"type": "FAILURE", "failure": failure}).encode()))
    made._on_event(offers(raw_offer("O3", "b")))
    made.accept([OfferId("O3")], S1, [LaunchTasks((launch("O3"),))])
    executor = session.sent[2][1]["accept"]["operations"][0]["launch"]["task_infos"][0]["executor"]
    assert executor["resources"][0]["allocation_info"] == {"role": "b"}
