from __future__ import annotations

import pytest

from benchmarks.marathon.run import _shape
from framework.local.spec import HostShape, LocalSettings


@pytest.mark.parametrize("hosts", [1, 7, 40, 317])
@pytest.mark.parametrize("tasks", [10, 3200, 12_000])
def test_whatever_the_hosts_all_tasks_find_room(hosts: int, tasks: int) -> None:
    settings = LocalSettings(hosts=[HostShape(**_shape(hosts, tasks))])
    (shape,) = settings.hosts
    assert shape.count == hosts
    assert hosts * (shape.ports or 0) >= 1.5 * tasks
    assert hosts * shape.cpus >= 0.08 * tasks
    assert hosts * shape.mem_mib >= 80 * tasks
