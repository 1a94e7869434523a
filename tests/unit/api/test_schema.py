"""The API held to its own OpenAPI document by schemathesis, over the runtime in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from framework.api.app import create_app
from framework.api.demand import MEDIA_TYPE
from framework.api.models import submission, take_job
from framework.catalog.matching import Catalog
from framework.core.answers import TenantUse
from framework.core.ids import RequestId, TenantName
from framework.core.resources import ZERO
from framework.core.tasks import Tenant
from framework.edges.sqlite_history import SqliteHistory
from framework.settings import ApiSettings
from framework.telemetry.records import Kind
from framework.telemetry_ports import Use
from framework.tokens import token_sha256
from tests.fakes.control import FakeControl
from tests.fakes.records import batch, build, change
from tests.fakes.seats import FakeSeat
from tests.fakes.telemetry import FakeTelemetry
from tests.fakes.templates import fixed_templates
from tests.unit.api.conftest import ADMIN_TOKEN

_JOB = "j000001"


def _control() -> FakeControl:
    """With one job that has run, so that not every answer is a 404."""
    control = FakeControl("red")
    job, chosen = take_job({"name": "a", "command": "true"}, Catalog([]), None, allow_file_urls=False)
    asyncio.run(control.submit(submission(job, TenantName("red"), chosen, None, "")))
    control.run(RequestId(_JOB), b"output")
    control.files[RequestId(_JOB), 1, "artifacts/a"] = b"kept"
    return control


_PAST = "r1"
_telemetry = FakeTelemetry()
_app = create_app(
    FakeSeat(_control()),
    ApiSettings(),
    fixed_templates(small={}),
    token_sha256(ADMIN_TOKEN),
    telemetry=_telemetry,
)


@pytest.fixture(scope="module", autouse=True)
def _history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With builds, one of which the state does not know."""
    _telemetry.history = history = SqliteHistory(
        tmp_path_factory.mktemp("history") / "history.db", dict.fromkeys(Kind, 4000)
    )
    ended: dict[str, Any] = {"tenant": "red", "host": "host-1", "cost_micros": 7, "currency": "EUR"}
    history.take(
        [batch([build(name, label="big", **ended) for name in (_PAST, _JOB)]), batch([change(_PAST, "ended")])]
    )
    _telemetry.use = Use(1.0, [TenantUse(Tenant(TenantName("red")), 1, 0, 0, ZERO, 0.0, 0.0)], {"red": {"quota": 1}})
    yield
    history.close()


@schemathesis.serializer(MEDIA_TYPE)
def lines(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Text as it comes; now and then lines that are taken."""
    text = str(value)
    return text.encode() if len(text) % 2 else b'{"event":"alive","seq":1}\n{"event":"new"}\n'


schema = schemathesis.openapi.from_asgi("/openapi.json", _app)


@schema.parametrize()
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_api_keeps_to_its_document(case: schemathesis.Case[Any]) -> None:
    for name, known in (
        ("job_id", _JOB),
        ("build_id", _PAST),
        ("path", "a"),
        ("name", "red"),
    ):  # every other time what there is
        if name in (case.path_parameters or {}) and len(str(case.path_parameters[name])) % 2:
            case.path_parameters[name] = known
    token = FakeControl.token_of("red") if case.path == "/v1/demand" else ADMIN_TOKEN
    case.call_and_validate(
        headers={"Authorization": f"Bearer {token}"},
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
            unsupported_method,
            ignored_auth,
        ],
    )
