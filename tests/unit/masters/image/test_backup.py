"""The scripts ``backup`` and ``restore``: what is in a backup, what is made sure of, and what breaks off."""

from __future__ import annotations

import os
import shutil
import signal
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.masters.image.conftest import TIMEOUT_S, Master

NAME = "payments-20261121T203000Z"


def archive(master: Master, name: str = NAME) -> Path:
    return master.backups / f"{name}.tar.gz"


def test_a_backup_has_all_but_workspaces_and_caches(master: Master) -> None:
    said = master.done("backup", NAME)
    assert f"backup {NAME}: " in said
    with tarfile.open(archive(master)) as tar:
        names = set(tar.getnames())
    assert {"./config.xml", "./secrets/master.key", "./.hidden", "./jobs/naïve job/builds/1/log"} <= names
    left_out = ("workspace", "caches", "./war", ".butlery")
    assert not [name for name in names if any(part in name for part in left_out)]
    (found,) = master.listed()
    assert found == {"name": NAME, "state": "done", "bytes": archive(master).stat().st_size, "message": ""}
    assert {path.name for path in master.backups.iterdir()} == {".lock", f"{NAME}.tar.gz", f"{NAME}.sha256"}
    assert archive(master).stat().st_mode & 0o077 == 0  # Jenkins' keys are in it


def test_a_backup_that_is_listed_as_it_begins_runs_or_is_done(master: Master) -> None:
    names = [f"{NAME}.{number}" for number in range(3)]
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(lambda: [master.done("backup", name) for name in names])
        states = set()
        while not made.done():
            states |= {found["state"] for found in master.listed()}
        made.result()
    assert states <= {"running", "done"}


def test_what_is_only_called_as_a_workspace_is_in_a_backup(master: Master) -> None:
    kept = [
        "jobs/workspace/config.xml",
        "jobs/team/jobs/workspace/config.xml",
        "jobs/team/jobs/web/jobs/workspace/config.xml",
        "jobs/web/builds/1/archive/workspace/app.jar",
        "jobs/web/builds/1/archive/target/workspace@2/app.jar",
    ]
    left_out = ["jobs/web/workspace/a", "jobs/web/workspace@tmp/a", "jobs/team/jobs/web/workspace@2/a"]
    for name in kept + left_out:
        (master.home / name).parent.mkdir(parents=True, exist_ok=True)
        (master.home / name).write_text("x")
    master.done("backup", NAME)
    with tarfile.open(archive(master)) as tar:
        names = {name.removeprefix("./") for name in tar.getnames()}
    assert set(kept) <= names
    assert not set(left_out) & names


def test_what_is_restored_is_what_was_there_and_nothing_is_lost(master: Master) -> None:
    master.done("backup", NAME)
    before = master.tree()
    shutil.rmtree(master.home / "jobs")
    (master.home / "new.xml").write_text("made since")
    said = master.done("restore", BUTLERY_RESTORE=NAME)
    assert f"restored {NAME}" in said
    left_out = ("workspace", "caches", "war")
    assert master.tree() == {
        name: text for name, text in before.items() if name.split("/")[0] not in left_out and "/workspace" not in name
    }
    (aside,) = (master.home / ".butlery").glob("before-*")
    assert (aside / "new.xml").read_text() == "made since"
    assert (aside / "workspace/other/file").exists()


def test_each_order_of_a_restore_is_done_once(master: Master) -> None:
    master.done("backup", NAME)
    orders = [NAME, f"{NAME}@1", f"{NAME}@2"]
    for order in orders:
        assert f"restored {NAME};" in master.done("restore", BUTLERY_RESTORE=order)
        assert (master.home / "config.xml").read_text() == "<hudson/>"
        (master.home / "config.xml").write_text("changed by Jenkins")
        assert master.done("restore", BUTLERY_RESTORE=order) == ""
    # After a start without any, such as of an upgrade that failed and was taken back.
    for order in ("", *orders):
        assert master.done("restore", BUTLERY_RESTORE=order) == ""
    assert (master.home / "config.xml").read_text() == "changed by Jenkins"
    assert "must be one word" in master.failed("restore", BUTLERY_RESTORE=f"{NAME}@a b")


@pytest.mark.parametrize(
    "name", ["../payments", "a/b", "..", "a..b", "", "-rf", ".hidden", "a b", "a\nb", "$(id)", "a" * 101]
)
def test_names_that_lead_elsewhere_are_refused(master: Master, name: str) -> None:
    before = master.tree()
    assert "letters, digits" in master.failed("backup", name)
    if name:
        assert "letters, digits" in master.failed("restore", BUTLERY_RESTORE=name)
    assert "must be the name of the tenant" in master.failed("backup", NAME, BUTLERY_TENANT=name)
    assert master.tree() == before
    assert not master.backups.exists()


def test_what_is_not_there_or_not_whole_is_not_restored(master: Master) -> None:
    assert "there is no backup nothing" in master.failed("restore", BUTLERY_RESTORE="nothing")
    master.done("backup", NAME)
    before = master.tree()
    whole = archive(master).read_bytes()
    archive(master).write_bytes(whole[: len(whole) // 2])
    assert "is damaged" in master.failed("restore", BUTLERY_RESTORE=NAME)
    archive(master).write_bytes(whole)
    (master.backups / f"{NAME}.sha256").unlink()
    assert "no checksum" in master.failed("restore", BUTLERY_RESTORE=NAME)
    assert master.tree() == before


def test_two_at_once_are_one(master: Master, slow_tar: Path) -> None:
    first = master.begin("backup", NAME, PATH=f"{slow_tar}:{os.environ['PATH']}")
    wait_for(master.backups / f".{NAME}.part")
    assert master.run("backup", "payments-2").returncode == 75
    assert [(each["name"], each["state"]) for each in master.listed()] == [(NAME, "running")]
    go_on(slow_tar)
    output, _ = first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 0, output
    assert [(each["name"], each["state"]) for each in master.listed()] == [(NAME, "done")]


def test_one_that_is_killed_is_seen_to_be_and_leaves_room_for_the_next(master: Master, slow_tar: Path) -> None:
    first = master.begin("backup", NAME, PATH=f"{slow_tar}:{os.environ['PATH']}")
    wait_for(master.backups / f".{NAME}.part")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=TIMEOUT_S)
    until = time.monotonic() + TIMEOUT_S
    while master.listed()[0]["state"] == "running":  # of its processes the last may still be going
        assert time.monotonic() < until
    (found,) = master.listed()
    assert found == {"name": NAME, "state": "failed", "bytes": 0, "message": "it was interrupted"}
    assert "there is no backup" in master.failed("restore", BUTLERY_RESTORE=NAME)
    master.done("backup", NAME)
    assert [(each["name"], each["state"]) for each in master.listed()] == [(NAME, "done")]
    assert {path.name for path in master.backups.iterdir()} == {".lock", f"{NAME}.tar.gz", f"{NAME}.sha256"}


def test_one_that_is_told_to_stop_cleans_up(master: Master, slow_tar: Path) -> None:
    first = master.begin("backup", NAME, PATH=f"{slow_tar}:{os.environ['PATH']}")
    wait_for(master.backups / f".{NAME}.part")
    os.killpg(first.pid, signal.SIGTERM)
    go_on(slow_tar)
    first.communicate(timeout=TIMEOUT_S)
    assert master.listed()[0]["state"] == "failed"
    assert not list(master.backups.glob(".*.part"))


def test_a_copy_that_is_not_what_is_in_the_home_is_a_failure(master: Master, tmp_path: Path) -> None:
    """A tar that leaves a file out, and one that puts another's content in its place."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for twist, told in (
        ('rm -f "$scratch/config.xml"', "files of the home are missing in the copy: ./config.xml"),
        ('echo torn >"$scratch/config.xml"', "the copy is not what is in the home: ./config.xml"),
    ):
        tar = programs / "tar"
        tar.write_text(
            f'#!/bin/sh\n{shutil.which("tar")} "$@" || exit\n[ "$3" != -xzf ] || {{ scratch=$2; {twist}; }}\n'
        )
        tar.chmod(0o755)
        said = master.failed("backup", NAME, PATH=f"{programs}:{os.environ['PATH']}")
        assert told in said
        (found,) = master.listed()
        assert (found["state"], told in found["message"]) == ("failed", True)
        assert not archive(master).exists()


def test_files_that_change_meanwhile_do_not_fail_it(master: Master, slow_tar: Path, tmp_path: Path) -> None:
    first = master.begin("backup", NAME, PATH=f"{slow_tar}:{os.environ['PATH']}")
    wait_for(master.backups / f".{NAME}.part")
    (master.home / "config.xml").write_text("<hudson>changed</hudson>")
    (master.home / "new.xml").write_text("new")
    (master.home / "plugins/git.jpi").unlink()
    for name in ("secrets/master.key", "moved-in"):  # changed long ago, and elsewhere
        (tmp_path / "other").write_text("other")
        os.utime(tmp_path / "other", (1, 1))
        (tmp_path / "other").rename(master.home / name)
    go_on(slow_tar)
    output, _ = first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 0, output


def test_the_newest_are_kept(master: Master) -> None:
    for number in range(5):
        master.done("backup", f"b{number}")
        os.utime(master.backups / f"b{number}.tar.gz", (number + 1, number + 1))
    (master.backups / "notes.txt").write_text("mine")
    master.done("backup", "b5")
    assert [each["name"] for each in master.listed()] == ["b5", "b4", "b3"]
    assert sorted(path.name for path in master.backups.glob("*.sha256")) == ["b3.sha256", "b4.sha256", "b5.sha256"]
    assert (master.backups / "notes.txt").exists()
    assert "there is a backup b5 already" in master.failed("backup", "b5")


@pytest.mark.parametrize("stop_after", range(1, 12))
def test_a_restore_that_is_killed_goes_on_where_it_was(master: Master, tmp_path: Path, stop_after: int) -> None:
    """Killed at each of its moves in turn: what is in the home then is in the end the backup, and nothing is lost."""
    (master.home / "old-only").write_text("old")
    master.done("backup", NAME)
    (master.home / "since").write_text("since")
    programs, count = tmp_path / "programs", tmp_path / "count"
    programs.mkdir()
    count.mkdir()
    mv = programs / "mv"
    mv.write_text(
        f"#!/bin/sh\ntouch {count}/$$\n[ $(ls {count} | wc -l) -ne {stop_after} ] || kill -9 $PPID\n"
        f'exec {shutil.which("mv")} "$@"\n'
    )
    mv.chmod(0o755)
    ran = master.run("restore", BUTLERY_RESTORE=NAME, PATH=f"{programs}:{os.environ['PATH']}")
    assert ran.returncode == -signal.SIGKILL
    master.done("restore", BUTLERY_RESTORE=NAME)
    assert sorted(path.name for path in master.home.iterdir()) == sorted(
        [".butlery", ".hidden", "config.xml", "jobs", "old-only", "plugins", "secrets"]
    )
    held = [path.name for aside in (master.home / ".butlery").glob("before-*") for path in aside.iterdir()]
    assert {"since", "old-only", "config.xml", "jobs", "secrets", ".hidden"} <= set(held)
    assert not list((master.home / ".butlery").glob("restoring*"))


def test_what_is_missing_is_said(master: Master) -> None:
    assert "no place for backups" in master.failed("backup", NAME, BUTLERY_BACKUP_TO="")
    assert "there is no directory /nowhere" in master.failed("backup", NAME, BUTLERY_BACKUP_TO="/nowhere")
    assert "KEEP must be a number" in master.failed("backup", NAME, BUTLERY_BACKUP_KEEP="0")
    assert "names no directory" in master.failed("backup", NAME, JENKINS_HOME="/nowhere")
    assert "usage" in master.failed("backup")
    assert master.listed() == []


def test_backups_are_for_their_own_master_alone(master: Master) -> None:
    master.backups.mkdir(mode=0o755)
    master.done("backup", NAME)
    assert master.backups.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def slow_tar(tmp_path: Path) -> Path:
    """A directory for PATH with a tar that has made its file and then waits, for at most 20 s, for ``go_on``."""
    programs = tmp_path / "slow"
    programs.mkdir()
    tar = programs / "tar"
    tar.write_text(
        '#!/bin/sh\ncase "$*" in *-czf*) ;; *) exec ' + str(shutil.which("tar")) + ' "$@" ;; esac\n'
        f'{shutil.which("tar")} "$@"\ncode=$?\nfor _ in $(seq 200); do [ -e {programs}/go ] && break; sleep 0.1; done\n'
        "exit $code\n"
    )
    tar.chmod(0o755)
    return programs


def go_on(programs: Path) -> None:
    (programs / "go").touch()


def wait_for(path: Path) -> None:
    until = time.monotonic() + TIMEOUT_S
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.02)
