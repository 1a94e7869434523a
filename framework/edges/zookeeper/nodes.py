"""Frames and checkpoints as nodes below the chroot. None is over NODE_BYTES, no directory over about a thousand.

::

    log/SSSSSSSSSS/NNNNNNNNNNNN     frame N, in the directory of its shard S; without gaps from the checkpoint's on
    parts/N-ID-K                    part K of a frame that is too large for one node; written before it
    snapshots/NAME/K                piece K of a checkpoint
    checkpoint                      which of the snapshots is the state, and as of which frame; empty: none yet
    epoch                           who leads; its version is what every write of a leader checks

All that ``put_*`` and ``sweep`` write is fenced: they raise FencedError where another leadership has begun. Nodes with
names of other forms are left alone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import msgspec

from framework.edges.zookeeper.connection import Check, Create, Delete, Op, Put, RefusedError, ZooKeeperConnection
from framework.errors import StoreError, StoreFullError

NODE_BYTES = 200 * 1024
"""Data of one node; with its path and header a call stays below 256 KiB, a quarter of what ZooKeeper takes."""
SHARD_FRAMES = 512
MAX_FRAME_MIB = 64
MAX_PIECES = 1000
DELETES_AT_ONCE = 200

_PART = re.compile(r"(\d{12})-([0-9a-f]+-\d{4})")
_SNAPSHOT = re.compile(r"\d{12}-[0-9a-f]+")


class FencedError(Exception):
    """Another leadership has begun. Never leaves this package."""


class FrameHead(msgspec.Struct, frozen=True, array_like=True):
    """The data of a frame's node."""

    id: bytes
    epoch: int
    parts: int  # in nodes of their own; 0: it is all here
    data: bytes


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """The data of the node ``checkpoint``."""

    snapshot: str
    frame: int  # the last one that is in it
    pieces: int
    crc32: int


_decode_head = msgspec.msgpack.Decoder(FrameHead).decode
_decode_checkpoint = msgspec.msgpack.Decoder(Checkpoint).decode
_encode = msgspec.msgpack.encode


class Nodes:
    """Not for use from several threads, but for ``put_snapshot`` and ``sweep`` beside the rest."""

    def __init__(self, connection: ZooKeeperConnection) -> None:
        self._zk = connection
        self._shards: set[int] = set()

    # Frames.

    def put_frame(self, number: int, frame_id: bytes, epoch: int, data: bytes, fence: int) -> bytes:
        """Writes frame ``number``, or finds that it is there; the id of the one that is there now.

        Raises StoreFullError, after which it may be there or come to be, and FencedError.
        """
        parts = 0
        if len(data) > NODE_BYTES:
            if len(data) > MAX_FRAME_MIB << 20:
                raise StoreFullError(
                    f"state.zookeeper {self._zk.url}: {len(data) >> 20} MiB cannot be saved at once; send less"
                )
            pieces = _cut(data)
            for index, piece in enumerate(pieces):
                self._put_once(self._part(number, frame_id, index), piece, fence)
            parts, data = len(pieces), b""
        shard = number // SHARD_FRAMES
        if shard not in self._shards:
            self._put_once(self._zk.path("log", f"{shard:010}"), b"", fence)
            self._shards.add(shard)
        head = _encode(FrameHead(frame_id, epoch, parts, data))
        try:
            self._transact(fence, Create(self._frame(number), head))
        except RefusedError as error:
            if error.missing:  # the shard: a restored ZooKeeper, or somebody's hand
                self._shards.discard(shard)
                raise StoreFullError(f"state.zookeeper {self._zk.url}: {error.path} is gone; trying again") from error
            found = self.head(number)
            if found is None:
                raise StoreFullError(f"state.zookeeper {self._zk.url}: {error.path} changes under us") from error
            return found.id
        return frame_id

    def head(self, number: int, changed: Callable[[object], None] | None = None) -> FrameHead | None:
        """None where the frame is not there; then ``changed`` is called once when it comes."""
        path = self._frame(number)
        try:
            data, _ = self._zk.get(path)
        except RefusedError:
            if changed is None or not self._zk.exists(path, changed):
                return None
            try:
                data, _ = self._zk.get(path)
            except RefusedError:  # swept up already, so there is a checkpoint to start from
                return None
        try:
            return _decode_head(data)
        except ValueError as error:
            raise self._damaged(path, error) from error

    def frame(self, number: int, head: FrameHead) -> bytes:
        if not head.parts:
            return head.data
        try:
            return self._joined([self._part(number, head.id, index) for index in range(head.parts)])
        except RefusedError as error:
            checkpoint = self.checkpoint()
            if checkpoint is not None and checkpoint.frame >= number:
                raise StoreFullError(f"state.zookeeper {self._zk.url}: there is a newer checkpoint") from error
            raise self._damaged(error.path, ValueError("is gone")) from error

    def damaged_frame(self, number: int, error: Exception) -> StoreError:
        return self._damaged(self._frame(number), error)

    def damaged_snapshot(self, checkpoint: Checkpoint, error: Exception) -> StoreError:
        return self._damaged(self._zk.path("snapshots", checkpoint.snapshot), error)

    # Checkpoints.

    def checkpoint(self, changed: Callable[[object], None] | None = None) -> Checkpoint | None:
        path = self._zk.path("checkpoint")
        data, _ = self._zk.get(path) if changed is None else self._zk.watched(path, changed)
        if not data:
            return None
        try:
            return _decode_checkpoint(data)
        except ValueError as error:
            raise self._damaged(path, error) from error

    def snapshot(self, checkpoint: Checkpoint) -> bytes:
        try:
            data = self._joined([self._piece(checkpoint.snapshot, number) for number in range(checkpoint.pieces)])
        except RefusedError as error:
            if self.checkpoint() != checkpoint:
                raise StoreFullError(f"state.zookeeper {self._zk.url}: there is a newer checkpoint") from error
            raise self._damaged(error.path, ValueError("is gone")) from error
        if zlib.crc32(data) != checkpoint.crc32:
            raise self.damaged_snapshot(checkpoint, ValueError("is not what was written"))
        return data

    def put_snapshot(self, name: str, frame: int, data: bytes, fence: int) -> Checkpoint:
        """Writes a checkpoint as of ``frame`` and makes it the one that counts."""
        pieces = _cut(data)
        if len(pieces) > MAX_PIECES:
            raise StoreFullError(f"state.zookeeper {self._zk.url}: a checkpoint of {len(data) >> 20} MiB is too large")
        path = self._zk.path("checkpoint")
        _, version = self._zk.get(path)  # so that none whose answer was lost comes in after a newer one
        self._put_once(self._zk.path("snapshots", name), b"", fence)
        for number, piece in enumerate(pieces):
            self._put_once(self._piece(name, number), piece, fence)
        made = Checkpoint(name, frame, len(pieces), zlib.crc32(data))
        try:
            self._transact(fence, Put(path, _encode(made), version))
        except RefusedError as error:
            raise StoreFullError(f"state.zookeeper {self._zk.url}: {path} changes under us") from error
        return made

    def sweep(self, checkpoint: Checkpoint | None, fence: int, unused_parts: bool = False) -> None:
        """Removes frames up to the checkpoint's, their parts, and snapshots that are not it (none of these is read

        again), and with ``unused_parts`` parts of frames that never came; only while nobody writes any.
        """
        last = checkpoint.frame if checkpoint is not None else 0
        gone: list[str] = []
        for shard in self._numbers("log"):
            if shard * SHARD_FRAMES > last:
                break
            names = [number for number in self._numbers("log", f"{shard:010}") if number <= last]
            gone += [self._frame(number) for number in names]
            if last >= (shard + 1) * SHARD_FRAMES:  # no frame will come to it any more
                self._shards.discard(shard)
                gone.append(self._zk.path("log", f"{shard:010}"))
        for name in self._zk.children(self._zk.path("snapshots")):
            if _SNAPSHOT.fullmatch(name) and (checkpoint is None or name != checkpoint.snapshot):
                path = self._zk.path("snapshots", name)
                gone += [f"{path}/{piece}" for piece in self._zk.children(path)]
                gone.append(path)
        for name in self._zk.children(self._zk.path("parts")):
            found = _PART.fullmatch(name)
            if found and (int(found[1]) <= last or (unused_parts and not self._is_of(int(found[1]), found[2]))):
                gone.append(self._zk.path("parts", name))
        for start in range(0, len(gone), DELETES_AT_ONCE):
            self._delete(gone[start : start + DELETES_AT_ONCE], fence)

    def newest(self) -> int:
        """The highest number of a frame that is there; 0 where none is."""
        return max((n for s in self._numbers("log")[-2:] for n in self._numbers("log", f"{s:010}")), default=0)

    # Below.

    def _is_of(self, number: int, rest: str) -> bool:
        head = self.head(number)
        return head is not None and rest.startswith(f"{head.id.hex()}-")

    def _delete(self, paths: Sequence[str], fence: int) -> None:
        try:
            self._transact(fence, *(Delete(path) for path in paths))
        except RefusedError as error:
            if not error.missing:
                raise StoreFullError(f"state.zookeeper {self._zk.url}: {error.path} changes under us") from error
            # One was gone already, such as by a call whose answer was lost.
            left = [path for path in paths if self._zk.exists(path)]
            if left:
                self._transact(fence, *(Delete(path) for path in left))

    def _put_once(self, path: str, data: bytes, fence: int) -> None:
        """A node that is there already is ours, from a call whose answer was lost: its name says what is in it."""
        try:
            self._transact(fence, Create(path, data))
        except RefusedError as error:
            if not error.exists:
                raise StoreFullError(f"state.zookeeper {self._zk.url}: {error.path} changes under us") from error

    def _transact(self, fence: int, *ops: Op) -> None:
        epoch = self._zk.path("epoch")
        try:
            self._zk.transact(Check(epoch, fence), *ops)
        except RefusedError as error:
            if error.path == epoch:
                raise FencedError from error
            raise

    def _joined(self, paths: Sequence[str]) -> bytes:
        return b"".join(self._zk.get(path)[0] for path in paths)

    def _damaged(self, path: str, error: Exception) -> StoreError:
        return StoreError(
            f"state.zookeeper {self._zk.url}: node {path} is damaged ({error}); restore ZooKeeper's data, or name "
            "another path to start anew"
        )

    def _numbers(self, *names: str) -> list[int]:
        path = self._zk.path(*names)
        children = self._zk.children(path)
        try:
            return [int(name) for name in children]
        except ValueError as error:
            raise self._damaged(path, error) from error

    def _frame(self, number: int) -> str:
        return self._zk.path("log", f"{number // SHARD_FRAMES:010}", f"{number:012}")

    def _part(self, number: int, frame_id: bytes, index: int) -> str:
        return self._zk.path("parts", f"{number:012}-{frame_id.hex()}-{index:04}")

    def _piece(self, name: str, number: int) -> str:
        return self._zk.path("snapshots", name, f"{number:04}")


def _cut(data: bytes) -> list[bytes]:
    return [data[start : start + NODE_BYTES] for start in range(0, len(data), NODE_BYTES)]
