"""The ledger: what it keeps, who shares it, what it does with a file that cannot serve."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from framework.errors import ButleryError, StoreError
from masters.ledger import JOURNALS_KEPT, KnownVolume, Ledger
from masters.ports import Backup
from masters.records import Done, Outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "masters.db"


def test_what_is_kept_is_there_for_the_next(path: Path) -> None:
    ledger = Ledger(path)
    assert path.stat().st_mode & 0o777 == 0o600
    ledger.save_boots({"a": 12.5, "b": 3})
    ledger.save_good({"/x/s00/a": "v1", "/x/s00/aa": "v1"})
    backups = [Backup("a-1", "done", 5, ""), Backup("a-2", "failed", 0, "disk full")]
    ledger.save_backups("a", backups)
    ledger.close()
    ledger = Ledger(path)
    assert ledger.boots() == {"a": 12.5, "b": 3}
    assert ledger.backups("a") == backups[::-1]
    ledger.forget("a")
    assert (ledger.boots(), ledger.good_versions(), ledger.backups("a")) == ({"b": 3}, {"/x/s00/aa": "v1"}, [])
    ledger.close()


def test_volumes_are_known_from_their_first_use_until_they_are_wiped(path: Path) -> None:
    ledger = Ledger(path)
    ledger.volumes_used({"a": ("docker:local/a", None), "b": ("external:dvdi/ebs/b", 1024)}, 10)
    ledger.volumes_used({"a": ("docker:local/a", None), "b": ("external:dvdi/ebs/b", 2048)}, 20)
    ledger.volume_left("b", 30)
    orphan = KnownVolume("b", "external:dvdi/ebs/b", 2048, 10, 30)
    assert ledger.volumes() == [KnownVolume("a", "docker:local/a", None, 10, None), orphan]
    assert ledger.volumes(orphans=True) == [orphan]
    assert not ledger.forget_volume("docker:local/a")
    ledger.volumes_used({"b": ("external:dvdi/ebs/b", 2048)}, 40)
    assert ledger.volumes()[1] == KnownVolume("b", "external:dvdi/ebs/b", 2048, 40, None)
    ledger.volume_left("b", 50)
    assert ledger.forget_volume("external:dvdi/ebs/b")
    assert len(ledger.volumes()) == 1
    ledger.close()


def test_a_bulk_operation_is_taken_up_where_it_was(path: Path) -> None:
    ledger = Ledger(path)
    begun = ledger.begin("upgrade", ["b", "a"], {"at_once": 2}, 0)
    same = ledger.begin("upgrade", ["c"], {}, 0)
    assert (begun.id, same.id) == ("upgrade-19700101T000000Z", "upgrade-19700101T000000Z-2")
    failed = Done("a", Outcome.FAILED, "why", 1.5)
    ledger.note(begun.id, Done("b", Outcome.FAILED))
    ledger.note(begun.id, Done("b", Outcome.DONE, "", 2))
    ledger.note(begun.id, failed)
    ledger.close()
    ledger = Ledger(path)
    found = ledger.journal(begun.id)
    assert found is not None
    assert (found.tenants, found.options, found.ended_at) == (("b", "a"), {"at_once": 2}, None)
    assert found.done == {"a": failed, "b": Done("b", Outcome.DONE, "", 2)}
    ledger.end(begun.id, 9)
    assert [(one.id, one.ended_at) for one in ledger.journals("upgrade")] == [(same.id, None), (begun.id, 9)]
    assert ledger.journals("restart") == []
    assert ledger.journal("upgrade") is None
    ledger.close()


def test_old_journals_are_forgotten(path: Path) -> None:
    ledger = Ledger(path)
    first = ledger.begin("restart", ["a"], {}, 0)
    ledger.note(first.id, Done("a", Outcome.DONE))
    for number in range(JOURNALS_KEPT):
        ledger.begin("restart", [], {}, number + 1)
    assert len(ledger.journals("restart")) == JOURNALS_KEPT
    assert ledger.journal(first.id) is None
    ledger.close()


def test_many_have_it_at_once(path: Path) -> None:
    ledgers = [Ledger(path) for _ in range(4)]

    def note(number: int) -> None:
        for one in range(10):
            ledgers[number % 4].save_boots({f"t{number}-{one}": one})

    threads = [threading.Thread(target=note, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ledgers[0].boots()) == 80
    for ledger in ledgers:
        ledger.close()


def test_one_bulk_operation_at_a_time_over_processes(path: Path) -> None:
    ledger = Ledger(path)
    script = (
        "import sys; from pathlib import Path; from masters.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])).bulk('upgrade'): print(1, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None
    with other:
        assert other.stdout.readline() == "1\n"
        with pytest.raises(ButleryError, match=rf"butlery tenants upgrade \(process {other.pid}\) runs now"):
            with ledger.bulk("apply"):
                pass
        other.kill()
    with ledger.bulk("apply"):
        pass
    ledger.close()


def test_a_corrupt_file_is_told_and_left_as_it_is(path: Path) -> None:
    Ledger(path).close()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"masters.state .*: was corrupt .*; move it away, and boot times, orphaned"):
        Ledger(path)
    assert path.read_bytes().startswith(b"no database")


def test_a_newer_file_is_told_and_left_as_it_is(path: Path) -> None:
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="has layout 99, but this version of butlery reads 1"):
        Ledger(path)


def test_another_programs_file_is_not_touched(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StoreError, match="is another program's database"):
        Ledger(path)


def test_it_is_closed_once_nobody_is_at_it(path: Path) -> None:
    """SQLite may crash where a connection is closed under another thread, as one that an end by SIGTERM has left."""
    ledger = Ledger(path)
    with ledger.writing() as db, ledger.reading() as other:
        closing = threading.Thread(target=ledger.close)
        closing.start()
        db.execute("INSERT INTO boots VALUES ('a', 1)")
        assert other.execute("SELECT count(*) FROM boots").fetchone() == (0,)
        assert closing.is_alive()
    closing.join(10)
    assert not closing.is_alive()
    ledger = Ledger(path)
    assert ledger.boots() == {"a": 1}
    ledger.close()
