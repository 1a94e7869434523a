"""The scheduler as masters' commands ask it, by its real API over a runtime in memory."""

from __future__ import annotations

import threading

import pytest

from framework.cli.client import ApiClient, RefusedError
from framework.core.ids import TenantName
from framework.core.tasks import Quota, Tenant
from framework.jenkins_ports import MasterRecord
from masters.ports import MasterAccess
from masters.records import ObservedShare
from masters.scheduler import SchedulerApi
from tests.unit.cli.conftest import ADMIN_TOKEN, Serving, _serving, serving  # noqa: F401 fixtures

RED = TenantName("red")


@pytest.fixture
def scheduler(serving: Serving) -> SchedulerApi:  # noqa: F811
    return SchedulerApi(lambda: ApiClient(serving.url, ADMIN_TOKEN))


def test_shares_are_read_and_set(scheduler: SchedulerApi, serving: Serving) -> None:  # noqa: F811
    serving.control.known[RED] = Tenant(RED, 5, Quota(1500, 2048, 3), role="team/red")
    assert scheduler.shares()["red"] == ObservedShare("red", 5, 1.5, 2048, 3)
    assert scheduler.set_share(ObservedShare("red", 7, None, 4096, None), new_token=False) is None
    assert serving.control.known[RED] == Tenant(RED, 7, Quota(None, 4096, None), role="team/red")
    token = scheduler.set_share(ObservedShare("new", 1, None, None, None), new_token=False)
    assert token == serving.control.token_of("new")
    assert scheduler.set_share(ObservedShare("red", 7, None, None, None), new_token=True)


def test_a_role_is_kept_also_by_one_who_has_not_looked(scheduler: SchedulerApi, serving: Serving) -> None:  # noqa: F811
    serving.control.known[RED] = Tenant(RED, role="team/red")
    scheduler.set_share(ObservedShare("red", 7, None, None, None), new_token=False)
    assert serving.control.known[RED].role == "team/red"


def test_what_a_master_handed_over(scheduler: SchedulerApi, serving: Serving) -> None:  # noqa: F811
    assert scheduler.access("red") is None
    assert scheduler.access("nobody") is None
    serving.control.masters[RED] = MasterRecord("http://h:1/red", "butlery", "t0ken", "2.463", "s")
    assert scheduler.access("red") == MasterAccess("butlery", "t0ken")
    serving.control.known[RED] = Tenant(RED, 5, Quota(1500, 2048, 3), role="team/red")
    had = serving.control.token_sha256(RED)
    for _ in range(2):
        scheduler.forget("red")
        assert scheduler.access("red") is None
        assert serving.control.token_sha256(RED) != had
    assert serving.control.known[RED] == Tenant(RED, 5, Quota(1500, 2048, 3), role="team/red")
    scheduler.forget("nobody")
    assert scheduler.building("nobody") == 0


def test_builds_of_a_tenant(scheduler: SchedulerApi) -> None:
    assert scheduler.building("red") == 0
    assert scheduler.building("nobody") == 0
    assert scheduler.builds() == {"red": 0, "blue": 0}


def test_every_thread_has_a_client_of_its_own(serving: Serving) -> None:  # noqa: F811
    made: list[ApiClient] = []

    def make() -> ApiClient:
        made.append(ApiClient(serving.url, ADMIN_TOKEN))
        return made[-1]

    scheduler = SchedulerApi(make)
    threads = [threading.Thread(target=scheduler.shares) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    scheduler.shares()
    scheduler.shares()
    assert len(made) == 4


def test_a_refusal_is_told(serving: Serving) -> None:  # noqa: F811
    scheduler = SchedulerApi(lambda: ApiClient(serving.url, serving.control.token_of("red")))
    with pytest.raises(RefusedError):
        scheduler.set_share(ObservedShare("red", 7, None, None, None), new_token=False)
    with pytest.raises(RefusedError):
        scheduler.forget("red")
