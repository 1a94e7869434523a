"""What the stand-in is started with: options of its own, the rest from a master's environment."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from masters.names import Variable

_KITS = (Path("kit"), Path(__file__).parents[3] / "masters" / "image")
"""Where the scripts of a master's image may be: where Marathon fetches them to, else in the source tree."""


@dataclass(frozen=True, slots=True)
class Options:
    """One master's. ``agent_port`` is None where no agent may come by TCP, 0 for a port that the system chooses."""

    home: Path
    port: int
    listen: str
    prefix: str  # "" or such as "/payments"
    agent_port: int | None
    boot_refused_s: float
    boot_s: float
    kit: Path
    tenant: str
    root_url: str | None
    scheduler_url: str | None
    tenant_token: str
    admin_password: str | None  # None: not secured, as a Jenkins without our init scripts is
    backup_to: Path | None
    backup_keep: int
    restore: str | None
    node_prefix: str  # of nodes that serve one build only


def read_options(argv: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Exits 2 with a usage line where an option is wrong, as argparse does."""
    parser = argparse.ArgumentParser("python -m tests.fakes.jenkins", description="A stand-in for Jenkins.")
    parser.add_argument("--home", type=Path, default=environment.get(Variable.HOME))
    parser.add_argument("--port", type=int, default=environment.get(Variable.HTTP_PORT))
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--prefix", default=None, help="path prefix, such as /payments")
    parser.add_argument("--agent-port", type=int, default=environment.get(Variable.AGENT_PORT))
    parser.add_argument("--boot-refused-s", type=float, default=0.0, help="seconds before it listens at all")
    parser.add_argument("--boot-s", type=float, default=0.5, help="seconds of 503 after that")
    parser.add_argument(
        "--kit",
        type=Path,
        default=next(kit for kit in _KITS if kit.is_dir()).absolute(),
        help="directory of the scripts backup and restore",
    )
    given = parser.parse_args(argv)
    if given.home is None or given.port is None:
        parser.error(f"--home and --port, or {Variable.HOME} and {Variable.HTTP_PORT}, are needed")
    root_url = environment.get(Variable.ROOT_URL) or None
    prefix = given.prefix if given.prefix is not None else environment.get(Variable.PATH, "")
    if not prefix and root_url:
        prefix = urlsplit(root_url).path
    backup_to = environment.get(Variable.BACKUP_TO)
    return Options(
        home=given.home.absolute(),
        port=given.port,
        listen=given.listen,
        prefix=prefix.rstrip("/"),
        agent_port=given.agent_port,
        boot_refused_s=given.boot_refused_s,
        boot_s=given.boot_s,
        kit=given.kit,
        tenant=environment.get(Variable.TENANT, "stand-in"),
        root_url=root_url.rstrip("/") + "/" if root_url else None,
        scheduler_url=(environment.get(Variable.SCHEDULER_URL) or "").rstrip("/") or None,
        tenant_token=environment.get(Variable.TENANT_TOKEN, ""),
        admin_password=environment.get(Variable.ADMIN_PASSWORD) or None,
        backup_to=Path(backup_to) if backup_to else None,
        backup_keep=int(environment.get(Variable.BACKUP_KEEP) or 7),
        restore=environment.get(Variable.RESTORE) or None,
        node_prefix="butlery-",
    )
