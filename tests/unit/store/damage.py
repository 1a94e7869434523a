"""A saved state and what can befall its file."""

from __future__ import annotations

from pathlib import Path

from framework.core.effects import Save, SaveFrameworkId, SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId
from framework.core.tasks import RequestState
from framework.edges.sqlite import SqliteStore
from framework.ports import Snapshot
from tests.fakes import samples

PAGE_BYTES = 4096
"""SQLite's own default, in which the file is made."""


def saved_state(path: Path, requests: int = 60) -> Snapshot:
    """Saves a state with waiting, running and ended requests; what of it lives. The file is whole when this returns."""
    store = SqliteStore(path)
    frame: list[Save] = [SaveFrameworkId(FrameworkId("f-1")), SaveTenant(samples.tenant())]
    every = [samples.request(f"r{number:03}", job=f"job-{number % 7}") for number in range(requests)]
    store.commit((), [samples.new(request, key=f"key-{request.id}") for request in every])
    for request in every[::3]:
        request.state, request.attempt = RequestState.RUNNING, 1
        frame += [SaveRequest(request), SaveTask(samples.task(request))]
    for request in every[1::3]:
        frame += samples.ended(request)
    store.commit(frame)
    store.set_token(samples.TEAM, "2" * 64)
    snapshot = store.load()
    store.close()
    return snapshot


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def kept_aside(path: Path) -> list[Path]:
    """The state files that were moved away from ``path``, without their logs."""
    return sorted(
        found for found in path.parent.glob(f"{path.name}.corrupt-*") if not found.name.endswith(("-wal", "-shm"))
    )
