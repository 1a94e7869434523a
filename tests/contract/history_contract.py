"""What every ``framework.telemetry_ports.Sink`` does. A sink's own tests subclass ``HistoryContract``."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import Any

import msgspec
import pytest

from framework.telemetry.records import BuildRecord, Kind, Record
from framework.telemetry_ports import (
    BuildQuery,
    Dimension,
    Order,
    RunsQuery,
    SampleQuery,
    Sink,
    StatsQuery,
)
from tests.contract.history_reckoning import check_statistics, random_builds
from tests.fakes.records import DAY_MS, FIRST_DAY_MS, HOUR_MS, MINUTE_MS, batch, build, change, raw_batch, sample

HistoryFactory = Callable[[], Sink]
"""Opens the one history of a test, which keeps builds 400 days, changes 30, samples 90; called again it closes the one

that it gave before and opens the same history anew.
"""

NASTY = ["", "%", "_", "*", "a*", "'", '"', "'; DROP TABLE builds; --", "\x00", "a\x00b", "\\", "(", "[", "{", "~", "ß"]
NASTY += ["\ud800", "x" * 32_000, "acme/shop\n", "NOT", "?", "/.*/", "💥" * 50]
ENDS_OF_TIME = (-(10**30), -1, 0, 2**63 - 1, 10**30)


def named(field: str, text: str) -> dict[str, Any]:
    return {field: text}


def ids(builds: Iterable[BuildRecord]) -> list[str]:
    return [one.id for one in builds]


class HistoryContract:
    """Needs a fixture ``open_history``, a HistoryFactory."""

    @pytest.fixture
    def open_history(self) -> HistoryFactory:
        raise NotImplementedError

    def settle(self, history: Sink) -> None:
        """Makes what was taken told, where that is not at once."""

    def take(self, history: Sink, records: Sequence[Record], *, again: bool = False) -> None:
        """Records of one kind."""
        assert history.take([batch(records, again=again)]) == []
        self.settle(history)

    def pages(self, history: Sink, query: BuildQuery) -> list[BuildRecord]:
        """All pages; no page but the last is short."""
        found: list[BuildRecord] = []
        while True:
            page = history.builds(query)
            found += page.builds
            if page.next is None:
                return found
            assert len(page.builds) == query.limit
            query = msgspec.structs.replace(query, after=page.next)

    # What is told is what was taken.

    def test_a_new_history_is_empty(self, open_history: HistoryFactory) -> None:
        history = open_history()
        assert history.builds(BuildQuery()) == history.builds(BuildQuery(tenant="shop", limit=3))
        page = history.builds(BuildQuery())
        assert (page.builds, page.next) == ([], None)
        assert history.build("none") is None
        assert history.changes("none") == []
        assert history.runs(RunsQuery(0, FIRST_DAY_MS)) == []
        assert history.samples(SampleQuery(0, FIRST_DAY_MS)) == []
        answer = history.stats(StatsQuery(0, FIRST_DAY_MS, (Dimension.TENANT,)))
        assert (answer.groups, answer.total.builds, answer.more) == ([], 0, False)
        assert (answer.total.waits, answer.total.runs, answer.total.cost_micros) == (None, None, {})
        assert history.stats(StatsQuery(0, FIRST_DAY_MS)).groups == []
        assert history.notices == []

    def test_a_build_comes_back_as_it_was_taken(self, open_history: HistoryFactory) -> None:
        history = open_history()
        whole = build(
            "r1",
            title="a title\nof two lines",
            asked_gpus=2,
            queue_item=77,
            label="linux && ~big",
            template="big",
            template_version="3",
            host="host-1",
            image="jdk:17",
            used_cpu_ms=12_345,
            peak_mem_mib=1023.75,
            peak_disk_mib=0.5,
            claimed_at_ms=FIRST_DAY_MS - 9,
            launched_at_ms=FIRST_DAY_MS - 8,
            running_at_ms=FIRST_DAY_MS - 7,
            connected_at_ms=FIRST_DAY_MS - 6,
            wait_ms=0,
            waited_for="cpu",
            result="UNSTABLE",
            message='Ünïcode 💥 \u2028 and "quotes" and a NUL \x00',
            exit_code=-9,
            build_url="job/acme/1/",
            isolation="cgroups",
            losses=1,
            preemptions=2,
            priority=-5,
            cost_micros=0,
            currency="EUR",
            price="spot",
        )
        bare = build("r2", FIRST_DAY_MS - 1, run_ms=None, result_class="cancelled", attempts=0)
        self.take(history, [whole, bare])
        for opened_again in (False, True):
            history = open_history() if opened_again else history
            assert history.build("r1") == whole
            assert history.build("r2") == bare
            assert history.builds(BuildQuery()).builds == [whole, bare]
            assert history.builds(BuildQuery(label="linux && ~big")).builds == [whole]

    def test_changes_come_back_in_their_order(self, open_history: HistoryFactory) -> None:
        history = open_history()
        told = [
            change("r1", "waiting", FIRST_DAY_MS, attempt=0),
            change("r1", "launching", FIRST_DAY_MS + 5, host="host-1"),
            change("r1", "lost", FIRST_DAY_MS + 9, host="host-1", result_class="infrastructure", message="gone: 'x'"),
            change("r1", "launching", FIRST_DAY_MS + 10, attempt=2, host="host-2"),
            change("r1", "running", FIRST_DAY_MS + 11, attempt=2, host="host-2"),
            change("r1", "ended", FIRST_DAY_MS + 12, attempt=2, host="host-2", result_class="passed"),
        ]
        others = [change("r10", "waiting"), change("r1+2", "waiting"), change("r", "waiting"), change("r0", "waiting")]
        self.take(history, [*reversed(told), *others])
        self.take(history, told, again=True)
        for opened_again in (False, True):
            history = open_history() if opened_again else history
            assert history.changes("r1") == told
            assert history.changes("r10") == [others[0]]

    def test_samples_come_back_in_their_order_the_newest_of_them(self, open_history: HistoryFactory) -> None:
        history = open_history()
        reasons = {"cpu": 3, "quota": 4}
        cluster = [sample(FIRST_DAY_MS + n, total_cpu_millis=9000, hosts=n, reasons=reasons) for n in range(5)]
        tenants = [sample(FIRST_DAY_MS + n, "shop", dominant_share=0.25, fair_share=0.5, waiting=n) for n in range(5)]
        self.take(history, [*reversed(cluster), *tenants])
        self.take(history, [*cluster, *tenants, sample(FIRST_DAY_MS + 1, "other")], again=True)
        assert history.samples(SampleQuery(0, FIRST_DAY_MS + DAY_MS)) == cluster
        assert history.samples(SampleQuery(FIRST_DAY_MS + 1, FIRST_DAY_MS + 4)) == cluster[1:4]
        assert history.samples(SampleQuery(FIRST_DAY_MS, FIRST_DAY_MS + 9, "shop")) == tenants
        assert history.samples(SampleQuery(FIRST_DAY_MS, FIRST_DAY_MS + 9, "shop", limit=2)) == tenants[3:]
        assert history.samples(SampleQuery(FIRST_DAY_MS, FIRST_DAY_MS + 9, "nobody")) == []
        assert history.samples(SampleQuery(FIRST_DAY_MS + 9, FIRST_DAY_MS)) == []

    # Each is kept once, and counted once.

    def test_of_one_id_the_first_counts(self, open_history: HistoryFactory) -> None:
        history = open_history()
        first = [build(f"r{n}", FIRST_DAY_MS + n, wait_ms=1000, cost_micros=5, currency="EUR") for n in range(20)]
        others = [msgspec.structs.replace(one, result_class="failed", tenant="other", at_ms=1) for one in first]
        self.take(history, first[:15])
        self.take(history, first, again=True)
        assert history.take([batch(others, again=True), batch(first, again=True)]) == []
        self.settle(history)
        history = open_history()
        self.take(history, first, again=True)
        assert ids(history.builds(BuildQuery()).builds) == ids(reversed(first))
        answer = history.stats(StatsQuery(0, FIRST_DAY_MS + DAY_MS, (Dimension.TENANT, Dimension.RESULT_CLASS)))
        assert [(one.key["tenant"], one.builds, one.cost_micros) for one in answer.groups] == [
            ("shop", 20, {"EUR": 100})
        ]
        assert answer.total.by_class == {"passed": 20}

    def test_a_record_that_is_there_twice_in_one_batch_is_kept_once(self, open_history: HistoryFactory) -> None:
        history = open_history()
        self.take(history, [build("r1"), build("r2"), build("r1", tenant="other")], again=True)
        self.take(history, [change("r1", "ended"), change("r1", "ended", message="second")], again=True)
        assert sorted(ids(history.builds(BuildQuery()).builds)) == ["r1", "r2"]
        assert history.stats(StatsQuery(0, FIRST_DAY_MS + 1)).total.builds == 2
        assert history.changes("r1") == [change("r1", "ended")]

    def test_kinds_are_taken_together(self, open_history: HistoryFactory) -> None:
        history = open_history()
        assert history.take([]) == []
        batches = [batch([change("r1", "ended")]), batch([build("r1")]), batch([sample()]), batch([build("r2")])]
        assert history.take(batches) == []
        self.settle(history)
        assert history.build("r1") is not None and history.build("r2") is not None
        assert len(history.changes("r1")) == 1
        assert len(history.samples(SampleQuery(0, FIRST_DAY_MS + 1))) == 1

    def test_what_is_no_record_is_named_and_the_others_are_taken(self, open_history: HistoryFactory) -> None:
        history = open_history()
        good = [build("good1"), build("good2", FIRST_DAY_MS - 1)]
        wrong: dict[str, Any] = {
            "no-time": {"at_ms": None},
            "text-for-a-time": {"at_ms": "yesterday"},
            "far-future": {"at_ms": 10**25},
            "object-for-a-name": {"tenant": {"a": 1}},
            "text-for-a-number": {"wait_ms": "long"},
        }
        lines = [
            (record_id, msgspec.json.encode(_changed(good[0], id=record_id, **what)))
            for record_id, what in wrong.items()
        ]
        lines.insert(0, (good[0].id, msgspec.json.encode(good[0])))
        lines.insert(3, ("no-json", b'{"id": "no-json", "at_ms": '))
        lines.append((good[1].id, msgspec.json.encode(good[1])))
        rejected = history.take([raw_batch(Kind.BUILDS, lines)])
        self.settle(history)
        assert {one.id for one in rejected} == {*wrong, "no-json"}
        for one in rejected:
            assert one.kind is Kind.BUILDS
            assert one.reason
            assert one.document == dict(lines)[one.id]
        assert ids(history.builds(BuildQuery()).builds) == ["good1", "good2"]
        assert history.stats(StatsQuery(0, FIRST_DAY_MS + 1)).total.builds == 2

    def test_a_record_of_a_later_version_is_told_as_far_as_it_is_known(self, open_history: HistoryFactory) -> None:
        history = open_history()
        later = _changed(build("r1"), v=99, temperature=36.6, nested={"a": [1, {"b": None}]}, walls=["n", "s"])
        assert history.take([raw_batch(Kind.BUILDS, [("r1", msgspec.json.encode(later))])]) == []
        later = _changed(change("r1", "ended"), v=99, moon="full")
        assert history.take([raw_batch(Kind.CHANGES, [("r1.1.ended", msgspec.json.encode(later))])]) == []
        later = _changed(sample(), v=99, moon={"phase": 1})
        assert history.take([raw_batch(Kind.SAMPLES, [(f"{FIRST_DAY_MS}~", msgspec.json.encode(later))])]) == []
        self.settle(history)
        assert history.build("r1") == build("r1", v=99)
        assert history.builds(BuildQuery(job="acme/shop")).builds == [build("r1", v=99)]
        assert history.changes("r1") == [msgspec.structs.replace(change("r1", "ended"), v=99)]
        assert history.samples(SampleQuery(0, FIRST_DAY_MS + 1)) == [msgspec.structs.replace(sample(), v=99)]

    def test_names_of_any_length_and_letters_are_told_as_they_are(self, open_history: HistoryFactory) -> None:
        history = open_history()
        names = [
            "a" * 243 + "~0123456789ab",
            "ünï/💥",
            "a b",
            "a*b",
            "a%b",
            'quo"te\\s',
            "a,b;c",
            "A B",
            "\t",
            "-1",
            "null",
        ]
        told = [
            build(f"r{n}", FIRST_DAY_MS - n, job=name, label=name, template=name, host=name, tenant=name, wait_ms=n)
            for n, name in enumerate(names)
        ]
        told[0] = msgspec.structs.replace(told[0], title="n" * 32_000, message="m" * 2000)
        self.take(history, told)
        for n, name in enumerate(names):
            for one in ("job", "label", "template", "host", "tenant"):
                assert history.builds(BuildQuery(**named(one, name))).builds == [told[n]], (one, name)
        answer = history.stats(StatsQuery(0, FIRST_DAY_MS + 1, (Dimension.JOB, Dimension.LABEL), order=Order.KEY))
        assert [one.key for one in answer.groups] == [{"job": name, "label": name} for name in sorted(names)]

    # Lists.

    def test_builds_are_listed_the_last_first_page_by_page(self, open_history: HistoryFactory) -> None:
        history = open_history()
        chance = random.Random(1)
        told = [build(f"{chance.randrange(16**8):08x}", FIRST_DAY_MS + chance.randrange(6)) for _ in range(60)]
        for piece in range(0, 60, 20):
            self.take(history, told[piece : piece + 20])
        expected = sorted(told, key=lambda one: (one.at_ms, one.id), reverse=True)
        for limit in (1, 7, 59, 60, 61, 10_000):
            assert self.pages(history, BuildQuery(limit=limit)) == expected
        assert history.builds(BuildQuery(limit=60)).next is None
        within = BuildQuery(since_ms=FIRST_DAY_MS + 1, until_ms=FIRST_DAY_MS + 4, limit=7)
        assert self.pages(history, within) == [one for one in expected if FIRST_DAY_MS < one.at_ms < FIRST_DAY_MS + 4]

    def test_a_page_goes_on_where_the_one_before_ended_whatever_came_since(self, open_history: HistoryFactory) -> None:
        history = open_history()
        told = [build(f"r{n}", FIRST_DAY_MS + n) for n in range(10)]
        self.take(history, told)
        first = history.builds(BuildQuery(limit=5))
        self.take(history, [build("new", FIRST_DAY_MS + 99)])
        history = open_history()
        second = history.builds(BuildQuery(limit=5, after=first.next))
        assert ids([*first.builds, *second.builds]) == ids(reversed(told))

    def test_builds_are_found_by_any_mix_of_filters(self, open_history: HistoryFactory) -> None:
        history = open_history()
        told = random_builds(300, seed=2)
        self.take(history, told)
        ordered = sorted(told, key=lambda one: (one.at_ms, one.id), reverse=True)
        chance = random.Random(3)
        middle = FIRST_DAY_MS + 2 * DAY_MS
        found = 0
        for _ in range(60):
            wanted: dict[str, Any] = {}
            for field in ("tenant", "job", "label", "template", "host"):
                if chance.random() < 0.35:
                    wanted[field] = getattr(chance.choice(told), field)
            classes = tuple(chance.sample(["passed", "failed", "oom", "never"], chance.choice([0, 0, 1, 2])))
            since_ms = chance.choice([None, None, middle - DAY_MS])
            until_ms = chance.choice([None, None, middle])
            query = BuildQuery(**wanted, result_classes=classes, since_ms=since_ms, until_ms=until_ms, limit=11)
            expected = [
                one
                for one in ordered
                if all(getattr(one, field) == value for field, value in wanted.items())
                and (not classes or one.result_class in classes)
                and (since_ms is None or one.at_ms >= since_ms)
                and (until_ms is None or one.at_ms < until_ms)
            ]
            assert self.pages(history, query) == expected, query
            found += len(expected)
        assert found > 300

    def test_garbage_in_a_query_does_no_harm(self, open_history: HistoryFactory) -> None:
        history = open_history()
        told = [build("r1", label="l", template="t", host="h"), build("r2", FIRST_DAY_MS - 1)]
        self.take(history, told)
        for text in NASTY:
            for one in ("tenant", "job", "host", "label", "template"):
                expected = [each for each in told if getattr(each, one) == text]
                assert history.builds(BuildQuery(**named(one, text))).builds == expected, (one, text)
            assert history.builds(BuildQuery(result_classes=(text,))).builds == []
            assert history.stats(StatsQuery(0, FIRST_DAY_MS + 1, (Dimension.JOB,), tenant=text)).total.builds == 0
            assert history.runs(RunsQuery(0, FIRST_DAY_MS, host=text)) == [each for each in told if each.host == text]
            assert history.build(text) is None
            assert history.changes(text) == []
            history.builds(BuildQuery(after=text))
            if text:
                assert history.samples(SampleQuery(0, FIRST_DAY_MS + 1, tenant=text)) == []
        for limit in (-(10**30), -1, 0, 10**30):
            assert len(history.builds(BuildQuery(limit=limit)).builds) <= 2
            assert len(history.stats(StatsQuery(0, FIRST_DAY_MS + 1, (Dimension.JOB,), limit=limit)).groups) <= 1
            assert len(history.runs(RunsQuery(0, FIRST_DAY_MS + 1, limit=limit))) <= 2
            assert history.samples(SampleQuery(0, FIRST_DAY_MS, limit=limit)) == []
        for since_ms in ENDS_OF_TIME:
            for until_ms in ENDS_OF_TIME:
                whole = since_ms <= 0 and until_ms > FIRST_DAY_MS
                expected = told if whole else []
                assert history.builds(BuildQuery(since_ms=since_ms, until_ms=until_ms)).builds == expected
                for by in ((), (Dimension.DAY,), (Dimension.JOB, Dimension.HOUR)):
                    query = StatsQuery(since_ms, until_ms, by)
                    assert history.stats(query).total.builds == len(expected), query
                assert history.runs(RunsQuery(since_ms, until_ms)) == expected
                assert history.samples(SampleQuery(since_ms, until_ms)) == []

    # Statistics, against a reckoning of their own.

    def test_statistics_are_those_of_the_builds(self, open_history: HistoryFactory) -> None:
        history = open_history()
        told = random_builds(500, seed=4)
        for piece in range(0, 500, 125):
            self.take(history, told[piece : piece + 125])
        self.take(history, told[100:300], again=True)
        first, last = FIRST_DAY_MS, FIRST_DAY_MS + 12 * DAY_MS
        spans = [
            (0, last + DAY_MS),
            (first, first + DAY_MS),
            (first + 5 * HOUR_MS + 17 * MINUTE_MS + 3, last - 7 * HOUR_MS - 11),
            (first + DAY_MS, last - DAY_MS),
            (first + 2 * HOUR_MS + 1, first + 2 * HOUR_MS + 20 * MINUTE_MS),
            (first + 23 * HOUR_MS, first + 25 * HOUR_MS),
        ]
        chance = random.Random(5)
        names = list(Dimension)
        groupings = [(), *((one,) for one in names), *chance.sample(list(permutations(names, 2)), 14)]
        groupings += chance.sample(list(permutations(names, 3)), 6)
        for by in groupings:
            for since_ms, until_ms in chance.sample(spans, 3):
                wanted: dict[str, Any] = {}
                for field in ("tenant", "job", "label", "template"):
                    if chance.random() < 0.2:
                        wanted[field] = getattr(chance.choice(told), field)
                query = StatsQuery(since_ms, until_ms, by, **wanted, order=chance.choice(list(Order)), limit=1000)
                check_statistics(history.stats(query), told, query)

    def test_statistics_tell_the_first_groups_of_their_order(self, open_history: HistoryFactory) -> None:
        history = open_history()
        told = random_builds(400, seed=6, jobs=40)
        self.take(history, told)
        for by in (
            (Dimension.JOB,),
            (Dimension.TENANT, Dimension.JOB),
            (Dimension.DAY,),
            (Dimension.JOB, Dimension.HOUR),
        ):
            for order in Order:
                for limit in (1, 5, 1000):
                    query = StatsQuery(FIRST_DAY_MS, FIRST_DAY_MS + 12 * DAY_MS, by, order=order, limit=limit)
                    check_statistics(history.stats(query), told, query)

    def test_percentiles_are_near_however_waits_are_spread(self, open_history: HistoryFactory) -> None:
        history = open_history()
        chance = random.Random(7)
        spreads: dict[str, list[int]] = {
            "alone": [1234],
            "same": [777] * 50,
            "none": [0] * 10,
            "two": [10, 1_000_000],
            "even": [chance.randrange(1, 600_000) for _ in range(150)],
            "heavy": [int(1000 * chance.paretovariate(0.8)) for _ in range(150)],
            "days": [chance.randrange(5 * DAY_MS, 6 * DAY_MS) for _ in range(20)],
        }
        told = [
            build(f"{job}-{n}", FIRST_DAY_MS + n * HOUR_MS, job=job, run_ms=5 + wait_ms // 2, wait_ms=wait_ms)
            for job, waits in spreads.items()
            for n, wait_ms in enumerate(waits)
        ]
        told += [build("unserved", job="unserved", run_ms=None)]
        self.take(history, told)
        query = StatsQuery(0, FIRST_DAY_MS + 30 * DAY_MS, (Dimension.JOB,), order=Order.WAIT)
        answer = history.stats(query)
        check_statistics(answer, told, query)
        assert answer.groups[-1].key == {"job": "unserved"}
        assert (answer.groups[-1].waits, answer.groups[-1].runs) == (None, None)

    def test_costs_are_told_by_currency_and_what_has_no_price_apart(self, open_history: HistoryFactory) -> None:
        history = open_history()
        told = [
            build("r1", cost_micros=3, currency="EUR"),
            build("r2", cost_micros=4_000_000_000_000, currency="EUR"),
            build("r3", cost_micros=5, currency="USD"),
            build("r4", currency="EUR"),
            build("r5"),
            build("r6", cost_micros=0, currency="CHF", job="other"),
        ]
        self.take(history, told)
        answer = history.stats(StatsQuery(0, FIRST_DAY_MS + 1, (Dimension.JOB,), order=Order.COST))
        assert [one.key["job"] for one in answer.groups] == ["acme/shop", "other"]
        assert [one.cost_micros for one in answer.groups] == [{"EUR": 4_000_000_000_003, "USD": 5}, {"CHF": 0}]
        assert [one.unpriced for one in answer.groups] == [2, 0]
        assert answer.total.cost_micros == {"EUR": 4_000_000_000_003, "USD": 5, "CHF": 0}

    def test_days_and_hours_are_told_by_their_begin(self, open_history: HistoryFactory) -> None:
        history = open_history()
        moments = [0, HOUR_MS - 1, HOUR_MS, DAY_MS - 1, DAY_MS, DAY_MS + 13 * HOUR_MS]
        self.take(history, [build(f"r{n}", FIRST_DAY_MS + moment) for n, moment in enumerate(moments)])
        whole = (FIRST_DAY_MS, FIRST_DAY_MS + 2 * DAY_MS)
        days = history.stats(StatsQuery(*whole, (Dimension.DAY,), order=Order.KEY))
        assert [(one.key["day"], one.builds) for one in days.groups] == [
            ("2026-03-01T00:00Z", 4),
            ("2026-03-02T00:00Z", 2),
        ]
        hours = history.stats(StatsQuery(*whole, (Dimension.HOUR,), order=Order.KEY))
        assert [(one.key["hour"], one.builds) for one in hours.groups] == [
            ("2026-03-01T00:00Z", 2),
            ("2026-03-01T01:00Z", 1),
            ("2026-03-01T23:00Z", 1),
            ("2026-03-02T00:00Z", 1),
            ("2026-03-02T13:00Z", 1),
        ]

    def test_a_group_is_left_out_past_the_limit_and_that_is_told(self, open_history: HistoryFactory) -> None:
        history = open_history()
        self.take(history, [build(f"r{n}", FIRST_DAY_MS + n, job=f"job-{n % 7}") for n in range(30)])
        for limit in (1, 6, 7, 8):
            answer = history.stats(StatsQuery(0, FIRST_DAY_MS + DAY_MS, (Dimension.JOB,), limit=limit))
            assert len(answer.groups) == min(limit, 7)
            assert answer.more == (limit < 7)
            assert answer.total.builds == 30
            assert sorted((one.builds for one in answer.groups), reverse=True) == [5, 5, 4, 4, 4, 4, 4][:limit]

    # Runs.

    def test_runs_are_those_that_ran_at_any_time_of_the_span(self, open_history: HistoryFactory) -> None:
        history = open_history()
        chance = random.Random(8)
        told = []
        for n in range(200):
            run_ms = chance.choice([1, 500, 3000, 40_000, 5 * DAY_MS])
            at_ms = FIRST_DAY_MS + chance.randrange(60_000)
            told.append(build(f"r{n}", at_ms, run_ms, host=f"host-{n % 3}"))
        told.append(build("never", run_ms=None, host="host-1"))
        self.take(history, told)
        ordered = sorted(told, key=lambda one: (one.at_ms, one.id), reverse=True)
        for _ in range(25):
            since_ms = FIRST_DAY_MS + chance.randrange(-6 * DAY_MS, 70_000)
            until_ms = since_ms + chance.choice([0, 1, 1000, 20_000, DAY_MS])
            host = chance.choice([None, "host-0", "host-1", "host-9"])
            expected = [
                one
                for one in ordered
                if one.started_at_ms is not None
                and (host is None or one.host == host)
                and since_ms < until_ms
                and one.started_at_ms < until_ms
                and one.at_ms > since_ms
            ]
            query = RunsQuery(since_ms, until_ms, host)
            assert history.runs(query) == expected, query
            assert history.runs(msgspec.structs.replace(query, limit=3)) == expected[:3]

    # What is old goes.

    def test_what_is_older_than_it_is_kept_goes(self, open_history: HistoryFactory) -> None:
        history = open_history()
        now_ms = FIRST_DAY_MS + 500 * DAY_MS

        def aged(days: int) -> int:
            return now_ms - days * DAY_MS

        builds = [build(f"r{days}", aged(days), wait_ms=5) for days in (402, 399, 1)]
        changes = [change(f"r{days}", "ended", aged(days)) for days in (32, 29)]
        samples = [sample(aged(days)) for days in (92, 89)]
        assert history.take([batch(builds), batch(changes), batch(samples)]) == []
        history.tend(now_ms / 1000)
        self.settle(history)
        for opened_again in (False, True):
            history = open_history() if opened_again else history
            assert ids(history.builds(BuildQuery()).builds) == ["r1", "r399"]
            assert history.build("r402") is None
            for by in ((), (Dimension.TENANT,), (Dimension.JOB,), (Dimension.DAY,)):
                assert history.stats(StatsQuery(0, now_ms, by)).total.builds == 2
            assert ids(history.runs(RunsQuery(0, now_ms))) == ["r1", "r399"]
            assert history.changes("r32") == []
            assert history.changes("r29") == [changes[1]]
            assert history.samples(SampleQuery(0, now_ms)) == [samples[1]]
        history.tend(now_ms / 1000)
        assert history.take([batch(builds[1:], again=True)]) == []
        self.settle(history)
        assert history.stats(StatsQuery(0, now_ms)).total.builds == 2


def _changed(record: Record, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain | changes
