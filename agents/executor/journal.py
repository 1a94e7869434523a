"""The executor's own output, in its sandbox."""

from __future__ import annotations

import os
import sys
import time


def log(text: str) -> None:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    sys.stderr.write("%s.%03dZ butlery-executor[%d]: %s\n" % (stamp, now % 1 * 1000, os.getpid(), text))
    sys.stderr.flush()


def log_into(sandbox: str) -> None:
    """Sends this process' own output to the sandbox, where a containerizer has not seen to it already."""
    for fd, name in ((1, "stdout"), (2, "stderr")):
        path = os.path.join(sandbox, name)
        try:
            if not os.path.exists(path) or not os.path.samestat(os.fstat(fd), os.stat(path)):
                made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
                os.dup2(made, fd)
                os.close(made)
        except OSError as error:
            log("no %s in the sandbox: %s" % (name, error))
