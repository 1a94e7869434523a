"""What a plan finds to do, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from masters import names
from masters.app import AppContext, app_of
from masters.names import Variable
from masters.plan import Plan, plan, share_of
from masters.records import Change, ChangeKind, Difference, Observed, ObservedMaster, ObservedTask
from masters.showing import as_json, lines, summary
from tests.fakes.plans import CLEAR, CONTEXT, desired, observed, served, spec

NOTHING = Observed({}, {})
PERSISTENT = {"volume": {"persistent": True, "size_mib": 512}}
TASK = ObservedTask("t", "h1", "10.0.0.1", (31000,), "TASK_RUNNING", 1.0, True, 2.0)
NFS = {"driver": "local", "options": {"type": "nfs", "device": ":/a"}}
FOLLOWING = (
    f"env.{Variable.JAVA_OPTIONS}",
    f"env.{Variable.AS_ROOT}",
    "policy.agents",
    "policy.version",
    "secrets.env-DB",
)
"""What changes along with something else."""


def applied(context: AppContext = CONTEXT, **given: Any) -> ObservedMaster:
    """The tenant's master as it runs."""
    return served(app_of(spec(**given), context), tasks=(TASK,))


def planned(given: dict[str, Any], found: Observed, **more: Any) -> Plan:
    return plan([desired(spec(**given), **more)], found, CONTEXT)


def only_change(made: Plan) -> Change:
    assert made.faults == ()
    (change,) = made.changes
    return change


def test_a_new_tenant_is_created() -> None:
    made = planned({"weight": 200}, NOTHING, secrets={"payments/token": None})
    change = only_change(made)
    assert (change.kind, change.version, change.restarts) == (ChangeKind.CREATE, None, False)
    assert change.app is not None
    assert change.share == share_of(spec(weight=200))
    assert list(lines(made)) == [
        "+ payments  create",
        "    container.docker.image: jenkins/jenkins:lts",
        "    cpus: 0.5",
        "    mem: 1024",
        "    policy.volume: host_path:/srv/payments",
        "    env.BUTLERY_ROOT_URL: https://payments.jenkins.example:8443/",
        "    weight: 200",
    ]
    assert summary(made) == "1 to create, 0 unchanged"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mem_mib": 2048}, {"mem": (1024, 2048)}),
        ({"cpus": 2}, {"cpus": (0.5, 2)}),
        ({"image": "x:2"}, {"container.docker.image": ("jenkins/jenkins:lts", "x:2")}),
        ({"uid": 0}, {"container.docker.parameters[0].value": ("1000", "0")}),
        ({"env": {"A": "2", "C": ""}}, {"env.A": ("1", "2"), "env.B": ("x", None), "env.C": (None, "")}),
        ({"labels": {}}, {"labels.team": ("money", None)}),
        ({"constraints": []}, {"constraints": (["hostname:UNLIKE:a", "rack:CLUSTER"], [])}),
        ({"constraints": [["hostname", "UNLIKE", "a"], ["rack", "CLUSTER"]]}, {}),  # a set
        ({"ports": {"agents": True}}, {"portDefinitions": (["http:any"], ["http:any", "agents:any"])}),
        ({"health": {"failures": 9}}, {"healthChecks[0].maxConsecutiveFailures": (6, 9)}),
        ({"health": {"grace_s": 999}}, {}),  # goes along with the next start
        ({"hibernate": {"after_idle_min": 1}}, {"policy.idle_s": (None, 60.0)}),
        ({"secrets": {"DB": {"env": "X"}}}, {"env.DB": (None, "(secret)")}),
    ],
)  # fmt: skip
def test_what_changed_is_told_and_restarts(change: dict[str, Any], told: dict[str, Any]) -> None:
    constraints = [["rack", "CLUSTER"], ["hostname", "UNLIKE", "a"]]
    base: dict[str, Any] = {"env": {"A": "1", "B": "x"}, "labels": {"team": "money"}, "constraints": constraints}
    before = applied(**base)
    made = planned({**base, **change}, observed([before], [share_of(spec(**base))]))
    if not told:
        assert made == Plan((), (), 1)
        return
    found = only_change(made)
    assert found.kind is ChangeKind.UPDATE
    assert found.restarts
    assert found.version == before.version
    ours = {one.path: (one.before, one.after) for one in found.differences}
    assert {path: values for path, values in ours.items() if path not in FOLLOWING} == told


def test_what_is_not_the_yamls_to_say_stays() -> None:
    before = applied()
    asleep = {**before.document, "instances": 0}
    asleep["labels"] = {**asleep["labels"], names.LABEL_STATE: "asleep"}
    asleep["env"] = {**asleep["env"], Variable.RESTORE: "payments-1"}
    asleep["healthChecks"] = [{**asleep["healthChecks"][0], "gracePeriodSeconds": 6000}]
    master = replace(before, document=asleep, wanted="asleep", tasks=())
    found = observed([master], [share_of(spec())])
    assert planned({}, found) == Plan((), (), 1)
    change = only_change(planned({"mem_mib": 2048}, found))
    assert change.app is not None
    assert not change.restarts
    assert change.app["instances"] == 0
    assert change.app["labels"][names.LABEL_STATE] == "asleep"
    assert Variable.RESTORE not in change.app["env"], "it was done, and a new volume is not to be made of it"
    assert change.app["role"] == "*"


def test_a_share_alone_restarts_nothing() -> None:
    change = only_change(planned({"quota": {"cpus": 4}}, observed([applied()], [share_of(spec())])))
    assert (change.kind, change.app, change.restarts) == (ChangeKind.SHARE, None, False)
    assert change.differences == (Difference("quota.cpus", None, 4),)
    assert change.share == share_of(spec(quota={"cpus": 4}))


def test_another_secret_restarts_and_is_not_shown() -> None:
    held = {"payments/token": "0" * 64, "payments/env-DB": "1" * 64}
    given: dict[str, Any] = {"secrets": {"DB": {"env": "DB"}}}
    found = observed([applied(**given)], [share_of(spec())], held)
    wanted = {"payments/token": None, "payments/env-DB": "1" * 64}
    assert planned(given, found, secrets=wanted) == Plan((), (), 1)
    change = only_change(planned(given, found, secrets={**wanted, "payments/env-DB": "2" * 64}))
    assert (change.kind, change.app, change.restarts) == (ChangeKind.SECRETS, None, True)
    assert change.differences == (Difference("secrets.payments/env-DB", "(secret)", "(another secret)"),)


def test_secrets_in_clear_are_not_shown() -> None:
    given = spec(secrets={"DB": {"env": "DB"}})
    clear = {"payments/env-DB": "hush", "payments/token": "hushed"}
    master = served(app_of(given, CLEAR, clear=clear), tasks=(TASK,))
    found = observed([master], [share_of(given)])
    again = plan([desired(given, clear={"payments/env-DB": "hush"})], found, CLEAR)
    assert again.changes == ()
    for other in (given, spec(env={"DB": "open"})):
        made = plan([desired(other, clear={"payments/env-DB": "quiet"})], found, CLEAR)
        assert made.changes
        assert "hush" not in str(list(lines(made))) + str(as_json(made))
        assert "quiet" not in str(list(lines(made))) + str(as_json(made))
        app = made.changes[0].app
        assert app is not None
        assert app["env"][Variable.TENANT_TOKEN] == "hushed"


def test_a_master_that_no_yaml_speaks_of_is_told() -> None:
    made = plan([], observed([applied()]), CONTEXT)
    assert only_change(made).kind is ChangeKind.GONE
    assert list(lines(made)) == ["? payments  no YAML speaks of it: left as it is without --prune"]
    assert summary(made) == "1 gone from the YAML, 0 unchanged"


def test_only_some() -> None:
    tenants = [desired(spec(name)) for name in ("a", "b")]
    made = plan(tenants, observed([applied()]), CONTEXT, only=["b", "nobody"])
    assert [change.tenant for change in made.changes] == ["b"]
    assert made.faults == (("--only", "there is no tenant 'nobody'"),)


@pytest.mark.parametrize(
    ("before", "after", "at", "words"),
    [
        ({}, {"volume": {"host_path": "/other", "shared": True}}, "volume", "data would be left behind"),
        (
            {"volume": {"external": {}, "size_mib": 2048}},
            {"volume": {"external": {}, "size_mib": 1024}},
            "volume.size_mib",
            "1024 is less than the 2048 that the volume has",
        ),
        (
            {"volume": {"external": {}, "size_mib": 2048}},
            {"volume": {"external": {}}},
            "volume.size_mib",
            "nothing is less than the 2048",
        ),
        (PERSISTENT, {"volume": {"persistent": True, "size_mib": 1024}}, "volume.size_mib", "cannot resize"),
        (PERSISTENT, {**PERSISTENT, "mem_mib": 2048}, "mem_mib", "is 2048 now, and 1024 is reserved"),
        (PERSISTENT, {**PERSISTENT, "cpus": 1}, "cpus", "is 1 now, and 0.5 is reserved"),
        (PERSISTENT, {**PERSISTENT, "ports": {"agents": True}}, "ports", "reserved with the persistent volume"),
        (
            {"volume": {"docker": NFS}},
            {"volume": {"docker": {**NFS, "options": {"type": "nfs", "device": ":/b"}}}},
            "volume",
            "its options changed",
        ),
    ],
)
def test_what_would_lose_data_is_refused(before: dict[str, Any], after: dict[str, Any], at: str, words: str) -> None:
    made = planned(after, observed([applied(**before)], [share_of(spec())]))
    assert made.changes == ()
    (fault,) = made.faults
    assert fault.where == f"payments.yaml:1 {at}"
    assert words in fault.message


def test_a_volume_may_grow() -> None:
    before: dict[str, Any] = {"volume": {"external": {}, "size_mib": 1024}}
    after = {"volume": {"external": {}, "size_mib": 3000}}
    change = only_change(planned(after, observed([applied(**before)], [share_of(spec())])))
    assert Difference("policy.volume_mib", 1024, 3000) in change.differences


def test_other_shards_would_make_masters_twice() -> None:
    moved = replace(CONTEXT, shards=9)
    (fault,) = plan([desired(spec())], observed([applied()]), moved).faults
    assert fault.where == "masters.shards"
    assert "/butlery/masters/s02/payments" in fault.message


def test_shards_that_would_get_too_long() -> None:
    few = replace(CONTEXT, shards=1)
    tenants = [desired(spec(f"t{number}")) for number in range(200)]
    (fault,) = plan(tenants, NOTHING, few).faults
    assert fault.where == "masters.shards"
    assert "of 200 masters, more than the 500 kB" in fault.message


def test_someone_elses_hand_is_put_right() -> None:
    before = applied()
    changed = {**before.document, "user": "root", "args": ["x"], "cmd": "rm", "cpus": 7.5}
    found = only_change(planned({}, observed([replace(before, document=changed)], [share_of(spec())])))
    assert {one.path: one.after for one in found.differences} == {"user": None, "args": None, "cmd": None, "cpus": 0.5}
