"""Routes of who leads, of handing over, and of draining: for the administrator."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

import framework
from framework.api.answers import Role, role_of
from framework.api.auth import Administrator
from framework.api.context import Context, Serving
from framework.api.problems import ProblemError, documented
from framework.errors import NoStandbyError
from framework.ports import Leader

router = APIRouter(prefix="/v1", tags=["operations"])


class LeaderOut(BaseModel):
    """A scheduler that leads, as it told when it was elected."""

    url: str
    name: str = Field(description="Of its machine and process.")
    version: str
    epoch: int = Field(description="Of its leadership; each is larger than all before.")
    since: float = Field(description="Seconds since the epoch.")

    @classmethod
    def of(cls, leader: Leader | None) -> LeaderOut | None:
        return None if leader is None else cls(**{name: getattr(leader, name) for name in cls.model_fields})


class LeadershipOut(BaseModel):
    """Who leads, and what the scheduler that answers is."""

    leader: LeaderOut | None = Field(description="Null where nobody leads.")
    role: Role = Field(description="Of the scheduler that answers.")
    url: str = Field(description="Its own.")
    version: str = Field(description="Its own.")
    standbys: int = Field(description="How many others stand for election.")


class DrainOut(BaseModel):
    """Whether nothing new is launched, and what still runs."""

    draining: bool
    waiting: int
    launching: int
    running: int


@router.get("/leader", summary="Who leads?", responses=documented(401, 403))
async def leader(_: Administrator, context: Serving) -> LeadershipOut:
    """As the scheduler that is asked last heard."""
    return _leadership(context)


@router.post("/leader/step-down", summary="Hand the leadership over", responses=documented(401, 403, 409, 422, 503))
async def step_down(
    _: Administrator,
    context: Serving,
    force: Annotated[bool, Query(description="Also where no standby is connected.")] = False,
) -> LeadershipOut:
    """The leader stops leading and stands by; another is elected at once. Builds run on."""
    try:
        await context.seat.step_down(force)
    except NoStandbyError as error:
        text = f"{error}; start one, which takes state.zookeeper, or force it."
        raise ProblemError(409, "no-standby", text) from error
    return _leadership(context)


@router.put("/drain", summary="Launch nothing new", responses=documented(401, 403, 503))
async def drain(_: Administrator, context: Serving) -> DrainOut:
    """Jobs are taken and wait; what runs goes on. It holds until it is ended, over restarts and takeovers too."""
    return await _set_draining(context, True)


@router.delete("/drain", summary="Launch again", responses=documented(401, 403, 503))
async def end_drain(_: Administrator, context: Serving) -> DrainOut:
    return await _set_draining(context, False)


def _leadership(context: Context) -> LeadershipOut:
    seat = context.seat
    return LeadershipOut(
        leader=LeaderOut.of(seat.leader),
        role=role_of(seat),
        url=seat.url,
        version=framework.__version__,
        standbys=seat.standbys,
    )


async def _set_draining(context: Context, draining: bool) -> DrainOut:
    await context.control.set_draining(draining)
    health = context.control.health()
    return DrainOut(draining=draining, waiting=health.waiting, launching=health.launching, running=health.running)
