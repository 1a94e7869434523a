"""Webhooks in the settings file: every fault at once, and secrets from files of their owner's alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from framework.errors import InputError
from framework.local.scheduler import write_config
from framework.local.status import Paths
from framework.settings import Settings, load_settings
from tests.fakes.forge_messages import SECRET
from tests.fakes.webhooks import section, written

HOOK = "  - {name: shop, kind: github, tenant: team, repository: acme/shop, secret_file: s%s}\n"


def loaded(folder: Path, text: str) -> Settings:
    file = folder / "butlery.yaml"
    file.write_text(text)
    return load_settings(file, {})


def faults(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        loaded(folder, text)
    return {fault.where.partition("butlery.yaml:")[2]: fault.message for fault in caught.value.faults}


def test_secrets_are_those_of_their_files(tmp_path: Path) -> None:
    written(tmp_path / "s", SECRET)
    written(tmp_path / "t", "a-token")
    written(tmp_path / "k", "-----BEGIN\nEND-----")
    [hook] = loaded(tmp_path, "webhooks:\n" + HOOK % ", token_file: t, secret_files: {KEY: k}").webhooks
    assert hook.secret.get_secret_value() == SECRET
    assert hook.token is not None
    assert hook.token.get_secret_value() == "a-token"
    assert {name: one.get_secret_value() for name, one in hook.secrets.items()} == {"KEY": "-----BEGIN\nEND-----"}
    assert SECRET not in repr(hook)
    assert SECRET not in hook.model_dump_json()


def test_every_fault_of_their_files_is_told_and_nothing_of_what_is_in_them(tmp_path: Path) -> None:
    written(tmp_path / "s", "too-short")
    (tmp_path / "t").write_text("readable-by-everyone")
    (tmp_path / "t").chmod(0o644)
    (tmp_path / "k").write_bytes(b"\xff")
    (tmp_path / "k").chmod(0o600)
    found = faults(tmp_path, "webhooks:\n" + HOOK % ", token_file: t, secret_files: {KEY: k, OTHER: none}")
    assert set(found) == {
        f"2 webhooks[0].{key}" for key in ("secret_file", "token_file", "secret_files.KEY", "secret_files.OTHER")
    }
    assert "16 or more characters" in found["2 webhooks[0].secret_file"]
    assert "chmod 600" in found["2 webhooks[0].token_file"]
    assert "too-short" not in str(found)


@pytest.mark.parametrize(
    ("more", "key", "words"),
    [
        (", git_url: 'https://git.example.org/x.git'", "git_url", "{repository}"),
        (", git_url: 'https://{host}/{repository}'", "git_url", "{repository}"),
        (", api_url: 'https://me:secret@git.example.org'", "api_url", "must not hold a name or password"),
        (", api_url: 'ftp://git.example.org'", "api_url", "http(s)://"),
        (", jenkinsfile: ../x", "jenkinsfile", "below the repository's root"),
        (", branches: []", "branches", "1"),
        (", secret_files: {BUTLERY_X: s}", "secret_files.BUTLERY_X", "the name of a variable"),
        (", brnches: [x]", "brnches", "branches"),
    ],
)
def test_what_cannot_be(tmp_path: Path, more: str, key: str, words: str) -> None:
    written(tmp_path / "s", SECRET)
    found = faults(tmp_path, "webhooks:\n" + HOOK % more)
    assert words in found[f"2 webhooks[0].{key}"]
    assert "me:secret" not in str(found)


def test_names_are_each_ones_own(tmp_path: Path) -> None:
    written(tmp_path / "s", SECRET)
    assert "shop more than once" in str(faults(tmp_path, "webhooks:\n" + HOOK % "" + HOOK % ""))


def test_the_local_cluster_finds_their_files(tmp_path: Path) -> None:
    own, cluster = tmp_path / "own", tmp_path / "cluster"
    own.mkdir()
    hook = section(own, "a-token", secret_files={"KEY": "shop.token"})
    relative = {**hook, "secret_file": "shop.secret", "token_file": "shop.token"}
    (own / "butlery.yaml").write_text(yaml.safe_dump({"webhooks": [relative]}))
    Paths(cluster).config.parent.mkdir(parents=True)
    write_config(cluster, own / "butlery.yaml", "http://127.0.0.1:5050", "auto")
    [found] = yaml.safe_load(Paths(cluster).config.read_text())["webhooks"]
    assert found["secret_file"] == str(own / "shop.secret")
    assert found["token_file"] == found["secret_files"]["KEY"] == str(own / "shop.token")
    assert found["repository"] == hook["repository"]
