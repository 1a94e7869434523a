"""Builds that leave a trace of every time they ran, and wait until they are let go."""

from __future__ import annotations

from pathlib import Path

SCRIPT = """
echo "$$" >> {directory}/"$BUTLERY_JOB".started
while [ ! -e {directory}/"$BUTLERY_JOB".go ] && [ ! -e {directory}/go ]; do sleep 1; done
echo "$$" >> {directory}/"$BUTLERY_JOB".ended
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
        path = self._directory / f"{job}.{what}"
        return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
