"""Connections whose other end is gone without a word, in a network of the test's own where packets can be dropped."""

from __future__ import annotations

import subprocess
import sys

import pytest

from framework.edges.mesos.connection import KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES, USER_TIMEOUT_MS

WITHIN_S = KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES + USER_TIMEOUT_MS / 1000
"""Generous: both bounds one after the other."""

SCRIPT = f"""
import asyncio, socket, subprocess
from framework.edges.mesos.connection import CallConnection

async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    lost = {{name: asyncio.get_running_loop().create_future() for name in ("idle", "sending")}}
    connections = {{}}
    for name, future in lost.items():
        connections[name] = CallConnection(print, future.set_result)
        await asyncio.get_running_loop().create_connection(lambda: connections[name], "127.0.0.1", port)
    subprocess.run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP"], check=True)
    connections["sending"].send(b"x" * 1000)
    for name, reason in zip(lost, await asyncio.wait_for(asyncio.gather(*lost.values()), {WITHIN_S})):
        print(name, reason)

asyncio.run(main())
"""


@pytest.mark.root
def test_a_peer_that_is_gone_is_found_within_seconds() -> None:
    inside = ["sh", "-c", 'ip link set lo up && exec "$0" -c "$1"', sys.executable, SCRIPT]
    done = subprocess.run(
        ["unshare", "--net", *inside], check=False, capture_output=True, text=True, timeout=WITHIN_S + 30
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["idle", "sending"]
    assert all("timed out" in line for line in lines), lines
