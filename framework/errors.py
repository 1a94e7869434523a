"""Errors: each names the field or thing at fault and the fix, chains its cause, and says whether a retry can help."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One thing wrong with what somebody gave us."""

    where: str  # a field's path, such as ``command``; in a file with its line: ``butlery.yaml:7 hosts[2].mem_mib``
    message: str  # what is wrong and what would be right


class ButleryError(Exception):
    """Base of every error this project raises on purpose."""

    retryable = False


class InputError(ButleryError):
    """What the user gave cannot be taken; holds every fault at once. CLI exit code 2, API 4xx."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__(
            "; ".join(f"{fault.where}: {fault.message}" if fault.where else fault.message for fault in faults)
        )


class UnavailableError(ButleryError):
    """An outside service does not answer, or not as it should; trying again later can help."""

    retryable = True


class StoreError(ButleryError):
    """The state cannot be read or saved."""


class StoreFullError(StoreError):
    """The state cannot be saved now (disk full, file locked); nothing was performed and a retry can help."""

    retryable = True


class DeposedError(StoreError):
    """Another scheduler leads now, so that nothing of ours was saved; only a new election can change that."""


class NoStandbyError(ButleryError):
    """No other scheduler could take the leadership over."""


class IdempotencyConflictError(ButleryError):
    """An idempotency key came again with another body."""


class MesosRefusedError(ButleryError):
    """Mesos said no and will say so again: the framework was removed, or may not subscribe."""


class FrameworkRemovedError(MesosRefusedError):
    """Mesos has removed the framework and its tasks; only a new one can subscribe."""


class FrameworkTakenError(MesosRefusedError):
    """Another scheduler has subscribed as our framework; for one that still leads, a new subscription takes it back."""
