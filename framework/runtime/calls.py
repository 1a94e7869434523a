"""Effects that are one call of the driver each, whichever core wants them, and those that are for the log."""

from __future__ import annotations

from typing import TypeAlias

from framework.core import effects as ef
from framework.log import Logger
from framework.mesos_ports import SchedulerDriver

PlainCall: TypeAlias = (
    ef.Decline
    | ef.AcceptInverse
    | ef.DeclineInverse
    | ef.Revive
    | ef.Suppress
    | ef.Kill
    | ef.Acknowledge
    | ef.Reconcile
)


def call(driver: SchedulerDriver, effect: PlainCall) -> None:
    match effect:
        case ef.Decline():
            driver.decline(effect)
        case ef.AcceptInverse():
            driver.accept_inverse(effect)
        case ef.DeclineInverse():
            driver.decline_inverse(effect)
        case ef.Revive():
            driver.revive()
        case ef.Suppress():
            driver.suppress()
        case ef.Kill():
            driver.kill(effect)
        case ef.Acknowledge():
            driver.acknowledge(effect)
        case ef.Reconcile():
            driver.reconcile(effect)


def report(log: Logger, effect: ef.Report) -> None:
    """With those of its fields that say something."""
    names = ("tenant", "request_id", "task_id", "offer_id", "host")
    fields = {name: value for name in names if (value := getattr(effect, name)) is not None}
    log.at(effect.level, effect.message, **fields)
