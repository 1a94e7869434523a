"""Which Marathon, scheduler and secret store tenants' masters are made with: told, or those of ``butlery local up``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from masters.settings import MastersContext


def resolve(config: Path | None, directory: Path | None, environ: Mapping[str, str]) -> MastersContext:
    """The section ``masters`` of the settings file, completed from the local cluster (of ``directory``).

    Raises InputError with every fault at once, and UnavailableError where a local cluster is needed and none is up.
    """
    raise NotImplementedError
