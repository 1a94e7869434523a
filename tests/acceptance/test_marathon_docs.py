"""The commands of docs/marathon.rst run as printed, with nothing refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.marathon_server import MarathonApi, MarathonServer, marathon_server

PAGE = Path(__file__).parents[2] / "docs" / "marathon.rst"
TIMEOUT_S = 200


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server() as server:
        yield server


def commands() -> list[str]:
    blocks = re.findall(r"^\.\. code-block:: bash\n\n((?:   .*\n|\n)+)", PAGE.read_text(), re.MULTILINE)
    return [one for block in blocks for one in re.split(r"\n(?=\S)", textwrap.dedent(block).strip())]


def test_examples_run_as_printed(api: MarathonApi, tmp_path: Path) -> None:
    found = commands()
    assert len(found) > 15
    assert found.pop(0) == "butlery local up --detach"  # that is done, for all tests
    directory = api.server.cluster.directory
    program = tmp_path / "butlery"  # which finds the cluster of the tests, and not this user's own
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m framework.cli "$@" --dir {directory}\n')
    program.chmod(0o755)
    lines = ["set -euo pipefail"]
    for command in found:
        lines += [re.sub(r"^call (?!.*--no-buffer)", "call --fail-with-body ", command)]
        if re.search(r"(PUT|POST|DELETE|--json).*(team|shop)", command):
            lines += ["""while [ "$(call "$url/v2/deployments")" != "[]" ]; do sleep 0.2; done"""]
    script = "\n".join(lines).replace("--max-time 30", "--max-time 1")
    script = script.replace('/v2/events?plan-format=light"', '/v2/events?plan-format=light" || [ $? = 28 ]')
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        ["bash", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    for words in ('"name":"marathon"', "deploymentId", "InsufficientCpus", "event_stream_attached", "/shop/base/store"):
        assert words in done.stdout, done.stdout
    assert api.get("/v2/apps")["apps"] == []
