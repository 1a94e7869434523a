"""The script ``start``, with a java that only tells what it was given."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from masters.kit import FOLDER, START, kit_bytes, write_kit
from tests.unit.masters.image.conftest import IMAGE, TIMEOUT_S, Master


@pytest.fixture
def host(master: Master, tmp_path: Path) -> Master:
    """With a war, and a java that writes what it was given into the home, then waits for its end where it shall."""
    programs = tmp_path / "programs"
    programs.mkdir()
    java = programs / "java"
    java.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, pathlib, resource, signal, sys\n"
        "home = pathlib.Path(os.environ['JENKINS_HOME'])\n"
        "if os.environ.pop('JAVA_RESTARTS', None):\n"  # as Jenkins does it: hudson.lifecycle.UnixLifecycle
        "    os.closerange(3, 256)\n"
        "    os.execv(sys.argv[0], sys.argv)\n"
        "given = {'arguments': sys.argv[1:], 'environment': dict(os.environ), 'pid': os.getpid(), 'uid': os.getuid()}\n"
        "given['core'] = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "(home / 'given.new').write_text(json.dumps(given))\n"
        "(home / 'given.new').rename(home / 'given.json')\n"
        "if 'JAVA_WAITS' in os.environ:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "    signal.pause()\n"
    )
    java.chmod(0o755)
    (tmp_path / "jenkins.war").write_text("PK")
    master.env = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PORT0": "31005",
        "BUTLERY_AS_ROOT": "1",
        "BUTLERY_TENANT_TOKEN": "bt~payments~hunter2",
        "BUTLERY_ADMIN_PASSWORD": "correct horse",
        "BUTLERY_JAVA_OPTIONS": "-Xmx512m -Dgreeting='hello world'",
        "BUTLERY_SCHEDULER_URL": "http://127.0.0.1:8080",
    }
    return master


def given(master: Master) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((master.home / "given.json").read_text())
    return found


def war(tmp_path: Path) -> tuple[str, str]:
    return ("--war", str(tmp_path / "jenkins.war"))


def test_java_gets_the_port_the_prefix_and_the_options(host: Master, tmp_path: Path) -> None:
    host.done("start", *war(tmp_path), "--sessionTimeout=60", PORT1="31006", BUTLERY_PATH="/payments")
    arguments = given(host)["arguments"]
    at = arguments.index("-jar")
    assert arguments[at + 1 :] == [
        str(tmp_path / "jenkins.war"),
        "--httpPort=31005",
        "--prefix=/payments",
        "--sessionTimeout=60",
    ]
    assert {
        f"-Duser.home={host.home}",
        "-Djenkins.install.runSetupWizard=false",
        "-Djenkins.model.Jenkins.slaveAgentPort=31006",
        "-Djenkins.model.Jenkins.slaveAgentPortEnforce=true",
        f"@{host.home}/.butlery/java.options",
    } <= set(arguments[:at])
    assert (host.home / ".butlery/java.options").read_text() == "-Xmx512m -Dgreeting='hello world'\n"
    host.done("start", *war(tmp_path))
    assert "-Djenkins.model.Jenkins.slaveAgentPort=-1" in given(host)["arguments"]


def test_secrets_are_in_files_and_not_in_the_environment(host: Master, tmp_path: Path) -> None:
    said = host.done("start", *war(tmp_path), BUTLERY_PLUGINS="", BUTLERY_RESTORE="", GIT_KEY="the tenant's own")
    environment = given(host)["environment"]
    handed = host.home / ".butlery/handed"
    assert (handed / "tenant-token").read_text() == "bt~payments~hunter2"
    assert (handed / "admin-password").read_text() == "correct horse"
    assert {path.stat().st_mode & 0o777 for path in handed.iterdir()} == {0o600}
    assert handed.stat().st_mode & 0o777 == 0o700
    everywhere = json.dumps(given(host)) + said
    assert "hunter2" not in everywhere
    assert "correct horse" not in everywhere
    assert given(host)["core"] == [0, 0]  # which would hold all of them
    assert environment["GIT_KEY"] == "the tenant's own"
    assert environment["BUTLERY_KIT"] == str(IMAGE)
    assert environment["BUTLERY_SCHEDULER_URL"] == "http://127.0.0.1:8080"
    assert not {"BUTLERY_PLUGINS", "BUTLERY_CONFIGURATION", "BUTLERY_JAVA_OPTIONS"} & set(environment)


def test_init_scripts_are_ours_anew_and_the_tenants_as_they_were(host: Master, tmp_path: Path) -> None:
    folder = host.home / "init.groovy.d"
    folder.mkdir()
    (folder / "own.groovy").write_text("println 1")
    (folder / "butlery-99-gone.groovy").write_text("of another version")
    host.done("start", *war(tmp_path))
    ours = {path.name for path in (IMAGE / "init.groovy.d").glob("*.groovy")}
    assert {path.name for path in folder.iterdir()} == {"own.groovy", *ours}


@pytest.mark.parametrize("restarts", ["", "yes"])
def test_one_home_has_one_master(host: Master, tmp_path: Path, restarts: str) -> None:
    first = host.begin("start", *war(tmp_path), JAVA_WAITS="yes", JAVA_RESTARTS=restarts)
    try:
        until(lambda: (host.home / "given.json").exists())
        assert given(host)["pid"] == first.pid  # so that signals reach Jenkins itself
        second = host.begin("start", *war(tmp_path))
        assert second.stdout is not None
        assert "another master runs in this home" in second.stdout.readline()
        first.send_signal(signal.SIGTERM)
        assert first.wait(TIMEOUT_S) == 143
        second.communicate(timeout=TIMEOUT_S)
        assert second.returncode == 0
    finally:
        first.kill()
        first.communicate()


def test_what_is_wrong_is_said_in_one_line(host: Master, tmp_path: Path) -> None:
    for told, arguments, environment in (
        ("there is no /nowhere.war", ("--war", "/nowhere.war"), {}),
        ("JENKINS_HOME is not set", war(tmp_path), {"JENKINS_HOME": ""}),
        ("is no directory; the volume is not there", war(tmp_path), {"JENKINS_HOME": "/nowhere"}),
        ("PORT0 is not set", war(tmp_path), {"PORT0": ""}),
        ("must be numbers", war(tmp_path), {"PORT0": "80;true"}),
        ("program /nowhere/bin/java is missing", war(tmp_path), {"JAVA_HOME": "/nowhere"}),
        ("jenkins-plugin-cli is not here", war(tmp_path), {"BUTLERY_PLUGINS": "git:5"}),
        ("is not base64 of a .tar.gz", war(tmp_path), {"BUTLERY_CONFIGURATION": "%%%"}),
        ("there is no backup none", war(tmp_path), {"BUTLERY_RESTORE": "none"}),
    ):
        said = host.failed("start", *arguments, **environment)
        assert told in said
        assert said.count("\n") == 1, said
        assert "hunter2" not in said
    assert not (host.home / "given.json").exists()


def test_a_home_is_closed_to_others(host: Master, tmp_path: Path) -> None:
    host.home.chmod(0o775)
    host.done("start", *war(tmp_path))
    assert host.home.stat().st_mode & 0o777 == 0o770


def test_root_runs_no_master_that_does_not_ask_for_it(host: Master, tmp_path: Path) -> None:
    programs = tmp_path / "root"
    programs.mkdir()
    (programs / "id").write_text("#!/bin/sh\necho 0\n")
    (programs / "id").chmod(0o755)
    said = host.failed("start", *war(tmp_path), PATH=f"{programs}:{host.env['PATH']}", BUTLERY_AS_ROOT="")
    assert "would run as root" in said
    assert not (host.home / "given.json").exists()


def test_plugins_are_installed_when_the_list_or_jenkins_changes(host: Master, tmp_path: Path) -> None:
    called = tmp_path / "called"
    cli = Path(host.env["PATH"].split(":")[0]) / "jenkins-plugin-cli"
    cli.write_text(
        f'#!/bin/sh\necho "$@" >>{called}\nwhile [ "$1" != --plugin-download-directory ]; do shift; done\n'
        '[ ! -e "$2.fails" ] || { echo "Unable to resolve plugin URL"; exit 1; }\nto=$2; shift 3\n'
        'mkdir "$CACHE_DIR"\nfor plugin; do echo "$plugin" >"$to/${plugin%%:*}.jpi"; done\n'
    )
    cli.chmod(0o755)
    plugins = host.home / "plugins"
    (plugins / "matrix-auth.hpi").write_text("old")
    wanted = "matrix-auth:3.2 configuration-as-code"
    for _ in range(2):
        host.done("start", *war(tmp_path), BUTLERY_PLUGINS=wanted)
    assert called.read_text().count("\n") == 1
    assert not list(host.home.glob(".butlery/plugins.*/*"))
    assert sorted(path.name for path in plugins.iterdir()) == [
        "configuration-as-code.jpi",
        "git.jpi",
        "matrix-auth.jpi",
    ]
    (tmp_path / "jenkins.war").write_text("PK newer")
    host.done("start", *war(tmp_path), BUTLERY_PLUGINS=wanted)
    assert called.read_text().count("\n") == 2
    (host.home / ".butlery/plugins.new.fails").touch()
    said = host.failed("start", *war(tmp_path), BUTLERY_PLUGINS="none:1")
    assert "the plugins cannot be installed (1): Unable to resolve plugin URL" in said
    assert (plugins / "matrix-auth.jpi").read_text() == "matrix-auth:3.2\n"


def test_configuration_as_code_is_unpacked_and_replaced(host: Master, tmp_path: Path) -> None:
    for text in ("jenkins: {}", None):
        bundle = ""
        if text is not None:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz") as tar:
                entry = tarfile.TarInfo("jenkins.yaml")
                entry.size = len(text)
                tar.addfile(entry, io.BytesIO(text.encode()))
            bundle = base64.b64encode(packed.getvalue()).decode()
        said = host.done("start", *war(tmp_path), BUTLERY_CONFIGURATION=bundle)
        folder = host.home / ".butlery/casc"
        if text is None:
            assert "CASC_JENKINS_CONFIG" not in given(host)["environment"]
            assert not folder.exists()
        else:
            assert "configuration-as-code that reads it is not installed" in said
            assert given(host)["environment"]["CASC_JENKINS_CONFIG"] == str(folder)
            assert (folder / "jenkins.yaml").read_text() == text


def test_what_is_to_be_restored_is_there_before_jenkins_starts(host: Master, tmp_path: Path) -> None:
    host.done("backup", "before")
    (host.home / "config.xml").write_text("changed")
    for _ in range(2):
        host.done("start", *war(tmp_path), BUTLERY_RESTORE="before")
        assert (host.home / "config.xml").read_text() == "<hudson/>"
        assert "BUTLERY_RESTORE" not in given(host)["environment"]


def test_the_kit_is_the_same_each_time_and_runs_from_a_sandbox(host: Master, tmp_path: Path) -> None:
    write_kit(tmp_path / "kit.tar.gz")
    assert (tmp_path / "kit.tar.gz").read_bytes() == kit_bytes()
    kit_bytes.cache_clear()
    assert (tmp_path / "kit.tar.gz").read_bytes() == kit_bytes()
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "kit.tar.gz"], cwd=sandbox, check=True, timeout=TIMEOUT_S)
    (sandbox / "home").symlink_to(host.home)
    (sandbox / "jenkins.war").write_text("PK")
    ran = subprocess.run(
        ["/bin/sh", "-c", f"exec {START} --war jenkins.war"],
        cwd=sandbox,
        env=host.environment(JENKINS_HOME=str(sandbox / "home")),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert given(host)["environment"]["BUTLERY_KIT"] == str(sandbox / FOLDER)
    assert given(host)["environment"]["JENKINS_HOME"] == str(host.home)
    assert list((host.home / "init.groovy.d").glob("butlery-*.groovy"))


def until(happened: Any) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
