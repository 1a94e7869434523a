"""Templates over the API: who sees which, which serves what, and jobs of theirs."""

from __future__ import annotations

import httpx
import pytest

from framework.ports import Submission
from tests.fakes.control import FakeControl
from tests.fakes.templates import catalog_of
from tests.unit.api.conftest import JOB, TEMPLATES, Client


async def names(client: Client) -> list[str]:
    return [one["name"] for one in (await client("GET", "/v1/templates")).json()["templates"]]


async def test_a_tenant_sees_the_templates_that_serve_it(admin: Client, red: Client, blue: Client) -> None:
    assert await names(admin) == await names(blue) == ["large", "small"]
    assert await names(red) == ["small"]
    assert (await red("GET", "/v1/templates/large")).status_code == 404
    assert (await blue("GET", "/v1/templates/nothing")).status_code == 404
    for client, seen in ((blue, False), (admin, True)):
        found = (await client("GET", "/v1/templates/large")).json()
        assert (found["cpus"], found["labels"], found["settings"]["cpus"]) == (8, ["large", "linux"], 8)
        assert ("tenants" in found["settings"]) is seen


async def test_it_is_told_which_template_serves_a_label(admin: Client, red: Client) -> None:
    found = (await red("GET", "/v1/templates:match?label=linux%20%26%26%20!large")).json()
    assert (found["template"], found["node_labels"], found["tenant"]) == ("small", "small linux", "red")
    found = (await red("GET", "/v1/templates:match?label=large")).json()
    assert (found["template"], found["reason"]) == (None, "no template is for `large`; known are linux, small")
    assert (await admin("GET", "/v1/templates:match?label=large&tenant=blue")).json()["template"] == "large"
    assert (await red("GET", "/v1/templates:match?label=large&tenant=blue")).status_code == 403
    assert (await red("GET", f"/v1/templates:match?label={'x' * 5000}")).status_code == 422


async def test_the_administrator_has_them_read_and_is_told_what_is_wrong(
    admin: Client, red: Client, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await red("POST", "/v1/templates:reload")).status_code == 403
    assert (await admin("POST", "/v1/templates:reload")).json() == {"templates": 2, "notices": []}
    monkeypatch.setattr(TEMPLATES, "notices", ["templates: t.yaml:1: is not YAML"])
    assert (await admin("POST", "/v1/templates:reload")).json()["notices"] == TEMPLATES.notices
    assert (await admin("GET", "/v1/templates")).json()["notices"] == TEMPLATES.notices
    assert (await red("GET", "/v1/templates")).json()["notices"] == []
    assert (await admin("GET", "/v1/status")).json()["notices"][-1:] == TEMPLATES.notices


async def test_a_job_names_its_template_by_any_expression(red: Client, control: FakeControl) -> None:
    answer = await red("POST", "/v1/jobs", JOB | {"label": "linux && !large", "cpus": 1, "env": {"A": "1"}})
    assert answer.status_code == 201, answer.text
    sent: Submission = control.submissions[-1]
    assert (sent.template.name, sent.template.image, sent.template.resources.cpu_millis) == ("small", "debian:12", 1000)
    assert (sent.template.attributes, sent.spec.command) == ({"os": "linux"}, "make test")
    for label, told in (
        ("large", "no template is for `large`"),
        ("a &&", "is no label expression"),
        ("", "at least 1"),
    ):
        assert told in (await red.faults("POST", "/v1/jobs", JOB | {"label": label}))["label"]


async def test_what_of_a_template_a_job_cannot_say_applies_to_it(
    blue: Client, control: FakeControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"env": {"TOKEN": "none", "MODE": "ci", "A": "2"}, "image": "x", "mem_mib": 64}
    given = {
        "web": {
            "image": "node:22",
            "env": {"TOKEN": "none", "MODE": "ci", "A": "0"},
            "user": "node",
            "network": "ci",
            "volumes": [{"path": "/cache", "source": "cache"}],
            "containers": [both | {"name": "db"}, both | {"name": "mq"}],
            "keep_failed_h": 9,
        }
    }
    monkeypatch.setattr(TEMPLATES, "catalog", catalog_of(**given))
    own = {"name": "mq", "command": "rabbit", "mem_mib": 32}
    job = JOB | {"label": "web", "env": {"A": "1"}, "secrets": {"TOKEN": "s3cret-s3cret"}, "containers": [own]}
    assert (await blue("POST", "/v1/jobs", job)).status_code == 201
    spec = control.submissions[-1].spec
    assert spec.env == {"MODE": "ci", "A": "1"}
    assert (spec.user, spec.network, [one.path for one in spec.volumes], spec.keep_failed_h) == (
        "node",
        "ci",
        ["/cache"],
        0,
    )
    db, mq = spec.containers
    assert (db.name, db.image, db.mem_mib, db.env) == ("db", "x", 64, {"MODE": "ci", "A": "2"})
    assert (mq.name, mq.image, mq.command, mq.mem_mib, mq.env) == ("mq", None, "rabbit", 32, {})
