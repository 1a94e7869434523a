"""The settings file: defaults, faults all at once, secrets from where they belong."""

import hashlib
import os
from pathlib import Path

import pytest
from pydantic import Field

from agents.spec import ISOLATIONS, HostPolicy
from framework.catalog.model import (
    ContainerSettings,
    OverrideSettings,
    ReadySettings,
    TemplateSettings,
    VolumeSettings,
)
from framework.core.resources import Resources
from framework.core.state import Config
from framework.documents import DocumentModel
from framework.errors import Fault, InputError
from framework.secret_files import ADMIN_TOKEN_VARIABLE, MESOS_SECRET_VARIABLE
from framework.settings import AgentSettings, Settings, load_section, load_settings, validate_file

TOKEN = "0123456789abcdef0123"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "butlery.yaml"
    file.write_text(text)
    return file


def faults_of(file: Path, environ: dict[str, str] | None = None) -> list[Fault]:
    with pytest.raises(InputError) as caught:
        load_settings(file, environ or {})
    return caught.value.faults


def test_no_file_is_all_defaults() -> None:
    settings = load_settings(None, {})
    assert settings.mesos.failover_timeout_s == 7 * 86_400
    assert settings.state.path == Path("~/.local/state/butlery/state.db").expanduser()
    assert settings.agents.policy() == HostPolicy()
    assert settings.admin_token is None


def test_sections_whose_every_line_is_commented_out(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, "mesos:\n  # url: x\nlog:\ntemplates:\nlocal:\n"), {}) == Settings()


def test_a_whole_file(tmp_path: Path) -> None:
    text = """
mesos:
  {url: "http://10.0.0.1:5050,http://[::1]:5051/", roles: [ci, a/b], user: jenkins, principal: p, heartbeats_missed: 3}
api: {host: 0.0.0.0, port: 0, allow_file_urls: true}
state: {path: state/s.db}
scheduling: {hold_idle_s: 0, max_waiting: 10}
agents: {isolation: watchdog, uids: null, executor: "https://x/butlery-executor.pyz", pids: 100}
templates:
  maven: {image: "maven:3.9", cpus: 0.25, mem_mib: 768, attributes: {os: linux}, timeout_s: 60}
log: {level: debug, format: json}
local: {hosts: 3, whatever: [1]}
"""
    settings = load_settings(written(tmp_path, text), {})
    assert settings.mesos.urls == ["http://10.0.0.1:5050", "http://[::1]:5051"]
    assert settings.state.path == tmp_path / "state/s.db"
    assert settings.templates["maven"]["cpus"] == 0.25
    assert settings.agents.policy("docker") == HostPolicy(isolation="docker", uids=None, pids=100)
    assert settings.local == {"hosts": 3, "whatever": [1]}


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("mesos", "url: ftp://a:1", "must be http(s)://HOST:PORT"),
        ("mesos", "url: zk://a:1", "must be zk://HOST:PORT"),
        ("mesos", "url: zk://me:hunter2@a:1/mesos", "must hold no name or password"),
        ("mesos", "principal: 'a:b'", "without a colon"),
        ("mesos", "key_file: k.pem", "of no use without cert_file"),
        ("mesos", "zookeeper_scheme: ftp", "must be one of"),
        ("mesos", "driver: libmesos", "must be one of"),
        ("mesos", "url: http://a", "with nothing after it"),
        ("mesos", "url: 'http://a:1,'", "must be http(s)://HOST:PORT"),
        ("mesos", "url: http://a:99999", "cannot be read"),
        ("mesos", "url: 'http://[::1:5'", "cannot be read"),
        ("mesos", "url: http://a:1/mesos", "with nothing after it"),
        ("mesos", "roles: [a/]", "must be a Mesos role"),
        ("mesos", "roles: ['*']", "must be a Mesos role"),
        ("mesos", "roles: [a, b, a]", "names a more than once"),
        ("mesos", "roles: []", "at least 1"),
        ("mesos", "framework_name: ''", "must be 1 to 255"),
        ("mesos", "failover_timeout_s: 0", "must be more than 0"),
        ("mesos", "failover_timeout_s: .inf", "must be a finite number"),
        ("api", "port: 65536", "must be at most 65535"),
        ("api", "port: -1", "must be at least 0"),
        ("api", "port: yes", "must be a whole number, not True"),
        ("state", "path: ''", "must be a path"),
        ("state", 'path: "a\\0b"', "must be a path"),
        ("state", "path: ~nobody-of-that-name/x", "not known here"),
        ("state", "path: 3", "instance of Path"),
        ("scheduling", "hold_idle_s: -1", "must be at least 0"),
        ("scheduling", "refuse_s: .nan", "must be a finite number"),
        ("scheduling", "max_waiting: 1" + "0" * 300, "must be at most 1000000"),
        ("scheduling", "breaker_open_s: 3600", "breaker_open_s must be at most breaker_max_s"),
        ("scheduling", "retry_base_s: 61", "retry_base_s must be at most retry_cap_s"),
        ("agents", "isolation: none", "must be one of 'auto'"),
        ("agents", "executor: butlery-executor.pyz", "an absolute path or an http(s) URL"),
        ("agents", "uids: 0-10", "must be FIRST-LAST"),
        ("agents", "uids: 5000-4000", "must be FIRST-LAST"),
        ("agents", "uids: 5000-99999999999", "must be FIRST-LAST"),
        ("agents", "docker_socket: run/docker.sock", "an absolute path"),
        ("agents", "overhead_mem_mib: 16", "must be at least 32"),
        ("log", "level: loud", "must be one of 'debug'"),
    ],
)
def test_a_fault_of_each_kind_with_its_line(tmp_path: Path, section: str, line: str, words: str) -> None:
    (fault,) = faults_of(written(tmp_path, f"# a comment\n{section}:\n  {line}\n"))
    on_key = f"{tmp_path}/butlery.yaml:3 {section}.", f"{tmp_path}/butlery.yaml:2 {section}"
    assert fault.where.startswith(on_key)
    assert words in fault.message


def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(written(tmp_path, "mesos: {url: 'http://me:hunter2@a:1'}"), {})
    assert "name or password" in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_every_fault_at_once_the_secrets_too(tmp_path: Path) -> None:
    text = "messo: {}\napi: {port: x, admin_token_file: none.token}\nscheduling: {max_wating: 1}\n"
    assert [
        (fault.where.rpartition(":")[2], fault.message.partition(";")[0])
        for fault in faults_of(written(tmp_path, text))
    ] == [
        ("1 messo", "unknown key"),
        ("2 api.port", "must be a whole number, not 'x'"),
        ("3 scheduling.max_wating", "unknown key"),
        ("2 api.admin_token_file", "the token cannot be read: No such file or directory"),
    ]


def test_the_admin_token_from_the_environment_goes_first(tmp_path: Path) -> None:
    file = written(tmp_path, "api: {admin_token_file: none.token}")
    settings = load_settings(file, {ADMIN_TOKEN_VARIABLE: TOKEN})
    assert settings.admin_token_sha256() == hashlib.sha256(TOKEN.encode()).hexdigest()
    assert TOKEN not in repr(settings) + str(settings.model_dump())


def test_the_admin_token_from_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text(f"{TOKEN}\n")
    (tmp_path / "admin.token").chmod(0o600)
    settings = load_settings(written(tmp_path, "api: {admin_token_file: admin.token}"), {})
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == TOKEN


def test_token_files_that_are_not_taken(tmp_path: Path) -> None:
    token = tmp_path / "admin.token"
    token.write_text(TOKEN)
    file = written(tmp_path, "api:\n  admin_token_file: admin.token")
    token.chmod(0o604)
    assert "chmod 600" in faults_of(file)[0].message
    token.unlink()
    os.mkfifo(token, 0o600)
    (fault,) = faults_of(file)
    assert fault == Fault(f"{file}:2 api.admin_token_file", "the token cannot be read: not a file")


def test_the_secrets_of_mesos(tmp_path: Path) -> None:
    for name, text in (("mesos.secret", "s3cret"), ("zk.auth", "me:hunter2")):
        (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / name).chmod(0o600)
    text = """mesos:
  url: zk://10.0.0.1:2181,[::1]:2181/mesos
  principal: butlery
  secret_file: mesos.secret
  zookeeper_auth_file: zk.auth
"""
    mesos = load_settings(written(tmp_path, text), {}).mesos
    assert mesos.urls == ["zk://10.0.0.1:2181,[::1]:2181/mesos"]
    assert mesos.secret is not None
    assert mesos.zookeeper_auth is not None
    assert (mesos.secret.get_secret_value(), mesos.zookeeper_auth.get_secret_value()) == ("s3cret", "me:hunter2")
    assert "s3cret" not in repr(mesos) + str(mesos.model_dump())
    told = load_settings(written(tmp_path, text), {MESOS_SECRET_VARIABLE: "other"}).mesos.secret
    assert told is not None
    assert told.get_secret_value() == "other"
    with pytest.raises(InputError, match="whose it is"):
        load_settings(None, {MESOS_SECRET_VARIABLE: "s3cret"})
    with pytest.raises(InputError, match="no spaces"):
        load_settings(None, {MESOS_SECRET_VARIABLE: "s3 cret"})
    (tmp_path / "zk.auth").write_text("hunter2")
    assert "USER:PASSWORD" in faults_of(written(tmp_path, text))[0].message


@pytest.mark.parametrize("token", ["", "short", "fifteen chars..", f"{TOKEN} {TOKEN}", f"{TOKEN}é"])
def test_poor_tokens_are_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(None, {ADMIN_TOKEN_VARIABLE: token})
    (fault,) = caught.value.faults
    assert fault.where == ADMIN_TOKEN_VARIABLE
    assert "16 or more visible ASCII characters" in fault.message
    assert not token or token not in fault.message


def test_without_an_admin_token_there_is_none_to_compare() -> None:
    with pytest.raises(InputError, match=ADMIN_TOKEN_VARIABLE):
        Settings().admin_token_sha256()


class Room(DocumentModel):
    hosts: int = Field(default=1, ge=1)


def test_a_section_of_another_room(tmp_path: Path) -> None:
    file = written(tmp_path, "mesos: {wrong: 1}\nlocal:\n  hosts: 2\n")
    assert load_section(file, "local", Room).hosts == 2
    assert load_section(file, "other", Room).hosts == 1
    assert load_section(None, "local", Room).hosts == 1
    with pytest.raises(InputError) as caught:
        load_section(written(tmp_path, "local:\n  hsts: 2\n  hosts: 0"), "local", Room)
    assert [fault.where.rpartition(":")[2] for fault in caught.value.faults] == ["2 local.hsts", "3 local.hosts"]


def test_validate_reads_every_room(tmp_path: Path) -> None:
    sections: dict[str, type[DocumentModel]] = {"local": Room}
    assert validate_file(written(tmp_path, "local: {hosts: 2}"), {}, sections) == []
    faults = validate_file(written(tmp_path, "local: {hosts: 0}\nlog: {level: x}"), {}, sections)
    assert [fault.where.rpartition(":")[2] for fault in faults] == ["2 log.level", "1 local.hosts"]
    assert len(validate_file(tmp_path / "none.yaml", {}, sections)) == 1


def test_a_whole_file_is_validated_with_its_templates_and_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("templates:\n  java: {inherit_from: base, mem_mib: 1}\n")
    file = written(tmp_path, "templates:\n  base: {cpus: 0}\n  a/b: {}\ntemplates_path: more.yaml\nlog: {level: x}\n")
    found = [(fault.where.rpartition("/")[2], fault.message.partition(",")[0]) for fault in validate_file(file, {}, {})]
    assert found == [
        ("butlery.yaml:5 log.level", "must be one of 'debug'"),
        ("b", "a template's name must be up to 100 letters"),
        ("butlery.yaml:2 templates.base.cpus", "must be at least 0.01"),
        ("more.yaml:2 templates.java.mem_mib", "must be at least 16"),
    ]
    (fault,) = validate_file(written(tmp_path, "templates_path: none"), {}, {})
    assert "none: cannot be read" in f"{fault.where}: {fault.message}"
    assert len(validate_file(written(tmp_path, "templates_path: ''"), {}, {})) == 1


def test_the_scheduling_section_is_what_the_core_is_configured_with() -> None:
    settings = Settings()
    overhead = Resources(cpu_millis=settings.agents.overhead_cpu_millis, mem_mib=settings.agents.overhead_mem_mib)
    assert Config(overhead=overhead, **settings.scheduling.model_dump()) == Config()


def test_isolations_are_those_of_the_executor() -> None:
    for isolation in ISOLATIONS:
        assert AgentSettings.model_validate({"isolation": isolation}).isolation == isolation


def test_every_key_says_what_it_is_for() -> None:
    sections = [field.annotation for field in Settings.model_fields.values()]
    models = [model for model in sections if isinstance(model, type) and issubclass(model, DocumentModel)]
    assert len(models) >= 8
    models += [TemplateSettings, ContainerSettings, OverrideSettings, ReadySettings, VolumeSettings]
    for model in models:
        assert model.__doc__
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
