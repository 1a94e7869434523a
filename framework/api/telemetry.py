"""Routes of telemetry itself: how records fare on their way, for the administrator."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from framework.api.answers import EPOCH
from framework.api.auth import Administrator
from framework.api.context import Context, Serving
from framework.api.problems import documented, unavailable
from framework.telemetry_ports import ConsumerHealth, Telemetry

router = APIRouter(prefix="/v1/telemetry", tags=["operations"])


class ConsumerOut(BaseModel):
    """One that takes records out of the spool."""

    name: str = Field(description="`sqlite`, `elasticsearch`, `traces`, or `alerts-` and the channel's name.")
    records: int = Field(description="That it has not taken yet.")
    bytes: int = Field(description="Of these in the spool.")
    oldest_at: float | None = Field(description=f"{EPOCH} When the oldest of these was put there.")
    behind_s: float = Field(description="How long ago that is.")
    taken: int = Field(description="Since the scheduler started.")
    trouble: str = Field(description="Why it takes nothing now; empty where it does.")

    @classmethod
    def of(cls, found: ConsumerHealth) -> ConsumerOut:
        depth = found.depth
        return cls(
            name=found.name,
            records=depth.records,
            bytes=depth.bytes,
            oldest_at=depth.oldest_at,
            behind_s=found.behind_s,
            taken=found.taken,
            trouble=found.trouble,
        )


class TelemetryOut(BaseModel):
    """How records fare on their way from this scheduler."""

    sink: str = Field(description="Where they are kept that answers are made of: `sqlite` or `elasticsearch`.")
    consumers: list[ConsumerOut]
    rejected: int = Field(description="Records that were refused and are kept aside.")
    dropped: int = Field(description="State changes and samples that there was no room for, since it started.")
    notices: list[str] = Field(description="What an operator should know.")


class ResentOut(BaseModel):
    """Records that were refused before."""

    resent: int


def telemetry_of(context: Context) -> Telemetry:
    """Raises ProblemError."""
    if context.telemetry is None:
        raise unavailable("This scheduler records nothing.")
    return context.telemetry


@router.get("", summary="How records fare", responses=documented(401, 403, 503))
async def telemetry(_: Administrator, context: Serving) -> TelemetryOut:
    """Of the scheduler that is asked, a standby too: each has a spool of its own."""
    found = await telemetry_of(context).health()
    return TelemetryOut(
        sink=found.sink,
        consumers=[ConsumerOut.of(each) for each in found.consumers],
        rejected=found.rejected,
        dropped=found.dropped,
        notices=found.notices,
    )


@router.post("/resend", summary="Have refused records taken again", responses=documented(401, 403, 503))
async def resend(_: Administrator, context: Serving) -> ResentOut:
    """Once what they were refused for is mended; they come to whoever refused them."""
    return ResentOut(resent=await telemetry_of(context).resend())
