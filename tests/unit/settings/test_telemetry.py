"""Settings of telemetry: secrets come from files of their owner's alone, and what is wrong is told without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from framework.core.tasks import FailureClass
from framework.documents import check, parse_document
from framework.errors import Fault, InputError
from framework.settings import Settings
from framework.telemetry_settings import (
    ELASTICSEARCH_PASSWORD_VARIABLE,
    ResultClass,
    TelemetrySettings,
    read_telemetry_secrets,
)


def read(telemetry: dict[str, Any], **environ: str) -> tuple[TelemetrySettings, list[Fault]]:
    document = parse_document(yaml.safe_dump({"telemetry": telemetry}), "butlery.yaml")
    found = check(document, Settings).telemetry
    return found, read_telemetry_secrets(document, found, environ)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    return file


@pytest.mark.parametrize(
    "held",
    ["", "hooks.example/a", "ftp://hooks.example/a", "https://hooks.example/a b", "https://", "http://[/a",
     "http://host:99999/a", "https://me:pass-word@hooks.example/a", "https://hooks.example/ä"],
)  # fmt: skip
def test_a_channel_needs_an_address_that_is_never_repeated(secret: Path, held: str) -> None:
    secret.write_text(held)
    _, [fault] = read({"alerts": [{"name": "team", "url_file": str(secret)}]})
    assert fault.where.endswith("telemetry.alerts[0].url_file")
    assert "must hold" in fault.message
    assert "hooks.example" not in fault.message


def test_channels_have_their_addresses_and_names_of_their_own(secret: Path) -> None:
    secret.write_text("https://hooks.example/services/T/B/x?token=y\n")
    found, faults = read({"alerts": [{"name": "team", "url_file": str(secret)}]})
    assert not faults
    assert found.alerts[0].url.get_secret_value() == "https://hooks.example/services/T/B/x?token=y"
    assert "hooks.example" not in repr(found)
    with pytest.raises(InputError, match="names team more than once"):
        read({"alerts": [{"name": "team", "url_file": str(secret)}] * 2})


def test_files_that_others_may_read_and_missing_ones_are_faults(tmp_path: Path, secret: Path) -> None:
    secret.write_text("https://hooks.example/x")
    secret.chmod(0o604)
    _, faults = read(
        {
            "alerts": [
                {"name": "open", "url_file": str(secret)},
                {"name": "none", "url_file": str(tmp_path / "nowhere")},
            ]
        }
    )
    assert ["chmod 600" in one.message or "No such file" in one.message for one in faults] == [True, True]


def test_every_class_that_is_not_passed_can_be_told() -> None:
    assert {*get_args(ResultClass)} == {*FailureClass} - {FailureClass.PASSED}


def test_traces_have_their_headers(secret: Path) -> None:
    secret.write_text("Authorization: Bearer abc:def\nX-Scope: team\n")
    traces = {"url": "http://127.0.0.1:4318/v1/traces", "headers_file": str(secret)}
    found, faults = read({"traces": traces})
    assert not faults
    values = {name: value.get_secret_value() for name, value in found.traces.headers.items()}
    assert values == {"Authorization": "Bearer abc:def", "X-Scope": "team"}
    assert "abc" not in repr(found)


@pytest.mark.parametrize("held", ["Authorization", "A b: c", "X-Scope:"])
def test_lines_that_are_no_headers_are_a_fault(secret: Path, held: str) -> None:
    secret.write_text(held)
    _, [fault] = read({"traces": {"url": "http://127.0.0.1:4318", "headers_file": str(secret)}})
    assert fault.message == "must hold lines of NAME: VALUE"


def test_the_password_of_the_environment_goes_before_that_of_the_file(secret: Path) -> None:
    secret.write_text("of-the-file")
    search = {"user": "butlery", "password_file": str(secret)}
    telemetry = {"sink": "elasticsearch", "elasticsearch": search}
    found, faults = read(telemetry, **{ELASTICSEARCH_PASSWORD_VARIABLE: "of-the-environment"})
    assert not faults
    assert found.elasticsearch.password is not None
    assert found.elasticsearch.password.get_secret_value() == "of-the-environment"
    _, [fault] = read({"sink": "elasticsearch", "elasticsearch": {"user": "butlery"}})
    assert "has no password" in fault.message
