"""Every key of a tenant's YAML makes a difference to its app or to its share; none is only taken."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from masters.app import app_of
from masters.plan import share_of
from masters.spec.model import TenantSpec
from tests.fakes.plans import CONTEXT, spec

WAR = {"image": None, "war": "https://get.example/jenkins.war"}
EBS = {"docker": {"driver": "rexray"}}
BACKUP = {"to": "/backups"}
PLAIN: dict[str, Any] = {}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "name": (PLAIN, {"name": "other"}),
    "image": (PLAIN, {"image": "jenkins/jenkins:2.463"}),
    "war": (WAR, {**WAR, "war": "https://get.example/2/jenkins.war"}),
    "command": ({"image": None, "command": "./a"}, {"image": None, "command": "./b"}),
    "version": ({"image": "j"}, {"image": "j", "version": "2.463"}),
    "cpus": (PLAIN, {"cpus": 2}),
    "mem_mib": (PLAIN, {"mem_mib": 2048}),
    "jvm.heap_percent": (PLAIN, {"jvm": {"heap_percent": 40}}),
    "jvm.metaspace_mib": (PLAIN, {"jvm": {"metaspace_mib": 200}}),
    "jvm.code_cache_mib": (PLAIN, {"jvm": {"code_cache_mib": 32}}),
    "jvm.stack_kib": (PLAIN, {"jvm": {"stack_kib": 256}}),
    "jvm.options": (PLAIN, {"jvm": {"options": ["-Dx=y"]}}),
    "volume.host_path": (PLAIN, {"volume": {"host_path": "/srv/other", "shared": True}}),
    "volume.shared": (
        {"constraints": [["hostname", "IS", "h1"]], "volume": {"host_path": "/srv/{tenant}"}},
        {"constraints": [["hostname", "IS", "h1"]]},
    ),
    "volume.docker.driver": ({"volume": EBS}, {"volume": {"docker": {"driver": "glusterfs"}}}),
    "volume.docker.name": ({"volume": EBS}, {"volume": {"docker": {"driver": "rexray", "name": "x"}}}),
    "volume.docker.options": ({"volume": EBS}, {"volume": {"docker": {"driver": "rexray", "options": {"a": "b"}}}}),
    "volume.external.provider": ({"volume": {"external": {}}}, {"volume": {"external": {"provider": "x"}}}),
    "volume.external.driver": ({"volume": {"external": {}}}, {"volume": {"external": {"driver": "ebs"}}}),
    "volume.external.name": ({"volume": {"external": {}}}, {"volume": {"external": {"name": "x"}}}),
    "volume.external.options": ({"volume": {"external": {}}}, {"volume": {"external": {"options": {"a": "b"}}}}),
    "volume.persistent": (PLAIN, {"volume": {"persistent": True, "size_mib": 512}}),
    "volume.size_mib": ({"volume": {"external": {}}}, {"volume": {"external": {}, "size_mib": 512}}),
    "uid": (PLAIN, {"uid": 1001}),
    "env": (PLAIN, {"env": {"A": "1"}}),
    "secrets.file": (PLAIN, {"secrets": {"A": {"file": "a"}}}),
    "secrets.env": (PLAIN, {"secrets": {"A": {"env": "A"}}}),
    "secrets.marathon": ({"secrets": {"A": {"env": "A"}}}, {"secrets": {"A": {"marathon": "team/a"}}}),
    "plugins": (PLAIN, {"plugins": ["git"]}),
    "configuration": (PLAIN, {"configuration": ["a.yaml"]}),
    "constraints": (PLAIN, {"constraints": [["rack", "UNLIKE", "r1"]]}),
    "labels": (PLAIN, {"labels": {"team": "money"}}),
    "role": (PLAIN, {"role": "butlery"}),
    "weight": (PLAIN, {"weight": 7}),
    "quota.cpus": (PLAIN, {"quota": {"cpus": 4}}),
    "quota.mem_mib": (PLAIN, {"quota": {"mem_mib": 4096}}),
    "quota.builds": (PLAIN, {"quota": {"builds": 3}}),
    "health.path": (PLAIN, {"health": {"path": "/healthy"}}),
    "health.grace_s": (PLAIN, {"health": {"grace_s": 60}}),
    "health.interval_s": (PLAIN, {"health": {"interval_s": 5}}),
    "health.timeout_s": (PLAIN, {"health": {"timeout_s": 5}}),
    "health.failures": (PLAIN, {"health": {"failures": 2}}),
    "ports.http": (PLAIN, {"ports": {"http": 31500}}),
    "ports.agents": (PLAIN, {"ports": {"agents": True}}),
    "address.host": (PLAIN, {"address": {"host": "ci.example"}}),
    "address.path": (PLAIN, {"address": {"path": "/ci"}}),
    "backup.to": ({"backup": BACKUP}, {"backup": {"to": "/other"}}),
    "backup.every_h": ({"backup": BACKUP}, {"backup": {**BACKUP, "every_h": 24}}),
    "backup.keep": ({"backup": BACKUP}, {"backup": {**BACKUP, "keep": 3}}),
    "hibernate.after_idle_min": (PLAIN, {"hibernate": {"after_idle_min": 30}}),
    "stop_timeout_s": (PLAIN, {"stop_timeout_s": 30}),
}
CHECKED_ALONE = {"jvm.threads", "jvm.children_mib"}
"""What must fit beside the heap, and is no option of java."""


def keys(model: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        below = next(models(field.annotation), None)
        if below is None:
            yield before + name
        else:
            yield from keys(below, f"{before}{name}.")


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Those in it, such as the one of ``dict[str, SecretSpec] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from models(part)


def made(changes: dict[str, Any]) -> tuple[Any, ...]:
    tenant = spec(**changes)
    return app_of(tenant, CONTEXT, configuration=" ".join(tenant.configuration)), share_of(tenant)


@pytest.mark.parametrize("key", sorted(keys(TenantSpec)))
def test_a_key_makes_a_difference(key: str) -> None:
    if key in CHECKED_ALONE:
        name = key.removeprefix("jvm.")
        with pytest.raises(ValueError, match="MiB are needed"):
            spec(jvm={name: 10_000})
    else:
        before, after = CHANGES[key]
        assert made(before) != made(after)
