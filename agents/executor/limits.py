"""What every way of holding a build to its limits has in common."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

    Verdict = Tuple[str, str]
    """A result class of agents.spec and the message that goes with it."""

MIB = 1048576
PIDS_STREAK_S = 2.0  # a build that is refused processes for this long is a fork bomb, not a busy moment
PIDS_GAP_S = 1.0  # refusals further apart are not one streak
CPU_PERIOD_US = 100000  # of a limit on CPU: what Mesos' isolators and the kernel have by default


class Wanted:
    """The limits of one build: ``mem_mib`` of memory without swap, ``cpu_millis`` as a share, ``pids`` threads.

    Services may have no limit of memory or threads (0), and ``cpu_limit_millis`` of CPU, of which they get no more even
    where there is some.
    """

    def __init__(
        self, mem_mib: int, cpu_millis: int, pids: int, gpus: int = 0, cpu_limit_millis: int | None = None
    ) -> None:
        self.mem_mib = mem_mib
        self.cpu_millis = cpu_millis
        self.pids = pids
        self.gpus = gpus
        self.cpu_limit_millis = cpu_limit_millis


class Usage:
    """What a build has used so far; None where it cannot be told."""

    def __init__(self, peak_mem_mib: float | None, cpu_s: float | None) -> None:
        self.peak_mem_mib = peak_mem_mib
        self.cpu_s = cpu_s


class PidsPressure:
    """Tells a fork bomb, which is refused processes all the time, from a build that touched its limit once."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._last_s = 0.0

    def sustained(self, now_s: float, hit: bool) -> bool:
        """To be asked at every check; ``hit``: the limit was met since the last one. ``now_s`` of any steady clock."""
        if not hit:
            return False
        if self._first_s is None or now_s - self._last_s > PIDS_GAP_S:
            self._first_s = now_s
        self._last_s = now_s
        return now_s - self._first_s >= PIDS_STREAK_S


def cpu_shares(cpu_millis: int) -> int:
    """cpu.shares of cgroup v1 as Mesos' cgroups/cpu isolator sets them: 1024 a CPU, at least the kernel's minimum 2."""
    return max(2, cpu_millis * 1024 // 1000)


def cpu_weight(shares: int) -> int:
    """cpu.weight of cgroup v2, 1 to 10000, for ``shares``.

    The formula of runc since 1.3.2 (github.com/opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value), which maps
    the smallest, the default and the largest share, 2, 1024 and 262144, to the smallest, default and largest weight.
    """
    from math import ceil, log2

    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = log2(shares)
    return ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def oom_verdict(peak_mem_mib: float | None, limit_mib: int) -> Verdict:
    used = "" if peak_mem_mib is None else "peak %.0f MiB, " % peak_mem_mib
    return "oom", "out of memory: %slimit %d MiB" % (used, limit_mib)


def pids_verdict(limit: int) -> Verdict:
    return "pids", "at its limit of %d processes and threads" % limit


def read_int(path: str) -> int | None:
    """The number a kernel file holds; None where there is no file or no number (``max``)."""
    try:
        return int(read_text(path))
    except (OSError, ValueError):
        return None


def read_text(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read().strip()


def read_counter(path: str, name: str) -> int:
    """The value of ``name`` in a kernel file of ``name value`` lines; 0 where it is missing."""
    try:
        lines = read_text(path).splitlines()
    except OSError:
        return 0
    for line in lines:
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def cpu_quota_us(cpu_limit_millis: int) -> int:
    """What may be used in each CPU_PERIOD_US; at least the millisecond below which the kernel takes none."""
    return max(1000, cpu_limit_millis * CPU_PERIOD_US // 1000)


def write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def remove_group(path: str) -> bool:
    """Removes an empty cgroup; True when it is gone."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Limits:
    """One build's limits: ``create`` them, let the build's processes ``enter``, ``check`` every ``interval_s``."""

    mode = ""
    interval_s = 0.2
    jvm_sees_limit = True  # whether a JVM below these limits finds its memory limit by itself

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted

    def create(self) -> None:
        """Raises OSError where the limits cannot be had."""

    def enter(self) -> None:
        """Puts the calling process, still with the executor's privileges, under the limits, before its exec."""

    def check(self, now_s: float) -> Verdict | None:
        """Why the build must be ended, where it must. ``now_s`` of any steady clock."""
        raise NotImplementedError

    def notice_fd(self) -> tuple[int, bool] | None:
        """A descriptor that has something when ``check`` may have a verdict, so that it need not be asked every

        ``interval_s``, and whether that is urgent data; None where there is no such thing. Raises OSError.
        """
        return None

    def hindsight(self) -> Verdict | None:
        """What made a build fail that has already ended by itself, where its limits did."""
        raise NotImplementedError

    def usage(self) -> Usage:
        raise NotImplementedError

    def kill(self) -> bool:
        """Kills everything under the limits, the runner's other measures aside; True when nothing is left."""
        return True

    def remove(self) -> bool:
        """Takes away what ``create`` made; True when nothing of it is left."""
        return True
