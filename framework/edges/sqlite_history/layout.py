"""What is in the file.

Names of tenants, jobs, labels and so on are numbers here (``names``). A build is a row of ``builds``, narrow enough to
be read by the hundred thousand, and its record in ``documents``. Every index of a filter has the other filters along,
so that whoever looks for a rare mix of them reads one index and no rows but those that he gets.
Those that begin with the day are for statistics: they are read in the order in which groups are told apart.

``sums`` are what builds come to by span of time and group, added up as the builds are taken (``spans.py`` says which).
"""

from __future__ import annotations

from framework.edges.sqlite_file import Layout

FIGURES = (
    "builds",
    "attempts",
    "cost_micros",
    "unpriced",
    "asked_cpu_ms",
    "used_cpu_ms",
    "measured_cpu_ms",
    "asked_mem_mib_s",
    "peak_mem_mib_s",
    "measured_mem_mib_s",
)
"""Columns of ``sums`` that are added up; of a build ``builds`` is 1, and no column."""
KEY = ("cube", "span", "tenant", "job", "label", "template", "class", "currency")
"""Of ``sums``."""
LONG_MS = 86_400_000
"""Runs longer than this are few, and found in an index of their own."""
APPLICATION_ID = 0x42744C68  # "BtLh"
SCHEMA_VERSION = 1
_FIGURE_COLUMNS = ", ".join(f"{name} INTEGER NOT NULL" for name in FIGURES)
_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_day INTEGER NOT NULL);
CREATE TABLE builds (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL, started_ms INTEGER,
    day INTEGER NOT NULL, hour INTEGER NOT NULL,
    tenant INTEGER NOT NULL, job INTEGER NOT NULL, label INTEGER NOT NULL, template INTEGER NOT NULL,
    host INTEGER NOT NULL, class INTEGER NOT NULL, currency INTEGER NOT NULL,
    {_FIGURE_COLUMNS.partition(", ")[2]}, longest_ms INTEGER NOT NULL, times BLOB NOT NULL
);
CREATE TABLE documents (n INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE INDEX builds_at ON builds (at_ms, started_ms);
CREATE INDEX builds_long ON builds (at_ms, started_ms) WHERE at_ms - started_ms > {LONG_MS};
CREATE INDEX builds_by_job ON builds (
    day, job, hour, at_ms, tenant, label, template, class, cost_micros, longest_ms
);
CREATE INDEX builds_by_tenant ON builds (
    day, tenant, hour, at_ms, label, template, class, cost_micros, longest_ms
);
CREATE INDEX builds_of_tenant ON builds (tenant, at_ms, job, label, template, host, class);
CREATE INDEX builds_of_job ON builds (job, at_ms, tenant, label, template, host, class);
CREATE INDEX builds_of_label ON builds (label, at_ms, tenant, job, template, host, class);
CREATE INDEX builds_of_template ON builds (template, at_ms, tenant, job, label, host, class);
CREATE INDEX builds_of_host ON builds (host, at_ms, started_ms, tenant, job, label, template, class);
CREATE INDEX builds_of_class ON builds (class, at_ms, tenant, job, label, template, host);
CREATE TABLE sums (
    cube INTEGER, span INTEGER, tenant INTEGER, job INTEGER, label INTEGER, template INTEGER, class INTEGER,
    currency INTEGER, {_FIGURE_COLUMNS}, longest_ms INTEGER NOT NULL, times BLOB NOT NULL,
    PRIMARY KEY ({", ".join(KEY)})
) WITHOUT ROWID;
CREATE TABLE changes (
    build TEXT, attempt INTEGER, state TEXT, at_ms INTEGER NOT NULL, v INTEGER NOT NULL, tenant INTEGER NOT NULL,
    host INTEGER NOT NULL, class INTEGER NOT NULL, message TEXT NOT NULL, PRIMARY KEY (build, attempt, state)
) WITHOUT ROWID;
CREATE TABLE samples (
    tenant INTEGER, at_ms INTEGER, record BLOB NOT NULL, PRIMARY KEY (tenant, at_ms)
) WITHOUT ROWID;
"""
LAYOUT = Layout(
    schema=_SCHEMA,
    version=SCHEMA_VERSION,
    readable=(SCHEMA_VERSION,),
    application_id=APPLICATION_ID,
    setting="telemetry.path",
    program="scheduler",
    holds="the past builds in it",
)
