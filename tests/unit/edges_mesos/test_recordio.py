from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.edges.mesos.recordio import MAX_RECORD_BYTES, RecordIOError, RecordReader


def framed(records: list[bytes]) -> bytes:
    return b"".join(b"%d\n%b" % (len(record), record) for record in records)


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_records_come_out_whole_however_the_stream_is_cut(records: list[bytes], data: st.DataObject) -> None:
    stream = framed(records)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    reader = RecordReader()
    found: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += map(bytes, reader.feed(stream[start:end]))
    assert found == records


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_one_byte_at_a_time(records: list[bytes]) -> None:
    reader = RecordReader()
    assert [bytes(record) for byte in framed(records) for record in reader.feed(bytes([byte]))] == records


@pytest.mark.parametrize(
    "stream",
    [
        b"x\n{}",
        b"-1\n",
        b"+2\n{}",
        b" 2\n{}",
        b"2 \n{}",
        b"\n",
        b"1e3\n",
        b"\xd9\xa2\n{}",
        b"HTTP/1.1 200 OK\r\n",
        b"0x2\n{}",
    ],
)
@pytest.mark.parametrize("piece", [1, 3, 100])
def test_garbage_is_refused(stream: bytes, piece: int) -> None:
    reader = RecordReader()
    with pytest.raises(RecordIOError, match="not RecordIO"):
        for start in range(0, len(stream), piece):
            list(reader.feed(stream[start : start + piece]))


def test_garbage_after_a_record_is_refused() -> None:
    with pytest.raises(RecordIOError):
        list(RecordReader().feed(b"2\n{}garbage that goes on"))


@given(st.binary(max_size=200))
def test_anything_at_all_gives_records_or_the_one_error(stream: bytes) -> None:
    reader = RecordReader(max_record_bytes=50)
    try:
        records = list(reader.feed(stream))
    except RecordIOError:
        return
    assert all(len(record) <= 50 for record in records)


def test_a_record_larger_than_taken_is_refused_before_it_is_read() -> None:
    with pytest.raises(RecordIOError, match=f"{MAX_RECORD_BYTES + 1} bytes"):
        list(RecordReader().feed(b"%d\n" % (MAX_RECORD_BYTES + 1)))


def test_a_length_without_an_end_is_refused() -> None:
    with pytest.raises(RecordIOError):
        list(RecordReader().feed(b"1" * 100))
