"""What a master says of its queue and nodes is its tenant's: nothing of it may be too much for the scheduler."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from framework.core.ids import TenantName
from framework.edges.jenkins.calls import Answer
from framework.edges.jenkins.looking import COMPUTERS_PATH, MAX_NODES, OWN_PATH, look
from framework.jenkins_ports import MasterError
from tests.fakes.master_edge import record_of

TEAM = TenantName("team")
HUGE = 10**30
"""Which no store could keep."""
NODE = {"name": "n", "displayName": "n"}
OF_SCRIPT: dict[str, Any] = {"session": "s1", "nodes": [], "items": []}
OF_REST: dict[str, Any] = {"items": []}


class Master:
    """Answers with what it is given: of our script, or of its own API."""

    def __init__(self, own: dict[str, Any] | None, computers: list[Any], queue: dict[str, Any]) -> None:
        self.pages = {COMPUTERS_PATH: {"computer": computers}, OWN_PATH: own}
        self.queue = queue

    async def ask(self, path: str, script: str | None = None) -> Answer:
        page = self.pages.get(path, self.queue)
        headers = CIMultiDictProxy(CIMultiDict({"X-Jenkins": "2.463"}))
        return Answer(404 if page is None else 200, headers, json.dumps(page).encode())


@pytest.mark.parametrize(
    "master",
    [
        Master(OF_SCRIPT | {"items": [{"item": HUGE, "task": "a", "in_queue_since_ms": 1}]}, [], {}),
        Master(OF_SCRIPT | {"items": [{"item": 1, "task": "a", "in_queue_since_ms": -1}]}, [], {}),
        Master(OF_SCRIPT | {"nodes": [NODE] * (MAX_NODES + 1)}, [], {}),
        Master(None, [], {"items": [{"id": HUGE, "task": {"name": "a"}, "inQueueSince": 1}]}),
        Master(None, [], {"items": [{"id": 1, "task": {"name": "a"}, "inQueueSince": HUGE}]}),
        Master(None, [NODE] * (MAX_NODES + 1), OF_REST),
    ],
)
async def test_numbers_that_no_jenkins_has_are_refused(master: Master) -> None:
    with pytest.raises(MasterError) as caught:
        await look(master.ask, record_of(TEAM), TEAM, 0.0, labels=False)
    assert caught.value.kind == "odd"


@pytest.mark.parametrize("master", [Master(OF_SCRIPT, [], {}), Master(None, [NODE], OF_REST)])
async def test_a_master_without_anything_of_ours_holds_nothing(master: Master) -> None:
    found = await look(master.ask, record_of(TEAM), TEAM, 0.0, labels=False)
    assert (found.items, found.observed.nodes) == ((), ())


async def test_an_address_that_is_none_holds_no_other_item_up() -> None:
    tasks = [{"name": "a", "url": "http://["}, {"name": "b", "url": f"{record_of(TEAM).url}/job/b/"}]
    items = [{"id": number, "task": task, "buildable": True} for number, task in enumerate(tasks)]
    found = await look(Master(None, [], {"items": items}).ask, record_of(TEAM), TEAM, 0.0, labels=False)
    assert [one.task_url for one in found.items] == ["", "job/b/"]
