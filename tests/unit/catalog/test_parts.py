"""What a template makes of a request: nothing of it is lost on the way to the core and to the executor."""

from __future__ import annotations

from agents.shared import RUNNER_MEM_MIB
from agents.spec import AgentSpec, BuildSpec, ReadyCheck, VolumeSpec
from framework.catalog.matching import Chosen
from framework.catalog.parts import agent_parts
from framework.core.ids import TenantName
from framework.core.jenkins import JenkinsSide
from framework.core.pieces import ReservedUse
from framework.core.resources import GROUP_DISK_MIB, Resources
from framework.core.templates import Lifetime, Operator
from tests.fakes.templates import catalog_of

CATALOG = catalog_of(
    maven={
        "image": "maven:3.9",
        "cpus": 2,
        "mem_mib": 2048,
        "disk_mib": 100,
        "gpus": 1,
        "env": {"MAVEN_OPTS": "-Xmx1g"},
        "volumes": [{"path": "/root/.m2", "source": "m2", "read_only": True}],
        "user": "1000:1000",
        "network": "builds",
        "java": "/opt/java/bin/java",
        "jvm_options": ["-Xmx256m"],
        "attributes": {"os": "linux"},
        "constraints": [["rack", "LIKE", "r1"]],
        "reserved": "only",
        "preemptible": True,
        "timeout_s": 600,
        "connect_timeout_s": 60,
        "lifetime": "pooled",
        "idle_min": 2,
        "web_socket": False,
        "tunnel": "proxy:50000",
        "retries": 4,
        "resubmit": False,
        "keep_failed_h": 48,
        "overrides": {"cpus_max": 4},
        "containers": [
            {
                "name": "db",
                "image": "postgres:16",
                "cpus": 0.5,
                "mem_mib": 256,
                "env": {"PGDATA": "/data"},
                "volumes": [{"path": "/data", "source": "/srv/pg"}],
                "ready": {"port": 5432, "timeout_s": 30},
            }
        ],
    },
    plain={"default": True, "mesos_executor": "shared", "command": "start-agent"},
)


def chosen(label: str | None) -> Chosen:
    found = CATALOG.match(label, TenantName("red"))
    assert isinstance(found, Chosen)
    return found


def test_all_of_a_template_reaches_the_core_the_executor_and_the_node() -> None:
    label = "maven && cpus=4"
    parts = agent_parts(chosen(label), TenantName("red"), label)
    template = parts.template
    assert template.resources == Resources(4500, 2048 + 256 + RUNNER_MEM_MIB, 100 + GROUP_DISK_MIB, 1)
    assert (template.image, template.attributes) == ("maven:3.9", {"os": "linux"})
    assert [(one.field, one.operator, one.value) for one in template.constraints] == [("rack", Operator.LIKE, "r1")]
    assert (template.reserved, template.preemptible, template.shared) == (ReservedUse.ONLY, True, False)
    assert (template.timeout_s, template.connect_timeout_s) == (600, 60)
    assert (template.lifetime, template.idle_s) == (Lifetime.POOLED, 120)
    assert (template.name, template.version) == ("maven", chosen(label).version)
    assert [(one.name, one.resources.mem_mib) for one in template.containers] == [("db", 256)]

    spec = parts.spec
    assert (spec.command, spec.cpu_millis, spec.mem_mib, spec.disk_mib, spec.gpus) == ("", 4000, 2048, 100, 1)
    assert (spec.env, spec.user, spec.network) == ({"MAVEN_OPTS": "-Xmx1g"}, "1000:1000", "builds")
    assert spec.volumes == [VolumeSpec("m2", "/root/.m2", read_only=True)]
    assert (spec.keep_failed_h, spec.job, spec.tenant) == (48, "", "red")
    assert spec.agent == AgentSpec(
        web_socket=False, tunnel="proxy:50000", java="/opt/java/bin/java", jvm_options=["-Xmx256m"]
    )
    (container,) = spec.containers
    assert (container.name, container.image, container.cpu_millis) == ("db", "postgres:16", 500)
    assert (container.ready, container.volumes) == (
        ReadyCheck(port=5432, timeout_s=30),
        [VolumeSpec("/srv/pg", "/data")],
    )
    assert BuildSpec.from_json(spec.to_json()) == spec

    assert parts.retries == 4
    assert parts.jenkins == JenkinsSide(
        item=None,
        task="",
        task_url="",
        label=label,
        node_labels="maven cpus=4",
        buildable_at=0.0,
        web_socket=False,
        tunnel="proxy:50000",
        resubmit=False,
    )


def test_a_template_for_builds_without_a_label_has_nodes_that_take_them() -> None:
    parts = agent_parts(chosen(None), TenantName("red"), "")
    assert (parts.jenkins.exclusive, parts.jenkins.node_labels) == (False, "plain")
    assert (parts.spec.command, parts.template.shared) == ("start-agent", True)
    assert parts.template.resources.mem_mib == 1024 + RUNNER_MEM_MIB
