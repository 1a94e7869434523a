"""Many masters in one process, for load: each is given as ``{"argv": [...], "environment": {...}}`` on standard input.

That is one line of JSON, a list of them. Once all are up, one line tells their ports in the same order.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys

import uvloop

from tests.fakes.jenkins.__main__ import Running
from tests.fakes.jenkins.options import read_options


async def _run(masters: list[Running]) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    for master in masters:
        await master.start()
    sys.stdout.write(json.dumps([master.port for master in masters]) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    for master in masters:
        await master.stop()


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    given = json.loads(sys.stdin.readline())
    uvloop.run(_run([Running(read_options(one["argv"], one["environment"])) for one in given]))


if __name__ == "__main__":
    main()
