"""The parts of the supervisor that need no Mesos."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from framework.errors import ButleryError, InputError, UnavailableError
from framework.local import logs, marathon_process, scheduler
from framework.local.cluster import choose_port, free_port
from framework.local.credentials import Credentials
from framework.local.marathon.settings import MarathonSettings
from framework.local.marathon.start import Start
from framework.local.marathon_process import url_of, write_start
from framework.local.scheduler import write_config
from framework.local.server_process import url_at
from framework.local.status import Status, read
from framework.local.supervisor import BACKOFF_FIRST_S, BACKOFF_MAX_S, STEADY_S, Keeper, Request
from framework.settings import load_settings


class Dying:
    """A child that is dead whenever it is looked at, or cannot start at all."""

    def __init__(self) -> None:
        self.starts = 0
        self.startable = True

    def start(self) -> None:
        self.starts += 1
        if not self.startable:
            raise UnavailableError("cannot start")

    def exit_code(self) -> int | None:
        return 1


def waits(keeper: Keeper, child: Dying, now: float, deaths: int) -> tuple[list[float], float]:
    """How long each death was waited over, and when that was."""
    found = []
    for _ in range(deaths):
        died, starts = now, child.starts
        while child.starts == starts:
            now += 0.05
            keeper.tick(now)
        found.append(now - died)
    return found, now


@pytest.mark.parametrize("startable", [True, False])
def test_a_child_that_dies_is_started_later_each_time(startable: bool) -> None:
    said: list[str] = []
    child = Dying()
    child.startable = startable
    keeper = Keeper("it", child, said.append)
    keeper._started_at = 1000.0
    found, now = waits(keeper, child, 1000.0, 12)
    assert BACKOFF_FIRST_S / 2 <= found[0] <= BACKOFF_FIRST_S + 0.2
    assert BACKOFF_MAX_S / 2 <= found[-1] <= BACKOFF_MAX_S + 0.2
    assert keeper.restarts == 12
    assert "starting it again in" in said[0]
    if startable:
        keeper.tick(now + STEADY_S + 1)  # it had lived long before it died
        assert waits(keeper, child, now + STEADY_S + 1, 1)[0][0] <= BACKOFF_FIRST_S + 0.2


def test_a_log_over_its_limit_is_emptied_under_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "log" / "mesos.log"
    with logs.open_log(path) as log:
        log.write(b"old\n" * 10)
        log.flush()
        assert not logs.rotate(path, limit_bytes=40)
        assert logs.rotate(path, limit_bytes=39)
        log.write(b"new\n")
    assert path.read_text() == "new\n"
    assert (path.parent / "mesos.log.1").read_text() == "old\n" * 10
    assert not logs.rotate(tmp_path / "none")


def test_the_last_words_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\n\n******\n two \nthree\n")
    assert logs.tail(tmp_path / "log") == "two | three"
    assert logs.tail(tmp_path / "none") == ""


def test_a_port_is_given_or_remembered_or_free(tmp_path: Path) -> None:
    remembered, usual = tmp_path / "port", free_port()
    assert choose_port(None, remembered, usual, "x") == usual
    given = free_port()
    assert choose_port(given, remembered, usual, "x") == given
    assert choose_port(None, remembered, usual, "x") == given
    remembered.write_text("nonsense")
    assert choose_port(None, remembered, usual, "x") == usual


CONFIG = """
api: {port: 9123, host: 0.0.0.0}
state: {path: my.db}
agents: {pids: 99}
templates: {java: {image: "maven:3.9"}}
local: {hosts: 7}
"""


def test_the_schedulers_settings_are_the_users_with_what_the_cluster_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUTLERY_ADMIN_TOKEN", raising=False)
    monkeypatch.setattr(scheduler, "choose_port", lambda given, *_: given)
    given, directory = tmp_path / "mine.yaml", tmp_path / "cluster"
    given.write_text(CONFIG)
    credentials = Credentials(directory)
    credentials.make()
    assert write_config(directory, given, "http://127.0.0.1:5051", "watchdog") == ("http://127.0.0.1:9123", None)
    settings = load_settings(directory / "butlery.yaml", {})
    assert settings.mesos.url == "http://127.0.0.1:5051"
    assert (settings.mesos.principal, settings.mesos.secret_file) == ("butlery", credentials.scheduler.secret_file)
    assert (settings.api.host, settings.api.port) == ("0.0.0.0", 9123)
    assert settings.state.path == tmp_path / "my.db"
    assert (settings.agents.isolation, settings.agents.pids) == ("watchdog", 99)
    assert settings.templates == {"java": {"image": "maven:3.9"}}
    assert settings.admin_token is not None
    token = settings.admin_token.get_secret_value()
    assert (directory / "admin.token").read_text().strip() == token
    assert stat.S_IMODE((directory / "admin.token").stat().st_mode) == 0o600
    assert token not in (directory / "butlery.yaml").read_text()

    write_config(directory, given, "http://127.0.0.1:5051", "watchdog")
    assert (directory / "admin.token").read_text().strip() == token
    monkeypatch.setenv("BUTLERY_ADMIN_TOKEN", "given-in-the-environment")
    write_config(directory, given, "http://127.0.0.1:5051", "watchdog")
    assert (directory / "admin.token").read_text().strip() == "given-in-the-environment"


def test_tenants_commands_find_the_ingress_and_the_users_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUTLERY_ADMIN_TOKEN", raising=False)
    given, directory, port = tmp_path / "mine.yaml", tmp_path / "cluster", free_port()
    given.write_text(
        "api: {port: 0}\nmasters: {secrets: kept, parallel: 9, "
        f"ingress: {{host: 0.0.0.0, http_port: {port}, certificate: all.pem}}}}\n"
    )
    Credentials(directory).make()
    urls = write_config(directory, given, "http://127.0.0.1:5051", "watchdog", ingress=True)
    assert urls.ingress == f"http://127.0.0.1:{port}"
    masters = load_settings(directory / "butlery.yaml", {}).masters
    assert (masters["parallel"], masters["secrets"]) == (9, str(tmp_path / "kept"))
    ingress = {"host": "0.0.0.0", "http_port": port, "certificate": str(tmp_path / "all.pem")}
    assert masters["ingress"] == ingress

    given.write_text("masters:\n")  # whatever port it took the last time
    again = write_config(directory, given, "http://127.0.0.1:5051", "watchdog", ingress=True)
    assert again.ingress == f"http://127.0.0.1:{port}"


def test_the_marathon_compatible_server_is_told_what_is_set_and_what_the_cluster_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marathon_process, "choose_port", lambda given, *_: given)
    given, directory = tmp_path / "mine.yaml", tmp_path / "cluster"
    given.write_text("agents: {pids: 99}\nlocal: {marathon: {port: 9124, role: web, default_accepted_roles: [web]}}\n")
    credentials = Credentials(directory)
    credentials.make()
    settings = Request(str(directory), str(given)).local_settings().marathon
    written = write_start(directory, given, settings, "http://127.0.0.1:5051", "watchdog")
    path = directory / "marathon.json"
    assert Start.load(path) == written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (written.port, written.role, written.default_accepted_roles) == (9124, "web", ("web",))
    assert (written.mesos_principal, written.mesos_secret_file) == ("marathon", str(credentials.marathon.secret_file))
    assert (written.host_policy().isolation, written.host_policy().pids) == ("watchdog", 99)
    assert url_of(written) == "http://127.0.0.1:9124"
    pair = (directory / "marathon.credentials").read_text().strip()
    assert stat.S_IMODE((directory / "marathon.credentials").stat().st_mode) == 0o600
    assert len(pair) >= 40
    assert pair.partition(":")[2] not in path.read_text()
    write_start(directory, given, settings, "http://127.0.0.1:5051", "watchdog")
    assert (directory / "marathon.credentials").read_text().strip() == pair


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("here", "http://here:80"),
    ],
)
def test_servers_are_asked_at_an_address_that_can_be_called(host: str, url: str) -> None:
    assert url_at(host, 80) == url


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("user:pass", 0o644, "everyone"), ("nonsense", 0o600, "USER:PASSWORD"), (None, 0, "No such file")],
)
def test_faulty_credentials_of_the_server_s_clients(tmp_path: Path, content: str | None, mode: int, words: str) -> None:
    path = tmp_path / "pair"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    Credentials(tmp_path).make()
    settings = MarathonSettings(credentials_file=path, port=free_port())
    with pytest.raises(InputError, match=words) as error:
        write_start(tmp_path, None, settings, "http://127.0.0.1:5051", "watchdog")
    assert error.value.faults[0].where == "local.marathon.credentials_file"


def test_what_the_server_is_told_may_be_gone(tmp_path: Path) -> None:
    (tmp_path / "start").write_text("{}")
    for name in ("start", "none"):
        with pytest.raises(ButleryError, match="cannot be read"):
            Start.load(tmp_path / name)


def test_the_clusters_elasticsearch_takes_the_place_of_the_settings(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    directory.mkdir()
    given = tmp_path / "butlery.yaml"
    given.write_text(
        "telemetry:\n"
        "  path: records\n"
        "  keep_builds_d: 90\n"
        "  elasticsearch: {urls: ['https://es.example.com:9200'], user: me, password_file: password, prefix: mine}\n"
    )
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    Credentials(directory).make()
    write_config(directory, given, "http://127.0.0.1:5051", "watchdog", elasticsearch_url="http://127.0.0.1:9201")
    telemetry = load_settings(directory / "butlery.yaml", {}).telemetry
    assert (telemetry.sink, telemetry.keep_builds_d) == ("elasticsearch", 90)
    assert telemetry.path == tmp_path / "records"
    search = telemetry.elasticsearch
    assert (search.urls, search.user, search.prefix) == (["http://127.0.0.1:9201"], None, "mine")
    assert (search.password, search.replicas) == (None, 0)


def test_what_the_command_line_says_goes_before_the_file(tmp_path: Path) -> None:
    config = tmp_path / "butlery.yaml"
    config.write_text("local: {hosts: 7, port: 6000}\n")
    assert Request("", str(config)).local_settings().port == 6000
    settings = Request("", str(config), hosts=2, port=7000).local_settings()
    assert (settings.hosts[0].count, settings.port) == (2, 7000)
    saved = Request("/d", str(config), 2, 7000, ("a", "b"), ("c", "{start}"))
    saved.save(tmp_path / "request")
    assert Request.load(tmp_path / "request") == saved


def test_too_many_hosts_on_the_command_line_are_refused() -> None:
    with pytest.raises(InputError, match="hosts"):
        Request("", hosts=100_000).local_settings()


def test_without_a_status_file_or_with_a_broken_one_it_is_down(tmp_path: Path) -> None:
    assert read(tmp_path).state == "down"
    (tmp_path / "status.json").write_text('{"state": "up", "unknown": 1}')
    assert read(tmp_path).state == "down"
    Status("up", str(tmp_path)).save()
    assert read(tmp_path).state == "crashed"  # nobody of it is alive
