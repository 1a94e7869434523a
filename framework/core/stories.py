"""What people are told of builds: how far one has come, and why one ended. Every sentence of it is here."""

from __future__ import annotations

from enum import StrEnum

from framework.core.tasks import SPARES, FailureClass, Outcome, Request, RequestState


class Stage(StrEnum):
    """How far a build has come; of one that came from a master's queue more is known."""

    WAITING = "waiting"  # for a place on a host
    PREPARING = "preparing"  # its node is made in its master
    STARTING = "starting"  # its task is on its way to its host
    CONNECTING = "connecting"  # its agent runs, and is not online yet
    ONLINE = "online"  # its agent has been given no build yet
    READY = "ready"  # it is a spare, which no tenant has been given yet
    BUILDING = "building"
    IDLE = "idle"  # its agent is of a pool, and waits for another build
    ENDING = "ending"
    ENDED = "ended"


def stage(request: Request) -> Stage:
    match request.state:
        case RequestState.LAUNCHING:
            return Stage.STARTING
        case RequestState.RUNNING:
            return _of_agent(request)
        case state:
            return Stage(state.value)


def _of_agent(request: Request) -> Stage:
    side = request.jenkins
    if request.tenant == SPARES:
        return Stage.READY
    if side is None or side.accepted_at is not None:
        return Stage.BUILDING
    if side.online_at is None:
        return Stage.CONNECTING
    return Stage.IDLE if side.builds else Stage.ONLINE


def waited_s(request: Request) -> float | None:
    """From when it could be built until its agent was online, or its job ran; None before that."""
    side = request.jenkins
    if side is None:
        return None if request.running_at is None else max(0.0, request.running_at - request.submitted_at)
    return None if side.online_at is None else max(0.0, side.online_at - side.buildable_at)


def ending(request: Request, outcome: Outcome, hostname: str = "") -> str:
    """Why an agent or its build ended, for its tenant: what happened, the figures, and what would help.

    ``hostname``: where that was, if it is to be told.
    """
    told = _ENDINGS.get(outcome.result_class, _plainly)(request, outcome)
    where = f" (on host {hostname})" if hostname and outcome.result_class in _OF_HOSTS else ""
    return f"{outcome.result_class.value}: {told}{where}"


_OF_HOSTS = (FailureClass.CONNECT, FailureClass.INFRASTRUCTURE, FailureClass.FAILED, FailureClass.DISK)


def _plainly(request: Request, outcome: Outcome) -> str:  # noqa: ARG001 as all of them
    return outcome.message or "nobody said why"


def _oom(request: Request, outcome: Outcome) -> str:
    limit = outcome.limit_mem_mib
    peak = "" if outcome.peak_mem_mib is None else f", with a peak of {outcome.peak_mem_mib:.0f} MiB"
    text = "it needed more memory than it has" + ("" if limit is None else f", which is {limit} MiB") + peak
    return f"{text}; ask for more, of {_template(request)}"


def _image(request: Request, outcome: Outcome) -> str:
    return f"the image {request.template.image or ''} could not be had: {_plainly(request, outcome)}"


def _connect(request: Request, outcome: Outcome) -> str:
    side = request.jenkins
    what = "was not online in time" if side is None or side.online_at is None else "was away from its master too long"
    return f"the agent {what}: {_plainly(request, outcome)}"


def _infrastructure(request: Request, outcome: Outcome) -> str:
    return f"lost by none of its own doing: {_plainly(request, outcome)}"


def _timeout(request: Request, outcome: Outcome) -> str:
    limit_s = request.template.timeout_s
    return f"{_plainly(request, outcome)}; {_template(request)} gives a build {limit_s:g} s"


def _failed(request: Request, outcome: Outcome) -> str:
    side = request.jenkins
    if side is None:
        return _plainly(request, outcome)
    when = "before it was online" if side.online_at is None else "by itself"
    return f"the agent ended {when}: {_plainly(request, outcome)}"


_ENDINGS = {
    FailureClass.OOM: _oom,
    FailureClass.IMAGE: _image,
    FailureClass.CONNECT: _connect,
    FailureClass.INFRASTRUCTURE: _infrastructure,
    FailureClass.TIMEOUT: _timeout,
    FailureClass.FAILED: _failed,
}


def _template(request: Request) -> str:
    return f"template {request.template.name}" if request.template.name else "the job"
