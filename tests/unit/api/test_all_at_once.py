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


async def test_what_the_job_did_not_say_is_not_held_against_it(admin: Client) -> None:
    faults = await admin.faults("POST", "/v1/jobs", {"tenant": "red", "name": "..", "command": "true", "cpus": "x"})
    assert set(faults) == {"name", "cpus"}
