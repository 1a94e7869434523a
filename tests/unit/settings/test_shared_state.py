"""Settings of schedulers that share a state."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.errors import InputError
from framework.settings import Settings, load_settings

ZK = "zk://10.0.0.1:2181,[::1]:2181,zoo-3.example:2181/ci/butlery"


def loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "butlery.yaml"
    file.write_text(text)
    return load_settings(file, {})


def fault(tmp_path: Path, text: str) -> str:
    """The one there is."""
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, text)
    (found,) = caught.value.faults
    return f"{found.where}: {found.message}"


def test_a_state_in_zookeeper(tmp_path: Path) -> None:
    secret = tmp_path / "zk.auth"
    secret.write_text("butlery:hunter2\n")
    secret.chmod(0o600)
    settings = loaded(
        tmp_path,
        f"state: {{zookeeper: '{ZK}/', zookeeper_auth_file: zk.auth, session_timeout_s: 4, cluster: north}}\n"
        "api: {advertise_url: 'https://butlery-1.example:8443/'}\n",
    )
    assert (settings.state.zookeeper, settings.state.session_timeout_s, settings.state.cluster) == (ZK, 4, "north")
    assert settings.state.zookeeper_auth is not None
    assert settings.state.zookeeper_auth.get_secret_value() == "butlery:hunter2"
    assert settings.api.advertise_url == "https://butlery-1.example:8443"
    assert "hunter2" not in repr(settings)
    assert loaded(tmp_path, "").state.zookeeper is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("10.0.0.1:2181/butlery", "zk://HOST:PORT"),
        ("zk://10.0.0.1:2181", "zk://HOST:PORT"),
        ("zk://10.0.0.1/butlery", "HOST:PORT"),
        ("zk://10.0.0.1:70000/butlery", "HOST:PORT"),
        ("zk://me:hunter2@10.0.0.1:2181/butlery", "zookeeper_auth_file"),
        ("zk://10.0.0.1:2181/zookeeper/butlery", "ZooKeeper's"),
        ("zk://10.0.0.1:2181/a/../b", ".."),
    ],
)
def test_addresses_that_cannot_be(tmp_path: Path, url: str, told: str) -> None:
    found = fault(tmp_path, f"state:\n  zookeeper: '{url}'\n")
    assert "butlery.yaml:2 state.zookeeper" in found
    assert told in found
    assert "hunter2" not in found


@pytest.mark.parametrize(("content", "mode"), [("no colon", 0o600), ("user:", 0o600), ("user:pass", 0o644)])
def test_a_poor_file_of_user_and_password(tmp_path: Path, content: str, mode: int) -> None:
    secret = tmp_path / "zk.auth"
    secret.write_text(content)
    secret.chmod(mode)
    found = fault(tmp_path, f"state:\n  zookeeper: '{ZK}'\n  zookeeper_auth_file: zk.auth\n")
    assert "butlery.yaml:3 state.zookeeper_auth_file" in found


def test_a_user_for_no_zookeeper(tmp_path: Path) -> None:
    secret = tmp_path / "zk.auth"
    secret.write_text("user:pass")
    secret.chmod(0o600)
    assert "of no use" in fault(tmp_path, "state: {zookeeper_auth_file: zk.auth}\n")


@pytest.mark.parametrize("url", ["butlery-1:8080", "ftp://butlery-1", "http://me:hunter2@butlery-1", "http://b/path"])
def test_addresses_of_ours_that_cannot_be(tmp_path: Path, url: str) -> None:
    found = fault(tmp_path, f"api:\n  advertise_url: '{url}'\n")
    assert "api.advertise_url" in found
    assert "hunter2" not in found
