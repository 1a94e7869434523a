"""How Mesos is told to launch a placed instance, and what our Mesos executor is told to start."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from msgspec.structs import replace

from agents.service_spec import ServiceCheck, ServiceMount, ServicePort, ServiceSpec
from agents.spec import HostPolicy
from framework.core.pieces import PER_UNIT, Reservation, Volume
from framework.core.resources import ZERO, Resources
from framework.local.marathon.definition.app import (
    App,
    Artifact,
    CommandCheck,
    Container,
    DockerImage,
    DockerParameter,
    ExecutorResources,
    ExternalVolume,
    HealthCheck,
    Network,
    NetworkMode,
    PersistentVolume,
    PortMapping,
    PullConfig,
    SecretRef,
    SecretSource,
)
from framework.local.marathon.definition.app import Volume as AppVolume
from framework.local.marathon.launching import LaunchSettings, operations, task_name
from framework.local.marathon.matching.match import Placed
from framework.mesos_ports import CreateVolumes, LaunchTasks, Operation, Reserve, TaskLaunch, Uri
from tests.unit.marathon.matching.hosts import (
    FRAMEWORK_ID,
    OVERHEAD,
    app,
    as_reserved,
    instance,
    launched,
    offer,
    place,
    resident,
    round_of,
    static,
)

POLICY = HostPolicy(isolation="posix", docker_socket="/run/docker.sock")
SETTINGS = LaunchSettings(
    "exec python3 executor", ("http://x/executor.pyz",), OVERHEAD, POLICY, FRAMEWORK_ID, "butlery"
)
BRIDGE = (Network(mode=NetworkMode.BRIDGE),)


def secret(source: str) -> str:
    return f"secret of {source}"


def told(of: App, *, settings: LaunchSettings = SETTINGS, **offered: Any) -> list[Operation]:
    placed = place(of, offer(role=of.role, **offered))
    return operations(of, launched(instance(of), placed), placed, settings, secret)


def task_of(made: list[Operation]) -> TaskLaunch:
    last = made[-1]
    assert isinstance(last, LaunchTasks)
    (task,) = last.tasks
    return task


def service(of: App, *, settings: LaunchSettings = SETTINGS) -> ServiceSpec:
    return ServiceSpec.from_json(task_of(told(of, settings=settings)).data)


def docker(
    *, mappings: tuple[PortMapping, ...] | None = None, volumes: tuple[AppVolume, ...] = (), **fields: Any
) -> Container:
    values: dict[str, Any] = {"image": "busybox", "force_pull_image": False, "privileged": False, "parameters": ()}
    return Container(type="DOCKER", docker=DockerImage(**{**values, **fields}), volumes=volumes, port_mappings=mappings)


def check(protocol: str, **fields: Any) -> HealthCheck:
    values: dict[str, Any] = {
        "grace_period_seconds": 10,
        "interval_seconds": 5,
        "timeout_seconds": 2,
        "max_consecutive_failures": 4,
        "delay_seconds": 1,
    }
    return HealthCheck(protocol=protocol, **{**values, **fields})


def test_a_task_has_its_mesos_executor_its_ports_and_its_name() -> None:
    of = app("/product/front/web", cpus=0.5, mem=64.0, ports=2, labels={"team": "a"}, task_kill_grace_period_seconds=7)
    task = task_of(told(of))
    assert task.task_id == "product_front_web.instance-a._app.1"
    assert task.name == "web.front.product"
    assert task.resources == Resources(500, 64, 0, 0, 2)
    assert task.ports == (31000, 31001)
    assert task.labels == {"team": "a"}
    assert not task.pieces
    executor = task.executor
    assert (executor.id, executor.name, executor.resources) == (task.task_id, task.name, OVERHEAD)
    assert executor.command == SETTINGS.command
    assert executor.uris == SETTINGS.uris
    assert executor.shutdown_grace_s == 9.0
    assert not executor.environment


def test_artifacts_are_fetched_by_mesos() -> None:
    fetch = (
        Artifact(uri="http://x/a.tgz", extract=True, executable=False, cache=True),
        Artifact(uri="http://x/b", extract=False, executable=True, cache=False, dest_path="bin/b"),
    )
    assert task_of(told(app(fetch=fetch))).executor.uris == (
        "http://x/executor.pyz",
        Uri("http://x/a.tgz", extract=True, executable=False, cache=True),
        Uri("http://x/b", extract=False, executable=True, cache=False, output_file="bin/b"),
    )


def test_tasks_that_pretend_share_their_mesos_executor() -> None:
    settings = replace(SETTINGS, pretend=True)
    one, other = (task_of(told(app(name, fetch=()), settings=settings)) for name in ("/one", "/other"))
    assert one.executor == other.executor
    assert one.executor.id.startswith("butlery-shared~")
    assert ServiceSpec.from_json(one.data).pretend
    assert task_of(told(app(role="dev"), settings=settings)).executor.id != one.executor.id


def test_where_something_is_reserved_pieces_are_told_and_nothing_is_drawn() -> None:
    task = task_of(told(app(role="dev"), cpus=1.0, reserved=static("dev", cpus=0.5)))
    assert task.resources == ZERO
    assert [(one.name, one.thousandths) for one in task.pieces] == [("cpus", 500), ("cpus", 500), ("mem", 128_000)]
    assert task.executor.resources == ZERO
    assert [(one.name, one.thousandths) for one in task.executor.pieces] == [("cpus", 50), ("mem", 32_000)]


def test_a_resident_instance_has_its_reservation_and_volumes_made_in_the_same_call() -> None:
    made = told(resident(PersistentVolume(size=100), ports=1))
    reserve, create, launch = made
    assert isinstance(reserve, Reserve)
    assert isinstance(create, CreateVolumes)
    assert isinstance(launch, LaunchTasks)
    labels = (("marathon_framework_id", "framework-1"), ("marathon_task_id", "folder_db.instance-a"))
    own = (Reservation("dev", True, "butlery", labels),)
    assert all(piece.reservations == own for piece in reserve.pieces)
    names = [(piece.name, piece.thousandths // PER_UNIT) for piece in reserve.pieces]
    assert names == [("cpus", 1), ("mem", 128), ("ports", 0), ("cpus", 0), ("mem", 32), ("disk", 100)]
    (volume,) = create.pieces
    assert volume.volume == Volume("folder_db#data0#00000000-0000-4000-8000-000000000001", "data0", "butlery")
    (task,) = launch.tasks
    assert task.pieces == (*reserve.pieces[:3], volume)
    assert task.executor.pieces == reserve.pieces[3:5]
    assert ServiceSpec.from_json(task.data).mounts == [ServiceMount("data0", "data0")]


def test_a_resident_instance_that_comes_back_is_given_what_it_had() -> None:
    of = resident(PersistentVolume(size=100))
    first = place(of, offer(role="dev"))
    there = launched(instance(of), first)
    pieces, volumes = as_reserved(first, there)
    found = round_of(offer(role="dev", reserved=pieces, others=volumes)).place(of, there, ())
    assert isinstance(found, Placed)
    (launch,) = operations(of, launched(there, found), found, SETTINGS, secret)
    task = task_of([launch])
    assert task.task_id.endswith("._app.2")
    assert task.pieces == (*found.pieces, *volumes)


def test_volumes_become_mounts() -> None:
    volumes = (
        AppVolume(container_path="/etc/host", mode="RO", host_path="/etc"),
        AppVolume(
            container_path="/data",
            mode="RW",
            external=ExternalVolume(
                name="shared", provider="dvdi", size=5, options={"dvdi/driver": "rexray", "dvdi/iops": "10"}
            ),
        ),
        AppVolume(container_path="/run/token", secret="token"),
        AppVolume(container_path="/var/lib/db", mode="RO", persistent=PersistentVolume(size=1)),
    )
    of = app(role="dev", container=docker(volumes=volumes), secrets={"token": SecretSource(source="/vault/token")})
    content = base64.b64encode(b"secret of /vault/token").decode()
    assert service(of).mounts == [
        ServiceMount("/etc", "/etc/host", read_only=True),
        ServiceMount("shared", "/data", driver="rexray", driver_options={"iops": "10", "size": "5"}),
        ServiceMount("", "/run/token", read_only=True, content=content),
        ServiceMount("volume-00000000-0000-4000-8000-000000000001", "/var/lib/db", read_only=True),
    ]


def test_what_is_started_is_told_in_full() -> None:
    container = docker(
        force_pull_image=True,
        privileged=True,
        parameters=(DockerParameter(key="dns", value="10.0.0.1"),),
        pull_config=PullConfig(secret="pull"),
    )
    of = app(
        cmd=None,
        args=("serve", "-v"),
        container=container,
        cpus=0.25,
        mem=64.5,
        disk=10.0,
        user="nobody",
        tty=True,
        secrets={"pull": SecretSource(source="registry")},
        resource_limits={"cpus": "unlimited", "mem": 100.0},
    )
    spec = service(of)
    assert (spec.shell, spec.argv, spec.image, spec.user, spec.tty) == (
        None,
        ["serve", "-v"],
        "busybox",
        "nobody",
        True,
    )
    assert (spec.cpu_millis, spec.mem_mib, spec.disk_mib) == (250, 65, 10)
    assert (spec.cpu_limit_millis, spec.mem_limit_mib) == (-1, 100)
    assert (spec.force_pull, spec.privileged, spec.registry_config) == (True, True, "secret of registry")
    label = ["label", "MESOS_TASK_ID=web.instance-a._app.1"]
    assert spec.parameters == [["dns", "10.0.0.1"], label]
    assert (spec.grace_s, spec.network, spec.ports, spec.pretend) == (3.0, "host", [], False)
    assert (spec.host.isolation, spec.host.docker_socket) == ("posix", "/run/docker.sock")
    assert service(app()).shell == "sleep 1000"
    assert service(app()).cpu_limit_millis is None


@pytest.mark.parametrize(
    ("mem", "limits", "limit_mib"),
    [
        (16.0, None, 32),
        (16.0, {"mem": 20.0}, 32),
        (16.0, {"mem": 40.0}, 40),
        (16.0, {"mem": "unlimited"}, -1),
        (32.0, None, None),
        (0.0, None, None),
    ],
)
def test_no_memory_limit_is_below_the_least_of_mesos(
    mem: float, limits: dict[str, object] | None, limit_mib: int | None
) -> None:
    assert service(app(mem=mem, resource_limits=limits)).mem_limit_mib == limit_mib


def test_an_executor_of_the_apps_own_size() -> None:
    of = app(executor_resources=ExecutorResources(cpus=0.2, mem=64, disk=1))
    assert task_of(told(of)).executor.resources == Resources(200, 64, 1)


def test_networks_and_the_ports_of_containers() -> None:
    mappings = (
        PortMapping(container_port=80, host_port=0, service_port=10_000, protocol="udp,tcp"),
        PortMapping(container_port=0, host_port=0, service_port=10_001),
        PortMapping(container_port=9000, service_port=10_002),
    )
    spec = service(app(networks=BRIDGE, container=docker(mappings=mappings)))
    assert spec.network == "bridge"
    assert spec.ports == [ServicePort(80, 31000, "udp"), ServicePort(80, 31000), ServicePort(31001, 31001)]
    network = (Network(mode=NetworkMode.CONTAINER, name="backend"),)
    assert service(app(networks=network, container=docker(mappings=()))).network == "backend"


def test_checks_of_the_mesos_executor_know_where_the_app_listens() -> None:
    checks = (
        check("MESOS_HTTP", path="/up", port_index=1),
        check("MESOS_TCP", port=99),
        check("COMMAND", command=CommandCheck(value="test -f x")),
        check("HTTP", path="/", port_index=0),
    )
    times: dict[str, Any] = {"grace_s": 10, "interval_s": 5, "timeout_s": 2, "delay_s": 1, "max_failures": 4}
    on_host = service(app(ports=2, health_checks=checks)).health
    assert on_host == [
        ServiceCheck("http", 31001, "/up", **times),
        ServiceCheck("tcp", 99, **times),
        ServiceCheck("command", None, command=["test -f x"], **times),
    ]
    mappings = (
        PortMapping(container_port=80, host_port=0, service_port=10_000),
        PortMapping(container_port=0, host_port=0, service_port=10_001),
    )
    of = app(networks=BRIDGE, container=docker(mappings=mappings), health_checks=(
        check("MESOS_HTTPS", port_index=0, ip_protocol="IPv6"), check("MESOS_TCP", port_index=1),
    ))  # fmt: skip
    assert service(of).health == [
        ServiceCheck("https", 80, "/", ipv6=True, **times),
        ServiceCheck("tcp", 31001, **times),
    ]


def test_a_check_that_is_only_told() -> None:
    http = {"http": {"portIndex": 0, "path": "/", "scheme": "HTTPS"}, "intervalSeconds": 3, "timeoutSeconds": 2}
    assert service(app(ports=1, check={**http, "delaySeconds": 1})).check == ServiceCheck(
        "https", 31000, interval_s=3, timeout_s=2, delay_s=1, max_failures=0
    )
    shell = service(app(check={"exec": {"command": {"shell": "true"}}})).check
    assert shell == ServiceCheck("command", command=["true"], max_failures=0)
    argv = service(app(check={"exec": {"command": {"argv": ["a", "b"]}}})).check
    assert argv == ServiceCheck("command", command=["a", "b"], max_failures=0)
    assert service(app(check={"tcp": {"port": 7}})).check == ServiceCheck("tcp", 7, max_failures=0)


def test_names_are_for_service_discovery() -> None:
    assert task_name("/a") == "a"
    assert task_name("/a/b/c") == "c.b.a"


def test_nothing_secret_is_where_mesos_shows_it() -> None:
    of = app(env={"TOKEN": SecretRef(secret="token")}, secrets={"token": SecretSource(source="vault")})
    task = task_of(told(of))
    assert b"secret of vault" in task.data
    assert "secret of vault" not in repr((task.labels, task.name, task.executor))
