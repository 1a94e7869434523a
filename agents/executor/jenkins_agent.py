"""An agent of a tenant's Jenkins in place of a build's command: its jar, its secret, and how its JVM is started."""

from __future__ import annotations

import os
import re

from agents.executor import jar_cache, service_files
from agents.executor.updates import base64
from agents.executor.workspace import JAR
from agents.service_spec import ServiceMount
from agents.spec import AGENT_SECRET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.executor.limits import Verdict
    from agents.spec import AgentSpec, BuildSpec

HEAP_SHARE = 8
LEAST_HEAP_MIB = 32
MOST_HEAP_MIB = 256
"""The agent's JVM gets an eighth of the memory for its heap, between these bounds: it passes on files and output, and
the rest is for what builds start. One of Jenkins 2.463 does well with 64 MiB, and takes 140 MiB in all."""

_COLLECTOR = re.compile(r"-XX:\+Use\w+GC")


def provide(spec: BuildSpec, name: str, sandbox: str, uid: int, gid: int, interrupted: Callable[[], bool]) -> str:
    """Makes the jar in the sandbox and the file of the secret, whose path is returned.

    ``name``: of the build's slot. Raises jar_cache.JarError, service_files.MountError, OSError, wire.Interrupted.
    """
    agent = spec.agent
    assert agent is not None  # noqa: S101 - asked only then
    jar_cache.provide(agent.url, spec.tenant, agent.jar, os.path.join(sandbox, JAR), interrupted)
    content = base64(spec.secrets.get(AGENT_SECRET, "").encode())
    return service_files.write_secrets(name, [ServiceMount("", AGENT_SECRET, content=content)], uid, gid)[AGENT_SECRET]


def command(agent: AgentSpec, jar: str, secret: str, workspace: str, home: str, mem_mib: int) -> list[str]:
    """Of the agent. ``jar``, ``secret``: paths, as the build sees them.

    Without -noReconnect: an agent whose master restarts comes back to it, and the build goes on.
    """
    heap = max(LEAST_HEAP_MIB, min(MOST_HEAP_MIB, mem_mib // HEAP_SHARE))
    options = ["-Xmx%dm" % heap, "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.io.tmpdir=%s/tmp" % home]
    if not any(_COLLECTOR.fullmatch(option) for option in agent.jvm_options):
        options.append("-XX:+UseSerialGC")
    way = ["-webSocket"] if agent.web_socket else ["-tunnel", agent.tunnel] if agent.tunnel else []
    return [
        agent.java,
        *options,
        *agent.jvm_options,
        "-jar",
        jar,
        "-url",
        agent.url,
        "-name",
        agent.node,
        "-secret",
        "@" + secret,
        *way,
        "-workDir",
        workspace,
    ]


def environment(agent: AgentSpec, jar: str, secret: str) -> dict[str, str]:
    """For a template's own command, which starts the agent in its way."""
    made = {
        "JENKINS_URL": agent.url,
        "JENKINS_AGENT_NAME": agent.node,
        "JENKINS_SECRET_FILE": secret,
        "JENKINS_AGENT_JAR": jar,
    }
    if agent.web_socket:
        made["JENKINS_WEB_SOCKET"] = "true"
    elif agent.tunnel:
        made["JENKINS_TUNNEL"] = agent.tunnel
    return made


def ended(exit_code: int | None, number: int | None, last_line: str) -> Verdict:
    """Of an agent that ended by itself, or by a signal ``number`` of somebody else's.

    agent.jar ends with 255 where its master does not let it in, and a JVM that is asked to end with 128 and the signal.
    """
    if exit_code is None or 128 < exit_code <= 128 + 64:
        number = number if exit_code is None else exit_code - 128
        return "infrastructure", "the agent was killed by signal %s" % number
    what = "the agent ended with exit code %d" % exit_code
    if exit_code == 255:
        what += ": its master has no such node and secret, or the node is connected already"
    return "connect", "%s: %s" % (what, last_line) if last_line else what
