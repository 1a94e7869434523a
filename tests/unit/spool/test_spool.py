from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from framework.edges.spool import FileSpool
from framework.errors import StoreError, UnavailableError
from framework.telemetry.records import Kind
from framework.telemetry_ports import Rejected
from tests.fakes.clockwork import ManualClock
from tests.unit.spool.helpers import ALL, MIB, builds, changes, files, ids_of, made, opened, taken, taken_ids

NOW = 1_000_000.0


def test_what_is_appended_comes_in_its_order_and_once(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    assert spool.append([builds("a", "b"), changes("a.1")], 10.0)
    assert spool.append([builds("c")], 11.0)
    found, position = spool.read("sink", MIB)
    assert [(batch.kind, batch.count, batch.again, ids_of(batch)) for batch in found] == [
        (Kind.BUILDS, 3, False, ["a", "b", "c"]),
        (Kind.CHANGES, 1, False, ["a.1"]),
    ]
    assert found[0].payload == builds("a", "b").payload + builds("c").payload
    spool.done("sink", position)
    assert spool.read("sink", MIB)[0] == []
    assert spool.told_until == 11.0
    spool.close()


def test_what_is_read_a_second_time_comes_again(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([builds("a")], 10.0)
    assert [batch.again for batch in spool.read("sink", MIB)[0]] == [False]
    spool.append([builds("b")], 11.0)
    assert [(batch.again, ids_of(batch)) for batch in taken(spool)] == [(True, ["a"]), (False, ["b"])]
    spool.append([made(Kind.BUILDS, "c", again=True)], 12.0)
    assert [batch.again for batch in taken(spool)] == [True]
    spool.close()


def test_each_reading_has_one_frame_at_least_and_no_more_than_it_must(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for name in "abc":
        spool.append([builds(name, size=1000)], 10.0)
    assert [ids_of(batch) for batch in taken(spool, max_bytes=10)] == [["a"], ["b"], ["c"]]
    spool.close()


def test_each_consumer_gets_its_kinds_and_files_go_when_all_have_taken_them(tmp_path: Path) -> None:
    spool = opened(tmp_path, {"sink": ALL, "alerts": {Kind.BUILDS}}, segment_bytes=1000)
    for name in "abcdef":
        spool.append([changes(f"{name}.1", size=600), builds(name, size=600)], 10.0)
    assert len(files(tmp_path)) == 6
    assert taken_ids(spool, "alerts") == list("abcdef")
    assert len(files(tmp_path)) == 6
    assert sorted(taken_ids(spool)) == sorted([*"abcdef", *(f"{name}.1" for name in "abcdef")])
    assert len(files(tmp_path)) == 1
    spool.append([changes("g.1")], 10.0)
    assert spool.read("alerts", MIB)[0] == []
    assert (spool.depth("alerts").records, spool.depth("sink").records) == (0, 1)
    spool.close()


def test_depth_tells_records_bytes_and_since_when(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    spool = opened(tmp_path, {"sink": ALL, "alerts": {Kind.BUILDS}}, clock=clock, segment_bytes=1000)
    assert spool.depth("sink").oldest_at is None
    spool.append([changes("a.1", size=900)], 10.0)
    clock.advance(5)
    spool.append([builds("a", "b", size=500)], 10.0)
    spool.append([builds("c", size=500)], 10.0)
    depth = spool.depth("sink")
    assert (depth.records, depth.oldest_at) == (4, NOW)
    assert depth.bytes == sum(len(each.payload) for each in (changes("a.1", size=900), builds("a", "b", "c", size=500)))
    assert (spool.depth("alerts").records, spool.depth("alerts").oldest_at) == (3, NOW + 5)
    _, position = spool.read("alerts", 10)
    spool.done("alerts", position)
    assert spool.depth("alerts").records == 1
    spool.close()
    again = opened(tmp_path, {"sink": ALL, "alerts": {Kind.BUILDS}}, clock=clock)
    assert (again.depth("alerts").records, again.depth("sink").records) == (1, 4)
    assert taken_ids(again, "alerts") == ["c"]
    assert again.depth("alerts").records == 0
    again.close()


def test_what_an_earlier_process_appended_comes_again(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([builds("a"), changes("a.1")], 10.0)
    spool.append([builds("b")], 20.0)
    _, position = spool.read("sink", 10)
    spool.done("sink", position)
    spool.close()
    later = opened(tmp_path)
    assert later.told_until == 20.0
    later.append([builds("c")], 30.0)
    assert [(batch.again, ids_of(batch)) for batch in taken(later)] == [
        (True, ["a.1"]),
        (True, ["b"]),
        (False, ["c"]),
    ]
    later.close()
    assert not later.notices


def test_a_consumer_that_is_new_begins_with_the_oldest_there_is(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([builds("a")], 10.0)
    spool.close()
    other = opened(tmp_path, {"other": ALL})
    assert taken_ids(other, "other") == ["a"]
    other.close()
    assert sorted(path.name for path in tmp_path.glob("cursor-*")) == ["cursor-other"]


def test_two_processes_never_share_a_directory(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(StoreError, match=r"telemetry\.path .*: another scheduler is using it; stop that one first"):
        opened(tmp_path)
    spool.close()
    opened(tmp_path).close()


def test_a_directory_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be used: Not a directory"):
        opened(tmp_path / "file" / "spool")
    with pytest.raises(StoreError, match=r"cannot be used: File exists"):
        opened(tmp_path / "file")


def test_full_it_takes_no_builds_and_before_that_no_changes(tmp_path: Path) -> None:
    spool = opened(tmp_path, max_bytes=100_000)
    number = 0
    while spool.append([builds(f"{number}", size=4000), changes(f"{number}.1", f"{number}.2", size=10)], float(number)):
        number += 1
    assert 20 < number < 25
    assert spool.told_until == number - 1
    assert 0 < spool.dropped < 2 * number
    assert spool.dropped % 2 == 0
    assert len([each for each in taken_ids(spool) if "." not in each]) == number
    assert spool.append([builds("more", size=4000)], 99.0)
    assert taken_ids(spool) == ["more"]
    spool.close()


def test_a_full_disk_takes_nothing_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(tmp_path)
    spool.append([builds("a")], 10.0)
    write = os.pwrite

    def short(descriptor: int, data: bytes, at: int) -> int:
        if len(data) < 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:50], at)

    monkeypatch.setattr(os, "pwrite", short)
    with pytest.raises(UnavailableError, match="cannot be used now: No space left on device"):
        spool.append([builds("b"), changes("b.1")], 11.0)
    monkeypatch.undo()
    assert spool.told_until == 10.0
    assert spool.depth("sink").records == 1
    spool.append([builds("b")], 12.0)
    assert taken_ids(spool) == ["a", "b"]
    spool.close()
    assert not opened(tmp_path).notices


def test_a_disk_that_is_full_at_the_start_is_no_fault_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.append([builds("a")], 10.0)
    spool.close()

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    later = opened(tmp_path)
    with pytest.raises(UnavailableError, match="No space left on device"):
        later.append([builds("b")], 11.0)
    assert taken_ids(later) == ["a"]
    monkeypatch.undo()
    later.append([builds("b")], 12.0)
    assert taken_ids(later) == ["b"]
    later.close()
    monkeypatch.setattr(Path, "mkdir", full)
    nowhere = opened(tmp_path / "not-yet")
    assert nowhere.read("sink", MIB) == ([], 0)
    assert nowhere.depth("sink").records == nowhere.rejected == nowhere.resend() == 0
    with pytest.raises(UnavailableError, match="No space left on device"):
        nowhere.append([builds("b")], 11.0)
    monkeypatch.undo()
    nowhere.append([builds("b")], 11.0)
    assert taken_ids(nowhere) == ["b"]
    nowhere.close()


@pytest.mark.parametrize("whole", [False, True], ids=["a file", "all of it"])
def test_files_that_somebody_removes_while_it_runs_cost_what_was_in_them(tmp_path: Path, whole: bool) -> None:
    directory = tmp_path / "telemetry" / "spool"
    spool = opened(directory)
    spool.append([builds("a")], 10.0)
    assert taken_ids(spool) == ["a"]
    spool.append([builds("b")], 11.0)
    if whole:
        shutil.rmtree(directory.parent)
    else:
        files(directory)[0].unlink()
    spool.append([builds("c")], 12.0)
    assert taken_ids(spool) == ["c"]
    assert spool.told_until == 10.0
    assert ["is missing: 1 records are lost" in notice for notice in spool.notices] == [True]
    with pytest.raises(StoreError, match="another scheduler"):
        opened(directory)
    spool.close()


def test_what_is_refused_is_kept_aside_and_can_be_put_back(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.reject(
        "sink", [Rejected(Kind.BUILDS, 'a"\n', "mapper: no", b'{"x":1}'), Rejected(Kind.CHANGES, "b", "no", b"\xff")]
    )
    assert spool.rejected == 2
    spool.close()
    later = opened(tmp_path)
    assert later.rejected == 2
    assert later.resend() == 2
    assert later.rejected == 0
    found = taken(later)
    assert [(batch.kind, batch.count, batch.again) for batch in found] == [
        (Kind.BUILDS, 1, True),
        (Kind.CHANGES, 1, True),
    ]
    assert found[0].payload == b'{"create":{"_id":"a\\"\\n"}}\n{"x":1}\n'
    assert later.resend() == 0
    later.close()


def test_refused_records_are_bounded_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framework.edges.spool.aside.REJECTED_BYTES", 500)
    spool = opened(tmp_path)
    for _ in range(20):
        spool.reject("sink", [Rejected(Kind.BUILDS, "a", "no", b"{}" * 20)])
    assert spool.rejected == 20
    assert (tmp_path / "rejected.ndjson").stat().st_size <= 500
    spool.close()


_APPENDER = """
import itertools, pathlib, sys
from framework.edges.spool import FileSpool
from framework.runtime.chance import SystemClock
from framework.telemetry.records import Kind
from tests.unit.spool.helpers import builds, changes
spool = FileSpool(pathlib.Path(sys.argv[1]), {"sink": frozenset(Kind)}, 1 << 30, SystemClock(), 50_000)
for number in itertools.count():
    spool.append([builds(f"{number}", size=500), changes(f"{number}.1", f"{number}.2")], float(number))
    print(number, flush=True)
"""


def test_what_was_appended_outlives_kill_9(tmp_path: Path) -> None:
    told = -1
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _APPENDER, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            deadline = time.monotonic() + 30
            for line in process.stdout:
                told = int(line)
                if told >= 200 or time.monotonic() > deadline:
                    break
            process.send_signal(signal.SIGKILL)
            told = max([told, *(int(line) for line in process.stdout if line.endswith(b"\n"))])
        assert told >= 200
        spool: FileSpool = opened(tmp_path)
        assert spool.told_until in (told, told + 1)
        found = taken_ids(spool)
        wanted = [each for n in range(int(spool.told_until) + 1) for each in (f"{n}", f"{n}.1", f"{n}.2")]
        assert sorted(found) == sorted(wanted)
        assert not [notice for notice in spool.notices if "0 records" not in notice and "unknown" not in notice]
        spool.close()
