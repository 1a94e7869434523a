"""Runs inside the emulated machine, with its Python and nothing else: hogs under the executor's cgroup v2 group.

The last word on the console is one line: VERDICT and a JSON object.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PYZ = str(Path(__file__).parent / "butlery-executor.pyz")
GROUPS = Path("/sys/fs/cgroup")
USER = 1500
TIMEOUT_S = 180.0
GONE_S = 5.0
NOT_BUILDS = ("butlery-test.service", "butlery-executor")

MEMORY_HOG = 'python3 -c "kept = []\nwhile True: kept.append(bytearray(1 << 20))"; echo survived; sleep 600'
FORK_BOMB = 'while :; do sh "$0" & sh "$0" & sleep 1; done'
SERVICE = """
import json, select, sys, time
sys.path.insert(0, sys.argv[1])
from agents.executor.services import Service
from agents.service_spec import ServiceSpec
said, poll = [], select.poll()
one = Service(ServiceSpec("t", 500, 64, sys.argv[2]), sys.argv[3], poll, lambda *what: said.append(what), False)
one.start()
while not one.ended:
    for fd, _ in poll.poll(min(1.0, one.patience_s(time.monotonic())) * 1000):
        one.read(fd)
    one.tend(time.monotonic())
print(json.dumps({"state": said[-1][1], "message": said[-1][2], **said[-1][3]}), flush=True)
one.leave(0)
"""
HIDING = "sleep 600 & setsid sleep 600 & (setsid setsid sleep 600 &) ; sleep 1; echo hidden"


def start(script: str, user: int = 0, **wanted: Any) -> subprocess.Popen[str]:
    sandbox = Path(tempfile.mkdtemp(prefix="sandbox-", dir="/var/tmp"))
    sandbox.chmod(0o755)
    spec: dict[str, Any] = {
        "version": 1,
        "task_id": "t",
        "tenant": "acme",
        "job": "hog",
        "command": script,
        "cpu_millis": 500,
        "mem_mib": 64,
        "timeout_s": 120.0,
        "grace_s": 2.0,
        "host": {"isolation": "auto", "pids": 60},
    }
    spec.update(wanted)
    (sandbox / "spec.json").write_text(json.dumps(spec))

    group = delegated() if user else None

    def become() -> None:
        if group:
            (group / "cgroup.procs").write_text("0")
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)

    if user:
        os.chown(sandbox, user, user)
    command = [sys.executable, "-S", "-E", PYZ, "--run", str(sandbox / "spec.json"), "--sandbox", str(sandbox)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=become)


def service(script: str) -> subprocess.Popen[str]:
    """A service; its last line is its final status."""
    sandbox = tempfile.mkdtemp(prefix="sandbox-", dir="/var/tmp")
    command = [sys.executable, "-S", "-E", "-c", SERVICE, PYZ, script, sandbox]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=TIMEOUT_S)
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def delegated() -> Path:
    """A new group that user USER may divide, as a service manager hands them out."""
    top = GROUPS / "delegated"
    top.mkdir(exist_ok=True)
    (GROUPS / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    (top / "cgroup.subtree_control").write_text("+cpu +memory +pids")
    group = Path(tempfile.mkdtemp(prefix="unit-", dir=top))
    os.chown(group, USER, USER)
    for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(group / name, USER, USER)
    return group


def left() -> list[str]:
    """Build processes that live and groups of builds that are there."""
    found = [
        f"{parent}/{name}"
        for parent, below, _ in os.walk(GROUPS)  # groups may go meanwhile, which Path.rglob takes for an error
        for name in below
        if name.startswith("butlery-") and name not in NOT_BUILDS
    ]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().startswith((b"sleep\x00600", b"sh\x00/var/tmp/sandbox")):
                found.append(process.name)
        except OSError:
            continue
    return found


def after_kill_9() -> dict[str, Any]:
    process = start(HIDING + "; sleep 600")
    time.sleep(1)
    deadline = time.monotonic() + TIMEOUT_S
    while len([name for name in left() if name.isdigit()]) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    seen = left()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return {"seen": len(seen), "gone_s": until_gone()}


def until_gone() -> float:
    started = time.monotonic()
    while left() and time.monotonic() < started + 10 * GONE_S:
        time.sleep(0.1)
    return round(time.monotonic() - started, 1) if not left() else -1.0


def main() -> None:
    verdict: dict[str, Any] = {"python": sys.version.split()[0], "kernel": os.uname().release}
    neighbour = start("sleep 20; echo well")
    verdict["memory_hog"] = end(start(MEMORY_HOG))
    verdict["service_memory_hog"] = end(service(f"({MEMORY_HOG}); sleep 600"))
    verdict["cpu_hog"] = end(start("while :; do :; done", timeout_s=10.0))
    verdict["fork_bomb"] = end(start(FORK_BOMB, mem_mib=256))
    verdict["background_child"] = end(start(HIDING))
    verdict["neighbour"] = end(neighbour)
    verdict["delegated_memory_hog"] = end(start(MEMORY_HOG, user=USER))
    verdict["delegated_fork_bomb"] = end(start(FORK_BOMB, user=USER, mem_mib=256))
    verdict["gone_s"] = until_gone()
    verdict["executor_killed"] = after_kill_9()
    verdict["left"] = left()
    print("\nVERDICT " + json.dumps(verdict), flush=True)  # noqa: T201 - the console is how the result gets out


if __name__ == "__main__":
    main()
