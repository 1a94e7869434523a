"""What is wrong with a job is told in one go, whoever finds it: fields, tenant, sizes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.api.conftest import JOB, Client

HUGE = {"cpus": 1000, "mem_mib": 1 << 22}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({**JOB, "tenant": "green", "priority": 101}, {"tenant", "priority"}),
        (
            {"tenant": "green", "name": "a/b", "cpus": float("nan"), "label": "?"},
            {"tenant", "name", "cpus", "label"} | {"command"},
        ),
        ({**JOB, **HUGE, "tenant": "red", "retries": 99}, {"cpus", "mem_mib", "retries"}),
        ({**JOB, **HUGE, "tenant": "green"}, {"tenant", "cpus", "mem_mib"}),
        ({**JOB, "tenant": "a/b", "cpus": 1000}, {"tenant", "cpus"}),
        ({**JOB, "tenant": "a/b", "cpus": 5000}, {"tenant", "cpus"}),
        ({**JOB, "env": {"A-B": "x"}, "git": {"url": 1}}, {"tenant", "env.A-B", "git.url"}),
        ({**JOB, "tenant": 7, "cpu": 1}, {"tenant", "cpu"}),
    ],
)
async def test_every_fault_is_told_in_one_answer(admin: Client, body: dict[str, Any], wrong: set[str]) -> None:
    assert set(await admin.faults("POST", "/v1/jobs", body)) == wrong


async def test_a_tenant_s_token_implies_the_tenant(red: Client) -> None:
    assert set(await red.faults("POST", "/v1/jobs", {"name": "..", **HUGE})) == {"name", "command", *HUGE}


async def test_a_tenant_s_name_and_its_settings(admin: Client) -> None:
    body = {"weight": 0, "quota": {"cpus": -1}}
    assert set(await admin.faults("PUT", "/v1/tenants/a..b", body)) == {"name", "weight", "quota.cpus"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"name": "\\ud83e"}', "name"),
        (b'{"git": {"url": "\\ud83e"}}', "git.url"),
        (b'{"artifacts": ["ok", "\\udfff"]}', "artifacts[1]"),
        (b'{"env": {"\\ud83e": ""}}', "env"),
    ],
)
async def test_a_text_that_is_no_text_is_named(red: Client, body: bytes, where: str) -> None:
    response = await red("POST", "/v1/jobs", body)
    assert (response.status_code, response.json()["faults"][0]["where"]) == (400, where)


async def test_scripts_with_the_line_ends_of_windows(red: Client) -> None:
    faults = await red.faults("POST", "/v1/jobs", {"name": "n", "script": "#!/bin/bash\r\nmake\r\n"})
    assert "CR LF" in faults["script"]
    assert (await red("POST", "/v1/jobs", {"name": "n", "script": "printf 'a\\r'\nprintf 'b\r\n'"})).status_code == 201


async def test_what_the_job_did_not_say_is_not_held_against_it(admin: Client) -> None:
    faults = await admin.faults("POST", "/v1/jobs", {"tenant": "red", "name": "..", "command": "true", "cpus": "x"})
    assert set(faults) == {"name", "cpus"}


async def test_a_constraint_without_form_hides_none_that_no_host_satisfies(admin: Client) -> None:
    body = {**JOB, "tenant": "red", "constraints": [["rack", "NEAR"], ["nowhere", "IS", "x"], ["rack"]]}
    faults = await admin.faults("POST", "/v1/jobs", body)
    assert set(faults) == {"constraints[0]", "constraints[1]", "constraints[2]"}
    assert "nowhere" in faults["constraints[1]"]


async def test_no_container_has_a_variable_of_its_own_that_is_a_secret(red: Client) -> None:
    container = {"name": "db", "command": "true", "env": {"PW": "x", "MODE": "fast"}}
    body = {"name": "n", "command": "true", "secrets": {"PW": "s3cret"}, "containers": [container]}
    assert set(await red.faults("POST", "/v1/jobs", body)) == {"containers[0].env.PW"}
