"""Plans performed: to the end, again, after a crash at every call, against Marathons that fail."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from framework.errors import ButleryError, InputError, StoreFullError
from masters.apply.crew import Crew
from masters.names import LABEL_FAILED, LABEL_STATE, Variable, app_id
from masters.operations.lifecycle import hibernate
from masters.records import ChangeKind, MasterState, Outcome
from tests.fakes.applying import PACE, Bench
from tests.fakes.masters import BOOT_S, NEVER, NO_IMAGE, TORN, fake_edges


def kinds(bench: Bench) -> dict[str, ChangeKind]:
    return {change.tenant: change.kind for change in bench.plan().plan.changes}


def outcomes(bench: Bench, *only: str) -> dict[str, Outcome]:
    return {name: done.outcome for name, done in bench.apply(*only).items()}


def test_what_is_applied_needs_nothing_more(bench: Bench) -> None:
    for number in range(20):
        bench.write(f"team-{number}", weight=100 + number, quota={"builds": 3})
    assert set(outcomes(bench).values()) == {Outcome.DONE}
    assert bench.scheduler.known["team-7"].weight == 107
    assert bench.marathon.most_deploying <= 8
    assert bench.edges.ledger.boots()["team-3"] == BOOT_S
    store = bench.edges.store
    assert store is not None
    assert store.read("team-3/token") == "token-team-3-1"
    assert store.read("team-3/admin-password")
    assert kinds(bench) == {}
    assert outcomes(bench) == {}


def test_only_what_changed_is_changed(bench: Bench) -> None:
    for name in ("a", "b", "c", "d"):
        bench.write(name)
    bench.apply()
    bench.write("a", image="jenkins:2")
    bench.write("b", weight=7)
    bench.remove("d")
    calls = len(bench.marathon.calls)
    assert kinds(bench) == {"a": ChangeKind.UPDATE, "b": ChangeKind.SHARE, "d": ChangeKind.GONE}
    assert outcomes(bench) == {"a": Outcome.DONE, "b": Outcome.DONE}
    assert [call for call in bench.marathon.calls[calls:] if call.startswith(("put", "scale", "restart"))] == ["put a"]
    assert "d" in bench.marathon.masters()


def test_one_that_sleeps_goes_on_sleeping(bench: Bench) -> None:
    bench.write("a")
    bench.apply()
    hibernate(bench.edges, bench.marathon.masters()["a"])
    bench.marathon.deployments()
    bench.write("a", image="jenkins:2")
    assert outcomes(bench) == {"a": Outcome.DONE}
    assert bench.marathon.masters()["a"].state is MasterState.ASLEEP
    assert bench.app("a")["instances"] == 0


def test_an_image_that_cannot_be_had_fails_fast_and_others_go_on(bench: Bench) -> None:
    bench.write("a")
    bench.write("bad", image=f"{NO_IMAGE}:1")
    done = bench.apply()
    assert done["a"].outcome is Outcome.DONE
    assert done["bad"].outcome is Outcome.FAILED
    assert done["bad"].message == "image nosuch:1 cannot be had: no such image; it is left off"
    assert bench.app("bad")["instances"] == 0
    assert bench.app("bad")["labels"][LABEL_STATE] == "off"
    bench.write("bad")
    assert outcomes(bench) == {"bad": Outcome.DONE}
    assert LABEL_FAILED not in bench.app("bad")["labels"]
    assert bench.marathon.masters()["bad"].state is MasterState.ON


def test_what_failed_is_tried_again_though_its_yaml_stayed(bench: Bench) -> None:
    bench.write("bad", image=f"{NO_IMAGE}:1")
    assert outcomes(bench) == {"bad": Outcome.FAILED}
    assert outcomes(bench) == {"bad": Outcome.FAILED}


def test_an_update_that_never_gets_healthy_is_taken_back(bench: Bench) -> None:
    bench.write("a", image=None, command="run", mem_mib=1024)
    bench.apply()
    bench.write("a", image=None, command=f"run {NEVER}", mem_mib=1024)
    done = bench.apply()["a"]
    assert done.outcome is Outcome.TAKEN_BACK
    assert done.message.startswith("not healthy after 1 s: no task is launched yet; its version 2026")
    assert bench.app("a")["cmd"].endswith("\nrun")
    assert bench.marathon.masters()["a"].state is MasterState.ON
    assert kinds(bench) == {"a": ChangeKind.UPDATE}


def test_an_update_that_ends_whenever_it_starts_is_taken_back_long_before_its_time_is_over(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "patient").mkdir()
    bench = replace(bench, edges=fake_edges(tmp_path / "patient", deployment_timeout_s=600))
    bench.write("a", image=None, command="run", mem_mib=1024)
    bench.apply()
    bench.write("a", image=None, command=f"run {TORN}", mem_mib=1024)
    done = bench.apply()["a"]
    assert done.outcome is Outcome.TAKEN_BACK
    assert done.message.startswith("it ended 9 times as it started: Command exited with status 1; its version 2026")
    assert bench.marathon.masters()["a"].state is MasterState.ON
    bench.edges.ledger.close()


def test_an_update_while_a_deployment_never_ends(bench: Bench) -> None:
    """An earlier apply was killed while it waited: what it began is waited for, and taken back in the end."""
    bench.write("a", image=None, command="run", mem_mib=1024)
    bench.apply()
    bench.write("a", image=None, command=f"run {NEVER}", mem_mib=1024)
    bench.marathon.put(
        app_id("/butlery/masters", "a", 64),
        bench.plan().work.changes[0].app or {},
        expect=bench.marathon.masters()["a"].version,
    )
    assert kinds(bench) == {}
    assert outcomes(bench) == {"a": Outcome.TAKEN_BACK}


def test_secrets(bench: Bench) -> None:
    bench.environ["DB"] = "s3cret"
    bench.write("a", secrets={"DB_PASSWORD": {"env": "DB"}})
    bench.apply()
    store = bench.edges.store
    assert store is not None
    assert store.read("a/env-DB_PASSWORD") == "s3cret"
    assert "s3cret" not in repr(bench.marathon.history)
    bench.environ["DB"] = "other"
    assert kinds(bench) == {"a": ChangeKind.SECRETS}
    assert outcomes(bench) == {"a": Outcome.DONE}
    assert bench.marathon.calls.count("restart a") == 1
    assert kinds(bench) == {}


def test_secrets_written_but_not_restarted_for_are_not_forgotten(bench: Bench) -> None:
    bench.environ["DB"] = "s3cret"
    bench.write("a", secrets={"DB_PASSWORD": {"env": "DB"}})
    bench.write("b")
    bench.apply()
    bench.environ["DB"] = "other"

    def refused(call: str) -> None:
        if call == "restart a":
            raise ButleryError("killed")

    bench.marathon.killed = refused
    assert outcomes(bench) == {"a": Outcome.FAILED}
    bench.marathon.killed = lambda _: None
    assert kinds(bench) == {"a": ChangeKind.SECRETS}
    assert outcomes(bench, "b") == {}
    assert outcomes(bench) == {"a": Outcome.DONE}
    assert kinds(bench) == {}


def test_without_a_store(bench: Bench, tmp_path: Path) -> None:
    bench.edges.ledger.close()
    bench.edges = fake_edges(tmp_path, store=False)
    bench.environ["DB"] = "s3cret"
    bench.write("a", secrets={"DB_PASSWORD": {"env": "DB"}})
    assert outcomes(bench) == {"a": Outcome.DONE}
    env = bench.app("a")["env"]
    assert env["DB_PASSWORD"] == "s3cret"
    assert env[Variable.TENANT_TOKEN] == "token-a-1"
    assert kinds(bench) == {}
    bench.write("a", image="jenkins:2", secrets={"DB_PASSWORD": {"env": "DB"}})
    assert outcomes(bench) == {"a": Outcome.DONE}
    assert bench.app("a")["env"][Variable.TENANT_TOKEN] == "token-a-1"
    assert bench.app("a")["env"][Variable.ADMIN_PASSWORD] == env[Variable.ADMIN_PASSWORD]


def test_faults_of_secrets_are_told_before_anything_is_done(bench: Bench) -> None:
    bench.write("a", secrets={"DB": {"env": "NOT_THERE"}})
    bench.write("b", secrets={"DB": {"file": "none"}})
    with pytest.raises(InputError) as told:
        bench.plan()
    assert len(told.value.faults) == 2
    assert bench.marathon.calls == []


@pytest.mark.parametrize("call", range(1, 14))
def test_a_crash_at_any_call_is_gone_on_from(bench: Bench, call: int) -> None:
    """As ``kill -9`` does: what is in memory is lost, and the same command is run again."""
    bench.environ["DB"] = "s3cret"
    bench.write("a", secrets={"DB_PASSWORD": {"env": "DB"}})
    bench.write("b")
    left = [call]

    def killed(_: str) -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise ButleryError("killed")

    bench.marathon.killed = killed
    with suppress(ButleryError):
        bench.apply(crew=Crew(1))
    bench.marathon.killed = lambda _: None
    bench.apply()
    bench.apply()
    assert kinds(bench) == {}
    assert {master.state for master in bench.marathon.masters().values()} == {MasterState.ON}
    store = bench.edges.store
    assert store is not None
    for name in ("a", "b"):
        drawn = bench.scheduler.tokens[name]
        assert store.read(f"{name}/token") == f"token-{name}-{drawn}"


def test_a_marathon_that_goes_away_and_comes_back(bench: Bench) -> None:
    for number in range(6):
        bench.write(f"team-{number}")
    gone = [False]

    def away(call: str) -> None:
        if call.startswith("put team-3") and not gone[0]:
            gone[0] = True
            bench.marathon.away = 40

    bench.marathon.killed = away
    assert set(outcomes(bench).values()) == {Outcome.DONE}


def test_a_marathon_that_stays_away_leaves_a_list(bench: Bench) -> None:
    for number in range(6):
        bench.write(f"team-{number}")
    bench.pace = replace(PACE, outage_s=0.05)

    def away(call: str) -> None:
        if call.startswith("put team-2"):
            bench.marathon.away = 1_000_000

    bench.marathon.killed = away
    prepared = bench.plan()
    bench.marathon.away = 0
    done = bench.apply(crew=Crew(1))
    assert len(prepared.work.changes) == len(done) == 6
    assert done["team-0"].outcome is Outcome.DONE
    failed = [one for one in done.values() if one.outcome is Outcome.FAILED]
    assert [one.message for one in failed] == ["Marathon is away"]
    assert done["team-5"].outcome is Outcome.SKIPPED
    assert "Marathon is away" in done["team-5"].message
    bench.marathon.away, bench.marathon.killed = 0, lambda _: None
    assert set(outcomes(bench).values()) == {Outcome.DONE}


def test_somebody_else_s_change_is_not_overwritten(bench: Bench) -> None:
    bench.write("a")
    bench.apply()
    bench.write("a", image="jenkins:2")

    def meddled(call: str) -> None:
        if call == "put a":
            master = bench.marathon.masters()["a"]
            bench.marathon.apps[master.app_id] = replace(master, version="2026-12-01T00:00:00.000Z")

    bench.marathon.killed = meddled
    done = bench.apply()["a"]
    assert (done.outcome, "somebody else" in done.message) == (Outcome.FAILED, True)


def test_stopped_in_the_middle(bench: Bench) -> None:
    for number in range(6):
        bench.write(f"team-{number}")
    crew = Crew(1)

    def stops(call: str) -> None:
        if call == "put team-2":
            crew.interrupt()

    bench.marathon.killed = stops
    done = bench.apply(crew=crew)
    assert [done[f"team-{number}"].outcome for number in (1, 2, 3)] == [Outcome.DONE, Outcome.DONE, Outcome.SKIPPED]
    assert crew.interrupted


def test_a_ledger_that_is_full_makes_no_master_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("a")

    def full(_: object) -> None:
        raise StoreFullError("masters.db: the disk is full")

    monkeypatch.setattr(bench.edges.ledger, "save_good", full)
    assert outcomes(bench) == {"a": Outcome.DONE}
