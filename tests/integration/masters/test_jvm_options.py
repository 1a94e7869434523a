"""The options that a master's memory is shared out by, given to a real Java."""

import re
import subprocess

import pytest

from framework.documents import Document, check
from masters.spec.jvm import memory_plan
from masters.spec.model import JvmSpec

MIB = 1 << 20


@pytest.mark.parametrize(
    ("mem_mib", "jvm", "collector"),
    [
        (1024, {}, "Serial"),
        (2048, {}, "G1"),
        (2048, {"options": ["-XX:+UseParallelGC", "-Dany=thing"]}, "Parallel"),
        (
            256,
            {"heap_percent": 20, "metaspace_mib": 64, "code_cache_mib": 16, "threads": 50, "children_mib": 0},
            "Serial",
        ),
    ],
)
def test_java_takes_them_as_they_are_meant(mem_mib: int, jvm: dict[str, object], collector: str) -> None:
    plan = memory_plan(mem_mib, check(Document("", jvm, {}), JvmSpec))
    command = ["java", *plan.options, "-XX:+PrintFlagsFinal", "-version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    flags = dict(re.findall(r"^ *\w+ (\w+) += (\S+)", done.stdout, re.MULTILINE))
    assert abs(int(flags["MaxHeapSize"]) - plan.heap_mib * MIB) <= 2 * MIB  # Java rounds to whole regions
    assert int(flags["MaxMetaspaceSize"]) == plan.metaspace_mib * MIB
    assert int(flags["ReservedCodeCacheSize"]) == plan.code_cache_mib * MIB
    assert flags["ExitOnOutOfMemoryError"] == "true"
    used = [
        name for name, value in flags.items() if re.fullmatch(r"Use(Serial|Parallel|G1)GC", name) and value == "true"
    ]
    assert used == [f"Use{collector}GC"]
    assert "warning" not in done.stderr.lower()
