"""Packs many requests onto few hosts at once: plain integers in, the index of each one's host out.

Vector bin packing by a greedy that takes about a microsecond a request (docs/performance.rst). Requests are sorted by
how much memory they ask for their CPU. Hosts are filled one after the other, from the memory-hungry end while a larger
part of the host's memory is left than of its CPU, else from the other end, so that both run out together. The last two
places of a host go to the pair, of some spread over all that is left, which leaves the least: that is what brings the
waste of a host from half a request down to a few thousandths of a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

NOWHERE = -1

_SAMPLES = 24  # that a host's last places are chosen among; 40 pack no better, and take a quarter longer in all
_COARSE = (2, 4, 8)
"""Requests of more than half a host go first, then those of more than a quarter, and so on: what is left takes the

small ones, but not the other way round.
"""
_FINE = 16  # where all are at most this part of a host, their order by size brings nothing


class _Pile:
    """Requests still to be placed, those with the least memory for their CPU first; between ``light`` and ``heavy``."""

    __slots__ = ("cpu", "disk", "heavy", "least", "light", "mem", "which")

    def __init__(self, which: list[int], cpu: Sequence[int], mem: Sequence[int], disk: Sequence[int]) -> None:
        memory_for_cpu = [m / (c or 1) for c, m in zip(cpu, mem, strict=True)]
        self.which = sorted(which, key=memory_for_cpu.__getitem__)
        self.cpu = [cpu[i] for i in self.which]
        self.mem = [mem[i] for i in self.which]
        self.disk = [disk[i] for i in self.which]
        self.least = (min(self.cpu), min(self.mem), min(self.disk))
        self.light, self.heavy = 0, len(which) - 1

    def take(self, position: int) -> int:
        """Takes one out from between; the lightest goes to its position. Which it was."""
        taken, light = self.which[position], self.light
        self.which[position] = self.which[light]
        self.cpu[position] = self.cpu[light]
        self.mem[position] = self.mem[light]
        self.disk[position] = self.disk[light]
        self.light = light + 1
        return taken


def pack(
    cpu_left: list[int],
    mem_left: list[int],
    disk_left: list[int],
    cpu: Sequence[int],
    mem: Sequence[int],
    disk: Sequence[int],
) -> list[int]:
    """The host's index for each request, in the order of the requests; NOWHERE for those that found no room.

    ``*_left``: of each host, in the order in which hosts are to be filled; what is given out is taken from them.

    """
    where = [NOWHERE] * len(cpu)
    if cpu_left and cpu:
        for which in _by_size(max(cpu_left), max(mem_left), cpu, mem):
            _fill(_Pile(which, cpu, mem, disk), cpu_left, mem_left, disk_left, where)
    return where


def _by_size(host_cpu: int, host_mem: int, cpu: Sequence[int], mem: Sequence[int]) -> list[list[int]]:
    """Indices of the requests in classes of like size, the biggest first; no class is empty."""
    if max(cpu) * _FINE <= host_cpu and max(mem) * _FINE <= host_mem:
        return [list(range(len(cpu)))]
    classes: list[list[int]] = [[] for _ in range(len(_COARSE) + 1)]
    for i, (c, m) in enumerate(zip(cpu, mem, strict=True)):
        level = 0
        while level < len(_COARSE) and c * _COARSE[level] <= host_cpu and m * _COARSE[level] <= host_mem:
            level += 1
        classes[level].append(i)
    return [each for each in classes if each]


def _fill(pile: _Pile, cpu_left: list[int], mem_left: list[int], disk_left: list[int], where: list[int]) -> None:
    """Host after host, until the pile or the hosts come to their end."""
    cpu, mem, disk = pile.cpu, pile.mem, pile.disk
    least_cpu, least_mem, least_disk = pile.least
    for host, (c, m, d) in enumerate(zip(cpu_left, mem_left, disk_left, strict=True)):
        if c < least_cpu or m < least_mem or d < least_disk:
            continue
        whole_cpu, whole_mem = c, m
        c, m, d = _from_both_ends(pile, c, m, d, host, where)
        while pile.light <= pile.heavy and c >= least_cpu and m >= least_mem and d >= least_disk:
            best = _best(pile, c, m, d, scarce_cpu=c * whole_mem <= m * whole_cpu)
            if not best:
                break
            for position in best:
                c -= cpu[position]
                m -= mem[position]
                d -= disk[position]
                where[pile.take(position)] = host
        cpu_left[host], mem_left[host], disk_left[host] = c, m, d
        if pile.light > pile.heavy:
            return


def _from_both_ends(pile: _Pile, c: int, m: int, d: int, host: int, where: list[int]) -> tuple[int, int, int]:
    """Fills one host until the next in turn does not fit, less one, so that there is a pair to choose; what is then

    left of it. No calls in the loop: it runs for each request.
    """
    cpu, mem, disk = pile.cpu, pile.mem, pile.disk
    whole_cpu, whole_mem = c, m
    light, heavy = first, last = pile.light, pile.heavy
    while light <= heavy:
        if m * whole_cpu >= c * whole_mem:
            at = heavy
            heavy -= 1
        else:
            at = light
            light += 1
        c -= cpu[at]
        m -= mem[at]
        d -= disk[at]
        if c < 0 or m < 0 or d < 0:
            back = [at]
            if at > heavy:
                heavy = at
            else:
                light = at
            if heavy < last:
                heavy += 1
                back.append(heavy)
            elif light > first:
                light -= 1
                back.append(light)
            for at in back:
                c, m, d = c + cpu[at], m + mem[at], d + disk[at]
            break
    for i in pile.which[first:light]:
        where[i] = host
    for i in pile.which[heavy + 1 : last + 1]:
        where[i] = host
    pile.light, pile.heavy = light, heavy
    return c, m, d


def _best(pile: _Pile, c: int, m: int, d: int, *, scarce_cpu: bool) -> tuple[int, ...]:
    """Positions, in rising order, of the one or two that leave the least of what is scarce; none where none fits."""
    disk = pile.disk
    scarce, room, other, spare = (pile.cpu, c, pile.mem, m) if scarce_cpu else (pile.mem, m, pile.cpu, c)
    stride = (pile.heavy - pile.light) // _SAMPLES + 1
    ranked = sorted([(scarce[i], i) for i in range(pile.light, pile.heavy + 1, stride)])
    most = -1
    best: tuple[int, ...] = ()
    low, high = 0, len(ranked) - 1
    while low < high:
        total = ranked[low][0] + ranked[high][0]
        if total > room:
            high -= 1
            continue
        if total > most:
            i, j = ranked[low][1], ranked[high][1]
            if other[i] + other[j] <= spare and disk[i] + disk[j] <= d:
                most = total
                best = (i, j) if i < j else (j, i)
        low += 1
    for size, i in ranked:
        if most < size <= room and other[i] <= spare and disk[i] <= d:
            most = size
            best = (i,)
    return best
