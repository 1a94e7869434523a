"""The benchmarks that need a cluster, small, so that they do not rot. How fast it is, they do not judge."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks import core, placement_peer
from benchmarks.core import Size

TIMEOUT_S = 240


def bench(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "framework.cli", "bench", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def test_latency_tells_every_case_apart() -> None:
    figures = bench("latency", "--builds", "4", "--idle", "1")
    assert (figures["builds"], figures["warm_up"]["count"], figures["idle"]["count"]) == (4, 5, 1)
    assert 0 < figures["p50_s"] <= figures["p99_s"]
    parts = figures["queue_to_launch"]["min_s"] + figures["launch_to_running"]["min_s"]
    assert 0 < parts <= figures["queue_to_running"]["max_s"]


def test_memory_is_told_with_just_as_many_builds_as_asked_for() -> None:
    figures = bench("memory", "--waiting", "40", "--running", "6")
    assert (figures["waiting"], figures["running"], figures["hosts"]) == (40, 6, 1)
    assert 0 < figures["start_mib"] <= figures["settled_mib"] <= figures["rss_mib"]


def test_wire_drives_both_against_one_server() -> None:
    figures = bench("wire", "--rounds", "1", "--tasks", "100", "--events", "2")
    assert (figures["tasks"], figures["hosts"], figures["rounds"]) == (100, 317, 1)
    assert set(figures["task_cpu_us"]) == {"ours", "pymesos"}
    assert all(figures[ratio] > 0 for ratio in ("task_cpu_ratio", "offers_ratio", "offers_ratio_addict"))


def test_every_build_is_accounted_for_when_the_leader_is_killed() -> None:
    figures = bench("failover", "--builds", "40")
    assert (figures["builds"], figures["accounted"], figures["doubled"]) == (40, 40, 0)
    assert 0 < figures["standby_answering_s"] <= figures["standby_acting_s"]
    assert figures["zk_writes_per_s"] > 0


def test_mesos_loses_and_doubles_nothing() -> None:
    figures = bench("mesos", "--tasks", "40", "--hosts", "3", "--rounds", "1")
    assert (figures["lost"], figures["doubled"], figures["bare_lost"]) == (0, 0, 0)
    assert all(figures[ratio] > 0 for ratio in ("running_time_ratio", "finish_rate_ratio"))


def test_marathon_launches_scales_and_rolls_while_all_subscribers_see_it() -> None:
    sizes = ("--apps", "12", "--hosts", "3", "--scale-to", "20", "--rolled", "10", "--subscribers", "5")
    figures = bench("marathon", *sizes)
    assert (figures["healthy"], figures["failed"], figures["rolled"]) == (12, 0, 10)
    assert figures["fewest_healthy"] == 9
    assert figures["subscribers"]["complete"] == 5
    assert (figures["subscribers"]["doubled"], figures["subscribers"]["out_of_order"]) == (0, 0)
    assert all(
        0 < figures[name]["p50_ms"] <= figures[name]["p99_ms"] for name in ("apps_with_tasks", "one_app", "groups")
    )
    assert figures["rss_mib"] > 0


def test_masters_are_made_killed_and_moved_while_users_of_others_notice_nothing() -> None:
    figures = bench("masters", "--tenants", "10", "--hosts", "3", "--clients", "20", "--moving", "3")
    assert (figures["healthy"], figures["failed"], figures["reapply_changes"]) == (10, 0, 0)
    assert figures["back_same_volume"] is True
    assert (figures["host_others_touched"], figures["failed_requests_unmoved"]) == (0, 0), figures["failures"]
    assert figures["misled"] == 0
    assert figures["requests_unmoved"] >= 20
    assert all(figures[name] > 0 for name in ("masters_per_s", "reapply_s", "list_s", "rss_mib", "host_masters"))


def test_masters_are_looked_at_at_their_pace() -> None:
    figures = bench("poller", "--masters", "20", "--seconds", "2", "--every", "1")
    assert all(10 <= figures[f"{case}looks_per_s"] <= 40 for case in ("", "silent_"))
    assert all(0 < figures[f"{case}cpu_share"] < 1 for case in ("", "silent_"))


def test_builds_of_masters_queues_are_each_served_once_and_nothing_is_left() -> None:
    sizes = ("--masters", "3", "--items", "40", "--hosts", "3", "--builds", "2", "--warm", "2")
    figures = bench("jenkins", *sizes)
    assert (figures["served"], figures["served_twice"], figures["over_provisioned"]) == (40, 0, 0), figures
    assert (figures["leaked_nodes"], figures["leaked_tasks"], figures["nodes_beyond_claims"]) == (0, 0, 0)
    assert (figures["results"], figures["launched"], figures["master_unanswered"]) == ({"SUCCESS": 40}, 40, 0)
    assert 0 < figures["p50_s"] <= figures["p99_s"]
    assert (figures["samples"], figures["warm_samples"]) == (2, 2)


def test_telemetry_loses_and_doubles_nothing_while_elasticsearch_is_dead() -> None:
    sizes = ("--rounds", "1", "--documents", "700", "--outage", "10", "--past", "2000", "--lists", "10")
    figures = bench("telemetry", *sizes, "--statistics", "1", "--share", "2")
    assert (figures["documents"], figures["lost"], figures["doubled"]) == (700, 0, 0)
    assert (figures["outage"]["outage_builds"], figures["outage"]["unknown"]) == (300, 0)
    assert figures["outage"]["waiting"] > 300
    assert all(figures[ratio] > 0 for ratio in ("docs_per_s_ratio", "client_cpu_ratio", "caught_up_s"))
    assert all(figures["history"][sink]["lists_p99_ms"] > 0 for sink in ("sqlite", "elasticsearch"))
    assert 0 < figures["cpu_share"] < 1


def test_placement_beats_the_peer_on_the_same_requests() -> None:
    figures = placement_peer.run(rounds=2, warm_up=1, host_counts=(317,), requests=1500)["hosts_317"]
    assert figures["speed_ratio"] > 1
    assert 1.0 <= figures["hosts_ratio"] <= 1.05  # of some 36 hosts
    assert all(mix["fenzo_placed"] == 1500 for mix in figures["mixes"].values())


def test_core_plays_builds_at_two_sizes() -> None:
    small, large = Size(hosts=20, running=60, waiting=15), Size(hosts=60, running=180, waiting=45)
    figures = core.run(repeats=2, small=small, large=large, builds=20)
    assert figures["growth"] > 0
    assert all(figures[name]["builds_ended"] >= 40 for name in ("small", "large"))
