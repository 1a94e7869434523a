"""A master from a war, by the kit, without Docker: from YAML to its address, its access, its backups and back.

The war only looks like Jenkins', but its Java, Groovy, init scripts and start script are the real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.masters_cluster import PATIENCE_S, tenants_cluster
from tests.acceptance.scheduler_process import eventually
from tests.integration.masters.image.conftest import GROOVY, OPENED, STUBS, TIMEOUT_S, compiled


@pytest.fixture(scope="module")
def war(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("war")
    directory.chmod(0o755)
    compiled(directory, STUBS)
    manifest = directory / "manifest"
    opened = " ".join(OPENED)
    manifest.write_text(f"Main-Class: War\nClass-Path: {GROOVY.as_uri()}\nAdd-Opens: {opened}\n")
    made = directory / "jenkins.war"
    subprocess.run(["jar", "cfm", made, manifest, "-C", directory, "."], check=True, timeout=TIMEOUT_S)
    return made


def test_a_war_is_a_master_without_docker(war: Path) -> None:
    with tenants_cluster() as tenants:
        tenants.write(
            "payments",
            war=str(war),
            command=None,
            **({"uid": 0} if os.geteuid() == 0 else {}),  # which a master never is unasked
            mem_mib=1024,
            address={"path": "/payments"},
            backup={"to": str(tenants.backups)},
            jvm={"heap_percent": 30},
        )
        assert tenants.apply() == {"payments": "done"}
        assert tenants.send("GET", "127.0.0.1", "/payments/login", {"Host": "127.0.0.1"}).status == 200
        access = tenants.access("payments")
        assert (access["user"], access["url"].endswith("/payments")) == ("butlery", True)
        home = tenants.homes / "payments"
        (home / "config.xml").write_text("<hudson/>")
        tenants.run("backup", "payments", "--wait")
        ((backup,),) = tenants.json("backup", "payments", "--list")["backups"].values()
        assert backup["state"] == "done"
        (home / "config.xml").write_text("<lost/>")
        tenants.run("restore", "payments", backup["name"], "--yes", "--force")  # it cannot say what it builds
        assert (home / "config.xml").read_text() == "<hudson/>"
        kept = home / "secrets/butlery-api-token"  # such a war forgets its users, and makes another
        eventually(lambda: tenants.access("payments")["api_token"] == kept.read_text(), "its new access", PATIENCE_S)
        told = json.dumps(tenants.json("show", "payments")) + tenants.marathon("GET", "/v2/apps?embed=apps.tasks").body
        assert kept.read_text() not in told
        handed = home / ".butlery/handed/tenant-token"
        assert handed.read_text().startswith("bt~payments~")
        assert handed.read_text() not in told
