"""The Debian packages that Mesos and its shims need: found, installed as root, or named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from framework.errors import ButleryError, Fault, InputError

INSTALL_TIMEOUT_S = 900

_SONAMES = {
    "libsvn_delta-1.so.1": "libsvn1",
    "libsvn_subr-1.so.1": "libsvn1",
    "libapr-1.so.0": "libapr1",
    "libsasl2.so.2": "libsasl2-2",
    "libz.so.1": "zlib1g",
}
_PROGRAMS = {"g++": "g++", "nm": "binutils"}
# The master loads the CRAM-MD5 mechanism at start even where nobody authenticates.
_SASL_MODULE = "sasl2/libcrammd5.so"


def missing() -> list[str]:
    """Names of the Debian packages that are needed and not there, sorted."""
    tools_path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    ldconfig = shutil.which("ldconfig", path=tools_path)
    if ldconfig is None:
        raise InputError(
            [Fault("local", "no ldconfig on this machine: a Linux with glibc is needed, such as Debian 12")]
        )
    cache = subprocess.run([ldconfig, "-p"], check=False, capture_output=True, text=True, timeout=60).stdout
    found = {line.split()[0]: line.split()[-1] for line in cache.splitlines() if "=>" in line}
    packages = {package for soname, package in _SONAMES.items() if soname not in found}
    packages |= {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    sasl = found.get("libsasl2.so.2")
    if sasl is None or not (Path(sasl).parent / _SASL_MODULE).exists():
        packages.add("libsasl2-modules")
    return sorted(packages)


def ensure(say: Callable[[str], None]) -> None:
    """Installs what Mesos needs and is missing. Raises as ``install``."""
    install(missing(), say)


def install(packages: list[str], say: Callable[[str], None]) -> None:
    """Installs what is missing when run as root, or where sudo asks for no password.

    Raises InputError with the exact command where it may not, ButleryError where apt-get fails.
    """
    if not packages:
        return
    prefix = _privilege()
    if prefix is None or shutil.which("apt-get") is None:
        raise InputError(
            [Fault("local", "missing on this machine; run: sudo apt-get install -y " + " ".join(packages))]
        )
    command = [*prefix, "apt-get", "install", "-y", "--no-install-recommends", *packages]
    say("running " + " ".join(command))
    if _run(command).returncode != 0:  # a fresh machine has no package lists yet
        _run([*prefix, "apt-get", "update"])
        done = _run(command)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise ButleryError(f"{' '.join(command)} ended with {done.returncode}: {' '.join(last)}")


def _privilege() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    if shutil.which("sudo") and _run([*sudo, "true"]).returncode == 0:
        return sudo
    return None


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ButleryError(f"{' '.join(command)} did not end within {INSTALL_TIMEOUT_S} s") from error
