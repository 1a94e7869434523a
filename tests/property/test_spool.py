"""The spool: whatever is done to its files, what is sound in them is delivered once, and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from framework.edges.spool.frames import BEGIN, END, Frame, walk
from framework.telemetry.records import Kind
from tests.unit.spool.helpers import ALL, files, ids_in, ids_of, made, opened, taken

KINDS = tuple(Kind)
CONSUMERS = {"sink": ALL, "alerts": frozenset({Kind.BUILDS})}

appends = st.lists(
    st.tuples(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 3)), min_size=1, max_size=3), st.booleans()),
    min_size=1,
    max_size=25,
)
"""Batches of one append, each of a kind and a count; and whether the process ends after it, in order or not."""
tears = st.lists(
    st.tuples(
        st.sampled_from(("flip", "zero", "cut", "insert", "truncate", "remove", "double")),
        st.integers(0, 30),
        st.floats(0, 1),
        st.integers(1, 400),
    ),
    max_size=4,
)


def torn(data: bytes, how: str, start: int, count: int) -> bytes:
    end = min(len(data), start + count)
    match how:
        case "flip":
            return data[:start] + bytes(each ^ 0x10 for each in data[start:end]) + data[end:]
        case "zero":
            return data[:start] + b"\0" * (end - start) + data[end:]
        case "cut":
            return data[:start] + data[end:]
        case "insert":
            return data[:start] + b"\xffBS1" * (count // 4) + data[start:]
        case "double":
            return data[:end] + data[start:end] + data[end:]
    return data[:start]


def frames_of(path: Path) -> list[tuple[bytes, Frame]]:
    data = path.read_bytes()
    found = walk(lambda start, count: data[start : start + count], 0, len(data))
    return [
        (data[each.start : each.end], each)
        for each in found
        if isinstance(each, Frame) and each.code not in (BEGIN, END)
    ]


@given(appends, tears, st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_sound_records_come_once_and_torn_ones_never(
    told: list[tuple[list[tuple[Kind, int]], bool]], damage: list[tuple[str, int, float, int]], max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        appended: dict[str, Kind] = {}
        spool = opened(directory, CONSUMERS, segment_bytes=700)
        for until, (batches, ends) in enumerate(told, 1):
            made_of = []
            for kind, count in batches:
                ids = [f"r{len(appended) + number}" for number in range(count)]
                appended |= dict.fromkeys(ids, kind)
                made_of.append(made(kind, *ids, size=until * 7 % 60))
            assert spool.append(made_of, float(until))
            if ends:
                spool.close()
                spool = opened(directory, CONSUMERS, segment_bytes=700)
        spool.close()
        before = [each for path in files(directory) for each in frames_of(path)]
        for how, which, where, count in damage:
            if paths := files(directory):
                path = paths[which % len(paths)]
                if how == "remove":
                    path.unlink()
                else:
                    data = path.read_bytes()
                    path.write_bytes(torn(data, how, int(where * len(data)), count))
        left = b"\n".join(path.read_bytes() for path in files(directory))
        intact = [frame for data, frame in before if data in left]

        spool = opened(directory, CONSUMERS, segment_bytes=700)
        found = {consumer: taken(spool, consumer, max_bytes) for consumer in CONSUMERS}
        for consumer, kinds in CONSUMERS.items():
            ids = [each for batch in found[consumer] for each in ids_of(batch)]
            assert len(ids) == len(set(ids))
            assert all(appended[each] is batch.kind for batch in found[consumer] for each in ids_of(batch))
            assert all(batch.count == len(ids_of(batch)) and batch.again for batch in found[consumer])
            wanted = {each for frame in intact for each in ids_in(frame.payload) if appended[each] in kinds}
            assert wanted <= set(ids)
            assert spool.depth(consumer).records == 0
        lost = [frame for data, frame in before if data not in left]
        if lost:
            sound_before = [frame.told_until for _, frame in before if frame.before < lost[0].before]
            assert spool.told_until <= max(sound_before, default=0.0)
        else:
            assert spool.told_until <= len(told)
        spool.append([made(Kind.BUILDS, "new")], 1000.0)
        assert [(batch.again, ids_of(batch)) for batch in taken(spool, "alerts")] == [(False, ["new"])]
        spool.close()
