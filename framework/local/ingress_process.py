"""The tenants' service, all masters' one address, as a child process on the one-machine cluster.

It is a command of another package, which is known here by its command line and its settings file alone.
"""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from framework.errors import ButleryError, UnavailableError
from framework.local import processes
from framework.local.server_process import ServerProcess
from framework.local.status import Paths

PROGRAM = "haproxy"
SYSTEM_PATHS = ("/usr/sbin", "/usr/local/sbin")
"""Where Debian has it, which the PATH of a user who is not root may leave out."""
ANSWER_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 10.0
MISSING = "masters have no address yet, for HAProxy is not installed: `apt-get install haproxy`, then `down` and `up`"


def found(program: str = PROGRAM) -> str | None:
    """The path of what the service needs; None where it is not there."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_PATHS)))


def end_haproxy(directory: Path) -> None:
    """Ends what a service that was killed has left serving, for the next one to take over. Raises ButleryError."""
    folder = directory.resolve() / "ingress"
    left = processes.end(lambda: processes.of_directory(folder), STOP_TIMEOUT_S)
    if left:
        raise ButleryError(f"these processes of {folder} cannot be ended: {sorted(left)}")


def ingress_process(directory: Path, command: Sequence[str], url: str) -> ServerProcess:
    """``command`` is the whole of it; ``url`` is where it answers, whatever it says."""
    paths = Paths(directory)
    address = urlsplit(url)

    def answers() -> None:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{url} does not answer: {error}") from error
        finally:
            connection.close()

    return ServerProcess("the tenants' service", directory, command, paths.ingress_pid, paths.ingress_log, answers)
