"""Deployments: begun, cancelled, and led from step to step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from framework.local.marathon.control import Started
from framework.local.marathon.core.effects import Effect
from framework.local.marathon.core.state import State
from framework.local.marathon.definition.app import Group


def deploy(
    state: State,
    change: Callable[[Group, str], Group],
    now: float,
    *,
    force: bool = False,
    restart: Sequence[str] = (),
    kill: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Started, list[Effect]]:
    """As ``Control.deploy`` has it; raises before anything is changed. The effects are a turn's."""
    raise NotImplementedError


def cancel(state: State, deployment_id: str, now: float, *, force: bool) -> tuple[Started | None, list[Effect]]:
    """As ``Control.cancel`` has it; raises before anything is changed. The effects are a turn's."""
    raise NotImplementedError
