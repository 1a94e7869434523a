"""What threads read JSON as is ready before there are threads."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, threading
import msgspec
from masters.records import prepared

sys.setswitchinterval(1e-6)

def read(kind, begin):
    begin.wait()
    msgspec.json.decode(b'{"many": [{"one": {"x": 1}}]}', type=kind)

for _ in range(100):
    class One(msgspec.Struct):
        x: int
        y: list[int] | None = None
    class Some(msgspec.Struct):
        one: One
        more: dict[str, One] = {}
    @prepared
    class All(msgspec.Struct):
        many: list[Some]
        some: Some | None = None
    begin = threading.Barrier(4)
    threads = [threading.Thread(target=read, args=(All, begin)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_that_read_at_once_end_no_process() -> None:
    """In a process of its own, which ended by SIGSEGV."""
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
