"""The executor's command line: none or ``--service`` for Mesos, ``--run`` for people, ``--reap`` for its own guard.

``--service``: its task will be a service, for which nothing of what builds need is loaded.
"""

from __future__ import annotations

import os
import sys

USAGE = "usage: butlery-executor.pyz [--run SPEC.json [--sandbox DIR]]\nWithout --run it is started by a Mesos agent.\n"


def main(arguments: list[str]) -> int:
    """The exit code: 0 when the task's end is reported, whatever it was; with ``--run``, 0 when the build passed."""
    if not arguments or arguments == ["--service"]:
        from agents.executor.connection import NoAgentError
        from agents.executor.driver import Driver

        try:
            return Driver(dict(os.environ), service=bool(arguments)).run()
        except NoAgentError as error:
            sys.stderr.write("butlery-executor: %s\n%s" % (error, USAGE))
            return 2
    if arguments == ["--reap"]:
        from agents.executor.guard import reap

        return reap()
    from agents.executor.standalone import run

    if arguments[0] == "--run" and len(arguments) == 2:
        return run(arguments[1], None)
    if arguments[0] == "--run" and len(arguments) == 4 and arguments[2] == "--sandbox":
        return run(arguments[1], arguments[3])
    sys.stderr.write(USAGE)
    return 2
