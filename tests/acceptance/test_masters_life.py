"""Tenants' masters as an operator and their users have them: from YAML to an address, and through what befalls them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.masters_cluster import Tenants, tenants_cluster
from tests.acceptance.scheduler_process import eventually

GOOD = ("payments", "web", "mobile")


@pytest.fixture(scope="module")
def tenants() -> Iterator[Tenants]:
    """With three masters that are up, which every test leaves so."""
    with tenants_cluster(deployment_timeout_s=20) as tenants:
        password = tenants.folder / "db-password"
        password.touch(0o600)
        password.write_text("sw0rdfish of the database")
        tenants.write(
            "payments",
            weight=300,
            quota={"cpus": 4, "builds": 8},
            backup={"to": str(tenants.backups)},
            secrets={"DB_PASSWORD": {"file": password.name}},
        )
        tenants.write("others", tenants=[{"name": "web", "address": {"path": "/web"}}, {"name": "mobile"}])
        assert tenants.apply() == dict.fromkeys(GOOD, "done")
        yield tenants


def test_what_was_applied_is_there_and_applying_it_again_changes_nothing(tenants: Tenants) -> None:
    assert tenants.apply() == {}
    assert tenants.states() == dict.fromkeys(GOOD, "on")
    shown = tenants.json("show", "payments")
    assert (shown["name"], shown["state"]) == ("payments", "on")
    shares = {tenant["name"]: tenant for tenant in tenants.api.tenants()}
    assert shares["payments"]["weight"] == 300
    assert (shares["payments"]["quota"]["cpus"], shares["payments"]["quota"]["builds"]) == (4, 8)
    assert tenants.get("mobile").status == 200
    assert tenants.send("GET", "127.0.0.1", "/web/login", {"Host": "127.0.0.1"}).status == 200
    unknown = tenants.get("nobody")
    assert unknown.status == 404
    assert not any(name in unknown.body for name in GOOD)


def test_a_master_killed_with_kill_9_is_back_at_its_address_with_its_home(tenants: Tenants) -> None:
    assert tenants.create_job("payments", "kept").status == 200
    before, untouched = tenants.wait_session("payments"), tenants.tasks()["mobile"]["id"]
    tenants.kill9("payments")
    tenants.wait_session("payments", before)
    assert "kept" in tenants.jobs("payments")
    assert tenants.tasks()["mobile"]["id"] == untouched


def test_all_masters_of_a_host_come_back_and_nobody_else_is_touched(tenants: Tenants) -> None:
    tasks = tenants.tasks()
    host = tasks["payments"]["host"]
    struck = [tenant for tenant, task in tasks.items() if task["host"] == host]
    before = {tenant: tenants.session(tenant) for tenant in struck}
    tenants.kill9(*struck)
    for tenant in struck:
        if tenant != "web":  # which is found by its path alone
            tenants.wait_session(tenant, before[tenant])
        tenants.wait_state(tenant, "on")
    after = tenants.tasks()
    assert all(after[tenant]["id"] == task["id"] for tenant, task in tasks.items() if tenant not in struck)


def test_a_request_wakes_a_sleeping_master_and_is_not_lost(tenants: Tenants) -> None:
    tenants.access("mobile")
    login = tenants.login("mobile")
    tenants.run("hibernate", "mobile", "--wait")
    assert tenants.states()["mobile"] == "asleep"
    assert "mobile" not in tenants.tasks()
    answer = tenants.send(
        "POST", "mobile", "/createItem?name=woken", {**login, "Content-Type": "application/xml"}, "<project/>"
    )
    assert answer.status == 200, answer
    assert "woken" in tenants.jobs("mobile")
    tenants.wait_state("mobile", "on")
    tenants.run("scale", "mobile", "0", "--wait")
    assert tenants.get("mobile").status == 503
    assert tenants.states()["mobile"] == "off"
    tenants.run("wake", "mobile", "--wait")
    tenants.wait_session("mobile")


def test_a_master_that_nobody_uses_makes_its_backup_goes_to_sleep_and_wakes(tenants: Tenants) -> None:
    tenants.write(
        "idle", hibernate={"after_idle_min": 0.1}, backup={"to": str(tenants.backups), "every_h": 0.002, "keep": 2}
    )
    try:
        tenants.apply()
        assert tenants.create_job("idle", "kept").status == 200
        tenants.wait_state("idle", "asleep")
        assert list((tenants.backups / "idle").glob("idle-*.tar.gz"))
        assert tenants.jobs("idle") == {"kept"}
    finally:
        (tenants.folder / "idle.yaml").unlink()
        tenants.run("delete", "idle", "--force", "--yes")


def test_a_home_is_restored_from_a_backup(tenants: Tenants) -> None:
    assert tenants.create_job("payments", "precious").status == 200
    tenants.access("payments")
    tenants.run("backup", "payments", "--wait")
    (backup,) = tenants.json("backup", "payments", "--list")["backups"]["payments"]
    assert backup["state"] == "done"
    shutil.rmtree(tenants.homes / "payments" / "jobs")
    before = tenants.wait_session("payments")
    tenants.run("restore", "payments", backup["name"], "--yes", "--force")
    tenants.wait_session("payments", before)
    assert "precious" in tenants.jobs("payments")
    # It is restored this once, whatever is done to it afterwards.
    assert tenants.create_job("payments", "since").status == 200
    tenants.run("hibernate", "payments", "--wait")
    tenants.run("wake", "payments", "--wait")
    assert {"precious", "since"} <= tenants.jobs("payments")
    assert tenants.apply() == {}


def test_secrets_are_where_they_are_needed_alone(tenants: Tenants) -> None:
    directory = tenants.cluster.directory
    tenants.access("payments")
    held = {path.name: path for path in (directory / "marathon" / "secrets" / "payments").iterdir()}
    assert set(held) == {"token", "admin-password", "env-DB_PASSWORD"}
    home = tenants.homes / "payments"
    held["api token"] = home / "secrets" / "butlery-api-token"
    held["admin token"] = directory / "admin.token"
    held["Marathon's"] = directory / "marathon.credentials"
    secrets = {name: path.read_bytes().strip().rpartition(b":")[2] for name, path in held.items()}

    def found_in(data: bytes) -> set[str]:
        return {name for name, secret in secrets.items() if secret in data}

    places = {*held.values(), tenants.folder / "db-password", directory / "state.db", directory / "state.db-wal"}
    for path in directory.rglob("*"):
        with suppress(OSError):  # gone meanwhile
            if path.is_file() and not path.is_symlink() and found_in(path.read_bytes()):
                assert path in places or home in path.parents, f"{found_in(path.read_bytes())} in {path}"
                assert path.stat().st_mode & 0o077 == 0, path
    for path in (tenants.backups / "payments", *(tenants.backups / "payments").iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path

    task = tenants.tasks()["payments"]["id"].encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            assert not found_in(arguments), arguments
            own = b"MESOS_TASK_ID=" + task in environment.split(b"\0")
            assert found_in(environment) <= ({"token", "admin-password", "env-DB_PASSWORD"} if own else set()), (
                arguments
            )
    for asked in (
        "apps?embed=apps.tasks",
        "groups?embed=group.groups&embed=group.apps",
        "deployments",
        "queue",
        "tasks",
    ):
        assert not found_in(tenants.marathon("GET", f"/v2/{asked}").body.encode())
    for words in (
        ("show", "payments", "--json"),
        ("list", "--json"),
        ("plan", str(tenants.folder)),
        ("logs", "payments"),
    ):
        assert not found_in(tenants.run(*words).encode())


def test_an_image_that_is_not_there_fails_alone(tenants: Tenants, tmp_path: Path) -> None:
    tenants.write("broken", image="127.0.0.1:1/none/such:1", command=None, mem_mib=1024)
    tenants.write("late")
    try:
        came = tenants.apply(code=1)
        assert came["broken"] in ("failed", "taken back")
        assert came["late"] == "done"
    finally:
        (tenants.folder / "broken.yaml").unlink()
        (tenants.folder / "late.yaml").unlink()
        tenants.run("delete", "late", "--force", "--yes")
        tenants.apply("--prune")
    assert tenants.states() == dict.fromkeys(GOOD, "on")


def test_an_upgrade_stops_at_its_first_failure_and_what_failed_runs_as_before(tenants: Tenants) -> None:
    ids = {tenant: task["id"] for tenant, task in tenants.tasks().items()}
    tenants.write("defaults", **{**tenants.defaults(), "command": "exit 3"})
    try:
        tenants.run("upgrade", str(tenants.folder), "--at-once", "1", "--yes", code=1)
        for tenant in GOOD:
            tenants.wait_state(tenant, "on")
        after = {tenant: task["id"] for tenant, task in tenants.tasks().items()}
        assert sum(after[tenant] != ids[tenant] for tenant in GOOD) == 1
    finally:
        tenants.write("defaults", **tenants.defaults())
    tenants.apply()
    assert tenants.states() == dict.fromkeys(GOOD, "on")


def test_a_tenant_with_builds_is_not_deleted(tenants: Tenants) -> None:
    job = tenants.api.submit(
        {"tenant": "web", "name": "long", "command": "sleep 600", "cpus": 0.1, "mem_mib": 32, "timeout_s": 600}
    )
    eventually(lambda: tenants.api.job(job["id"])["state"] == "running", "the build")
    told = tenants.run("delete", "web", code=1)
    assert "web" in told
    assert tenants.states()["web"] == "on"
    tenants.run("delete", "web", "--force")
    assert "web" not in tenants.tasks()
    assert (tenants.homes / "web").is_dir()
    assert "web" in tenants.run("volumes")
    assert tenants.apply() == {"web": "done"}
