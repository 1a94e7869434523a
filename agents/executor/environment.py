"""The environment of a build: made from nothing, so that nothing of the executor's leaks into it."""

from __future__ import annotations

from agents.spec import AGENT_SECRET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.spec import BuildSpec

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HEAP_PERCENT = 60
"""Share of a build's memory for the heap of a JVM in it. The JVM's own default of 25 wastes most of an agent; what is
left here is for metaspace, code cache (240 MiB reserved), thread stacks, and the shell and tools beside the JVM."""

JVM_VARIABLES = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")


def of_build(spec: BuildSpec, workspace: str, home: str, jvm_sees_limit: bool) -> dict[str, str]:
    """Environment of the build's command. ``jvm_sees_limit``: a JVM finds the memory limit in its cgroup by itself."""
    made = {
        "HOME": home,
        "TMPDIR": home + "/tmp",  # noqa: S108 - a directory of the build's own
        "LANG": "C.UTF-8",
        "CI": "true",
        "WORKSPACE": workspace,
        "BUTLERY_TASK_ID": spec.task_id,
        "BUTLERY_TENANT": spec.tenant,
        "BUTLERY_JOB": spec.job,
    }
    if spec.image is None:
        made["PATH"] = PATH  # an image has its own
    if spec.ports:
        made.update(("PORT%d" % index, str(port)) for index, port in enumerate(spec.ports))
        made["PORTS"] = ",".join(map(str, spec.ports))
    if spec.gpus:
        made["BUTLERY_GPUS"] = str(spec.gpus)
    made.update(spec.env)
    made.update((name, value) for name, value in spec.secrets.items() if name != AGENT_SECRET)
    if not any(name in made for name in JVM_VARIABLES):
        made["JAVA_TOOL_OPTIONS"] = (
            "-XX:MaxRAMPercentage=%d.0" % HEAP_PERCENT
            if jvm_sees_limit
            else "-Xmx%dm" % max(2, spec.mem_mib * HEAP_PERCENT // 100)
        )
    return made
