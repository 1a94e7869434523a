"""Forges' APIs in a thread of their own, and repositories that builds check out, for tests of whole ways."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from framework.serverless_settings import Kind
from tests.fakes.forge_messages import FORGES
from tests.fakes.forges import FakeForge

PROJECT = Path(__file__).parents[2]
RUNNER = ("tests/fakes/jenkinsfile_runner.py", "tests/fakes/jenkins/pipeline.py")
GIT = ("git", "-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "init.defaultBranch=main")


def runner(folder: Path) -> str:
    """``serverless.command`` for what stands in for jenkinsfile-runner, in ``folder``, where builds' users find it."""
    for name in RUNNER:
        copied = folder / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, copied)
    return f"exec env PYTHONPATH={shlex.quote(str(folder))} /usr/bin/python3 -m tests.fakes.jenkinsfile_runner"


@contextmanager
def forges() -> Iterator[dict[Kind, FakeForge]]:
    """One of each kind, on free ports of 127.0.0.1."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="forges")
    thread.start()
    made = {kind: FakeForge(kind) for kind in FORGES}
    try:
        for forge in made.values():
            asyncio.run_coroutine_threadsafe(forge.start(), loop).result(30)
        yield made
    finally:
        for forge in made.values():
            asyncio.run_coroutine_threadsafe(forge.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def commit(repository: Path, files: Mapping[str, str]) -> str:
    """A commit of these files on the branch main of a repository, which is made where there is none; its hash."""
    if not repository.exists():
        repository.mkdir(parents=True)
        subprocess.run([*GIT, "init", "--quiet"], cwd=repository, check=True, timeout=30)
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    subprocess.run([*GIT, "add", "--all"], cwd=repository, check=True, timeout=30)
    subprocess.run([*GIT, "commit", "--quiet", "--message", "A change"], cwd=repository, check=True, timeout=30)
    found = subprocess.run(
        [*GIT, "rev-parse", "HEAD"], cwd=repository, check=True, timeout=30, capture_output=True, text=True
    )
    return found.stdout.strip()
