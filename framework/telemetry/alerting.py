"""Builds that ended badly, gathered for one message to a channel, in the form that Slack's webhooks take.

What is gathered is bounded, however many builds there are: counts by class and job, and the newest builds with why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from framework.telemetry.records import BuildRecord

MAX_JOBS = 500
"""Counted by name; builds of further jobs are counted by class alone."""
NEWEST = 10
LATE_MS = 3_600_000
"""Builds that ended longer ago, as after an outage, are counted and not told one by one."""
MOST_TOLD_JOBS = 5
"""Of a class."""
SECTION_CHARS = 2900
"""Slack takes 3000 a section, 50 blocks and 40,000 characters of text a message."""
WHY_CHARS = 200
NAME_CHARS = 120


class Bad(NamedTuple):
    """A build, as far as it is told."""

    at_ms: int
    id: str
    tenant: str
    job: str
    result_class: str
    host: str
    why: str


class Digest(msgspec.Struct, frozen=True):
    """What is to be told. ``more`` adds to a copy."""

    builds: int = 0
    by_class: Counter[str] = Counter()
    by_job: Counter[tuple[str, str, str]] = Counter()  # class, tenant, job
    newest: tuple[Bad, ...] = ()  # the newest first
    from_ms: int = 0
    until_ms: int = 0

    def more(self, builds: Iterable[BuildRecord], now_ms: int) -> Digest:
        by_class, by_job, newest = self.by_class.copy(), self.by_job.copy(), list(self.newest)
        count, from_ms, until_ms = self.builds, self.from_ms, self.until_ms
        for build in builds:
            by_class[build.result_class] += 1
            key = (build.result_class, build.tenant, build.job)
            if key in by_job or len(by_job) < MAX_JOBS:
                by_job[key] += 1
            from_ms = min(from_ms, build.at_ms) if count else build.at_ms
            until_ms = max(until_ms, build.at_ms)
            count += 1
            if build.at_ms >= now_ms - LATE_MS:
                newest.append(_told(build))
        newest.sort(reverse=True)
        return Digest(count, by_class, by_job, tuple(newest[:NEWEST]), from_ms, until_ms)


def _told(build: BuildRecord) -> Bad:
    why = build.message or build.result or "no reason was told"
    return Bad(
        build.at_ms,
        build.id,
        build.tenant,
        _line(build.job, NAME_CHARS),
        build.result_class,
        _line(build.host, NAME_CHARS),
        _line(why, WHY_CHARS),
    )


def message(digest: Digest, now_ms: int) -> dict[str, Any]:
    """The body of a POST: ``blocks`` for Slack, and all of it again in ``text`` for what takes that alone."""
    ago = _length(max(0, now_ms - digest.from_ms))
    builds = "1 build" if digest.builds == 1 else f"{digest.builds} builds"
    sections = [
        f"*Butlery*: {builds} ended badly in the last {ago}",
        *(_of_class(name, count, digest) for name, count in digest.by_class.most_common()),
    ]
    if digest.newest:
        sections.append("\n".join(["*The newest*", *(_of_build(one) for one in digest.newest)]))
    sections = [_fitting(section) for section in sections]
    return {
        "text": "\n".join(sections),
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": section}} for section in sections],
    }


def _of_class(name: str, count: int, digest: Digest) -> str:
    """A class with the jobs that it befell most."""
    of_it = Counter({key: builds for key, builds in digest.by_job.items() if key[0] == name})
    told = of_it.most_common(MOST_TOLD_JOBS)
    lines = [f"*{name}*: {count}"]
    lines += [f"• {_code(_line(job, NAME_CHARS))} of {_code(tenant)}: {builds}" for (_, tenant, job), builds in told]
    rest = count - sum(builds for _, builds in told)
    return "\n".join([*lines, f"• of other jobs: {rest}"] if rest else lines)


def _of_build(one: Bad) -> str:
    where = f" on {_code(one.host)}" if one.host else ""
    return f"• {_code(one.job)} of {_code(one.tenant)}{where}: {one.result_class}, {_safe(one.why)} ({_code(one.id)})"


def _length(ms: int) -> str:
    """Rounded up, so that all of it was in there."""
    minutes = -(-ms // 60_000)
    if minutes < 120:
        return f"{max(1, minutes)} min"
    return f"{-(-minutes // 60)} h" if minutes < 72 * 60 else f"{-(-minutes // 1440)} days"


def _line(text: str, most: int) -> str:
    """One line of what can be printed, of at most so many characters."""
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * most])
    line = " ".join(shown.split())
    return line if len(line) <= most and len(text) <= 4 * most else line[: most - 3] + "..."


def _safe(text: str) -> str:
    """Slack takes ``<...>`` for links and calls of people, and wants these three characters so."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    return f"`{_safe(text).replace('`', chr(39))}`"


def _fitting(section: str) -> str:
    """As many of its lines, from the first on, as a section takes."""
    kept: list[str] = []
    left = SECTION_CHARS
    for line in section.splitlines():
        left -= len(line) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join(kept)
