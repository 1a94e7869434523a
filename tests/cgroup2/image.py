"""A bootable Debian 12 of the project's own, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SUITE = "bookworm"
PACKAGES = ("linux-image-cloud-amd64", "systemd-sysv", "python3", "git")
IMAGE_SIZE = "2G"  # sparse
BUILD_TIMEOUT_S = 900
DEBIAN_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
NEEDED = ("mmdebstrap", "mke2fs", "qemu-system-x86_64")

UNIT = """[Unit]
Description=runs the program on the second disk, a tar archive, and ends
After=basic.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir /run/test && tar -C /run/test -xf /dev/vdb && cd /run/test && python3 guest.py'
ExecStopPost=/sbin/poweroff -f
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
"""


class ImageError(Exception):
    """The image cannot be made; says what is missing."""


@dataclass(frozen=True)
class Image:
    """What an emulator boots. ``root``: an ext4 file system, never written to."""

    root: Path
    kernel: Path
    initrd: Path


def ensure() -> Image:
    """The kept image, made first where there is none of this content. Minutes at first. Raises ImageError."""
    missing = [program for program in NEEDED if shutil.which(program, path=_search_path()) is None]
    if missing:
        raise ImageError(
            f"{', '.join(missing)}: apt-get install --no-install-recommends mmdebstrap e2fsprogs qemu-system-x86"
        )
    sources = [path for path in DEBIAN_SOURCES if path.exists() and path.read_text().strip()][:1]
    content = [SUITE, *PACKAGES, IMAGE_SIZE, UNIT, *(path.read_text() for path in sources)]
    key = hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "butlery" / "cgroup2"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / key
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            print(f"making a Debian {SUITE} in {kept} (once)", flush=True)  # noqa: T201
            with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as scratch:
                _make(Path(scratch), sources)
                (Path(scratch) / "image").rename(kept)
            for old in cache.iterdir():
                if old.is_dir() and old != kept:
                    shutil.rmtree(old)
    return Image(kept / "root.img", kept / "vmlinuz", kept / "initrd.img")


def _make(scratch: Path, sources: list[Path]) -> None:
    """``sources``: where packages come from; by none, from where mmdebstrap knows them to be."""
    tree, made = scratch / "tree", scratch / "image"
    made.mkdir()
    _run("mmdebstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), SUITE, str(tree), *map(str, sources))
    units = tree / "etc/systemd/system"
    (units / "butlery-test.service").write_text(UNIT)
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "butlery-test.service").symlink_to("../butlery-test.service")
    (units / "serial-getty@ttyS0.service").symlink_to("/dev/null")  # the console is for the test's words only
    (tree / "etc/fstab").write_text("")
    boot = tree / "boot"
    shutil.copy(next(boot.glob("vmlinuz-*")), made / "vmlinuz")
    shutil.copy(next(boot.glob("initrd.img-*")), made / "initrd.img")
    _run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(made / "root.img"), IMAGE_SIZE)


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
        env={**os.environ, "PATH": _search_path()},
    )
    if done.returncode:
        raise ImageError(f"{command[0]} failed:\n{done.stderr[-2000:]}")


def _search_path() -> str:
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"  # mke2fs, which users do not have on theirs
