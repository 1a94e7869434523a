"""A plan, applied, leaves nothing to plan: through what the embedded Marathon server makes of each app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from masters import names
from masters.plan import Desired, Plan, plan, share_of
from masters.records import ChangeKind, Observed, ObservedMaster, ObservedShare
from masters.showing import as_json, lines
from tests.fakes.plans import CONTEXT, desired, observed, served, spec

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
letters = st.from_regex(r"[A-Z][A-Z_]{0,3}", fullmatch=True).filter(lambda name: not name.startswith(("PORT", "HOST")))
seconds = st.integers(1, 90) | st.floats(1, 90)
options = st.dictionaries(st.sampled_from(["type", "o", "device"]), st.sampled_from(["a,b", 'q"u', "x=y"]), max_size=2)
volumes: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"host_path": "/srv/{tenant}", "shared": True}),
    st.fixed_dictionaries({"docker": st.fixed_dictionaries({"driver": st.just("nfs"), "options": options})}),
    st.fixed_dictionaries({"external": st.just({})}, optional={"size_mib": st.integers(16, 4096)}),
    st.fixed_dictionaries({"persistent": st.just(True), "size_mib": st.just(512)}),
)
runs = st.one_of(
    st.sampled_from([{"image": "jenkins"}, {"image": "jenkins", "version": "2.5"}]),
    st.just({"image": None, "command": "serve"}),
    st.just({"image": None, "war": "/opt/{version}.war", "version": "2.5"}),
)
constraints = st.sampled_from([["hostname", "UNIQUE"], ["rack", "CLUSTER", "r1"], ["rack", "LIKE", "r."]])
health = st.fixed_dictionaries({}, optional={"grace_s": seconds, "interval_s": seconds, "path": st.just("/x")})
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "cpus": st.floats(0.01, 8) | st.integers(1, 8),
    "mem_mib": st.integers(1024, 4096),
    "uid": st.integers(0, 70_000),
    "env": st.dictionaries(letters, words, max_size=2),
    "secrets": st.dictionaries(letters.map("S{}".format), st.sampled_from([{"env": "X"}, {"marathon": "m"}])),
    "constraints": st.lists(constraints, unique_by=tuple),
    "labels": st.dictionaries(st.sampled_from(["team", "cost"]), words),
    "role": st.just("butlery"),
    "plugins": st.lists(st.sampled_from(["git", "ant:1"]), unique=True),
    "health": health,
    "ports": st.sampled_from([{"agents": True}, {"http": 31_000}, {}]),
    "address": st.sampled_from([{"path": "/a"}, {"host": "{tenant}.b"}, {}]),
    "backup": st.sampled_from([{"to": "/b"}, {"to": "/b", "every_h": 1}]),
    "hibernate": st.just({"after_idle_min": 5}),
    "quota": st.fixed_dictionaries({}, optional={"cpus": st.floats(0.1, 9), "builds": st.integers(1, 9)}),
    "weight": st.integers(1, 9),
    "stop_timeout_s": seconds,
}
own = st.fixed_dictionaries({"volume": volumes}, optional=FIELDS)
changes = st.fixed_dictionaries({}, optional=FIELDS) | own
tenants = st.tuples(runs, own).map(lambda parts: {**parts[0], **parts[1]})
bundles = st.none() | st.just("H4sI")
boots = st.none() | st.floats(0.1, 900)


def _read(name: str, given_: Mapping[str, Any], bundle: str | None) -> Desired | None:
    """None: what it says does not fit together."""
    try:
        tenant = spec(name, **given_)
    except ValidationError:
        return None
    named = [*("token", "admin-password"), *(f"env-{one}" for one, of in tenant.secrets.items() if of.env)]
    secrets = {names.secret_source(name, one): None if "-" not in one[:4] else "5" * 64 for one in named}
    return desired(tenant, configuration=bundle, secrets=secrets)


def _applied(made: Plan, wanted: Iterable[Desired], before: Observed) -> Observed:
    """What there is once all of it is done."""
    masters, shares, secrets = dict(before.masters), dict(before.shares), dict(before.secrets)
    by_name = {one.spec.name: one for one in wanted}
    for change in made.changes:
        if change.kind is ChangeKind.GONE:
            continue
        if change.app is not None:
            masters[change.tenant] = served(change.app, before.masters.get(change.tenant))
        if change.share is not None:
            shares[change.tenant] = change.share
        for source, digest in by_name[change.tenant].secrets.items():
            secrets[source] = digest or secrets.get(source, "0" * 64)
    return Observed(masters, shares, before.boots, secrets)


@given(st.lists(st.tuples(tenants, bundles, boots), max_size=3), st.lists(st.tuples(changes, bundles), max_size=3))
def test_what_was_applied_needs_nothing(
    first: list[tuple[dict[str, Any], str | None, float | None]], then: list[tuple[dict[str, Any], str | None]]
) -> None:
    learned = {f"t{number}": boot_s for number, (_, _, boot_s) in enumerate(first) if boot_s is not None}
    wanted = [_read(f"t{number}", given_, bundle) for number, (given_, bundle, _) in enumerate(first)]
    found = _settles([one for one in wanted if one is not None], observed([], boots=learned))
    pairs = zip(first, then, strict=False)
    other = [_read(f"t{number}", {**was, **now}, bundle) for number, ((was, *_), (now, bundle)) in enumerate(pairs)]
    _settles([one for one in other if one is not None], found)


def _settles(wanted: list[Desired], before: Observed) -> Observed:
    made = plan(wanted, before, CONTEXT)
    at_fault = {fault.where.partition(".yaml")[0] for fault in made.faults}
    wanted = [one for one in wanted if one.spec.name not in at_fault]
    after = _applied(made, wanted, before)
    again = plan(wanted, after, CONTEXT, only=[one.spec.name for one in wanted])
    assert again == Plan((), (), len(wanted))
    for change in made.changes:
        assert change.differences or change.kind is ChangeKind.GONE
        assert not change.restarts or change.tenant in before.masters
    assert all("\n" not in line for line in lines(made))
    msgspec.json.encode(as_json(made))
    return after


@given(tenants, st.sampled_from(["on", "asleep", "off"]), st.integers(1, 9))
def test_who_sleeps_is_left_asleep(given_: dict[str, Any], state: str, weight: int) -> None:
    one = _read("t0", given_, None)
    if one is None:
        return
    (change,) = plan([one], observed([]), CONTEXT).changes
    assert change.app is not None
    instances = 1 if state == "on" else 0
    app = {**change.app, "instances": instances, "labels": {**change.app["labels"], names.LABEL_STATE: state}}
    master: ObservedMaster = served(app)
    share: ObservedShare = share_of(spec("t0", weight=weight))
    changed = {**given_, "env": {**given_.get("env", {}), "ADDED": "1"}}
    made = plan([desired(spec("t0", **changed))], observed([master], [share]), CONTEXT)
    (update,) = made.changes
    assert update.app is not None
    assert (update.app["instances"], update.app["labels"][names.LABEL_STATE]) == (instances, state)
    assert update.restarts is (state == "on")
