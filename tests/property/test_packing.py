"""Packing all at once: exact whatever is asked, and tight where requests are small against hosts."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from framework.core.packing import NOWHERE, pack

Triple = tuple[int, int, int]


def triples(most: int, count: int) -> st.SearchStrategy[list[Triple]]:
    amount = st.integers(0, most)
    return st.lists(st.tuples(amount, amount, amount), max_size=count)


@given(triples(100, 12), triples(40, 60))
def test_no_host_gives_more_than_it_has_and_what_is_left_is_told(hosts: list[Triple], asks: list[Triple]) -> None:
    left = [list(amounts) for amounts in zip(*hosts, strict=True)] or [[], [], []]
    where = pack(left[0], left[1], left[2], *([ask[name] for ask in asks] for name in range(3)))
    assert len(where) == len(asks)
    for name in range(3):
        given_out = [0] * len(hosts)
        for ask, host in zip(asks, where, strict=True):
            if host != NOWHERE:
                given_out[host] += ask[name]
        assert left[name] == [host[name] - gone for host, gone in zip(hosts, given_out, strict=True)]
        assert all(amount >= 0 for amount in left[name])


@given(st.integers(0, 2**64), st.integers(400, 900))
def test_small_requests_of_many_sizes_leave_no_fiftieth_of_the_hosts_they_fill_unused(seed: int, count: int) -> None:
    chance, hosts = random.Random(seed), 40
    cpu = [chance.randint(250, 500) for _ in range(count)]
    mem = [chance.randint(768, 1536) for _ in range(count)]
    cpu_left, mem_left = [16_000] * hosts, [60 * 1024] * hosts
    where = pack(cpu_left, mem_left, [0] * hosts, cpu, mem, [0] * count)
    assert NOWHERE not in where
    full = max(where)  # the last one need not be
    assert sum(cpu_left[:full]) <= 0.02 * 16_000 * full
