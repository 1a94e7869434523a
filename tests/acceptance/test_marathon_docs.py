"""The commands of docs/marathon.rst run as printed, with nothing refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.manual import blocks, run, write_butlery
from tests.acceptance.marathon_server import MarathonApi, MarathonServer, marathon_server

TIMEOUT_S = 200


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server() as server:
        yield server


def commands() -> list[str]:
    return [one for block in blocks("marathon.rst") for one in re.split(r"\n(?=\S)", block.strip())]


def test_examples_run_as_printed(api: MarathonApi, tmp_path: Path) -> None:
    found = commands()
    assert len(found) > 15
    assert found.pop(0) == "butlery local up --detach"  # that is done, for all tests
    # Which finds the cluster of the tests, and not this user's own.
    write_butlery(tmp_path, f"--dir {api.server.cluster.directory}")
    lines = []
    for command in found:
        lines += [re.sub(r"^call (?!.*--no-buffer)", "call --fail-with-body ", command)]
        if re.search(r"(PUT|POST|DELETE|--json).*(team|shop)", command):
            lines += ["""while [ "$(call "$url/v2/deployments")" != "[]" ]; do sleep 0.2; done"""]
    script = "\n".join(lines).replace("--max-time 30", "--max-time 1")
    script = script.replace('/v2/events?plan-format=light"', '/v2/events?plan-format=light" || [ $? = 28 ]')
    said = run(script, tmp_path, tmp_path, TIMEOUT_S, no_proxy="127.0.0.1")
    for words in ('"name":"marathon"', "deploymentId", "InsufficientCpus", "event_stream_attached", "/shop/base/store"):
        assert words in said, said
    assert api.get("/v2/apps")["apps"] == []
