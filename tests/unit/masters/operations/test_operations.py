"""What is done to masters that are there."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest

from framework.errors import ButleryError, InputError
from masters.apply.crew import Crew
from masters.names import LABEL_FAILED, LABEL_STATE, Variable
from masters.operations.acting import Action, act
from masters.operations.backups import back_up, known_backups, restore_from
from masters.operations.deleting import Deletion, delete_all, left_behind
from masters.operations.details import details
from masters.operations.lifecycle import wake
from masters.operations.selecting import selected
from masters.operations.upgrading import Upgrade, begin, go_on, resumed
from masters.ports import Backup, MasterAccess
from masters.records import Done, MasterState, ObservedMaster, Outcome
from tests.fakes.applying import PACE, Bench, Silent
from tests.fakes.masters import BOOT_S, NEVER, FakeJenkins

BACKUP = {"to": "/srv/backups", "every_h": 24}


def made(bench: Bench, *names: str, **fields: Any) -> None:
    for name in names:
        bench.write(name, **fields)
    bench.apply()


def master(bench: Bench, name: str) -> ObservedMaster:
    return bench.marathon.masters()[name]


def done(bench: Bench, action: Action, *names: str) -> list[Done]:
    return act(bench.edges, [master(bench, name) for name in names], action, Crew(4), Silent(), PACE)


def deleted(bench: Bench, deletion: Deletion, *names: str) -> dict[str, Done]:
    found = delete_all(bench.edges, [master(bench, name) for name in names], deletion, Crew(4), Silent(), PACE)
    return {one.tenant: one for one in found}


def told_access(bench: Bench, name: str, jenkins: FakeJenkins) -> None:
    """It has handed over how it is spoken to."""
    bench.scheduler.told[name] = MasterAccess("butlery", "t")
    bench.edges.masters[name] = jenkins


def test_asleep_off_and_on(bench: Bench) -> None:
    made(bench, "a", "b")
    assert [one.outcome for one in done(bench, Action("hibernate", True), "a")] == [Outcome.DONE]
    assert master(bench, "a").state is MasterState.ASLEEP
    assert [one.outcome for one in done(bench, Action("hibernate", True), "a")] == [Outcome.UNCHANGED]
    done(bench, Action("off", True), "a")
    assert master(bench, "a").state is MasterState.OFF
    assert [one.outcome for one in done(bench, Action("restart", True), "a")] == [Outcome.UNCHANGED]
    done(bench, Action("wake", True), "a", "b")
    assert master(bench, "a").state is MasterState.ON
    assert bench.marathon.calls.count("scale b 1") == 0


def test_what_is_woken_has_the_grace_of_its_last_boot(bench: Bench) -> None:
    made(bench, "a", health={"grace_s": 10})
    done(bench, Action("hibernate", True), "a")
    bench.edges.ledger.save_boots({"a": 100.0})
    wake(bench.edges, master(bench, "a"))
    assert bench.app("a")["healthChecks"][0]["gracePeriodSeconds"] == 300
    assert BOOT_S * 3 > 10


def test_a_master_that_builds_is_left_alone(bench: Bench) -> None:
    made(bench, "a", "b", "c", "d")
    bench.scheduler.working["a"] = 2
    told_access(bench, "b", FakeJenkins(busy=1, queued=3))
    for action in (Action("restart", True), Action("hibernate", False), Action("off", False)):
        found = {one.tenant: one for one in done(bench, action, "a", "b")}
        assert {one.outcome for one in found.values()} == {Outcome.FAILED}
        assert "2 builds of it wait or run in the scheduler" in found["a"].message
        assert "it runs 1 builds and has 3 in its queue" in found["b"].message
    refused = deleted(bench, Deletion(), "a", "b", "c")
    assert [refused[name].outcome for name in "abc"] == [Outcome.FAILED, Outcome.FAILED, Outcome.DONE]
    assert deleted(bench, Deletion(force=True), "a")["a"].outcome is Outcome.DONE
    assert set(bench.marathon.masters()) == {"b", "d"}


def test_draining(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masters.operations.quieting.PAUSE_S", 0.001)
    made(bench, "a", "b")
    ends, stays = FakeJenkins(busy=3, ends_when_asked=True), FakeJenkins(busy=1)
    told_access(bench, "a", ends)
    told_access(bench, "b", stays)
    assert deleted(bench, Deletion(drain_s=60), "a")["a"].outcome is Outcome.DONE
    assert ends.quieting
    late = deleted(bench, Deletion(drain_s=0.01), "b")["b"]
    assert (late.outcome, "after 0.01 s" in late.message) == (Outcome.FAILED, True)
    assert not stays.quieting


def test_what_fails_after_a_drain_leaves_builds_going(bench: Bench) -> None:
    made(bench, "a")
    jenkins = FakeJenkins()
    told_access(bench, "a", jenkins)

    def refused(call: str) -> None:
        if call == "scale a 0":
            assert jenkins.quieting
            raise ButleryError("no")

    bench.marathon.killed = refused
    assert [one.outcome for one in done(bench, Action("hibernate", True, drain_s=60), "a")] == [Outcome.FAILED]
    assert not jenkins.quieting


def test_a_drain_that_is_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds begin again, however long those that run take."""
    monkeypatch.setattr("masters.operations.quieting.PAUSE_S", 0.001)
    made(bench, "a")
    jenkins = FakeJenkins(busy=1)
    told_access(bench, "a", jenkins)
    crew = Crew(1)

    class Told(Silent):
        def waiting(self, tenant: str, why: str) -> None:
            assert jenkins.quieting
            crew.interrupt()

    found = delete_all(bench.edges, [master(bench, "a")], Deletion(drain_s=60), crew, Told(), PACE)
    assert (found[0].outcome, "stopped while they were waited for" in found[0].message) == (Outcome.FAILED, True)
    assert not jenkins.quieting
    assert "a" in bench.marathon.masters()


def test_what_is_left_of_a_deleted_master(bench: Bench) -> None:
    made(bench, "a")
    made(bench, "b", volume={"persistent": True, "size_mib": 64}, role="masters")
    assert left_behind(bench.edges, "a")
    found = deleted(bench, Deletion(), "a", "b")
    assert found["a"].message == "its volume is left: host_path:/srv/jenkins/a"
    assert found["b"].message == "its persistent volume went with it"
    orphans = bench.edges.ledger.volumes(orphans=True)
    assert [(one.tenant, one.volume) for one in orphans] == [("a", "host_path:/srv/jenkins/a")]
    store = bench.edges.store
    assert store is not None
    assert store.digests() == {}
    assert not left_behind(bench.edges, "a")
    bench.apply("a")
    assert bench.edges.ledger.volumes(orphans=True) == []


def test_who_is_meant(bench: Bench) -> None:
    made(bench, "a", labels={"tier": "gold"})
    made(bench, "b", labels={"tier": "tin"})

    def names(*named: str, every: bool = False, labels: tuple[str, ...] = ()) -> list[str]:
        return [one.tenant for one in selected(bench.marathon, named, every, labels)]

    assert names("b", "a", "b") == ["a", "b"]
    assert names(every=True) == ["a", "b"]
    assert names(labels=("tier=gold",)) == ["a"]
    assert names(labels=("tier",)) == ["a", "b"]
    assert names(labels=(f"{LABEL_STATE}=on",)) == []
    for named, every in (("none",), False), ((), False), (("a",), True):
        with pytest.raises(InputError):
            names(*named, every=every)


def upgraded(bench: Bench, at_once: int, max_failures: int, canary: int) -> tuple[str, dict[str, Done]]:
    prepared = bench.plan()
    upgrade = begin(prepared, bench.folder, at_once, max_failures, canary)
    return gone_on(bench, upgrade)


def gone_on(bench: Bench, upgrade: Upgrade) -> tuple[str, dict[str, Done]]:
    crew = Crew(upgrade.at_once, upgrade.max_failures)
    prepared = bench.plan(*upgrade.tenants)
    said: list[str] = []

    class Told(Silent):
        def said(self, line: str) -> None:
            said.append(line)

    journal, found = go_on(bench.edges, prepared, upgrade, crew, Told(), PACE)
    assert not prepared.work.changes or f"this is {journal}" in said
    return journal, {one.tenant: one for one in found}


def test_an_upgrade_a_few_at_a_time(bench: Bench) -> None:
    names = [f"team-{number}" for number in range(9)]
    made(bench, *names)
    for name in names:
        bench.write(name, image="jenkins:2")
    bench.write("new")
    bench.marathon.most_deploying = 0
    journal, found = upgraded(bench, 2, 1, 1)
    assert {one.outcome for one in found.values()} == {Outcome.DONE}
    assert set(found) == set(names)
    assert bench.marathon.most_deploying <= 2
    ended = bench.edges.ledger.journal(journal)
    assert ended is not None
    assert ended.ended_at is not None
    with pytest.raises(InputError):
        resumed(bench.edges.ledger, journal)


def test_a_canary_that_fails_stops_the_rest(bench: Bench) -> None:
    made(bench, "a", "b", "c", image=None, command="run", mem_mib=1024)
    for name in ("a", "b", "c"):
        bench.write(name, image=None, command=f"run {NEVER}", mem_mib=1024)
    _, found = upgraded(bench, 3, 3, 1)
    assert [found[name].outcome for name in "abc"] == [Outcome.TAKEN_BACK, Outcome.SKIPPED, Outcome.SKIPPED]


def test_an_upgrade_is_stopped_by_failures_and_resumed(bench: Bench) -> None:
    names = [f"team-{number}" for number in range(8)]
    made(bench, *names, image=None, command="run", mem_mib=1024)
    for number, name in enumerate(names):
        bench.write(name, image=None, command=f"run {NEVER}" if number in (2, 4) else "run 2", mem_mib=1024)
    journal, found = upgraded(bench, 1, 2, 1)
    assert [found[name].outcome for name in names[:5]] == [
        Outcome.DONE, Outcome.DONE, Outcome.TAKEN_BACK, Outcome.DONE, Outcome.TAKEN_BACK
    ]  # fmt: skip
    assert {found[name].outcome for name in names[5:]} == {Outcome.SKIPPED}
    left = resumed(bench.edges.ledger, journal)
    assert left.tenants == ("team-5", "team-6", "team-7", "team-2", "team-4")
    for name in names:
        bench.write(name, image=None, command="run 2", mem_mib=1024)
    again, found = gone_on(bench, left)
    assert again == journal
    assert {one.outcome for one in found.values()} == {Outcome.DONE}
    assert bench.apply() == {}


def test_backups(bench: Bench) -> None:
    made(bench, "a", "b", backup=BACKUP)
    made(bench, "c")
    told_access(bench, "a", FakeJenkins())
    told_access(bench, "b", FakeJenkins(outcome="failed"))
    masters = [master(bench, name) for name in "abc"]
    found = {one.tenant: one for one in back_up(bench.edges, masters, 5, Crew(3), Silent())}
    assert found["a"].outcome is Outcome.DONE
    assert found["a"].message.startswith("a-20")
    assert (found["b"].outcome, "disk full" in found["b"].message) == (Outcome.FAILED, True)
    assert "no `backup`" in found["c"].message
    done(bench, Action("off", True), "a")
    assert [one.state for one in known_backups(bench.edges, master(bench, "a"))] == ["done"]


def test_a_restore(bench: Bench) -> None:
    made(bench, "a", backup=BACKUP)
    told_access(bench, "a", FakeJenkins(made=[Backup("a-1", "done", 1, ""), Backup("a-2", "failed", 1, "torn")]))

    def restored(name: str, force: bool = False) -> Done:
        return restore_from(bench.edges, master(bench, "a"), name, force, Crew(1), Silent(), PACE)[0]

    assert "no backup none of it is known" in restored("none").message
    assert "is failed: torn" in restored("a-2").message
    assert restored("a-1").outcome is Outcome.DONE
    first = bench.app("a")["env"][Variable.RESTORE]
    assert re.fullmatch(r"a-1@\d+", first)
    assert bench.apply() == {}
    assert restored("a-1").outcome is Outcome.DONE
    assert bench.app("a")["env"][Variable.RESTORE] > first
    torn = restored("torn-1", force=True)
    assert (torn.outcome, "ended 2 times as it started: Command" in torn.message) == (Outcome.FAILED, True)
    assert bench.app("a")["env"][Variable.RESTORE].startswith("a-1@"), "as before"
    done(bench, Action("off", True), "a")
    assert Variable.RESTORE not in bench.app("a")["env"], "it was done; the next home may be a new one"


def test_details_hold_no_secret(bench: Bench) -> None:
    bench.environ["DB"] = "s3cret"
    made(bench, "a", secrets={"DB_PASSWORD": {"env": "DB"}})
    bench.edges.ledger.save_backups("a", [Backup("a-1", "done", 1, "")])
    failed = replace(master(bench, "a"), last_failure=("it was killed", time.time()))
    bench.marathon.apps[failed.app_id] = failed
    found = details(bench.edges, "a")
    store = bench.edges.store
    assert store is not None
    assert not {"s3cret", store.read("a/token"), store.read("a/admin-password")} & set(map(str, found["env"].values()))
    assert found["last_failure"]["message"] == "it was killed"
    assert (found["state"], found["why_not"], found["boot_s"]) == ("on", "", BOOT_S)
    assert found["address"] == "http://a.localhost:8082/"


def test_details_of_one_that_was_left_off(bench: Bench) -> None:
    made(bench, "a", image=None, command=f"run {NEVER}", mem_mib=1024)
    found = details(bench.edges, "a")
    assert found["state"] == "off"
    assert found["left_off"] == bench.app("a")["labels"][LABEL_FAILED]
