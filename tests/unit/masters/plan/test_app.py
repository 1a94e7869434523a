"""Apps of every kind of tenant, as Marathon takes them."""

from __future__ import annotations

import base64
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from masters.app import app_of, grace_s, learned_checks, public_url, root_url, volume_of
from masters.names import Variable
from masters.settings import IngressSettings
from tests.contract.marathon_api import kinds
from tests.contract.marathon_api.directions import as_answer, as_request
from tests.fakes.plans import CLEAR, CONTEXT, served, spec

sent = jsonschema_rs.validator_for(as_request(kinds.APP))
answered = jsonschema_rs.validator_for(as_answer(kinds.APP_SHOWN))

PINNED = [["hostname", "IS", "h1"]]
WAR: dict[str, Any] = {"image": None, "war": "https://get.example/{version}/jenkins.war", "version": "2.463"}
NFS = {"driver": "local", "options": {"type": "nfs", "device": ":/srv/jenkins", "o": "addr=10.0.0.9,rw"}}
KINDS: dict[str, dict[str, Any]] = {
    "host path": {},
    "pinned": {"volume": {"host_path": "/srv/x"}, "constraints": PINNED},
    "nfs": {"volume": {"docker": NFS}},
    "ebs": {"volume": {"docker": {"driver": "rexray", "name": "jenkins-x", "options": {"size": "20"}}}},
    "glusterfs": {"volume": {"docker": {"driver": "glusterfs"}}},
    "external": {"volume": {"external": {}}},
    "external with a size": {"volume": {"external": {"options": {"dvdi/iops": "5"}}, "size_mib": 20_000}},
    "persistent": {"volume": {"persistent": True, "size_mib": 512}},
    "war": WAR,
    "war, persistent": {**WAR, "volume": {"persistent": True, "size_mib": 512}},
    "command": {"image": None, "command": "exec ./serve", "mem_mib": 64, "uid": 1234},
    "everything": {
        "version": None,
        "env": {"GIT_DEPTH": "1"},
        "secrets": {"DB": {"env": "DB"}, "KEY": {"marathon": "team/key"}},
        "plugins": ["git", "workflow-aggregator:600"],
        "constraints": [*PINNED, ["rack", "UNLIKE", "r1"]],
        "labels": {"team": "money"},
        "role": "butlery",
        "ports": {"agents": True},
        "address": {"host": "ci.{tenant}.example", "path": "/ci"},
        "backup": {"to": "/backups", "every_h": 24},
        "hibernate": {"after_idle_min": 30},
        "stop_timeout_s": 90.5,
    },
    "fixed port": {"ports": {"http": 31500}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_marathon_takes_it(kind: str) -> None:
    document = app_of(spec(**KINDS[kind]), CONTEXT)
    sent.validate(document)
    master = served(document)
    answered.validate(master.document)
    assert len(msgspec.json.encode(document)) < 8000
    assert master.document["upgradeStrategy"] == {"maximumOverCapacity": 0, "minimumHealthCapacity": 0}


def test_with_an_image() -> None:
    app = app_of(spec(uid=None, version=None), CONTEXT, boot_s=250)
    assert app["id"] == "/butlery/masters/s02/payments"
    assert app["container"] == {
        "type": "DOCKER",
        "volumes": [{"containerPath": "/var/jenkins_home", "mode": "RW", "hostPath": "/srv/payments"}],
        "docker": {
            "image": "jenkins/jenkins:lts",
            "forcePullImage": False,
            "privileged": False,
            "parameters": [{"key": "user", "value": "1000"}],
        },
    }
    assert "cmd" not in app
    assert "user" not in app
    kept = app_of(spec(backup={"to": "/backups"}), CONTEXT)["container"]["volumes"]
    assert kept[1] == {"containerPath": "/backups/payments", "mode": "RW", "hostPath": "/backups/payments"}
    env = app["env"]
    assert env[Variable.HOME] == "/var/jenkins_home"
    assert env[Variable.ROOT_URL] == "https://payments.jenkins.example:8443/"
    assert env[Variable.TENANT_TOKEN] == {"secret": "token"}
    assert app["secrets"]["token"] == {"source": "payments/token"}
    assert app["healthChecks"][0]["gracePeriodSeconds"] == 750
    assert app["healthChecks"][0]["path"] == "/login"
    assert "-Xmx512m" in env[Variable.JAVA_OPTIONS]


def test_root_is_said_to_the_master() -> None:
    assert Variable.AS_ROOT not in app_of(spec(), CONTEXT)["env"]
    assert Variable.AS_ROOT not in app_of(spec(**WAR), CONTEXT)["env"]
    assert app_of(spec(uid=0), CONTEXT)["env"][Variable.AS_ROOT] == "1"


def test_a_war_runs_by_the_kit() -> None:
    app = app_of(spec(**WAR, uid=1001), CONTEXT)
    assert app["cmd"] == 'export JENKINS_HOME="$MESOS_SANDBOX/home"\nexec kit/start --war jenkins.war'
    assert app["user"] == "1001"
    assert [one["uri"] for one in app["fetch"]] == [CONTEXT.kit, "https://get.example/2.463/jenkins.war"]
    assert app["container"]["volumes"] == [{"containerPath": "home", "mode": "RW", "hostPath": "/srv/payments"}]
    assert Variable.HOME not in app["env"]


def test_a_persistent_volume_is_in_the_sandbox_and_has_a_role_of_its_own() -> None:
    app = app_of(spec(volume={"persistent": True, "size_mib": 512}), CONTEXT)
    assert app["role"] == "butlery"
    assert app["env"][Variable.HOME] == "/mnt/mesos/sandbox/home"


@pytest.mark.parametrize(
    ("volume", "stays"),
    [
        ({"persistent": True, "size_mib": 512}, True),
        ({"host_path": "/srv/x"}, True),
        ({"docker": {}}, True),
        ({"docker": NFS}, False),
        ({"host_path": "/srv/x", "shared": True}, False),
    ],
)
def test_no_other_is_started_where_the_home_is_on_a_lost_host(volume: dict[str, Any], stays: bool) -> None:
    app = app_of(spec(volume=volume, constraints=PINNED), CONTEXT)
    assert (app["unreachableStrategy"] == "disabled") is stays


def test_options_of_a_driver_may_have_commas() -> None:
    (user, mount) = app_of(spec(volume={"docker": NFS}), CONTEXT)["container"]["docker"]["parameters"]
    assert user["key"] == "user"
    assert mount == {
        "key": "mount",
        "value": "type=volume,source=jenkins-payments,target=/var/jenkins_home,volume-driver=local,"
        'volume-opt=device=:/srv/jenkins,"volume-opt=o=addr=10.0.0.9,rw",volume-opt=type=nfs',
    }


def test_an_external_volume_with_a_size_is_of_mesos_own_containerizer() -> None:
    app = app_of(spec(**KINDS["external with a size"]), CONTEXT)
    assert app["container"]["type"] == "MESOS"
    assert app["user"] == "1000"
    assert app["container"]["volumes"][0]["external"] == {
        "name": "jenkins-payments",
        "provider": "dvdi",
        "options": {"dvdi/driver": "rexray", "dvdi/iops": "5"},
        "size": 20,
    }


def test_secrets_in_clear() -> None:
    tenant = spec(secrets={"DB": {"env": "DB"}, "KEY": {"marathon": "team/key"}})
    app = app_of(tenant, CLEAR, clear={"payments/env-DB": "hush", "payments/token": "t"})
    assert app["env"]["DB"] == "hush"
    assert app["env"]["KEY"] == {"secret": "env-KEY"}
    assert app["env"][Variable.TENANT_TOKEN] == "t"
    assert Variable.ADMIN_PASSWORD not in app["env"]
    assert app["secrets"] == {"env-KEY": {"source": "team/key"}}
    hidden = served(app).policy.hidden
    assert set(hidden) == {"DB", Variable.TENANT_TOKEN, Variable.ADMIN_PASSWORD}


@pytest.mark.parametrize(
    ("volume", "told"),
    [
        ({"host_path": "/srv/{tenant}", "shared": True}, "host_path:/srv/payments"),
        ({"docker": NFS}, "docker:local/jenkins-payments"),
        ({"external": {"driver": "ebs"}}, "external:dvdi/ebs/jenkins-payments"),
        ({"persistent": True, "size_mib": 512}, "persistent:payments"),
    ],
)
def test_a_volume_has_kind_and_name(volume: dict[str, Any], told: str) -> None:
    assert volume_of(spec(volume=volume)) == told


@pytest.mark.parametrize(
    ("ingress", "told"),
    [
        ({}, "http://127.0.0.1:8082"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8082"),
        ({"host": "::"}, "http://[::1]:8082"),
        ({"http_port": 80, "host": "::1"}, "http://[::1]"),
        ({"https_port": 443, "certificate": "x.pem"}, "https://127.0.0.1"),
        ({"https_port": 8443, "certificate": "x.pem"}, "https://127.0.0.1:8443"),
        ({"public_url": "https://ci.example/"}, "https://ci.example"),
    ],
)
def test_the_ingress_public_url(ingress: dict[str, Any], told: str) -> None:
    assert public_url(IngressSettings.model_validate(ingress)) == told


def test_a_masters_own_url() -> None:
    assert root_url("a.example", None, "http://127.0.0.1:8082") == "http://a.example:8082/"
    assert root_url(None, "/a", "https://ci.example") == "https://ci.example/a/"
    assert root_url("a.example", "/a", "https://[::1]:9") == "https://a.example:9/a/"


def test_the_grace_is_learned() -> None:
    assert grace_s(600, None) == 600
    assert grace_s(0.5, 33.4) == 101
    app = app_of(spec(), CONTEXT)
    assert learned_checks(app, 100) is None
    grown = learned_checks(app, 300)
    assert grown is not None
    assert grown[0] == {**app["healthChecks"][0], "gracePeriodSeconds": 900}


def test_configuration_is_a_variable() -> None:
    packed = base64.b64encode(b"files").decode()
    assert app_of(spec(), CONTEXT, configuration=packed)["env"][Variable.CONFIGURATION] == packed
