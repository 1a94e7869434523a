"""Programs of others that speak to Marathon, in an environment of their own: they need packages as old as they are."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PINS = Path(__file__).with_name("marathon_clients.txt")
INSTALL_TIMEOUT_S = 280
CALL_TIMEOUT_S = 120

OLD_NAMES = """\
import collections
import collections.abc

for name in ("Callable", "Hashable", "Iterable", "Mapping", "MutableMapping", "Sequence"):
    setattr(collections, name, getattr(collections.abc, name))
"""
"""What Python 3.10 took away, and the clients still use; run at the start of the environment's Python."""


def environment() -> Path:
    """The environment, made at the first use of these pins by this Python."""
    key = hashlib.sha256(PINS.read_bytes() + OLD_NAMES.encode() + sys.version.encode()).hexdigest()[:12]
    place = Path(sys.prefix) / f"marathon-clients-{key}"
    ready = place / "ready"
    with (Path(sys.prefix) / "marathon-clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            venv.create(place, clear=True, with_pip=True)
            command = [
                str(place / "bin" / "pip"),
                "install",
                "-q",
                "--no-deps",
                "--disable-pip-version-check",
                "-r",
                str(PINS),
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            (site,) = (place / "lib").glob("python3*/site-packages")
            (site / "sitecustomize.py").write_text(OLD_NAMES)
            ready.touch()
    return place


class Program:
    """A program of the environment. ``arguments`` go before those of each call, ``options`` after them."""

    def __init__(
        self, arguments: list[str], settings: Mapping[str, str], directory: Path, options: tuple[str, ...] = ()
    ) -> None:
        self._arguments, self._options = arguments, options
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **settings}
        self._directory = directory

    def run(self, *arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
        """With ``given`` as JSON on its standard input."""
        return subprocess.run(
            [*self._arguments, *arguments, *self._options],
            env=self._environment,
            cwd=self._directory,
            input="" if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=CALL_TIMEOUT_S,
            check=False,
        )

    def __call__(self, *arguments: str, given: object = None) -> str:
        """What it prints; it must end well."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str, given: object = None) -> Any:
        return json.loads(self(*arguments, given=given))


def dcos_marathon(url: str, directory: Path) -> Program:
    """``dcos marathon``, the command of DC/OS; it knows DC/OS' tokens only."""
    config = directory / "dcos.toml"
    config.write_text(
        f'[core]\ndcos_url = "{url}"\nreporting = false\ntimeout = 60\n[marathon]\nurl = "{url}"\n', "utf-8"
    )
    config.chmod(0o600)
    main = "import sys; from dcoscli.marathon.main import main; sys.exit(main(sys.argv[1:]))"
    python = str(environment() / "bin" / "python")
    settings = {"DCOS_CONFIG": str(config), "DCOS_DIR": str(directory)}
    return Program([python, "-c", main, "marathon"], settings, directory)


def shpkpr(url: str, user: str, password: str, directory: Path) -> Program:
    """``shpkpr apps``, of ShopKeep."""
    options = ("--marathon-url", url, "--username", user, "--password", password, "--allow-insecure-auth")
    settings = {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    return Program([str(environment() / "bin" / "shpkpr"), "apps"], settings, directory, options)
