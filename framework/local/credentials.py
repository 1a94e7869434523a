"""Who may speak to the Mesos of a one-machine cluster: a principal for the scheduler, one for the Marathon-compatible

server, one for people and commands here.

The directory of a cluster holds ``mesos/credentials.json`` and ``mesos/agent.json``, which Mesos reads, and a file with
each secret alone. They are made once and readable by their owner alone, so that no build finds them.
"""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from framework.errors import Fault, InputError
from framework.local.files import PRIVATE, write_whole

SCHEDULER = "butlery"
MARATHON = "marathon"
OPERATOR = "operator"
AGENT = "agent"
SECRET_BYTES = 32

_ALLOWED = {"values": [SCHEDULER, OPERATOR]}
_ANY = {"type": "ANY"}
_NONE = {"type": "NONE"}
_ACLS = {  # the first that is of a principal decides, and somebody without one is of ANY
    "access_sandboxes": [{"principals": _ALLOWED, "users": _ANY}, {"principals": _ANY, "users": _NONE}],
    "access_mesos_logs": [{"principals": _ALLOWED, "logs": _ANY}, {"principals": _ANY, "logs": _NONE}],
}


class Credential:
    """A principal and the file with its secret."""

    def __init__(self, principal: str, secret_file: Path) -> None:
        self.principal = principal
        self.secret_file = secret_file

    def authorization(self) -> str:
        """The value of an Authorization header (HTTP Basic). Raises OSError where the secret is not ours to read."""
        pair = f"{self.principal}:{self.secret_file.read_text().strip()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


class Credentials:
    """Those of the cluster in ``directory``; ``make`` them before Mesos starts."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "mesos" / "credentials.json"
        self.agent_file = directory / "mesos" / "agent.json"
        self.scheduler = Credential(SCHEDULER, directory / "mesos.secret")
        self.marathon = Credential(MARATHON, directory / "marathon.secret")
        self.operator = Credential(OPERATOR, directory / "operator.secret")

    def make(self) -> None:
        """Keeps the secrets that there are. Raises InputError where the directory cannot be used."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            pairs = []
            for each in (self.scheduler, self.marathon, self.operator):
                if not each.secret_file.exists():
                    write_secret(each.secret_file, secrets.token_urlsafe(SECRET_BYTES))
                pairs.append({"principal": each.principal, "secret": each.secret_file.read_text().strip()})
            # No more than Mesos' agents show to their master, in one process: as new as that process.
            agent = {"principal": AGENT, "secret": secrets.token_urlsafe(SECRET_BYTES)}
            write_secret(self.agent_file, json.dumps(agent))
            write_secret(self.file, json.dumps({"credentials": [*pairs, agent]}))
        except OSError as error:
            raise InputError([Fault("local.directory", f"{error.filename}: {error.strerror}")]) from error

    def mesos_flags(self) -> dict[str, str]:
        """Of the master and of every agent: nobody is answered who does not say who they are.

        Mesos' executors are not asked: what would know them is not in a Mesos without TLS.
        """
        return {
            "MESOS_CREDENTIALS": f"file://{self.file}",  # the master's own
            "MESOS_HTTP_CREDENTIALS": f"file://{self.file}",  # the agents'
            "MESOS_CREDENTIAL": str(self.agent_file),
            "MESOS_AUTHENTICATE_AGENTS": "true",  # lest a build stand in for a host and is sent others' builds
            "MESOS_AUTHENTICATE_FRAMEWORKS": "true",
            "MESOS_AUTHENTICATE_HTTP_FRAMEWORKS": "true",
            "MESOS_HTTP_FRAMEWORK_AUTHENTICATORS": "basic",
            "MESOS_AUTHENTICATE_HTTP_READONLY": "true",
            "MESOS_AUTHENTICATE_HTTP_READWRITE": "true",
            # Of one process' files nobody is asked who they are (seen with 1.11), but who they are not keeps them out.
            "MESOS_ACLS": json.dumps(_ACLS),
        }


def write_secret(path: Path, secret: str) -> None:
    """Writes a file that only this user may read."""
    write_whole(path, secret + "\n", PRIVATE)
