"""A master's memory, shared out: what fits, what does not and what would."""

import re

import pytest

from framework.documents import Document, check
from framework.errors import InputError
from masters.spec.jvm import MIN_HEAP_MIB, SERIAL_BELOW_MIB, JvmPlan, memory_plan
from masters.spec.model import JvmSpec, TenantSpec


def plan(mem_mib: int = 1024, **values: object) -> JvmPlan:
    return memory_plan(mem_mib, check(Document("", values, {}), JvmSpec))


def test_a_gibibyte_with_the_defaults() -> None:
    made = plan()
    assert made.options == (
        "-Xms128m",
        "-Xmx512m",
        "-XX:MaxMetaspaceSize=256m",
        "-XX:ReservedCodeCacheSize=64m",
        "-Xss512k",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+UseSerialGC",
    )
    assert made.total_mib == 512 + 256 + 64 + 64 + 6 + 32 + 64 == 998


def test_the_collector_is_the_one_that_java_itself_would_choose_or_the_one_asked_for() -> None:
    assert plan(SERIAL_BELOW_MIB - 1).options[-1] == "-XX:+UseSerialGC"
    assert plan(SERIAL_BELOW_MIB).options[-1] == "-XX:+UseG1GC"
    asked = plan(4096, options=["-XX:+UseZGC", "-Dx=y"])
    assert asked.options[-2:] == ("-XX:+UseZGC", "-Dx=y")
    assert sum("GC" in option for option in asked.options) == 1
    assert asked.collector_mib == 205


def test_what_does_not_fit_is_refused_with_the_numbers_and_the_share_that_would() -> None:
    with pytest.raises(ValueError, match="does not fit into mem_mib 1024") as caught:
        plan(heap_percent=60)
    words = str(caught.value)
    assert "a heap of 614 MiB" in words
    assert "1101 MiB are needed, heap and metaspace 256, code cache 64, stacks 64, collector 7, the JVM's own" in words
    fitting = re.search(r"a heap_percent of (\d+) would fit", words)
    assert fitting
    assert plan(heap_percent=int(fitting[1])).total_mib <= 1024


def test_where_no_share_would_fit_more_memory_is_asked_for() -> None:
    with pytest.raises(ValueError, match="raise mem_mib, or lower what is beside the heap"):
        plan(512)
    with pytest.raises(ValueError, match=f"less than the {MIN_HEAP_MIB} MiB that Jenkins starts with.* of 52 would"):
        plan(1024, heap_percent=4)


def test_a_small_master_that_says_so() -> None:
    small = plan(256, heap_percent=25, metaspace_mib=64, code_cache_mib=16, threads=60, stack_kib=256, children_mib=8)
    assert small.heap_mib == 64
    assert small.options[:2] == ("-Xms48m", "-Xmx64m")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("-Xmx4g", "is computed from mem_mib"),
        ("-XX:MaxRAMPercentage=90", "is computed from mem_mib"),
        ("-XX:MaxMetaspaceSize=1g", "is computed from mem_mib"),
        ("-Xss8m", "is computed from mem_mib"),
        ("Xshare:off", "is no option of java"),
        ("-Da=b c", "is no option of java"),
    ],
)
def test_options_that_would_undo_it(option: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(options=[option])


def test_a_command_need_not_be_a_jvm_unless_it_says_so() -> None:
    given = {"name": "a", "command": "true", "mem_mib": 64, "volume": {"host_path": "/x", "shared": True}}
    assert check(Document("", given, {}), TenantSpec).jvm_plan is None
    with pytest.raises(InputError, match="a heap of 32 MiB"):
        check(Document("", given | {"jvm": {}}, {}), TenantSpec)
