"""What holds for every test."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from agents.executor import cgroup_v1

pytest_plugins = ["tests.fakes.elasticsearch_server", "tests.fakes.zookeeper_server"]

# Machines differ in speed and are shared, so how long an example takes says nothing about the code.
settings.register_profile("butlery", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("butlery")


# What a shell runs in its background ignores Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The scheduler's own."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A kernel runs cgroup v1 or v2, so what needs the one has nothing to be tested on where there is the other."""
    if "memory" not in cgroup_v1.own_groups():
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("cgroup_v1")])
        items[:] = [item for item in items if not item.get_closest_marker("cgroup_v1")]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if os.geteuid() != 0 and item.get_closest_marker("root"):
        pytest.fail("has to be root: .ci/as-root .venv/bin/pytest -m root ...; others: -m 'not root'", pytrace=False)
