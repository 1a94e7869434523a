"""The two documents that pass between the scheduler and the executor.

``BuildSpec`` travels down in ``TaskInfo.data`` (which Mesos' state pages do not show, so secrets may be in it) and
``BuildResult`` travels up in ``TaskStatus.data`` of the one final status. Both are JSON objects with a ``version``.
What the two must agree on beyond that is in ``agents.shared``.

To tasks that run go messages of Mesos, which its state pages do not show either: ``{"tell": {"task_id": ..., "text":
...}}`` puts a line into a build's log, and ``{"assign": {"task_id": ..., "spec": {...}}}`` gives a spare its agent
(``assignment``).
"""

import json
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from typing import Any, Dict, List, Optional

VERSION = 1

ISOLATIONS = ("auto", "docker", "mesos", "cgroup2", "watchdog")
"""What holds a build to its limits: see ``agents.executor.isolation`` for what ``auto`` takes and why."""

RESULT_CLASSES = (
    "passed",  # exit code 0
    "failed",  # any other exit code, or a signal nobody of ours sent
    "oom",  # over its memory
    "timeout",  # over its time
    "pids",  # at its limit of processes
    "log_limit",  # wrote more output than it may
    "disk",  # over its disk
    "cancelled",  # killed because the scheduler asked
    "checkout",  # the git URL or ref could not be checked out
    "image",  # the image could not be had
    "connect",  # the agent did not come to its master, or could not come back to it
    "infrastructure",  # none of the build's doing: the only class that is tried again on another host
)


@dataclass
class GitSource:
    """What to check out into the workspace before the command runs."""

    url: str
    ref: Optional[str] = None


@dataclass
class HostPolicy:
    """How the operator wants builds held on hosts; the same for every build of a scheduler."""

    isolation: str = "auto"
    uids: Optional[str] = "200000-265535"  # range of user ids, one a build, taken when the executor runs as root
    docker_socket: str = "/var/run/docker.sock"
    docker_network: str = "host"
    pids: int = 512  # processes and threads a build may have
    log_mib: int = 64  # stdout and stderr of one build together


@dataclass
class VolumeSpec:
    """A directory of the host, or a volume of its Docker engine by name, that a container sees at ``path``.

    A relative ``path`` is below the workspace. Where no container holds the build, ``path`` is a link below the
    workspace, also where it is absolute, and to a directory of the host that may be written to.
    """

    source: str
    path: str
    read_only: bool = False


@dataclass
class ReadyCheck:
    """When a container counts as started; exactly one of ``command`` (exit code 0) and ``port`` (takes connections)."""

    command: Optional[str] = None  # run in the container by its /bin/sh
    port: Optional[int] = None  # of 127.0.0.1 as the container has it
    timeout_s: float = 60.0  # then the agent ends, with this container's name and last line as the reason


@dataclass
class AgentSpec:
    """An agent of a Jenkins master: the executor fetches the master's agent.jar, or has it from an earlier one, and

    starts it in place of a command. Its secret is in ``BuildSpec.secrets``, as ``AGENT_SECRET``. A command is told of
    it by the environment: JENKINS_URL, JENKINS_AGENT_NAME, JENKINS_SECRET_FILE, JENKINS_AGENT_JAR, and
    JENKINS_WEB_SOCKET=true or JENKINS_TUNNEL where those are wanted. It starts in the workspace, to which the remote
    root of its node is relative.
    """

    url: str = ""  # of the master
    node: str = ""
    jar: str = ""  # tells versions of the master's agent.jar apart; with the tenant, the name in the host's cache
    web_socket: bool = True
    tunnel: Optional[str] = None  # ``HOST:PORT``, for TCP
    java: str = "java"  # program, looked up in the container's PATH
    jvm_options: List[str] = field(default_factory=list)


AGENT_SECRET = "JENKINS_SECRET"  # noqa: S105 - its name; the secret is no part of a build's environment


@dataclass
class ContainerSpec:
    """One more container of an agent, beside the one that builds: it starts first and is ended when the build is over.

    A task of its own, launched in one group with the build's: its BuildSpec names it in ``container``.
    """

    name: str
    command: str
    cpu_millis: int
    mem_mib: int
    disk_mib: int = 0
    gpus: int = 0
    image: Optional[str] = None
    env: Dict[str, str] = field(default_factory=dict)
    volumes: List[VolumeSpec] = field(default_factory=list)
    ready: Optional[ReadyCheck] = None  # None: once it has started


@dataclass
class BuildSpec:
    """One build, as the executor needs it. ``command`` is a script for ``/bin/sh`` or, with ``#!``, its interpreter.

    An empty one with an image means what that starts.
    """

    task_id: str
    tenant: str
    job: str
    command: str
    cpu_millis: int
    mem_mib: int
    disk_mib: int = 0  # 0: not limited
    image: Optional[str] = None
    git: Optional[GitSource] = None
    env: Dict[str, str] = field(default_factory=dict)
    secrets: Dict[str, str] = field(default_factory=dict)  # environment of the build; masked in its output
    timeout_s: float = 3600.0
    grace_s: float = 10.0  # between TERM and KILL
    artifacts: List[str] = field(default_factory=list)  # globs below the workspace, copied to the sandbox's artifacts/
    gpus: int = 0
    ports: List[int] = field(default_factory=list)  # of the host, the build's own while it runs; told it as PORT0, ...
    containers: List[ContainerSpec] = field(default_factory=list)  # the agent's others, each a task beside this one
    container: str = ""  # its name, where this is one more container of an agent, beside the one that builds
    files: Dict[str, str] = field(default_factory=dict)  # put into the workspace before the command runs, by path
    volumes: List[VolumeSpec] = field(default_factory=list)
    ready: Optional[ReadyCheck] = None  # of one more container of an agent
    user: Optional[str] = None  # of a container: name or ``UID[:GID]``, not root; None: the build's own user id
    network: Optional[str] = None  # of a container; None: ``host.docker_network``
    agent: Optional[AgentSpec] = None  # in place of ``command``, where that is empty
    standby: bool = False  # a spare: is made ready, and waits for the rest of it (``agents.executor.standby``)
    keep_failed_h: float = 0.0  # the workspace of an agent that failed, among the build's files; 0: not at all
    pretend_until: Optional[str] = None  # starts nothing, and passes once this file is there: for load tests
    host: HostPolicy = field(default_factory=HostPolicy)
    version: int = VERSION

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(data: bytes) -> "BuildSpec":
        """Raises ValueError where ``data`` is not a spec of this version."""
        raw = _object(data, BuildSpec)
        git = raw.get("git")
        raw["git"] = GitSource(**_known(git, GitSource)) if git else None
        raw["containers"] = [_container(one) for one in raw.get("containers") or []]
        raw["volumes"] = [VolumeSpec(**_known(one, VolumeSpec)) for one in raw.get("volumes") or []]
        agent = raw.get("agent")
        raw["agent"] = AgentSpec(**_known(agent, AgentSpec)) if agent else None
        raw["ready"] = _ready(raw.get("ready"))
        raw["host"] = HostPolicy(**_known(raw.get("host") or {}, HostPolicy))
        return BuildSpec(**raw)


ASSIGNED = (
    "tenant",
    "job",
    "agent",
    "env",
    "secrets",
    "files",
    "timeout_s",
    "grace_s",
    "artifacts",
    "keep_failed_h",
)
"""Fields of a BuildSpec that a spare is given; the others, such as its limits and image, stay as it was made."""


def assignment(task_id: str, spec: BuildSpec) -> bytes:
    """The message that gives the spare ``task_id`` what ``spec`` says; a repeat changes nothing."""
    given = {name: value for name, value in asdict(spec).items() if name in ASSIGNED}
    return json.dumps({"assign": {"task_id": task_id, "spec": given}}).encode()


def assigned(spare: BuildSpec, given: Dict[str, Any]) -> BuildSpec:
    """What a spare has become with what a message gave it. Raises ValueError."""
    raw = asdict(spare)
    raw.update((name, value) for name, value in given.items() if name in ASSIGNED)
    raw["standby"] = False
    return BuildSpec.from_json(json.dumps(raw).encode())


@dataclass
class BuildResult:
    """How a build ended. Memory in MiB, times in seconds; None where it could not be measured."""

    result_class: str
    message: str
    exit_code: Optional[int] = None
    signal: Optional[int] = None
    wall_s: Optional[float] = None
    cpu_s: Optional[float] = None
    peak_mem_mib: Optional[float] = None
    limit_mem_mib: Optional[int] = None
    peak_disk_mib: Optional[float] = None  # of its workspace and temporary files, as often as they were looked at
    isolation: Optional[str] = None  # the mode that held it, resolved
    leftover_processes: int = 0  # still alive when the build's own process had ended; killed
    log_bytes: int = 0
    artifacts: List[str] = field(default_factory=list)
    version: int = VERSION

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_json(data: bytes) -> "BuildResult":
        """Raises ValueError where ``data`` is not a result of this version."""
        return BuildResult(**_object(data, BuildResult))


def _container(raw: Dict[str, Any]) -> ContainerSpec:
    known = _known(raw, ContainerSpec)
    known["volumes"] = [VolumeSpec(**_known(one, VolumeSpec)) for one in raw.get("volumes") or []]
    known["ready"] = _ready(raw.get("ready"))
    return ContainerSpec(**known)


def _ready(raw: Optional[Dict[str, Any]]) -> Optional[ReadyCheck]:
    return ReadyCheck(**_known(raw, ReadyCheck)) if raw else None


def _object(data: bytes, kind: Any) -> Dict[str, Any]:
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise ValueError("%s: not JSON: %s" % (kind.__name__, error)) from error
    if not isinstance(raw, dict) or raw.get("version") != VERSION:
        raise ValueError("%s: not a JSON object of version %d" % (kind.__name__, VERSION))
    known = _known(raw, kind)
    missing = [f.name for f in fields(kind) if f.name not in known and _required(f)]
    if missing:
        raise ValueError("%s: missing %s" % (kind.__name__, ", ".join(missing)))
    return known


def _known(raw: Dict[str, Any], kind: Any) -> Dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {key: value for key, value in raw.items() if key in names}


def _required(spec: "Field[Any]") -> bool:
    return spec.default is MISSING and spec.default_factory is MISSING
