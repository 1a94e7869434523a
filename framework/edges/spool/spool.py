"""The spool: see ``framework.telemetry_ports.Spool``.

What is appended is synced before it counts. A part of a file that is torn, or a file that is gone, costs the records in
it and no others: they are counted, the bytes are kept aside, and ``told_until`` falls to what it was before them, in a
new file, so that whoever appends tells of the builds again. What was appended by an earlier process comes with
``again``, so a consumer's position need not be synced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from framework.edges.spool.aside import TORN, RejectedFile, keep_torn, kept_torn
from framework.edges.spool.cursors import Cursor, forget_others, load, position_of, save
from framework.edges.spool.frames import CODES, HEADER_BYTES, KINDS, Torn, walk
from framework.edges.spool.segments import Loss, Segment, Track, Writer, look, numbers_in, path_of, reader
from framework.errors import StoreError, UnavailableError
from framework.ports import Clock
from framework.telemetry.records import Kind
from framework.telemetry_ports import Batch, Rejected, SpoolDepth

SEGMENT_BYTES = 16 << 20
SEGMENTS = 8
"""At least, of the largest size, as one is removed as a whole."""
DROP_FROM = 0.8
"""Part of the largest size from which on only builds are taken."""
NOTICES = 10
_RESEND_BATCHES = 1000
_PASSING = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG)
)
"""Faults of the machine, that may pass without anybody having mended our settings."""


@dataclass
class _Place:
    """Where a consumer is. ``ahead`` is where its last reading ended, ``seen`` the farthest that one ever did."""

    codes: Collection[int]
    cursor: Cursor
    ahead: Cursor
    seen: int = 0
    oldest: tuple[int, float | None] = (-1, None)  # when its next record came, by the cursor's position


@dataclass
class _Gathered:
    """Frames of one kind, to be one batch."""

    payloads: list[bytes] = field(default_factory=list)
    count: int = 0


class FileSpool:
    """On files in one directory, which one process has at a time."""

    def __init__(
        self,
        directory: Path,
        consumers: Mapping[str, Collection[Kind]],
        max_bytes: int,
        clock: Clock,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """``consumers``: of which kinds each wants records. A new one begins with the oldest that there are.

        Where the disk is full or broken it is there all the same, and appending tells. Raises StoreError where another
        process has the directory, or this user may not use it.
        """
        self._directory = directory
        self._kinds = {name: frozenset(CODES[kind] for kind in kinds) for name, kinds in consumers.items()}
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max_bytes // SEGMENTS)
        self._clock = clock
        self._appending = threading.Lock()  # taken before the other
        self._lock = threading.Lock()  # of the fields below
        self._segments: list[Segment] = []  # the last one is the writer's, where there is one
        self._places: dict[str, _Place] = {}
        self._told_until = 0.0
        self._fell = False  # and nobody has looked since
        self._before = 0  # records that were ever appended
        self._number = 0  # of the newest file that ever was
        self._first = 0  # file of this process
        self._writer: Writer | None = None
        self._known: set[str] = set()  # losses
        self._unsettled: list[Loss] = []  # that no new file tells of yet
        self._notices: deque[str] = deque(maxlen=NOTICES)
        self._dropped = 0
        self._descriptor: int | None = None
        self._closed = False
        self._rejected: RejectedFile | None = None
        try:
            self._open()
            self._roll()
        except OSError as error:
            if error.errno not in _PASSING:
                self._close()
                raise StoreError(f"{self._where}: cannot be used: {error.strerror}") from error
        except BaseException:
            self._close()
            raise

    @property
    def _where(self) -> str:
        return f"telemetry.path {self._directory}"

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(f"{self._where}: cannot be used now: {error.strerror}")

    def _open(self) -> None:
        """Looks at all that is there. Raises OSError, StoreError."""
        with ExitStack() as stack:
            descriptor = self._take()
            stack.callback(os.close, descriptor)
            forget_others(self._directory, self._kinds)
            cursors = {name: load(self._directory, name) for name in self._kinds}
            found = [each for each in cursors.values() if each is not None]
            numbers = numbers_in(self._directory)
            oldest = min(found, key=lambda each: each.position, default=None) if len(found) == len(cursors) else None
            first = 0 if oldest is None else oldest.segment
            for number in numbers:
                if number < first:  # a process ended before it had them removed
                    path_of(self._directory, number).unlink(missing_ok=True)
            segments, track = self._look([number for number in numbers if number >= first], oldest)
            known = kept_torn(self._directory)
            rejected = RejectedFile(self._directory)
            stack.pop_all()
        with self._lock:
            self._descriptor, self._rejected, self._known = descriptor, rejected, known
            self._segments, self._told_until = segments, track.told_until
            self._before = max([track.before or 0, *(each.before for each in found)])
            self._number = max([0, *numbers, *(each.segment for each in found)])
            self._first = self._number + 1
            for name, cursor in cursors.items():
                begin = self._placed(cursor)
                self._places[name] = _Place(self._kinds[name], begin, begin)
            begins = {name: place.cursor for name, place in self._places.items()}
        for name, begin in begins.items():  # not under the lock, for which the event loop waits too
            with suppress(OSError):
                save(self._directory, name, begin)
        self._note(track.losses)

    def _take(self) -> int:
        """The directory, for this process alone. Raises OSError, StoreError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise StoreError(f"{self._where}: another scheduler is using it; stop that one first") from error
            raise
        return descriptor

    def _take_again(self, descriptor: int) -> int:
        """``descriptor``, or another where somebody has removed or moved the directory. Raises OSError, StoreError."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self._directory.stat(), os.fstat(descriptor)):
                return descriptor
        self._descriptor = self._take()
        os.close(descriptor)
        return self._descriptor

    def _look(self, numbers: Sequence[int], oldest: Cursor | None) -> tuple[list[Segment], Track]:
        """What is in those files, from where the last consumer is, if all have a place; and how far that goes.

        Raises OSError.
        """
        track = Track(None, 0.0)
        if oldest is not None and (not numbers or numbers[0] > oldest.segment):
            track = Track(oldest.before, oldest.told_until)
            track.tear(oldest.segment, oldest.offset, oldest.offset, "is missing")
        segments = []
        for before, number in pairwise((*numbers[:1], *numbers)):
            if number > before + 1:
                track.tear(before + 1, 0, 0, "is missing")
            segment = look(self._directory, number, track)
            if segment is not None:
                segments.append(segment)
        track.close()
        return segments, track

    def _placed(self, cursor: Cursor | None) -> Cursor:
        """Where that is, among the files that are there."""
        for segment in self._segments:
            if cursor is not None and segment.number == cursor.segment:
                return cursor if cursor.offset <= segment.size else self._begin_after(segment)
            if cursor is None or segment.number > cursor.segment:
                return Cursor(segment.number, 0, segment.before, 0.0)
        return Cursor(self._first, 0, self._before, self._told_until)

    def _begin_after(self, segment: Segment) -> Cursor:
        """Behind all of it."""
        records, bytes_ = segment.sums.of(CODES.values())
        return Cursor(segment.number, segment.size, segment.before_end, self._told_until, records, bytes_)

    def _roll(self) -> None:
        """Goes on in a new file. Raises OSError."""
        now = self._clock.now()
        if self._descriptor is None:
            if self._closed:
                raise OSError(errno.EBADF, "it is closed")
            self._open()
        if self._writer is not None:
            with suppress(OSError):  # then all of it is read when it is looked at again
                self._writer.end(self._told_until, now)
            self._writer = None
        assert self._descriptor is not None  # noqa: S101 - for the type checker; it is open now
        descriptor = self._take_again(self._descriptor)
        writer = Writer(self._directory, descriptor, self._number + 1, self._before, self._told_until, now, self._lock)
        with self._lock:
            self._writer = writer
            self._number += 1
            self._segments.append(writer.segment)
        with suppress(OSError):  # then it is found once more by the next start
            keep_torn(self._directory, self._unsettled)
        self._unsettled.clear()
        self._trim()

    def _note(self, losses: Sequence[Loss]) -> None:
        """Some of it may have been found before."""
        for loss in losses:
            if loss.name in self._known:
                continue
            self._known.add(loss.name)
            self._unsettled.append(loss)
            with self._lock:
                self._told_until = min(self._told_until, loss.told_until)
                self._fell = True
            lost = "an unknown number of" if loss.records is None else loss.records
            aside = (
                f", the {loss.end - loss.start} bytes are kept as {TORN}{loss.name}" if loss.end > loss.start else ""
            )
            self._notices.append(
                f"{self._where}: file {path_of(self._directory, loss.segment).name} {loss.reason}: {lost} records are "
                f"lost{aside}; builds among them are told again from the state"
            )

    def append(self, batches: Sequence[Batch], told_until: float) -> bool:
        with self._appending:
            with self._lock:
                used = sum(segment.size for segment in self._segments)
            if used + _size(batches) > self._max_bytes:
                return False
            if used + _size(batches) > DROP_FROM * self._max_bytes:
                self._dropped += sum(batch.count for batch in batches if batch.kind is not Kind.BUILDS)
                batches = [batch for batch in batches if batch.kind is Kind.BUILDS]
            self._append(batches, told_until)
        return True

    def _append(self, batches: Sequence[Batch], told_until: float) -> None:
        """Raises UnavailableError."""
        with self._lock:
            told_until = self._told_until if self._fell else told_until
        if batches:
            try:
                self._appendable(_size(batches)).append(batches, told_until, self._clock.now())
            except OSError as error:
                raise self._unavailable(error) from error
            except StoreError as error:
                raise UnavailableError(str(error)) from error
        with self._lock:
            self._before += sum(batch.count for batch in batches)
            self._told_until = told_until

    def _appendable(self, size: int) -> Writer:
        """Raises OSError, StoreError."""
        writer = self._writer
        if writer is not None and not self._unsettled and not writer.removed:
            segment = writer.segment
            if segment.size <= HEADER_BYTES or segment.size + size <= self._segment_bytes:
                return writer
        self._roll()
        assert self._writer is not None  # noqa: S101 - for the type checker; it is there now
        return self._writer

    @property
    def told_until(self) -> float:
        with self._lock:
            self._fell = False
            return self._told_until

    def read(self, consumer: str, max_bytes: int) -> tuple[Sequence[Batch], int]:
        with self._lock:
            place = self._places.get(consumer)
            if place is None or place.cursor.segment > self._number:
                return [], 0
            ahead = [
                (each.number, each.size, each.before_end) for each in self._segments
                if each.number >= place.cursor.segment
            ]  # fmt: skip
        if ahead and place.cursor.position == position_of(*ahead[-1][:2]):
            return [], place.cursor.position
        track = Track(place.cursor.before, place.cursor.told_until)
        try:
            gathered = self._gather(place, ahead, track, max_bytes)
        except OSError as error:
            raise self._unavailable(error) from error
        if track.losses:
            self._settle(track.losses)
        place.seen = max(place.seen, place.ahead.position)
        if not gathered and place.ahead != place.cursor:
            self.done(consumer, place.ahead.position)
        return [
            Batch(KINDS[code], part.count, b"".join(part.payloads), again) for (code, again), part in gathered.items()
        ], place.ahead.position

    def _gather(
        self, place: _Place, ahead: Sequence[tuple[int, int, int]], track: Track, max_bytes: int
    ) -> dict[tuple[int, bool], _Gathered]:
        """Leaves ``place.ahead`` behind what it gathers. Raises OSError."""
        gathered: dict[tuple[int, bool], _Gathered] = {}
        room = max_bytes
        cursor = place.cursor
        for number, size, before_end in ahead:
            if number != cursor.segment:
                cursor = Cursor(number, 0, track.before or 0, track.told_until)
            offset, records, bytes_ = cursor.offset, cursor.records, cursor.bytes
            try:
                with path_of(self._directory, number).open("rb", buffering=0) as file:
                    found = walk(reader(file.fileno()), offset, size, place.codes)
                    for frame in track.sound(number, found, begins=offset == 0):
                        if frame.code not in place.codes:
                            continue
                        again = frame.again or number < self._first or position_of(number, frame.start) < place.seen
                        part = gathered.setdefault((frame.code, again), _Gathered())
                        part.payloads.append(frame.payload)
                        part.count += frame.records
                        records, bytes_ = records + frame.records, bytes_ + len(frame.payload)
                        room -= len(frame.payload)
                        if room <= 0:
                            before = frame.before + frame.records
                            place.ahead = Cursor(number, frame.end, before, frame.told_until, records, bytes_)
                            return gathered
            except FileNotFoundError:
                track.tear(number, offset, offset, "is missing")
            track.come_to(number, before_end)
            cursor = Cursor(number, size, before_end, track.told_until, records, bytes_)
        place.ahead = cursor
        return gathered

    def _settle(self, losses: Sequence[Loss]) -> None:
        """What was lost is noted in a new file, at once or, where that cannot be, with the next append."""
        with self._appending:
            self._note(losses)
            if self._unsettled:
                with suppress(OSError, StoreError):
                    self._roll()

    def done(self, consumer: str, position: int) -> None:
        """``position`` is that of the last reading. Where the place cannot be saved, records come again some day."""
        with self._lock:
            place = self._places.get(consumer)
        if place is None:
            return
        if position != place.ahead.position:
            raise ValueError(f"{consumer} has not read up to {position} last")
        with self._lock:
            place.cursor = place.ahead
        with suppress(OSError):
            save(self._directory, consumer, place.cursor)
        self._trim()

    def _trim(self) -> None:
        """Removes what everybody has taken."""
        with self._lock:
            needed = min((place.cursor.segment for place in self._places.values()), default=self._number)
            taken = [each for each in self._segments[:-1] if each.number < needed]
            self._segments = [each for each in self._segments if each not in taken]
        for segment in taken:
            with suppress(OSError):
                path_of(self._directory, segment.number).unlink(missing_ok=True)

    def depth(self, consumer: str) -> SpoolDepth:
        with self._lock:
            place = self._places.get(consumer)
            if place is None:
                return SpoolDepth(0, 0, None)
            cursor = place.cursor
            ahead = [each for each in self._segments if each.number >= cursor.segment]
            sums = [each.sums.of(place.codes) for each in ahead]
            sizes = [(each.number, each.size) for each in ahead]
        taken = (cursor.records, cursor.bytes) if ahead and ahead[0].number == cursor.segment else (0, 0)
        records = max(0, sum(each[0] for each in sums) - taken[0])
        bytes_ = max(0, sum(each[1] for each in sums) - taken[1])
        if records and (place.oldest[0] != cursor.position or place.oldest[1] is None):
            place.oldest = cursor.position, self._oldest(place, cursor, sizes)
        return SpoolDepth(records, bytes_, place.oldest[1] if records else None)

    def _oldest(self, place: _Place, cursor: Cursor, ahead: Sequence[tuple[int, int]]) -> float | None:
        for number, size in ahead:
            offset = cursor.offset if number == cursor.segment else 0
            with suppress(OSError), path_of(self._directory, number).open("rb", buffering=0) as file:
                for frame in walk(reader(file.fileno()), offset, size, ()):
                    if not isinstance(frame, Torn) and frame.code in place.codes:
                        return frame.at
        return None

    def reject(self, consumer: str, rejected: Sequence[Rejected]) -> None:
        with self._appending:
            if self._rejected is not None:
                with suppress(OSError):  # they are counted, and cannot be kept
                    self._rejected.add(consumer, rejected)

    @property
    def rejected(self) -> int:
        return 0 if self._rejected is None else self._rejected.count

    def resend(self) -> int:
        with self._appending:
            if self._rejected is None:
                return 0
            try:
                batches = list(self._rejected.batches())
                for begin in range(0, len(batches), _RESEND_BATCHES):
                    self._append(batches[begin : begin + _RESEND_BATCHES], self._told_until)
                self._rejected.clear()
            except OSError as error:
                raise self._unavailable(error) from error
            return len(batches)

    @property
    def dropped(self) -> int:
        return self._dropped

    @property
    def notices(self) -> list[str]:
        return list(self._notices)

    def close(self) -> None:
        with self._appending:
            if self._writer is not None:
                with suppress(OSError):  # all of it is read then by the next start
                    self._writer.end(self._told_until, self._clock.now())
                self._writer = None
            self._close()

    def _close(self) -> None:
        self._closed = True
        with self._lock:
            self._places = {}
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


def _size(batches: Sequence[Batch]) -> int:
    return sum(HEADER_BYTES + len(batch.payload) for batch in batches)
