"""What a build costs by a price sheet, held against exact fractions, day by day."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from framework.core.resources import Resources
from framework.documents import parse_document
from framework.telemetry.prices import price_sheet

FIRST = date(2026, 3, 1)
DAY_S = 86_400
FIRST_S = 1_772_323_200
DAYS = 6

prices = st.integers(0, 10**10).map(lambda billionths: Fraction(billionths, 10**9))
resources = st.builds(
    Resources, st.integers(0, 64_000), st.integers(0, 1 << 20), st.integers(0, 1 << 24), st.integers(0, 8)
)


@st.composite
def sheets(draw: st.DrawFn) -> list[tuple[int, int, list[Fraction], bool]]:
    """Entries of one kind of hosts, that hold one after the other: first day, end, prices, whether GPUs have one."""
    days = sorted(draw(st.sets(st.integers(0, DAYS), min_size=2)))
    pairs = list(pairwise(days))
    kept = draw(st.lists(st.sampled_from(pairs), min_size=1, unique=True))
    return [(since, until, [draw(prices) for _ in range(4)], draw(st.booleans())) for since, until in sorted(kept)]


@given(sheets(), resources, st.floats(-1, DAYS + 1), st.floats(0, DAYS))
def test_a_cost_is_what_fractions_say_or_none(
    entries: list[tuple[int, int, list[Fraction], bool]], need: Resources, begin_d: float, length_d: float
) -> None:
    lines = ["currency: EUR", "prices:"]
    for since, until, (cpu, mem, disk, gpu), has_gpus in entries:
        lines += [
            f"  - name: p{since}",
            f"    since: {FIRST + timedelta(days=since)}",
            f"    until: {FIRST + timedelta(days=until)}",
            f"    cpu_hour: {float(cpu):.9f}",
            f"    mem_gib_hour: {float(mem):.9f}",
            f"    disk_gib_hour: {float(disk):.9f}",
            *([f"    gpu_hour: {float(gpu):.9f}"] if has_gpus else []),
        ]
    sheet = price_sheet(parse_document("\n".join(lines), "prices.yaml"))
    begin_ms = round((FIRST_S + begin_d * DAY_S) * 1000)
    end_ms = begin_ms + round(length_d * DAY_S * 1000)
    found = sheet.cost({}, need, begin_ms / 1000, end_ms / 1000)

    total, covered, priced = Fraction(0), 0, True
    for since, until, (cpu, mem, disk, gpu), has_gpus in entries:
        first_ms, last_ms = ((FIRST_S + day * DAY_S) * 1000 for day in (since, until))
        shared = min(end_ms, last_ms) - max(begin_ms, first_ms)
        if shared <= 0:
            continue
        covered += shared
        priced = priced and (has_gpus or not need.gpus)
        hourly = Fraction(need.cpu_millis, 1000) * cpu + Fraction(need.mem_mib, 1024) * mem
        hourly += Fraction(need.disk_mib, 1024) * disk + need.gpus * gpu
        total += hourly * Fraction(shared, 3_600_000)
    if end_ms == begin_ms:
        assert found.micros in (0, None)
    elif covered < end_ms - begin_ms or not priced:
        assert found.micros is None
    else:
        assert found.micros is not None
        assert abs(found.micros - total * 10**6) <= Fraction(1, 2)
