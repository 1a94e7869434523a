"""Errors of tenants' masters, besides those of ``framework.errors``."""

from __future__ import annotations

from framework.errors import ButleryError, Fault


class MarathonError(ButleryError):
    """Marathon will not do it, and will say so again."""


class CredentialsError(MarathonError):
    """Marathon does not take our user and password: it will do nothing for us, whatever is asked."""


class MarathonRefusedError(MarathonError):
    """422 or 400: ``faults`` has each field of the app with what is wrong."""

    def __init__(self, detail: str, faults: list[Fault]) -> None:
        super().__init__(detail)
        self.faults = faults


class ChangedError(MarathonError):
    """The app is not of the version it was planned against: somebody else changed it; plan anew."""


class DeploymentError(ButleryError):
    """A deployment did not end well in its time; says why the master does not become healthy."""


class MasterBusyError(ButleryError):
    """Builds run on a master that is to go; drain it or force it."""
