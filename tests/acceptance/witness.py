"""Builds that leave a trace of every time they ran, and wait until they are let go."""

from __future__ import annotations

from pathlib import Path

# A file for each run: another attempt may run as another user, who could not write to the first one's.
SCRIPT = """
echo "$$" > {directory}/"$BUTLERY_JOB.started.$BUTLERY_TASK_ID.$$"
while [ ! -e {directory}/"$BUTLERY_JOB".go ] && [ ! -e {directory}/go ]; do sleep 1; done
echo "$$" > {directory}/"$BUTLERY_JOB.ended.$BUTLERY_TASK_ID.$$"
"""


class Witness:
    """Of jobs by name. ``directory`` must be one that builds may write to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "witness"
        self._directory.mkdir()
        self._directory.chmod(0o1777)

    @property
    def script(self) -> str:
        return SCRIPT.format(directory=self._directory)

    def release(self, job: str | None = None) -> None:
        """Lets one job's builds end, or all."""
        (self._directory / ("go" if job is None else f"{job}.go")).touch()

    def started(self, job: str) -> list[int]:
        """Pids of all that ever ran of it."""
        return self._pids(job, "started")

    def ended(self, job: str) -> list[int]:
        """Pids of all that ran to their end."""
        return self._pids(job, "ended")

    def _pids(self, job: str, what: str) -> list[int]:
        return [int(line) for path in self._directory.glob(f"{job}.{what}.*") for line in path.read_text().split()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
