"""``python -m tests.cgroup2``: boots the machine, runs the hogs, prints a JSON object last, exits 0 if all is well."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from agents.pack import build_pyz
from tests.cgroup2.image import Image, ImageError, ensure

MACHINE_TIMEOUT_S = 600
MEMORY_MIB = 1024
EXPECTED = {
    "memory_hog": "oom",
    "cpu_hog": "timeout",
    "fork_bomb": "pids",
    "background_child": "passed",
    "neighbour": "passed",
    "delegated_memory_hog": "oom",
    "delegated_fork_bomb": "pids",
}


def main() -> int:
    try:
        image = ensure()
    except ImageError as error:
        print(f"cgroup2: {error}", file=sys.stderr)  # noqa: T201
        return 2
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="butlery-cgroup2-") as directory:
        console = _boot(image, _disk(Path(directory)))
    words = [line for line in console.splitlines() if line.startswith("VERDICT ")]
    if not words:
        print(f"cgroup2: the machine said nothing; its last words:\n{console[-3000:]}", file=sys.stderr)  # noqa: T201
        return 1
    verdict: dict[str, Any] = json.loads(words[-1].removeprefix("VERDICT "))
    faults = _faults(verdict)
    for fault in faults:
        print(f"cgroup2: {fault}", file=sys.stderr)  # noqa: T201
    figures = {name: verdict[name]["result_class"] for name in EXPECTED}
    figures |= {"isolation": verdict["memory_hog"]["isolation"], "kernel": verdict["kernel"], "as_expected": not faults}
    print(json.dumps({**figures, "seconds": round(time.monotonic() - started)}))  # noqa: T201
    return 1 if faults else 0


def _disk(directory: Path) -> Path:
    """The second disk: a tar archive of the executor and the program that tries it."""
    path = directory / "disk.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(build_pyz(directory), "butlery-executor.pyz")
        tar.add(Path(__file__).with_name("guest.py"), "guest.py")
    return path


def _boot(image: Image, disk: Path) -> str:
    """What the machine wrote to its console until it was switched off."""
    command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
    command += ["-m", str(MEMORY_MIB), "-nographic", "-no-reboot", "-nic", "none"]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    command += ["-append", "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 panic=-1"]
    command += ["-drive", f"file={image.root},format=raw,if=virtio,snapshot=on"]
    command += ["-drive", f"file={disk},format=raw,if=virtio,readonly=on"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=MACHINE_TIMEOUT_S, check=False
        )
        output = done.stdout + done.stderr
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"") + b"\n(switched off: out of time)"
    return output.decode(errors="replace").replace("\r", "")


def _faults(verdict: dict[str, Any]) -> list[str]:
    found = [
        f"{name}: {verdict[name]['result_class']} and not {wanted}: {verdict[name]}"
        for name, wanted in EXPECTED.items()
        if verdict[name]["result_class"] != wanted
    ]
    found += [f"{name}: held by {verdict[name]}" for name in EXPECTED if verdict[name]["isolation"] != "cgroup2"]
    if "limit 64 MiB" not in verdict["memory_hog"]["message"]:
        found.append(f"memory_hog: {verdict['memory_hog']['message']}")
    hog = verdict["service_memory_hog"]
    if (hog["state"], hog["message"]) != ("TASK_FAILED", "out of memory: peak 64 MiB, limit 64 MiB"):
        found.append(f"service_memory_hog: {hog}")
    if verdict["background_child"]["leftover_processes"] != 3:
        found.append(f"background_child: {verdict['background_child']}")
    if not 0 <= verdict["gone_s"] <= 5 or not 0 <= verdict["executor_killed"]["gone_s"] <= 5 or verdict["left"]:
        found.append(f"left behind: {verdict['left']}, {verdict['gone_s']} s, {verdict['executor_killed']}")
    if verdict["executor_killed"]["seen"] < 4:
        found.append(f"the build to be killed did not run: {verdict['executor_killed']}")
    return found


if __name__ == "__main__":
    sys.exit(main())
