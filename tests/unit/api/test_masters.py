"""How a tenant's master is spoken to: who may tell it, who is told what, and what is refused."""

from __future__ import annotations

import pytest

from framework.core.ids import TenantName
from framework.errors import StoreFullError
from framework.jenkins_ports import MasterRecord
from tests.fakes.control import FakeControl
from tests.unit.api.conftest import Client

PATH = "/v1/tenants/red/master"
TOKEN = "11" + "ab" * 16
MASTER = {
    "url": "http://red.jenkins.example",
    "direct_url": "http://10.0.0.1:31000/red",
    "user": "butlery",
    "api_token": TOKEN,
    "version": "2.463",
    "session": "bd191592",
}


async def test_a_master_tells_it_with_its_tenants_token(
    red: Client, blue: Client, admin: Client, nobody: Client, control: FakeControl
) -> None:
    assert (await admin("GET", PATH)).status_code == 404
    for asking in (red, red, admin):
        answer = await asking("PUT", PATH, MASTER)
        assert (answer.status_code, answer.content) == (204, b"")
    told = (await admin("GET", PATH)).json()
    assert told == MASTER
    assert (await red("GET", PATH)).json() == {**MASTER, "api_token": None}
    for asking, status in ((blue, 404), (nobody, 401)):
        for method, body in (("GET", None), ("PUT", MASTER)):
            assert (await asking(method, PATH, body)).status_code == status
    assert (await red("DELETE", PATH)).status_code == 403
    assert (await admin("DELETE", PATH)).status_code == 204
    assert (await admin("DELETE", PATH)).status_code == 204
    assert control.masters == {}
    for method, body in (("GET", None), ("PUT", MASTER), ("DELETE", None)):
        assert (await admin(method, "/v1/tenants/none/master", body)).status_code == 404


async def test_its_token_is_in_no_other_answer(red: Client, admin: Client, control: FakeControl) -> None:
    await red("PUT", PATH, MASTER)
    assert control.masters[TenantName("red")] == MasterRecord(**MASTER)
    for path in ("/v1/tenants", "/v1/tenants/red", "/v1/status", "/v1/jobs"):
        answer = await admin("GET", path)
        assert answer.status_code == 200
        assert TOKEN not in answer.text
    assert TOKEN not in repr(control.masters)


async def test_one_tenant_is_shown(red: Client, blue: Client, admin: Client) -> None:
    for asking in (red, admin):
        found = (await asking("GET", "/v1/tenants/red")).json()
        assert (found["name"], found["weight"], found["running"]) == ("red", 100, 0)
    assert (await blue("GET", "/v1/tenants/red")).status_code == 404
    assert (await admin("GET", "/v1/tenants/none")).status_code == 404


async def test_every_fault_is_told_and_nothing_of_what_was_sent(red: Client, control: FakeControl) -> None:
    wrong = {"url": "http://u:hunter2@h/", "user": "a:b", "api_token": "with space", "session": "", "more": 1}
    faults = await red.faults("PUT", PATH, wrong)
    assert set(faults) == {"url", "user", "api_token", "version", "session", "more"}
    assert "hunter2" not in str(faults)
    assert "with space" not in str(faults)
    assert control.masters == {}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/",
        "http://",
        "http://h:99999/",
        "http://h/?q=1",
        "http://h/#f",
        "http://h/ a",
        "file:///etc",
        "http://h/" + "a" * 3000,
        "http://[::1",
    ],
)
async def test_urls_that_cannot_be_a_masters(red: Client, url: str) -> None:
    assert set(await red.faults("PUT", PATH, {**MASTER, "url": url})) == {"url"}


async def test_a_state_that_cannot_be_saved_now_is_to_be_tried_again(red: Client, control: FakeControl) -> None:
    control.failing = StoreFullError("the disk is full")
    answer = await red("PUT", PATH, MASTER)
    assert answer.status_code == 503
    assert TOKEN not in answer.text
