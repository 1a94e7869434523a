"""The records of telemetry: one of each build that has ended, one of each state change, samples of use.

Their fields are those of the documents in every sink, and of what the API and the files of Grafana and Kibana name.
Times are whole milliseconds since the epoch (``*_at_ms``), lengths of time milliseconds (``*_ms``), money whole
millionths of ``currency``. None: nobody knows, or it never came to that.

A record never changes once it is made: its ``id`` is made of what it tells of, so whoever makes it again after a crash
makes the same one, and of two of one id the first counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from framework.core.stories import Stage

RECORD_VERSION = 1
"""Of the fields' names and meanings; a sink's mapping has it in its name."""
MAX_NAME_BYTES = 256
"""Of a name that is searched and grouped by. Lucene takes 32766; a longer one keeps its begin, and a hash of all."""
MAX_TEXT_BYTES = 2000
"""Of text that is only shown."""


class Kind(StrEnum):
    BUILDS = "builds"
    CHANGES = "changes"
    SAMPLES = "samples"


class BuildRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A build that has ended: what it was, what it asked for and used, when what happened, how it ended, its cost.

    ``id`` is that of its request; of the builds of a pooled agent ``REQUEST+N``, with N from 1.
    """

    id: str
    at_ms: int  # when it ended: what ranges of time, retention and order go by
    v: int  # version of these fields' names and meanings
    tenant: str
    job: str  # its name, bounded; without the number that Jenkins puts into the name of a part of a Pipeline
    source: str  # ``jenkins``, ``api``, ``webhook``
    result_class: str  # how its agent or job ended: a ``framework.core.tasks.FailureClass``
    attempts: int  # tasks that served it, or were to
    asked_cpu_millis: int  # thousandths of a CPU; this and the next two for all its containers together
    asked_mem_mib: int
    asked_disk_mib: int
    queued_at_ms: int  # since when it could be built
    ended_at_ms: int  # as ``at_ms``
    title: str = ""  # the name in full, where ``job`` is not all of it
    asked_gpus: int = 0
    queue_item: int | None = None  # its number in the tenant's Jenkins
    label: str = ""  # that it asked for, in Jenkins
    template: str = ""  # name in the catalogue
    template_version: str = ""
    host: str = ""  # of the newest attempt
    image: str = ""
    used_cpu_ms: int | None = None  # CPU time, of the newest attempt
    peak_mem_mib: float | None = None  # of the container that builds, with what the kernel kept of its files
    limit_mem_mib: int | None = None  # that it was held to: with other containers beside it less than was asked for
    peak_disk_mib: float | None = None  # the most that it had on disk
    claimed_at_ms: int | None = None  # when it had a place on a host; this and the next four are of the newest attempt
    launched_at_ms: int | None = None  # when its task was sent to Mesos
    running_at_ms: int | None = None  # when its task ran
    connected_at_ms: int | None = None  # its agent was online in its master
    started_at_ms: int | None = None  # Jenkins gave its agent the build; of a job, that it ran
    wait_ms: int | None = None  # from queued until connected, or until its job ran
    run_ms: int | None = None  # from started until ended
    asked_cpu_ms: int = 0  # ``asked_cpu_millis`` for that long; this and the next two are there to be summed up
    asked_mem_mib_s: int = 0  # ``asked_mem_mib`` for that long
    peak_mem_mib_s: int = 0  # ``peak_mem_mib`` for that long; 0 too where nobody measured it
    waited_for: str = ""  # what it waited for most: a reason of ``framework.telemetry.reasons``; empty: it hardly did
    result: str = ""  # as Jenkins spells it, where it told one
    message: str = ""  # why it ended so, for one that did not pass
    exit_code: int | None = None
    build_url: str = ""  # in its Jenkins, below the master's own address
    isolation: str = ""  # what held it to its limits
    losses: int = 0  # attempts lost that were none of its doing
    preemptions: int = 0  # times that it had to make room for others
    priority: int = 0
    cost_micros: int | None = None  # of all attempts; None where a part of it has no price
    currency: str = ""
    price: str = ""  # the entry of the price sheet that the newest attempt's host fell under


class ChangeRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A build came to another state. ``id`` is ``REQUEST.ATTEMPT.STATE``."""

    id: str
    at_ms: int  # when
    v: int  # as a build's
    build: str  # a request's id
    tenant: str
    state: str  # that it came to: a ``framework.core.stories.Stage``
    attempt: int
    host: str = ""
    result_class: str = ""  # where an attempt ended
    message: str = ""


class SampleRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The use of the cluster, or of a tenant that has or wants something, at one moment. ``id``: ``AT_MS~TENANT``."""

    id: str
    at_ms: int  # when
    v: int  # as a build's
    scope: str  # ``cluster`` or ``tenant``
    waiting: int  # builds; so the next two
    launching: int
    running: int
    used_cpu_millis: int  # that builds have
    used_mem_mib: int
    tenant: str = ""
    total_cpu_millis: int | None = None  # these and the next five of the cluster alone
    total_mem_mib: int | None = None
    hosts: int | None = None
    offers: int | None = None  # held
    tenants: int | None = None
    breakers: int | None = None  # images that builds wait for to be had again
    dominant_share: float | None = None  # of a tenant, 0 to 1
    fair_share: float | None = None  # that its weight entitles it to, 0 to 1
    reasons: dict[str, int] = {}  # builds that wait, by what for (``framework.telemetry.reasons``)


Record = BuildRecord | ChangeRecord | SampleRecord

_STAGES = {stage.value: place for place, stage in enumerate(Stage)}


def in_order(changes: Iterable[ChangeRecord]) -> list[ChangeRecord]:
    """One build's; those of one moment as their states follow each other."""
    return sorted(changes, key=lambda one: (one.at_ms, one.attempt, _STAGES.get(one.state, len(_STAGES)), one.state))
