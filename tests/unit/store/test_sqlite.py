"""What the SQLite store does beyond the contract: bad files, crashes, and who may use a file."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from framework.core.effects import SaveRequest, SaveTask, SaveTenant
from framework.core.ids import FrameworkId
from framework.core.tasks import RequestState
from framework.edges import sqlite_file
from framework.edges.sqlite import SCHEMA_VERSION, SqliteStore
from framework.errors import StoreError, StoreFullError
from framework.jenkins_ports import MasterRecord
from framework.ports import JobQuery, Snapshot, TenantRecord
from tests.fakes import samples
from tests.unit.store.damage import PAGE_BYTES, kept_aside, overwrite, saved_state

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "state.db"


def opened(path: Path) -> tuple[Snapshot, list[str]]:
    with closing(SqliteStore(path)) as store:
        return store.load(), store.notices


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)


# Bad files are kept aside, named, and never dropped in silence.

DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage for a header": lambda path: overwrite(path, 0, b"\xde\xad\xbe\xef" * 25),
    "a newer file format": lambda path: overwrite(path, 44, b"\x00\x00\x00\x09"),
    "text in its place": lambda path: path.write_text("state: none\n" * 100),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut within a page": lambda path: os.truncate(path, path.stat().st_size - 100),
    "empty": lambda path: os.truncate(path, 0),
    "only its header left": lambda path: os.truncate(path, 100),
    "a page of noise": lambda path: overwrite(path, 3 * PAGE_BYTES, b"\x5a\xa5" * (PAGE_BYTES // 2)),
    "a table gone": lambda path: execute(path, "DROP TABLE tasks"),
    "a record that is no record": lambda path: execute(path, "UPDATE requests SET record = '{}' WHERE id = 'r000'"),
    "a build that is no build": lambda path: execute(path, "UPDATE requests SET spec = '[]' WHERE id = 'r000'"),
    "a value of another type": lambda path: execute(path, "UPDATE tenants SET record = 7"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_named_and_kept_aside(path: Path, damage: Callable[[Path], object]) -> None:
    saved_state(path)
    damage(path)
    content = path.read_bytes()
    snapshot, notices = opened(path)
    (aside,) = kept_aside(path)
    assert len(notices) == 1
    assert str(path) in notices[0]
    assert str(aside) in notices[0]
    assert aside.read_bytes() == content
    assert snapshot == Snapshot(FrameworkId("f-1"), [], [], [])  # so that builds that run are found and ended
    assert opened(path) == (snapshot, [])  # said once; the file that took its place is sound


def test_no_torn_page_is_taken_for_a_sound_state(path: Path) -> None:
    """The second half of any one page is lost: either that is noticed, or nothing that lives was in it."""
    before = saved_state(path)
    content = path.read_bytes()
    noticed = 0
    for page in range(len(content) // PAGE_BYTES):
        path.write_bytes(content)
        overwrite(path, page * PAGE_BYTES + PAGE_BYTES // 2, bytes(PAGE_BYTES // 2))
        snapshot, notices = opened(path)
        assert notices or snapshot == before, f"page {page}"
        noticed += bool(notices)
    assert noticed > len(content) // PAGE_BYTES // 4  # the others hold what has ended, or nothing


def test_a_file_that_is_gone_is_told_of(path: Path) -> None:
    saved_state(path)
    path.unlink()
    snapshot, notices = opened(path)
    assert snapshot == Snapshot(FrameworkId("f-1"), [], [], [])
    assert len(notices) == 1
    assert f"{path} is gone" in notices[0]


def test_a_log_without_its_file_is_kept_aside(path: Path) -> None:
    path.parent.mkdir()
    Path(f"{path}-wal").write_bytes(b"a log")
    snapshot, notices = opened(path)
    assert snapshot == Snapshot(None, [], [], [])
    assert len(notices) == 1
    assert [found.read_bytes() for found in path.parent.glob("*.corrupt-*-wal")] == [b"a log"]


def test_two_damaged_files_are_both_kept(path: Path) -> None:
    for _ in range(2):
        saved_state(path, requests=3)
        path.write_bytes(b"x" * 5000)
        opened(path)
    assert len(kept_aside(path)) == 2


def test_a_file_half_made_by_a_crash_is_made_anew_without_a_word(path: Path) -> None:
    path.parent.mkdir()
    Path(f"{path}.new").write_bytes(b"half")
    Path(f"{path}.new-journal").write_bytes(b"half")
    assert opened(path) == (Snapshot(None, [], [], []), [])
    assert not list(path.parent.glob("*.new*"))


OLD_REQUEST = (
    '{"id":"r1","tenant":"team","job":"unit-tests","template":{"resources":{"cpu_millis":500,"mem_mib":256,'
    '"disk_mib":0},"image":null,"attributes":{},"timeout_s":600.0,"grace_s":10.0},"submitted_at":1000.0,"priority":0,'
    '"retries":2,"state":"running","attempt":1,"not_before":0.0,"avoid_hosts":[],"losses":0,"drops":0,'
    '"image_failures":0,"cancel_reason":null,"launched_at":null,"running_at":null,"ended_at":null,"outcome":null}'
)
OLD_TASK = (
    '{"id":"r1.1","request_id":"r1","tenant":"team","host_id":"h1","hostname":"host-1","offer_ids":["o1"],"resources":'
    '{"cpu_millis":500,"mem_mib":256,"disk_mib":0},"state":"running","launched_at":1001.0,"deadline":2000.0,'
    '"running_at":null,"ended_at":null,"kill_class":null,"kill_reason":"","kills_sent":0,"unseen_since":null,'
    '"outcome":null,"history":["run@1001.000"]}'
)


def test_a_file_of_the_first_layout_is_taken_up(path: Path) -> None:
    """As the version before wrote it; that one reads it no more."""
    request = samples.request("r1")
    with closing(SqliteStore(path)) as store:
        store.commit((), [samples.new(request)])
        store.commit([SaveTenant(samples.tenant()), SaveTask(samples.task(request))])
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE requests SET record = ?, state = 'running'", (OLD_REQUEST.encode(),))
        db.execute("UPDATE tasks SET record = ?", (OLD_TASK.encode(),))
        db.execute("""UPDATE tenants SET record = '{"name":"team","weight":7,"quota":{}}'""")
        db.execute("DROP TABLE masters")
        db.execute("PRAGMA user_version = 1")
    request.state, request.attempt = RequestState.RUNNING, 1
    expected = Snapshot(None, [TenantRecord(samples.tenant(weight=7))], [request], [samples.task(request)])
    assert opened(path) == (expected, [])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("SELECT count(*) FROM masters").fetchone() == (0,)


def test_a_newer_layout_is_refused_and_left_alone(path: Path) -> None:
    saved_state(path)
    execute(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match=f"has layout {SCHEMA_VERSION + 1}, .* reads {SCHEMA_VERSION}"):
        SqliteStore(path)
    assert not kept_aside(path)


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    execute(path, "CREATE TABLE precious (things)")
    content = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        SqliteStore(path)
    assert path.read_bytes() == content
    assert not kept_aside(path)


def test_a_directory_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=rf"state.path {path}: is not a file"):
        SqliteStore(path)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_in_place_of_its_directory(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(StoreError, match=rf"state.path {path}: cannot be used"):
        SqliteStore(path)


# Who may use it.


def test_a_second_scheduler_on_the_same_file_is_refused(path: Path) -> None:
    with closing(SqliteStore(path)):
        with pytest.raises(StoreError, match="another scheduler is using it"):
            SqliteStore(path)
    opened(path)


def test_what_it_keeps_is_its_owners_alone(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.commit((), [samples.new(samples.request("r1"))])
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert files == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm", "state.db.lock"), 0o600)


CHILD = """
    import os, sys
    from pathlib import Path
    from framework.edges.sqlite import SqliteStore
    from framework.errors import StoreError
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid({nobody}, {nobody}, {nobody})
        os.setresuid({nobody}, {nobody}, {nobody})
    try:
        SqliteStore(Path(sys.argv[1]))
    except StoreError as error:
        print(error)
"""


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Below a directory that every user may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="butlery-store-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "state" / "state.db"


@pytest.mark.parametrize(
    ("directory_mode", "file_mode", "lock_mode"),
    [(0o555, 0o666, 0o666), (0o777, 0o444, 0o666), (0o777, 0o000, 0o666), (0o777, 0o666, 0o000)],
    ids=["directory", "read-only file", "file", "lock"],
)
def test_no_permission_is_said_with_the_path(
    open_path: Path, directory_mode: int, file_mode: int, lock_mode: int
) -> None:
    """To another user than root, whom nothing is forbidden."""
    saved_state(open_path, requests=1)
    lock = Path(f"{open_path}.lock")
    for path, mode in ((open_path, file_mode), (lock, lock_mode), (open_path.parent, directory_mode)):
        path.chmod(mode)
    there = sorted(open_path.parent.iterdir())
    script = textwrap.dedent(CHILD.format(nobody=NOBODY))
    answer = subprocess.run([sys.executable, "-c", script, open_path], capture_output=True, text=True, timeout=60)
    assert answer.stderr == ""
    assert answer.stdout.startswith(f"state.path {open_path}: ")
    assert sorted(open_path.parent.iterdir()) == there, "what is left behind may stand in the way of the next start"
    for path, mode in ((open_path.parent, 0o755), (lock, 0o600), (open_path, 0o600)):
        path.chmod(mode)
    snapshot, notices = opened(open_path)
    assert (len(snapshot.requests), notices) == (1, [])


# What is told to be gone is gone.


def test_secrets_of_ended_builds_are_not_left_in_the_file(path: Path) -> None:
    secret = "correct horse battery staple " * 300  # longer than a page
    request, other = samples.request("r1"), samples.request("r2")
    with closing(SqliteStore(path)) as store:
        build = samples.spec(secrets={"TOKEN": secret})
        store.commit((), [samples.new(request, build), samples.new(other, samples.spec(secrets={"T": "lives on"}))])
        store.commit(samples.ended(request))
        for file in path.parent.iterdir():
            assert b"battery staple" not in file.read_bytes(), file
        assert b"lives on" in path.read_bytes()
    assert b"battery staple" not in path.read_bytes()
    assert b"lives on" in path.read_bytes()


def test_what_a_master_handed_over_before_is_not_left_in_the_file(path: Path) -> None:
    first, last = (MasterRecord("http://h:1", "butlery", token, "2.463", "s") for token in ("11" * 300, "22" * 300))
    with closing(SqliteStore(path)) as store:
        store.commit([SaveTenant(samples.tenant())])
        for master in (first, last, None):
            store.set_master(samples.TEAM, master)
            held = {file.name: file.read_bytes() for file in path.parent.iterdir()}
            assert not any(b"11" * 300 in data for data in held.values()) or master == first
    assert b"22" * 300 not in path.read_bytes()


def test_a_reader_delays_the_end_of_secrets_but_nothing_else(path: Path) -> None:
    requests = [samples.request("r1"), samples.request("r2")]
    with closing(SqliteStore(path)) as store:
        store.commit((), [samples.new(one, samples.spec(secrets={"T": "hunter2hunter2"})) for one in requests])
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM requests").fetchone()
            store.commit(samples.ended(requests[0]))
        store.commit(samples.ended(requests[1]))
        for file in path.parent.iterdir():
            assert b"hunter2hunter2" not in file.read_bytes(), file


def test_the_log_stays_short_under_many_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "CHECKPOINT_ROWS", 50)
    requests = [samples.request(f"r{number:03}") for number in range(100)]
    with closing(SqliteStore(path)) as store:
        store.commit((), [samples.new(request, samples.spec(command="x" * 3000)) for request in requests])
        log = Path(f"{path}-wal")
        first = log.stat().st_size
        for _ in range(60):
            store.commit([SaveRequest(request) for request in requests])
            time.sleep(0.002)
        assert log.stat().st_size < 20 * first  # of 60 times as much that was written
        assert len(store.load().requests) == 100


# Crashes.

WRITER = """
    import os, sys
    from pathlib import Path
    from framework.core.effects import SaveTenant
    from framework.edges.sqlite import SqliteStore
    from tests.fakes import samples
    store = SqliteStore(Path(sys.argv[1]))
    number = max((record.tenant.weight for record in store.load().tenants), default=0)
    while True:
        number += 1
        store.commit((), [samples.new(samples.request(f"{number}:{os.getpid()}-{part}")) for part in range(20)])
        store.commit([SaveTenant(samples.tenant(name, number)) for name in ("one", "two", "three")])
        print(number, flush=True)
"""


def test_kill_9_in_the_midst_of_writing_loses_nothing_that_was_promised(path: Path) -> None:
    promised = 0
    for crashes, lines in enumerate((1, 7, 20, 33), 1):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        with writer, writer.stdout:
            for _ in range(lines):
                promised = int(writer.stdout.readline())
            writer.kill()
            promised = max([promised, *(int(line) for line in writer.stdout if line.endswith("\n"))])
        snapshot, notices = opened(path)
        assert notices == []
        saved = {record.tenant.weight for record in snapshot.tenants}
        assert saved in ({promised}, {promised + 1})  # all of a frame or nothing
        batches = {request.id.split("-")[0] for request in snapshot.requests}
        assert len(snapshot.requests) == 20 * len(batches)  # all of a batch or nothing
        assert promised <= len(batches) <= promised + crashes


# Disk full.

FULL = """
    import json, os, sqlite3, sys
    from pathlib import Path
    from framework.core.effects import SaveFrameworkId, SaveTenant
    from framework.core.ids import FrameworkId
    from framework.edges.sqlite import SqliteStore
    from framework.errors import StoreFullError
    from framework.ports import JobQuery
    from tests.fakes import samples

    disk = Path(sys.argv[1])
    said = {}
    store = SqliteStore(disk / "state.db")
    store.commit([SaveTenant(samples.tenant()), SaveFrameworkId(FrameworkId("f-1"))])
    taken = 0
    ballast = disk / "ballast"
    space = os.statvfs(disk)
    ballast.write_bytes(bytes(space.f_bavail * space.f_frsize - 300_000))
    while "batch" not in said:
        batch = [samples.new(samples.request(f"r{taken + n:06}"), samples.spec(command="x" * 2000)) for n in range(10)]
        try:
            store.commit((), batch)
            taken += len(batch)
        except StoreFullError as error:
            said["batch"] = str(error)
    with ballast.open("ab", buffering=0) as file:  # to the last page
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    for name, frame in {
        "frame": [SaveTenant(samples.tenant(f"tenant-{number:05}")) for number in range(5000)],
        "framework_id": [SaveFrameworkId(FrameworkId("f-2"))],
    }.items():
        for attempt in range(3):
            try:
                store.commit(frame)
            except StoreFullError as error:
                said[name] = str(error)
    said["taken"] = taken
    said["read"] = len(store.requests(JobQuery(limit=10**6)))
    said["payload"] = len(store.payload(samples.request("r000000").id).command)
    ballast.unlink()
    store.commit([SaveTenant(samples.tenant("other", 9)), SaveFrameworkId(FrameworkId("f-3"))])
    store.commit((), [samples.new(samples.request("later"))])
    store.close()
    store = SqliteStore(disk / "state.db")
    snapshot = store.load()
    said["notices"] = store.notices
    said["after"] = len(snapshot.requests)
    said["tenants"] = {record.tenant.name: record.tenant.weight for record in snapshot.tenants}
    said["id_after"] = snapshot.framework_id
    store.close()
    ballast.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    try:
        SqliteStore(disk / "sub" / "state.db")
    except Exception as error:
        said["start"] = [type(error).__name__, str(error)]
    print(json.dumps(said))
"""


def test_a_full_disk_is_said_and_nothing_is_half_done_and_with_room_it_goes_on(tmp_path: Path) -> None:
    """On a file system of 3 MiB that only a child sees."""
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    mount_and_run = 'mount -t tmpfs -o size=3m none "$1" && exec "$2" - "$1"'
    answer = subprocess.run(
        [*namespace, "sh", "-c", mount_and_run, "sh", tmp_path, sys.executable],
        input=textwrap.dedent(FULL),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stderr == ""
    said = json.loads(answer.stdout)
    path = f"state.path {tmp_path}/state.db"
    for what in ("batch", "frame", "framework_id"):
        assert said[what].startswith(f"{path}: cannot be "), said
    assert said["read"] == said["taken"] > 0
    assert said["payload"] == 2000
    assert said["notices"] == []
    assert said["after"] == said["taken"] + 1
    assert said["tenants"] == {"team": 100, "other": 9}
    assert said["id_after"] == "f-3"
    assert said["start"][0] in ("StoreError", "StoreFullError")
    assert str(tmp_path) in said["start"][1]


def test_a_locked_file_can_be_saved_to_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_S", 0.01)
    with closing(SqliteStore(path)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreFullError, match="locked"):
                store.commit([SaveTenant(samples.tenant())])
        store.commit([SaveTenant(samples.tenant())])
        assert len(store.load().tenants) == 1


LIVE = ("waiting", "launching", "running", "ending")
LISTS = [
    JobQuery(limit=10),
    JobQuery(tenant=samples.TEAM, limit=10),
    JobQuery(states=LIVE, limit=10),
    JobQuery(tenant=samples.TEAM, states=LIVE, limit=10),
    JobQuery(tenant=samples.TEAM, job="unit-tests", states=LIVE, limit=10),
    JobQuery(tenant=samples.TEAM, states=("ended",), limit=10),
    JobQuery(states=(*LIVE, "ended"), limit=10),
    JobQuery(job="none"),
    JobQuery(tenant=samples.TEAM, job="none"),
]


def test_a_list_reads_little_of_what_there_ever_was(path: Path) -> None:
    """Who asks for it must not keep the scheduler from reading builds."""
    steps: list[None] = []
    with closing(SqliteStore(path)) as store:
        requests = [samples.request(f"r{number:04}") for number in range(2000)]
        store.commit((), [samples.new(request) for request in requests])
        for request in requests[5:-5]:
            request.state = RequestState.ENDED
        store.commit([SaveRequest(request) for request in requests])
        store._reader.set_progress_handler(lambda: steps.append(None), 1)
        for query in LISTS:
            steps.clear()
            store.requests(query)
            assert len(steps) < 1000, f"SQLite took {len(steps)} steps for {query}"
