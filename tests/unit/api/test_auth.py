from __future__ import annotations

import hmac

import pytest

from framework.api.auth import Authenticator
from framework.core.ids import TenantName
from framework.core.tasks import Tenant
from framework.tokens import tenant_of, tenant_token, token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.seats import FakeSeat
from tests.unit.api.conftest import ADMIN_TOKEN, JOB, Client

WRONG_TOKENS = {
    "none": "",
    "not ours": "hunter2",
    "unknown tenant": tenant_token(TenantName("green"), "secret"),
    "wrong secret": tenant_token(TenantName("red"), "secret"),
    "no secret": "bt~red~",
    "another's secret": tenant_token(TenantName("red"), "secret-1-of-blue"),
    "not ASCII": "bt~rød~søkrit",
    "very long": "bt~red~" + "x" * 50_000,
    "hash of nothing": "0" * 64,
}


@pytest.mark.parametrize("token", WRONG_TOKENS.values(), ids=WRONG_TOKENS)
def test_a_wrong_token_is_nobody_s(control: FakeControl, token: str) -> None:
    assert Authenticator(FakeSeat(control), token_sha256(ADMIN_TOKEN)).principal(token) is None


def test_tokens_tell_who_asks(control: FakeControl) -> None:
    authenticator = Authenticator(FakeSeat(control), token_sha256(ADMIN_TOKEN))
    administrator = authenticator.principal(ADMIN_TOKEN)
    red = authenticator.principal(control.token_of("red"))
    assert administrator is not None
    assert administrator.tenant is None
    assert red is not None
    assert red.tenant == "red"


def test_no_administrator_s_hash_lets_nobody_in(control: FakeControl) -> None:
    assert Authenticator(FakeSeat(control), "").principal("") is None


@pytest.mark.parametrize("token", [*WRONG_TOKENS.values(), ADMIN_TOKEN, FakeControl.token_of("red")])
def test_every_token_takes_the_same_steps(control: FakeControl, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Two comparisons of whole hashes and one look for a tenant, so that time tells nothing."""
    lengths = []
    looked_for = []
    compare, find = hmac.compare_digest, control.token_sha256

    def counted(first: str, second: str) -> bool:
        lengths.append((len(first), len(second)))
        return compare(first, second)

    def looked(tenant: TenantName) -> str | None:
        looked_for.append(tenant)
        return find(tenant)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    monkeypatch.setattr(control, "token_sha256", looked)
    Authenticator(FakeSeat(control), token_sha256(ADMIN_TOKEN)).principal(token)
    assert lengths == [(64, 64), (64, 64)]
    assert len(looked_for) == 1


@pytest.mark.parametrize("name", ["red", "a_b", "a.b-c", "A" * 100])
def test_a_token_names_its_tenant(name: str) -> None:
    assert tenant_of(tenant_token(TenantName(name), "se_cr-et")) == name


async def test_missing_and_wrong_tokens_get_the_same_answer(nobody: Client) -> None:
    answers = set()
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
        response = await nobody("GET", "/v1/jobs", **headers)
        assert response.headers["www-authenticate"] == 'Bearer realm="butlery"'
        answers.add((response.status_code, response.text))
    assert len(answers) == 1
    assert answers.pop()[0] == 401


async def test_an_expired_token_is_refused(red: Client, admin: Client, control: FakeControl) -> None:
    assert (await red("GET", "/v1/jobs")).status_code == 200
    answer = await admin("PUT", "/v1/tenants/red", {"new_token": True})
    assert answer.json()["token"] == control.token_of("red", 2)
    assert (await red("GET", "/v1/jobs")).status_code == 401


async def test_the_token_goes_before_the_body(nobody: Client, control: FakeControl) -> None:
    for body in (b"{", b"x" * 2_000_000, b'{"name": "a"}'):
        assert (await nobody("POST", "/v1/jobs", body)).status_code == 401
    assert not control.submissions


async def test_another_tenant_s_job_is_not_told_of(red: Client, blue: Client, control: FakeControl) -> None:
    job = (await red("POST", "/v1/jobs", JOB)).json()["id"]
    control.run(job, b"secret output")
    control.files[(job, 1, "artifacts/a")] = b"x"
    paths = ["", "/why", "/log", "/wait?timeout_s=0", "/artifacts", "/artifacts/a"]
    for path in paths:
        assert (await red("GET", f"/v1/jobs/{job}{path}")).status_code == 200, path
        theirs = await blue("GET", f"/v1/jobs/{job}{path}")
        nobodys = await blue("GET", f"/v1/jobs/j999999{path}")
        assert theirs.status_code == 404, path
        assert theirs.text == nobodys.text
    for method, path in (("POST", "/cancel"), ("DELETE", "")):
        assert (await blue(method, f"/v1/jobs/{job}{path}")).status_code == 404
    assert control.jobs[job].outcome is None


async def test_a_tenant_acts_for_itself_alone(red: Client, control: FakeControl) -> None:
    assert (await red("POST", "/v1/jobs", {**JOB, "tenant": "blue"})).status_code == 403
    assert (await red("GET", "/v1/jobs?tenant=blue")).status_code == 403
    assert [tenant["name"] for tenant in (await red("GET", "/v1/tenants")).json()["tenants"]] == ["red"]
    assert not control.submissions


async def test_the_administrator_s_own(red: Client, admin: Client, control: FakeControl) -> None:
    control.known[TenantName("red")] = Tenant(TenantName("red"), 7)
    for method, path, body in (
        ("GET", "/v1/hosts", None),
        ("GET", "/v1/status", None),
        ("PUT", "/v1/tenants/red", {"weight": 9}),
    ):
        refused = await red(method, path, body)
        assert refused.status_code == 403
        assert refused.headers["content-type"] == "application/problem+json"
    assert control.known[TenantName("red")].weight == 7
    assert (await admin("GET", "/v1/hosts")).status_code == 200
