"""What the server keeps: everything comes back as it was, older roots too, and what is too old goes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from framework.core.effects import SaveFrameworkId
from framework.core.ids import FrameworkId, HostId
from framework.edges import sqlite_file
from framework.errors import StoreError, StoreFullError
from framework.local.marathon.core.effects import (
    DropDeployment,
    DropFailure,
    DropInstance,
    Save,
    SaveDeployment,
    SaveFailure,
    SaveInstance,
    SaveRoot,
)
from framework.local.marathon.definition.app import App, Group
from framework.local.marathon.definition.read import EMPTY
from framework.local.marathon.definition.versions import stamp
from framework.local.marathon.groups.tree import apps_of, with_apps
from framework.local.marathon.records import (
    Action,
    ActionKind,
    AppChange,
    Condition,
    Deployment,
    Goal,
    Instance,
    LocalVolume,
    Site,
    Step,
    TaskFailure,
)
from framework.local.marathon.store import MAX_VERSIONS, MarathonStore
from tests.unit.marathon.groups.trees import app


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marathon" / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[MarathonStore]:
    with closing(MarathonStore(path)) as store:
        yield store


def grown(root: Group, number: int, *apps: App, removed: tuple[str, ...] = ()) -> tuple[Group, SaveRoot]:
    """The root of the version ``number``, with these apps changed to it, and what saves it."""
    version = stamp(1_600_000_000_000 + number)
    changed = tuple(replace(one, version=version) for one in apps)
    changes: dict[str, App | None] = {one.id: one for one in changed}
    changes.update(dict.fromkeys(removed))
    after = stamped(with_apps(root, changes), version)
    return after, SaveRoot(after, changed, removed)


def stamped(group: Group, version: str) -> Group:
    below = {group_id: stamped(one, version) for group_id, one in group.groups.items()}
    return replace(group, version=version, groups=below)


def instance(name: str, of: App, condition: Condition = Condition.RUNNING) -> Instance:
    return Instance(
        id=name,
        app_id=of.id,
        version=of.version,
        role="*",
        goal=Goal.RUNNING,
        condition=condition,
        since=1.5,
        site=Site(HostId("S0"), "host-1", {"rack": "r1", "@zone": "z"}),
        ports=(31000, 0),
        volumes=(LocalVolume("data", "u", "a#data#u"),),
    )


def reopened(store: MarathonStore) -> MarathonStore:
    store.close()
    return MarathonStore(store.path)


def test_a_new_one_is_empty(store: MarathonStore) -> None:
    found = store.load()
    assert (found.root, found.framework_id) == (EMPTY, None)
    assert [found.instances, found.deployments, found.apps, found.failures] == [()] * 4
    assert store.versions("/a") == store.group_versions("/") == []
    assert store.group_at("/", "2020-01-01T00:00:00.000Z") is None


def test_all_of_a_frame_comes_back(path: Path) -> None:
    root, saved = grown(EMPTY, 1, app("/a"), app("/dev/db/b", ports=(1, 2)))
    one, two = sorted(apps_of(root), key=lambda each: each.id)
    deployment = Deployment(
        "d1",
        root.version,
        (Step((Action(ActionKind.START, one),)), Step((Action(ActionKind.SCALE, one, 3, ("k",)),))),
        (AppChange(one.id, None, one), AppChange("/gone", app("/gone"), None)),
    )
    failure = TaskFailure("/a", "host-1", "why", "TASK_FAILED", "t", 2.0, one.version)
    frame: list[Save] = [
        SaveFrameworkId(FrameworkId("F")),
        saved,
        SaveInstance(instance("z", one)),
        SaveInstance(instance("y", two)),
        SaveDeployment(deployment),
        SaveFailure(failure),
    ]
    store = MarathonStore(path)
    store.commit(frame)
    store.commit([SaveInstance(instance("z", one, Condition.KILLING))])
    store.commit([SaveDeployment(replace(deployment, current=1))])
    store = reopened(store)
    found = store.load()
    assert found.framework_id == "F"
    assert found.root == root
    assert found.instances == (instance("z", one, Condition.KILLING), instance("y", two))
    assert found.deployments == (replace(deployment, current=1),)
    assert found.failures == (failure,)
    assert found.apps == ()
    store.commit([DropInstance("z"), DropDeployment("d1"), DropFailure("/a"), DropInstance("unknown")])
    store = reopened(store)
    found = store.load()
    assert (found.instances, found.deployments, found.failures) == ((instance("y", two),), (), ())
    store.close()


def test_a_deployment_is_written_once_and_then_only_how_far_it_is(store: MarathonStore) -> None:
    deployment = Deployment("d", "v", (Step((Action(ActionKind.STOP, app("/a")),)),), ())
    store.commit([SaveDeployment(deployment)])
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("UPDATE deployments SET record = 'kept'")
        db.commit()
        store.commit([SaveDeployment(replace(deployment, current=1))])
        assert db.execute("SELECT record, current FROM deployments").fetchall() == [("kept", 1)]
        store.commit([SaveDeployment(replace(deployment, steps=(Step(()),)))])
        assert db.execute("SELECT typeof(record), current FROM deployments").fetchall() == [("blob", 0)]


def test_older_versions_of_apps_and_groups(store: MarathonStore) -> None:
    first, saved = grown(EMPTY, 1, app("/a"), app("/dev/b"))
    store.commit([saved])
    second, saved = grown(first, 2, app("/a", instances=5))
    third, saved_third = grown(second, 3, removed=("/dev/b",))
    store.commit([saved, saved_third])
    assert store.versions("/a") == [second.version, first.version]
    assert store.app_at("/a", first.version) == first.apps["/a"]
    assert store.app_at("/a", third.version) is None
    assert store.group_versions("/") == [third.version, second.version, first.version]
    for root in (first, second, third):
        assert store.group_at("/", root.version) == root
    assert store.group_at("/dev", second.version) == second.groups["/dev"]
    assert store.group_at("/de", second.version) is None
    assert store.load().root == third


def test_every_kept_root_can_be_made_again_after_many_changes(path: Path) -> None:
    chance = random.Random(7)
    names = ["/a", "/a-b/c", "/dev", "/dev0/x", "/deve/lop/er", "/deve/lop/z", "/p/q/r/s"]
    roots: list[Group] = []
    known: dict[str, set[str]] = {name: set() for name in names}
    root, store = EMPTY, MarathonStore(path)
    for number in range(MAX_VERSIONS + 30):
        some = chance.sample(names, 3)
        present = {one.id for one in apps_of(root)}
        removed = tuple(name for name in some[:1] if name in present)
        root, saved = grown(
            root, number, *(app(name, instances=number) for name in some if name not in removed), removed=removed
        )
        if chance.random() < 0.3:
            below = next(iter(root.groups.values()), None)
            if below is not None:
                changed = replace(below, dependencies=(f"/d{number}",))
                root = replace(root, groups={**root.groups, below.id: changed})
                saved = SaveRoot(root, saved.apps, saved.removed)
        store.commit([saved])
        roots.append(root)
        of_roots = {(one.id, one.version) for each in roots[-MAX_VERSIONS:] for one in apps_of(each)}
        present = {one.id for one in apps_of(root)}
        for name, versions in known.items():
            versions |= {version for of, version in of_roots if of == name}
            last = set(sorted(versions)[-MAX_VERSIONS:]) if name in present else set()
            known[name] = {version for version in versions if version in last or (name, version) in of_roots}
        if chance.random() < 0.1:
            store = reopened(store)
            assert store.load().root == root
    kept = roots[-MAX_VERSIONS:]
    assert store.group_versions("/") == [one.version for one in reversed(kept)]
    for one in kept:
        assert store.group_at("/", one.version) == one
    assert store.group_at("/", roots[-MAX_VERSIONS - 1].version) is None
    assert {name: set(store.versions(name)) for name in names} == known
    store.close()


def test_an_app_keeps_its_versions_however_often_others_change(store: MarathonStore) -> None:
    root, saved = grown(EMPTY, 0, app("/a"), app("/b"))
    first = root.apps["/a"].version
    store.commit([saved])
    root, saved = grown(root, 1, app("/a", instances=2))
    second = root.apps["/a"].version
    store.commit([saved])
    for number in range(2, MAX_VERSIONS + 10):
        root, saved = grown(root, number, app("/b", instances=number))
        store.commit([saved])
    assert store.versions("/a") == [second, first]
    assert len(store.versions("/b")) == MAX_VERSIONS
    root, saved = grown(root, MAX_VERSIONS + 10, removed=("/a",))
    store.commit([saved])
    assert store.versions("/a") == [second]  # of roots before


def test_an_old_version_is_kept_for_as_long_as_an_instance_has_it(store: MarathonStore) -> None:
    root, saved = grown(EMPTY, 0, app("/a"))
    old = root.apps["/a"]
    store.commit([saved, SaveInstance(instance("i", old))])
    for number in range(1, MAX_VERSIONS + 2):
        root, saved = grown(root, number, app("/a", instances=number))
        store.commit([saved])
    assert old.version in store.versions("/a")
    assert store.load().apps == (old,)
    store.commit([SaveInstance(replace(instance("i", old), version=root.version))])
    assert old.version not in store.versions("/a")
    assert store.load().apps == ()
    root, saved = grown(root, MAX_VERSIONS + 2, removed=("/a",))
    store.commit([saved])
    assert store.load().apps != ()  # its instance is not gone yet
    store.commit([DropInstance("i")])
    assert store.load().apps == ()


def test_a_failed_frame_leaves_nothing_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_S", 0.01)
    store = MarathonStore(path)
    root, saved = grown(EMPTY, 1, app("/a"))
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFullError, match="cannot be saved now"):
            store.commit([saved])
        other.execute("ROLLBACK")
    assert store.load().root == EMPTY
    store.commit([saved])
    assert store.load().root == root
    store.close()


def test_two_servers_never_share_a_file(store: MarathonStore) -> None:
    with pytest.raises(StoreError, match="another Marathon-compatible server is using it"):
        MarathonStore(store.path)


def test_a_corrupt_file_is_kept_aside_and_the_framework_found_again(path: Path) -> None:
    with closing(MarathonStore(path)) as store:
        store.commit([SaveFrameworkId(FrameworkId("F-1"))])
    path.write_bytes(b"x" * 5000)
    with closing(MarathonStore(path)) as store:
        found = store.load()
        assert (found.framework_id, found.root) == ("F-1", EMPTY)
        assert "the apps and groups in it are not known now" in store.notices[0]
        assert found.lost_some
    with closing(MarathonStore(path)) as store:
        assert store.load().lost_some
        assert store.notices == []
    assert [each.read_bytes()[:3] for each in path.parent.glob("state.db.corrupt-*")] == [b"xxx"]


def test_a_record_that_cannot_be_read_is_told(path: Path) -> None:
    with closing(MarathonStore(path)) as store:
        root, saved = grown(EMPTY, 1, app("/a"))
        store.commit([saved, SaveInstance(instance("i", root.apps["/a"]))])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE instances SET record = '{}'")
        db.commit()
    with closing(MarathonStore(path)) as store:
        assert "a record cannot be read" in store.notices[0]
