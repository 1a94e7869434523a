"""The Dockerfile, on a base that only looks like Jenkins', with a real Docker engine; and a place that is full."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agents.conftest import DockerDaemon, docker_daemon  # noqa: F401 a fixture
from tests.integration.masters.image.conftest import IMAGE, TIMEOUT_S
from tests.integration.zookeeper.clients import until
from tests.unit.masters.image.conftest import Master

JENKINS_UID = 1000
JAVA = """#!/bin/sh
trap 'echo stopped >>"$JENKINS_HOME/said"; exit 143' TERM
echo "$(id -u) $*" >"$JENKINS_HOME/said"
while :; do sleep 0.1; done
"""
BASE = "butlery-test-jenkins:1"
BUILT = "butlery-test-master:1"


@pytest.fixture(scope="module")
def image(docker_daemon: DockerDaemon, tmp_path_factory: pytest.TempPathFactory) -> list[str]:  # noqa: F811
    """Built; the command line of ``docker``."""
    docker = ["docker", "-H", f"unix://{docker_daemon.socket}"]
    root = tmp_path_factory.mktemp("base")
    (root / "bin").mkdir()
    (root / "tmp").mkdir(mode=0o1777)
    (root / "usr/share/jenkins").mkdir(parents=True)
    (root / "usr/share/jenkins/jenkins.war").write_text("PK")
    shutil.copy("/bin/busybox", root / "bin")
    for name in subprocess.run(["busybox", "--list"], check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    for name in ("dash", "flock", "tar", "gzip"):  # those of Debian's busybox are missing, or know no --exclude
        _add(name, root)
    (root / "bin/sh").unlink()
    (root / "bin/sh").symlink_to("dash")
    (root / "bin/java").write_text(JAVA)
    (root / "bin/java").chmod(0o755)
    tar = subprocess.run(["tar", "-C", root, "-c", "."], check=True, capture_output=True).stdout
    subprocess.run([*docker, "import", "-", BASE], input=tar, check=True, capture_output=True, timeout=TIMEOUT_S)
    built = subprocess.run(
        [*docker, "build", "--network=none", f"--build-arg=BASE={BASE}", f"--tag={BUILT}", IMAGE],
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S * 3,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return docker


def _add(name: str, root: Path) -> None:
    """A program of this machine, with its libraries."""
    program = shutil.which(name)
    assert program is not None
    needed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.split()
    (root / "bin" / name).unlink(missing_ok=True)
    shutil.copy(program, root / "bin")
    for library in (path for path in needed if path.startswith("/")):
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))


@pytest.mark.root
def test_the_image_runs_as_its_user_and_stops_when_told(image: list[str], tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "backups"
    home.mkdir()
    place.mkdir(mode=0o1777)
    place.chmod(0o1777)
    environment = {
        "JENKINS_HOME": "/var/jenkins_home",
        "BUTLERY_TENANT": "payments",
        "PORT0": "31000",
        "BUTLERY_BACKUP_TO": "/backups",
        "BUTLERY_TENANT_TOKEN": "hunter2",
    }
    given = [f"--env={name}={value}" for name, value in environment.items()]
    volumes = [f"--volume={home}:/var/jenkins_home", f"--volume={place}:/backups"]
    run = [*image, "run", "--net=none", "--name=master", *volumes, *given]
    for mode in (0o755, 0o700):
        home.chmod(mode)
        refused = subprocess.run(
            [*image, "run", "--rm", "--net=none", *volumes, *given, BUILT],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert refused.returncode == 1
        assert f"belongs to user 0 and this is user {JENKINS_UID}; chown it" in refused.stderr

    os.chown(home, JENKINS_UID, JENKINS_UID)
    subprocess.run([*run, "--detach", BUILT], check=True, capture_output=True, timeout=TIMEOUT_S)
    try:
        until((home / "said").exists, "the master")
        said = (home / "said").read_text()
        assert said.startswith(f"{JENKINS_UID} -Duser.home=/var/jenkins_home ")
        assert "--httpPort=31000" in said
        backup = [*image, "exec", "master", "/opt/butlery/backup"]
        made = subprocess.run([*backup, "first"], check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert made.returncode == 0, made.stderr
        listed = subprocess.run([*backup, "--list"], check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert [(each["name"], each["state"]) for each in json.loads(listed.stdout)] == [("first", "done")]
        subprocess.run([*image, "stop", "--time=30", "master"], check=True, capture_output=True, timeout=TIMEOUT_S)
        assert (home / "said").read_text().endswith("stopped\n")
        inspected = subprocess.run(
            [*image, "inspect", "--format={{.State.ExitCode}}", "master"], check=True, capture_output=True, text=True
        )
        assert inspected.stdout == "143\n"
    finally:
        subprocess.run([*image, "rm", "--force", "master"], check=True, capture_output=True, timeout=TIMEOUT_S)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_a_place_that_is_full_is_told_and_left_clean(tmp_path: Path, small: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.xml").write_text("<hudson/>")
    (home / "random").write_bytes(os.urandom(1 << 20))
    master = Master(home, small)
    master.failed("backup", "b1")
    (found,) = master.listed()
    assert (found["name"], found["state"], found["bytes"]) == ("b1", "failed", 0)
    assert re.search(r"tar could not copy all .*; \d KiB were free in ", found["message"])
    assert {path.name for path in master.backups.iterdir()} == {".lock", "b1.failed"}
    (home / "random").write_bytes(os.urandom(100 << 10))
    master.done("backup", "b1")
    assert [each["state"] for each in master.listed()] == ["done"]

    # And a home that is full when a backup is to be restored into it.
    (tmp_path / "payments").mkdir()
    for name in ("b1.tar.gz", "b1.sha256"):
        shutil.move(small / "payments" / name, tmp_path / "payments" / name)
    full = Master(small, tmp_path)
    (small / "kept").write_bytes(b"x" * (300 << 10))
    said = full.failed("restore", BUTLERY_RESTORE="b1")
    assert "cannot be unpacked" in said or "cannot be written" in said
    assert (small / "kept").stat().st_size == 300 << 10


@pytest.mark.root
def test_a_directory_that_another_user_made_first_is_not_taken(tmp_path: Path) -> None:
    home, place = tmp_path / "home", tmp_path / "backups"
    home.mkdir()
    place.mkdir()
    (home / "config.xml").write_text("<hudson/>")
    master = Master(home, place)
    master.done("backup", "b1")
    os.chown(master.backups, JENKINS_UID, -1)
    for script, arguments in (("backup", ["b2"]), ("backup", ["--list"]), ("restore", [])):
        said = master.failed(script, *arguments, BUTLERY_RESTORE="b1")
        assert f"{master.backups} belongs to user {JENKINS_UID} and this is user 0; chown it" in said
