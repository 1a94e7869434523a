"""Past builds on the command line: lists, statistics, one build's steps, use and cost."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

import pytest

from framework.cli.output import brief, money
from framework.cli.past_builds import COLUMNS
from framework.core.answers import TenantUse
from framework.core.ids import RequestId, TenantName
from framework.core.resources import ZERO
from framework.core.tasks import FailureClass, Tenant
from framework.telemetry_ports import Use
from tests.fakes.records import batch, build, change
from tests.unit.cli.conftest import Butlery, Serving

NOW_MS = round(time.time()) * 1000
LONG = "team/" + "x" * 200


@pytest.fixture(scope="module", autouse=True)
def past(_serving: Serving) -> None:
    """Three builds of the tenant red, that ended within the last minutes."""
    plain: dict[str, Any] = {"tenant": "red", "currency": "EUR", "label": "maven"}
    records = [
        build("past-1", NOW_MS - 60_000, job="payments", wait_ms=4200, cost_micros=1_250_000, price="spot", **plain),
        build("past-2", NOW_MS - 50_000, job=LONG, result_class="oom", message="it needed more memory", **plain),
        build(
            "past-3", NOW_MS - 40_000, job="=payments", used_cpu_ms=30_000, peak_mem_mib=512.0, peak_disk_mib=9.4,
            claimed_at_ms=NOW_MS - 130_000, waited_for="mem_mib", cost_micros=7, **plain,
        ),
    ]  # fmt: skip
    assert _serving.history.take([batch(records)]) == []
    assert _serving.history.take([batch([change("past-3", "ended", NOW_MS, result_class="passed", host="h7")])]) == []


def test_past_builds_are_listed(as_red: Butlery) -> None:
    ended = as_red("builds", "list", "--past")
    assert ended.code == 0
    heading, *lines = ended.out.splitlines()
    assert tuple(heading.split()) == COLUMNS
    assert [line.split()[0] for line in lines] == ["past-3", "past-2", "past-1"]
    assert lines[2].split()[-4:] == ["4.2s", "1m00s", "1.25", "EUR"]
    assert LONG not in ended.out and LONG[:57] + "..." in lines[1]
    page = as_red("builds", "list", "--past", "--limit", "2")
    assert "there may be more: --after '" in page.err
    following = page.err.partition("'")[2].partition("'")[0]
    assert "past-1" in as_red("builds", "list", "--after", following).out


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("--class", "oom", "--class", "disk"), ["past-2"]),
        (("--since", str(NOW_MS // 1000 - 55), "--until", str(NOW_MS // 1000 - 45)), ["past-2"]),
        (("--label", "maven", "--name", "payments"), ["past-1"]),
        (("--host", "nowhere"), []),
        (("--template", "none"), []),
        (("--since", "1d"), ["past-3", "past-2", "past-1"]),
    ],
)
def test_what_chooses_past_builds_implies_them(as_red: Butlery, given: tuple[str, ...], found: list[str]) -> None:
    assert [one["id"] for one in as_red("builds", "list", *given, "--json").json["builds"]] == found


def test_they_are_written_as_csv(as_red: Butlery) -> None:
    rows = list(csv.DictReader(io.StringIO(as_red("builds", "list", "--csv").out, newline="")))
    assert [(row["id"], row["job"]) for row in rows] == [
        ("past-3", "'=payments"), ("past-2", LONG), ("past-1", "payments"),
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(as_red("builds", "stats", "--by", "result_class", "--csv").out, newline="")))
    assert [(row["result_class"], row["builds"], row["cost_micros"]) for row in rows] == [
        ("passed", "2", "1250007"), ("oom", "1", ""),
    ]  # fmt: skip


def test_what_does_not_go_together_is_refused(as_red: Butlery) -> None:
    both = as_red("builds", "list", "--csv", "--json")
    assert (both.code, "give one of the two" in both.err) == (2, True)
    live = as_red("builds", "list", "--past", "--state", "running", "--before", "x")
    assert (live.code, live.err.count("is not for past builds")) == (2, 2)
    wrong = as_red("builds", "stats", "--since", "yesterday", "--by", "colour")
    assert wrong.code == 2
    assert "since" in wrong.err and "by" in wrong.err


def test_the_list_of_the_state_says_how_to_look_further_back(as_red: Butlery) -> None:
    assert as_red("builds", "list").err == "older ones: --past\n"


def test_statistics_are_a_table(as_red: Butlery) -> None:
    ended = as_red("builds", "stats", "--by", "tenant,result_class", "--order", "cost")
    heading, passed, oom, total = ended.out.splitlines()
    assert heading.startswith("TENANT  RESULT_CLASS  BUILDS  PASSED  WAIT P50")
    assert heading.split()[-10:-5] == ["P99", "RUN", "P50", "P90", "P99"]
    assert heading.split()[-5:] == ["COST", "UNPRICED", "CPU", "MEM", "OTHERS"]
    assert passed.split()[:4] == ["red", "passed", "2", "100%"]
    assert passed.split()[-6:] == ["1.25", "EUR", "0", "50%", "25%", "-"]
    assert oom.endswith("1 oom")
    priced = as_red("builds", "stats", "--by", "result_class", "--job", "payments").out.splitlines()[0]
    assert "COST" in priced and "UNPRICED" not in priced
    assert total.split()[:3] == ["all", "3", "67%"]
    assert "builds that ended from " in ended.err
    assert as_red("builds", "stats", "--json").json["total"]["builds"] == 3
    assert as_red("builds", "stats", "--until", "30d").out.splitlines()[1].startswith("     0  -")


def test_one_is_shown_with_its_steps_use_and_cost(as_red: Butlery) -> None:
    shown = as_red("builds", "show", "past-3")
    assert shown.code == 0
    for line in (
        "CPU         0.50 of 1 CPUs on average",
        "memory      512 of 2048 MiB at most, 25%",
        "disk        9 of 4096 MiB at most, 0%",
        "waited for  mem_mib",
        "cost        0.000007 EUR",
    ):
        assert line in shown.out, shown.out
    steps = shown.out[shown.out.index("STEP") :]
    assert [line.split()[0] for line in steps.splitlines()[1:5]] == ["queued", "claimed", "started", "ended"]
    assert "h7" in shown.out
    assert as_red("builds", "show", "past-3", "--json").json["past"]["waited_for"] == "mem_mib"
    why = as_red("builds", "why", "past-2")
    assert why.out.startswith("ended: oom: it needed more memory\n")
    assert "no price for a part of it" in why.out


def test_why_one_waits_counts_hosts_and_offers(as_red: Butlery) -> None:
    job = as_red("jobs", "submit", "--name", "a", "--command", "true").out.strip()
    for command in ("builds", "jobs"):
        lines = [line.split() for line in as_red(command, "why", job).out.splitlines()]
        assert ["REFUSED", "BY", "REASON", "HOSTS", "OFFERS"] in lines
        assert ["resource", "mem_mib", "2", "1"] in lines and ["quota", "quota", "3", "2"] in lines


def test_what_builds_wait_for_is_counted(as_admin: Butlery, serving: Serving) -> None:
    assert as_admin("builds", "waiting").code == 3
    use = TenantUse(Tenant(TenantName("red")), 3, 0, 0, ZERO, 0.0, 0.0)
    serving.telemetry.use = Use(12.5, [use], {"red": {"quota": 1, "mem_mib": 2}})
    ended = as_admin("builds", "waiting")
    assert ended.out.splitlines()[1].split(maxsplit=2) == ["red", "3", "2 mem_mib, 1 quota"]
    assert as_admin("builds", "waiting", "--csv").out.splitlines()[1:] == ["red,quota,1", "red,mem_mib,2"]
    serving.telemetry.use = None


def test_an_ended_one_of_the_state_goes_on_with_what_history_knows(as_red: Butlery, serving: Serving) -> None:
    job = as_red("jobs", "submit", "--name", "a", "--command", "true").out.strip()
    serving.do(serving.control.run, RequestId(job))
    serving.do(serving.control.end, RequestId(job), FailureClass.PASSED)
    shown = as_red("builds", "show", job)
    assert "ATTEMPT" in shown.out and "STEP" in shown.out


def test_money_is_written_as_people_do() -> None:
    assert [money(micros, "EUR") for micros in (None, 0, 7, 1234, 12_345, 1_250_000, 2_000_000_000)] == [
        "-", "0.00 EUR", "0.000007 EUR", "0.0012 EUR", "0.01 EUR", "1.25 EUR", "2000.00 EUR",
    ]  # fmt: skip
    assert (brief("short"), brief("x" * 61)) == ("short", "x" * 57 + "...")
