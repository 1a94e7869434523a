"""Stands in for jenkinsfile-runner: runs the Jenkinsfile at ``$JENKINSFILE`` in the directory that it is started in.

Known are the steps of ``tests.fakes.jenkins.pipeline`` that need no master: node, stage, withEnv, dir, sh, echo, error.
Exit code 1 where the Pipeline fails, 2 where it cannot be read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.jenkins.pipeline import PipelineError, Step, fill, parse


class FailedError(Exception):
    """The Pipeline's result is FAILURE."""


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run(steps: list[Step], directory: Path, variables: dict[str, str]) -> None:
    """Raises FailedError."""
    for step in steps:
        argument = fill(step.argument, variables)
        say(f"[Pipeline] {step.name}")
        match step.name:
            case "node" | "stage":
                run(step.body or [], directory, variables)
            case "dir":
                run(step.body or [], directory / argument, variables)
            case "withEnv":
                run(step.body or [], directory, variables | dict(one.split("=", 1) for one in argument))
            case "echo":
                say(argument)
            case "sh":
                code = subprocess.run(
                    ["/bin/sh", "-xe", "-c", argument], cwd=directory, env=variables, check=False
                ).returncode
                if code:
                    raise FailedError(f"script returned exit code {code}")
            case "error":
                raise FailedError(str(argument))
            case other:
                raise FailedError(f"the stand-in knows no step {other}")


def main() -> int:
    parameters = Path(os.environ["JENKINSFILE_PARAMETERS"]).read_text().splitlines()
    variables = dict(os.environ) | dict(one.split("=", 1) for one in parameters)
    try:
        steps = parse(Path(os.environ["JENKINSFILE"]).read_text())
        run(steps, Path.cwd(), variables)
    except (OSError, PipelineError) as error:
        say(str(error))
        return 2
    except FailedError as error:
        say(f"ERROR: {error}\nFinished: FAILURE")
        return 1
    say("Finished: SUCCESS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
