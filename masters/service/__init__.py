"""What ``butlery tenants serve`` runs: the ingress, masters that wake and go to sleep, and their backups."""

from __future__ import annotations

from collections.abc import Sequence

from masters.edges import Edges
from masters.settings import MastersContext


def run(edges: Edges) -> int:
    """Runs until SIGTERM or SIGINT, and ends HAProxy then; the exit code.

    A service that is killed leaves HAProxy serving, and the next one takes it over. Raises InputError where a setting
    is faulty, a port is taken or another service runs.
    """
    raise NotImplementedError


def start_detached(context: MastersContext, command: Sequence[str]) -> int:
    """Runs ``command`` (the whole of ``butlery tenants serve`` with its options, without ``--detach``) in a process

    of its own, and returns its pid once it serves. Raises UnavailableError with its last words where it does not.
    """
    raise NotImplementedError


def stop(context: MastersContext) -> bool:
    """Ends the service and HAProxy; False where none ran. Raises ButleryError where one would not end."""
    raise NotImplementedError
