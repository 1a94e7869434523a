"""How a master's memory is shared out between heap, the rest of the JVM and what it starts. Pure.

The numbers: a Jenkins 2.463 without plugins on Java 17 starts and serves with a heap of 48 MiB and a resident set of
177 MB, with 64 MiB in 186 MB and with 128 MiB in 241 MB (serial collector), so that it needs some 120 MiB beside its
heap: classes, compiled code, threads' stacks, and the JVM's own. Plugins add classes and threads, which have fields.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from masters.spec.model import JvmSpec

SERIAL_BELOW_MIB = 1792
"""Memory from which on HotSpot itself takes a machine for a server's and chooses G1 (os::is_server_class_machine of
JDK 17: 2 GiB less 256 MiB). Below, the serial collector starts sooner and needs less beside the heap."""
MIN_HEAP_MIB = 48
"""The smallest that a Jenkins 2.463 was seen to start and serve with."""
NATIVE_MIB = 32
"""The JVM's own: its libraries, symbols, buffers and malloc's arenas."""
COLLECTOR_PERCENT = 1
"""Of the heap, beside it: what the serial collector keeps, a card table and an offset table of 1/512 each."""
CONCURRENT_COLLECTOR_PERCENT = 10
"""Of G1 and the others: two mark bitmaps of 1/64 each, those tables, remembered sets, tasks' queues."""
_COMPUTED = re.compile(
    r"-X(mx|ms|ss|mn)|-XX:(Initial|Min|Max|SoftMax)?(HeapSize|RAM|RAMPercentage|RAMFraction|NewSize)=|"
    r"-XX:(Max)?MetaspaceSize=|-XX:(Reserved|Initial)CodeCacheSize=|-XX:(ThreadStackSize|CompilerThreadStackSize)=|"
    r"-XX:[+-](ExitOnOutOfMemoryError|CrashOnOutOfMemoryError)"
)
_COLLECTOR = re.compile(r"-XX:\+Use(Serial|Parallel|G1|Z|Shenandoah|Epsilon)GC")


@dataclass(frozen=True, slots=True)
class JvmPlan:
    """What each part may take, in MiB, and java's options that make it so."""

    heap_mib: int
    metaspace_mib: int
    code_cache_mib: int
    stacks_mib: int
    collector_mib: int
    native_mib: int
    children_mib: int
    options: tuple[str, ...]

    @property
    def total_mib(self) -> int:
        return self.heap_mib + self.beside_heap_mib

    @property
    def beside_heap_mib(self) -> int:
        return (
            self.metaspace_mib
            + self.code_cache_mib
            + self.stacks_mib
            + self.collector_mib
            + self.native_mib
            + self.children_mib
        )


def memory_plan(mem_mib: int, jvm: JvmSpec) -> JvmPlan:
    """Raises ValueError where the parts cannot fit into ``mem_mib``, with what each takes and what would fit."""
    heap_mib = mem_mib * jvm.heap_percent // 100
    collector = _collector(mem_mib, jvm.options)
    percent = COLLECTOR_PERCENT if collector == "Serial" else CONCURRENT_COLLECTOR_PERCENT
    plan = JvmPlan(
        heap_mib=heap_mib,
        metaspace_mib=jvm.metaspace_mib,
        code_cache_mib=jvm.code_cache_mib,
        stacks_mib=-(-jvm.threads * jvm.stack_kib // 1024),
        collector_mib=-(-heap_mib * percent // 100),
        native_mib=NATIVE_MIB,
        children_mib=jvm.children_mib,
        options=_options(heap_mib, collector, jvm),
    )
    if heap_mib < MIN_HEAP_MIB or plan.total_mib > mem_mib:
        raise ValueError(_refusal(mem_mib, plan, percent))
    return plan


def given_option(option: str) -> str:
    """Raises ValueError for what is none of java's options, or would set again what is computed."""
    if not re.fullmatch(r"-[!-~]+", option):
        raise ValueError(f"{option[:60]!r} is no option of java: it begins with `-` and has no white space")
    if _COMPUTED.match(option):
        raise ValueError(f"`{option[:60]}` is computed from mem_mib and the other keys of jvm; set those")
    return option


def _collector(mem_mib: int, options: Sequence[str]) -> str:
    """The one asked for by an option, else HotSpot's choice for so much memory."""
    asked = [found[1] for option in options if (found := _COLLECTOR.fullmatch(option))]
    return asked[-1] if asked else "Serial" if mem_mib < SERIAL_BELOW_MIB else "G1"


def _options(heap_mib: int, collector: str, jvm: JvmSpec) -> tuple[str, ...]:
    asked = f"-XX:+Use{collector}GC"
    return (
        f"-Xms{max(heap_mib // 4, min(heap_mib, MIN_HEAP_MIB))}m",
        f"-Xmx{heap_mib}m",
        f"-XX:MaxMetaspaceSize={jvm.metaspace_mib}m",
        f"-XX:ReservedCodeCacheSize={jvm.code_cache_mib}m",
        f"-Xss{jvm.stack_kib}k",
        "-XX:+ExitOnOutOfMemoryError",
        *(() if asked in jvm.options else (asked,)),
        *jvm.options,
    )


def _refusal(mem_mib: int, plan: JvmPlan, collector_percent: int) -> str:
    """``collector_percent``: of the heap, beside it."""
    room_mib = (mem_mib - plan.beside_heap_mib + plan.collector_mib) * 100 // (100 + collector_percent)
    fitting = room_mib * 100 // mem_mib
    parts = (
        f"metaspace {plan.metaspace_mib}, code cache {plan.code_cache_mib}, stacks {plan.stacks_mib}, collector "
        f"{plan.collector_mib}, the JVM's own {plan.native_mib}, children {plan.children_mib}"
    )
    if plan.heap_mib < MIN_HEAP_MIB:
        problem = f"a heap of {plan.heap_mib} MiB is less than the {MIN_HEAP_MIB} MiB that Jenkins starts with"
    else:
        problem = f"a heap of {plan.heap_mib} MiB does not fit into mem_mib {mem_mib}"
    whole = f"{problem}: {plan.total_mib} MiB are needed, heap and {parts}"
    if room_mib >= MIN_HEAP_MIB and fitting * mem_mib // 100 >= MIN_HEAP_MIB:
        return f"{whole}; a heap_percent of {min(fitting, 95)} would fit, or raise mem_mib"
    return f"{whole}; raise mem_mib, or lower what is beside the heap"
