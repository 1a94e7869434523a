"""What the core's behaviour is set by."""

from __future__ import annotations

import msgspec

from framework.local.marathon.groups.settling import FIRST_SERVICE_PORT, LAST_SERVICE_PORT


class Config(msgspec.Struct, frozen=True):
    """Times in seconds. Those named after an option of Marathon have its default."""

    max_running_deployments: int = 100
    service_ports: tuple[int, int] = (FIRST_SERVICE_PORT, LAST_SERVICE_PORT)  # first and last
    hold_s: float = 1.0  # an unused offer is kept so long for apps to come; builds on the same hosts wait meanwhile
    refuse_s: float = 5.0  # and is then not wanted again for so long, unless something new is to be launched
    revive_interval_s: float = 1.0  # least time between two asks for offers
    launch_timeout_s: float = 300.0  # --task_launch_timeout and --task_launch_confirm_timeout: until a task runs
    reconcile_interval_s: float = 600.0  # --reconciliation_interval
    reconcile_retry_s: float = 2.0  # then Mesos is asked again of tasks it was silent about, later each time
    scale_interval_s: float = 300.0  # --scale_apps_interval: all apps are looked at though nothing was told of them
    viable_s: float = 60.0  # a task that ran so long ends its app's back-off
    kill_retry_s: float = 10.0  # --kill_retry_timeout
    kill_retry_max_s: float = 300.0
    max_launches: int = 200  # a turn, so that frames stay small
    garbage_s: float = 3600.0  # offers of a host are waited for so long, to free what was reserved there
    rest_s: float = 120.0  # and, once its volumes are destroyed, for what its Mesos executor still had of it
