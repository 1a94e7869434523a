"""Apps as the real Marathon would tell of them, by its own conversions (src/main/scala/mesosphere/marathon/raml): what

the embedded server does not do is done here by hand, so that neither form of an answer makes a plan see a change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from masters.app import app_of
from masters.plan import plan, share_of
from masters.records import Observed, ObservedMaster
from tests.fakes.plans import CONTEXT, desired, served, spec
from tests.unit.masters.plan.test_app import KINDS

Told = dict[str, Any]


def no_dest_path(app: Told) -> None:
    """Marathon 1.5: artifactWrites."""
    for one in app.get("fetch", ()):
        one.pop("destPath", None)


def defaults_of_mesos_docker(app: Told) -> None:
    """mesosDockerContainerWrites tells of the image alone; the rest is what DockerContainer's fields begin with."""
    if app["container"]["type"] == "MESOS" and "docker" in app["container"]:
        app["container"]["docker"] |= {"parameters": [], "privileged": False, "forcePullImage": False}


def empty_left_out(app: Told) -> None:
    """Of fields with pragma.omitEmpty."""
    for key in [key for key, value in app.items() if value in ({}, [])]:
        del app[key]
    docker = app["container"].get("docker", {})
    if docker.get("parameters") == []:
        del docker["parameters"]


def all_filled_in(app: Told) -> None:
    """What it has besides, of whose kind the plan knows nothing."""
    app |= {
        "acceptedResourceRoles": ["*"],
        "args": [],
        "backoffFactor": 1.15,
        "backoffSeconds": 1,
        "dependencies": [],
        "executor": "",
        "executorResources": {"cpus": 0.1, "mem": 32},
        "gpus": 0,
        "ipAddress": None,
        "killSelection": "YOUNGEST_FIRST",
        "maxLaunchDelaySeconds": 300,
        "readinessChecks": [],
        "tty": False,
    }
    for check in app["healthChecks"]:
        check |= {"ipProtocol": "IPv4", "ignoreHttp1xx": False}
    for volume in app["container"]["volumes"]:
        if "persistent" in volume:
            app["residency"] = {
                "relaunchEscalationTimeoutSeconds": 3600,
                "taskLostBehavior": "WAIT_FOREVER",
            }  # before 1.9
            volume["persistent"] |= {"constraints": [], "maxSize": None}
        if "external" in volume:
            volume["external"] |= {"shared": False}
    app["container"]["portMappings"] = []
    for port in app["portDefinitions"]:
        port["labels"] = {}


def floats(app: Told) -> None:
    app |= {key: float(app[key]) for key in ("cpus", "mem", "disk")}
    app["upgradeStrategy"] = {key: float(value) for key, value in app["upgradeStrategy"].items()}


def another_order(app: Told) -> None:
    """Constraints are a set."""
    app["constraints"] = app.get("constraints", [])[::-1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "form", [no_dest_path, defaults_of_mesos_docker, empty_left_out, all_filled_in, floats, another_order]
)
def test_what_runs_as_it_is_to_run_is_left_alone(kind: str, form: Callable[[Told], None]) -> None:
    tenant = spec(**KINDS[kind])
    master = served(app_of(tenant, CONTEXT))
    told = dict(master.document)
    form(told)
    made = plan([desired(tenant)], _observed(replace(master, document=told)), CONTEXT)
    assert (made.changes, made.faults) == ((), ())


def _observed(master: ObservedMaster) -> Observed:
    return Observed({master.tenant: master}, {master.tenant: share_of(spec(master.tenant))})
