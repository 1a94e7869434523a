"""What is torn, gone or strange in a spool's files costs what was in it and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.edges.spool import FileSpool
from framework.telemetry.records import Kind
from tests.unit.spool.helpers import ALL, builds, changes, files, opened, taken_ids

COUNT = 12


def filled(directory: Path, segment_bytes: int = 1 << 20) -> list[str]:
    """A spool of an earlier process with a build a frame, ``told_until`` its number; the builds' ids."""
    spool = opened(directory, segment_bytes=segment_bytes)
    for number in range(COUNT):
        spool.append([builds(f"b{number}", size=400)], float(number))
    spool.close()
    return [f"b{number}" for number in range(COUNT)]


def without_end(path: Path) -> bytes:
    """As a process leaves a file that was killed."""
    data = path.read_bytes()
    return data[: data.rindex(b"\xffBS1")]


def frame_starts(data: bytes) -> list[int]:
    """BEGIN first."""
    return [found.start() for found in re.finditer(re.escape(b"\xffBS1"), data)]


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(
    "tear",
    [
        lambda data, start, end: data[: start + 20] + b"\0" * (end - start - 20) + data[end:],
        lambda data, start, end: data[:start] + b"\0" * (end - start) + data[end:],
        lambda data, start, end: data[: start + 90] + bytes([data[start + 90] ^ 1]) + data[start + 91 :],
        lambda data, start, end: data[: start + 9] + bytes([data[start + 9] ^ 1]) + data[start + 10 :],
        lambda data, start, end: data[: start + 100] + data[end:],
        lambda data, start, end: data[:start] + data[end:],
        lambda data, start, end: data[: start + 60] + b"\xffBS1 garbage" + data[start + 60 :],
    ],
    ids=["payload zeros", "zeros", "bit of payload", "bit of header", "cut", "gone", "more"],
)
def test_a_tear_in_the_middle_costs_one_frame(
    tmp_path: Path, tear: Callable[[bytes, int, int], bytes], ended: bool
) -> None:
    ids = filled(tmp_path)
    path = files(tmp_path)[0]
    data = path.read_bytes() if ended else without_end(path)
    start, end = frame_starts(data)[6:8]  # of b5
    path.write_bytes(tear(data, start, end))
    spool = opened(tmp_path)
    assert taken_ids(spool) == [each for each in ids if each != "b5"]
    assert spool.told_until == 4.0
    assert len(spool.notices) == 1
    assert "1 records are lost" in spool.notices[0]
    # Once noted it is told no more, and what was told again since counts.
    spool.append([builds("b5")], 20.0)
    spool.close()
    later = opened(tmp_path)
    assert (later.told_until, later.notices) == (20.0, [])
    later.close()


def test_what_fell_is_told_until_somebody_looks(tmp_path: Path) -> None:
    filled(tmp_path)
    path = files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[frame_starts(bytes(data))[6] + 90] ^= 1
    path.write_bytes(data)
    spool = opened(tmp_path)
    assert spool.told_until == 11.0  # the file was ended in order: nobody has read it yet
    taken_ids(spool)
    spool.append([builds("x")], 30.0)  # by somebody who has not looked since
    assert spool.told_until == 4.0
    spool.append([builds("b5")], 31.0)
    assert spool.told_until == 31.0
    spool.close()


def test_a_torn_end_is_no_more_than_that(tmp_path: Path) -> None:
    ids = filled(tmp_path)
    path = files(tmp_path)[0]
    data = without_end(path)
    path.write_bytes(data[:-100])
    spool = opened(tmp_path)
    assert spool.told_until == 10.0
    spool.append([builds("more")], 20.0)
    assert taken_ids(spool) == [*ids[:-1], "more"]
    assert len(spool.notices) == 1
    assert "is torn: an unknown number of records are lost" in spool.notices[0]
    torn = next(tmp_path.glob("torn-*"))
    assert torn.read_bytes() == data[frame_starts(data)[-1] : -100]
    spool.close()


@pytest.mark.parametrize("garbage", [b"", b"\0" * 5000, b"garbage" * 500, b"\xffBS"])
def test_a_file_of_garbage_costs_that_file(tmp_path: Path, garbage: bytes) -> None:
    ids = filled(tmp_path, segment_bytes=1500)
    paths = files(tmp_path)
    per_file = COUNT // len(paths)
    paths[1].write_bytes(garbage)
    spool = opened(tmp_path)
    assert taken_ids(spool) == ids[:per_file] + ids[2 * per_file :]
    assert spool.told_until == per_file - 1
    assert [f"{per_file} records are lost" in notice for notice in spool.notices] == [True]
    spool.close()


@pytest.mark.parametrize("gone", [0, 2])
def test_a_file_that_is_gone_costs_that_file(tmp_path: Path, gone: int) -> None:
    first = opened(tmp_path, segment_bytes=1500)
    taken_ids(first)
    first.close()
    ids = filled(tmp_path, segment_bytes=1500)
    paths = [path for path in files(tmp_path) if path.stat().st_size > 1000]
    per_file = COUNT // len(paths)
    paths[gone].unlink()
    spool = opened(tmp_path, segment_bytes=1500)
    assert taken_ids(spool) == ids[: gone * per_file] + ids[(gone + 1) * per_file :]
    assert spool.told_until == max(0, gone * per_file - 1)
    assert [f"{per_file} records are lost" in notice for notice in spool.notices] == [True]
    spool.close()


def test_all_files_gone_are_told_and_nothing_that_follows_is_taken_for_taken(tmp_path: Path) -> None:
    filled(tmp_path)
    spool = opened(tmp_path)
    _, position = spool.read("sink", 10)
    spool.done("sink", position)
    spool.close()
    for path in files(tmp_path):
        path.unlink()
    later = opened(tmp_path)
    assert later.told_until == 0.0
    assert ["an unknown number of records are lost" in notice for notice in later.notices] == [True]
    later.append([builds("new")], 50.0)
    assert taken_ids(later) == ["new"]
    assert later.told_until == 50.0
    later.close()


def test_a_file_of_another_version_is_kept_aside(tmp_path: Path) -> None:
    ids = filled(tmp_path)
    path = files(tmp_path)[0]
    other = path.read_bytes().replace(b"\xffBS1", b"\xffBS7")
    path.write_bytes(other)
    spool = opened(tmp_path)
    assert taken_ids(spool) == []
    assert spool.told_until == 0.0
    assert "was written by another version of butlery" in spool.notices[0]
    assert not path.exists()
    assert next(tmp_path.glob("torn-*")).read_bytes() == other
    spool.append([builds(*ids)], 20.0)
    assert taken_ids(spool) == ids
    spool.close()


@pytest.mark.parametrize("cursor", [b"", b"\0" * 40, b"garbage", b"00000000 {}", b'ffffffff {"segment":1}'])
def test_a_garbage_cursor_has_all_that_is_there_come_again(tmp_path: Path, cursor: bytes) -> None:
    ids = filled(tmp_path)
    spool = opened(tmp_path)
    _, position = spool.read("sink", 10)
    spool.done("sink", position)
    spool.close()
    (tmp_path / "cursor-sink").write_bytes(cursor)
    later = opened(tmp_path)
    assert taken_ids(later) == ids
    assert later.notices == []
    later.close()


def test_a_piece_that_stands_in_a_file_twice_comes_once(tmp_path: Path) -> None:
    ids = filled(tmp_path)
    path = files(tmp_path)[0]
    data = without_end(path)
    starts = frame_starts(data)
    path.write_bytes(data[: starts[5]] + data[starts[3] : starts[5]] + data[starts[5] :])
    spool = opened(tmp_path)
    assert taken_ids(spool) == ids
    assert spool.told_until == 11.0
    spool.close()


def test_a_tear_that_one_consumer_does_not_mind_another_tells(tmp_path: Path) -> None:
    kinds = {"sink": ALL, "alerts": frozenset({Kind.BUILDS})}
    spool = opened(tmp_path, kinds)
    for number in range(3):
        spool.append([changes(f"c{number}", size=300), builds(f"b{number}", size=300)], float(number))
    spool.close()
    path = files(tmp_path)[0]
    data = path.read_bytes()
    start, end = frame_starts(data)[3:5]  # of c1
    path.write_bytes(data[: start + 80] + data[end:])
    later: FileSpool = opened(tmp_path, kinds)
    assert taken_ids(later, "alerts") == ["b0", "b1", "b2"]
    assert sorted(taken_ids(later, "sink")) == ["b0", "b1", "b2", "c0", "c2"]
    assert later.told_until == 0.0
    assert len(later.notices) == 1
    later.close()
