"""How a master's memory is shared out between heap, the rest of the JVM and what it starts. Pure.

The numbers: a Jenkins 2.463 without plugins on Java 17 starts and serves with a heap of 48 MiB and a resident set of
177 MB, with 64 MiB in 186 MB and with 128 MiB in 241 MB (serial collector), so that it needs some 120 MiB beside its
heap: classes, compiled code, threads' stacks, and the JVM's own. Plugins add classes and threads, which have fields.
"""

from __future__ import annotations

import re
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
    raise NotImplementedError
