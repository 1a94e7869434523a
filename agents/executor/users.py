"""A user id of its own for each build, out of a range that the executors of one machine share."""

from __future__ import annotations

import fcntl
import os

from agents.executor.processes import user_has_processes

RUN_DIR = "/run/butlery"
MAX_BUSY = 64  # user ids with processes but without a lock: more than crashes leave; the range belongs to others
LOWEST_UID = 1000  # below are the system's own users (login.defs UID_MIN)


class NoUserError(Exception):
    """No user id is free, or the range names none that may be used."""


def parse_range(text: str) -> range:
    """``"200000-265535"`` as a range. Raises NoUserError."""
    low, dash, high = text.partition("-")
    try:
        found = range(int(low), int(high if dash else low) + 1)
    except ValueError as error:
        raise NoUserError("host.uids: %r is not a range like 200000-265535" % text) from error
    if not found or found.start < LOWEST_UID or found.stop > 2**32 - 1:
        raise NoUserError("host.uids: %r is empty or reaches below %d" % (text, LOWEST_UID))
    return found


def acquire(text: str, run_dir: str = RUN_DIR) -> tuple[int, int]:
    """The lowest free user id and the descriptor whose lock in ``run_dir`` holds it until every copy of it is closed.

    Lowest first, so that there are never more lock files than builds ran at once. A user with living processes, left
    by an executor that could not clear up, is passed over. Needs root. Raises NoUserError.
    """
    lock_dir = os.path.join(run_dir, "uids")
    try:
        os.makedirs(run_dir, mode=0o711, exist_ok=True)
        os.makedirs(lock_dir, mode=0o700, exist_ok=True)
    except OSError as error:
        raise NoUserError("the directory of user id locks: %s" % error) from error
    busy = 0
    for uid in parse_range(text):
        try:
            lock = os.open(os.path.join(lock_dir, str(uid)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise NoUserError("the lock of user id %d: %s" % (uid, error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if not user_has_processes(uid):
            return uid, lock
        os.close(lock)
        busy += 1
        if busy == MAX_BUSY:
            raise NoUserError("%d user ids of %s have processes of someone else's" % (busy, text))
    raise NoUserError("every user id of %s is taken" % text)
