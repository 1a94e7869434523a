"""Running one build without Mesos, for tests and debugging."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile

from agents.executor import guard
from agents.spec import BuildResult, BuildSpec

CLEAR_TIMEOUT_S = 60.0


def run(spec_path: str, sandbox: str | None) -> int:
    """Runs the spec in the file at ``spec_path`` in ``sandbox`` (a new directory where None).

    The last line on stdout is the BuildResult. SIGTERM and SIGINT cancel the build. Exit code 0: it passed.
    """
    try:
        with open(spec_path, "rb") as file:
            spec = BuildSpec.from_json(file.read())
        made = sandbox or tempfile.mkdtemp(prefix="butlery-")
        os.makedirs(made, exist_ok=True)
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write("butlery-executor: %s\n" % error)
        return 2
    build = guard.start(spec, made)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: build.kill(spec.grace_s))
    os.set_blocking(build.report_fd, True)
    result = BuildResult("infrastructure", "the build's runner was killed")
    with open(build.report_fd, encoding="utf-8") as lines:
        for line in lines:
            told = json.loads(line)
            if "result" in told:
                result = BuildResult(**told["result"])
    if not build.wait_for_guard(CLEAR_TIMEOUT_S):
        sys.stderr.write("butlery-executor: still clearing up in %s\n" % made)
    sys.stdout.write("sandbox %s\n%s\n" % (made, result.to_json().decode()))
    return 0 if result.result_class == "passed" else 1
