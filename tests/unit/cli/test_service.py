"""How the parts of the scheduler are put together."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from agents import pack
from framework.cli.service import agent_launch, mesos_access, mesos_driver
from framework.edges.mesos.access import Access
from framework.edges.mesos.driver import MesosDriver
from framework.edges.mesos.pymesos_driver import PymesosDriver
from framework.errors import InputError, StoreError
from framework.runtime.serving import url_of
from framework.settings import Settings, load_settings


def settings(tmp_path: Path, executor: str = "null") -> Settings:
    config = tmp_path / "butlery.yaml"
    config.write_text(f"state: {{path: state/state.db}}\nagents: {{executor: {executor}, python: /opt/python3}}\n")
    return load_settings(config, {})


def made(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "state").glob("*.pyz"))


def test_our_own_executor_is_made_beside_the_state(tmp_path: Path) -> None:
    launch = agent_launch(settings(tmp_path))
    (pyz,) = made(tmp_path)
    assert str(pyz) in launch.command
    assert "/opt/python3" in launch.command
    assert launch.uris == ()
    assert agent_launch(settings(tmp_path)) == launch
    assert made(tmp_path) == [pyz]


def test_another_version_leaves_alone_what_executors_at_work_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_launch(settings(tmp_path))
    (old,) = made(tmp_path)
    content = old.read_bytes()

    def build_another(target: Path) -> Path:
        target.write_bytes(b"another version")
        return target

    monkeypatch.setattr(pack, "build_pyz", build_another)
    launch = agent_launch(settings(tmp_path))
    (new,) = set(made(tmp_path)) - {old}
    assert str(new) in launch.command
    assert old.read_bytes() == content


def test_an_executor_of_a_url_is_fetched_and_one_of_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    fetched = agent_launch(settings(tmp_path, "https://files/v7/executor.pyz"))
    assert fetched.uris == ("https://files/v7/executor.pyz",)
    assert "./executor.pyz" in fetched.command
    named = agent_launch(settings(tmp_path, "/opt/executor.pyz"))
    assert named.uris == ()
    assert "/opt/executor.pyz" in named.command
    assert made(tmp_path) == []


def test_no_room_for_the_executor_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a directory should be")
    with pytest.raises(StoreError, match="the Mesos executor cannot be written"):
        agent_launch(settings(tmp_path))


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", socket.gethostname()), ("::1", "[::1]")]
)
def test_the_address_told_to_mesos_can_be_gone_to(host: str, shown: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        assert url_of(listener) == f"http://{shown}:{listener.getsockname()[1]}"


def test_the_driver_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "butlery.yaml"
    for text, kind in (("{}", MesosDriver), ("{driver: own}", MesosDriver), ("{driver: pymesos}", PymesosDriver)):
        config.write_text(f"mesos: {text}\n")
        told = load_settings(config, {})
        assert mesos_driver(told, mesos_access(told)) is kind
    config.write_text("mesos: {driver: pymesos, url: 'https://10.0.0.1:5050'}\n")
    told = load_settings(config, {})
    with pytest.raises(InputError) as caught:
        mesos_driver(told, Access(ssl_context=ssl.create_default_context()))
    assert [fault.where for fault in caught.value.faults] == ["mesos.url", "mesos.ca_file"]
