"""One tenant's values: what is taken, what is refused and why, and what follows from them."""

from typing import Any

import pytest
import yaml

from framework.documents import check, parse_document
from framework.errors import InputError
from masters.spec.model import TenantSpec

SHARED = {"host_path": "/srv/jenkins/{tenant}", "shared": True}


def spec_of(**values: Any) -> TenantSpec:
    given = {"name": "payments", "image": "jenkins/jenkins", "volume": SHARED} | values
    return check(parse_document(yaml.safe_dump(given, sort_keys=False), ""), TenantSpec)


def faults_of(**values: Any) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        spec_of(**values)
    return {fault.where: fault.message for fault in caught.value.faults}


def refused(words: str, **values: Any) -> None:
    assert words in "; ".join(f"{where}: {message}" for where, message in faults_of(**values).items())


def test_what_runs() -> None:
    assert spec_of().full_image == "jenkins/jenkins"
    assert spec_of(version="2.463").full_image == "jenkins/jenkins:2.463"
    assert spec_of(image="reg:5000/j", version="2").full_image == "reg:5000/j:2"
    assert spec_of(image="j:2.463-lts-jdk17", version="2.463").full_image == "j:2.463-lts-jdk17"
    assert spec_of(image="j:2.463@sha256:ab", version="2.463").full_image == "j:2.463@sha256:ab"
    war = "https://get.example/{version}/jenkins.war"
    assert spec_of(image=None, war=war, version="2.463").full_war == "https://get.example/2.463/jenkins.war"
    assert spec_of(image=None, war="/opt/jenkins.war").full_war == "/opt/jenkins.war"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"image": None}, "one of image, war and command must be given"),
        ({"war": "/x.war"}, "give only one of image, war and command, not image and war"),
        ({"image": "j:2.462", "version": "2.463"}, "2.463 and the image's tag 2.462 do not agree"),
        ({"image": "j@sha256:ab", "version": "2.463"}, "cannot be held against the image's digest"),
        ({"image": None, "war": "/x.war", "version": "2"}, "no `{version}` in it"),
        ({"image": None, "war": "/{version}.war"}, "is missing: war has `{version}` in it"),
        ({"image": None, "command": "true", "version": "2"}, "of no use with command"),
        ({"image": None, "war": "jenkins.war"}, "an absolute path on the hosts, or a URL"),
        ({"image": None, "war": "https://me:hunter2@get.example/x.war"}, "must hold no user or password"),
        ({"name": "Payments"}, "lower-case letters, digits and `-` within, 40 at most, not 'Payments'"),
        ({"name": "tasks"}, "must not be 'tasks'"),
        ({"name": "a" * 41}, "40 at most"),
    ],
)
def test_what_cannot_run(values: dict[str, Any], words: str) -> None:
    refused(words, **values)


def test_no_password_of_a_url_is_repeated() -> None:
    assert "hunter2" not in str(faults_of(image=None, war="https://me:hunter2@get.example/x.war"))


def test_homes() -> None:
    assert spec_of().host_path == "/srv/jenkins/payments"
    assert spec_of(volume={"docker": {"driver": "nfs"}}).volume_name == "jenkins-payments"
    assert spec_of(volume={"external": {"name": "vol"}}).volume_name == "vol"
    assert spec_of(volume={"persistent": True, "size_mib": 64}).volume_name is None
    assert spec_of(volume={"host_path": "/srv/x"}, constraints=[["hostname", "IS", "h-1"]]).host_path == "/srv/x"
    assert spec_of(volume={"host_path": "/srv/x"}, constraints=[["hostname", "CLUSTER", "h-1"]])
    assert spec_of(volume={"docker": {"options": {"type": "nfs", "device": ":/x"}}})


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ({}, "one of host_path, docker, external and persistent must be given"),
        (SHARED | {"docker": {}}, "give only one of"),
        ({"persistent": True}, "size_mib is missing"),
        (SHARED | {"size_mib": 100}, "size_mib is of no use with host_path"),
        ({"docker": {"driver": "nfs"}, "shared": True}, "shared is of no use without host_path"),
        ({"host_path": "/srv/x"}, "add the constraint [hostname, IS, HOST], or say `shared: true`"),
        ({"docker": {}}, "a volume of Docker's driver `local` is on one host alone"),
        ({"host_path": "/srv/../etc", "shared": True}, "must not hold `..`"),
        ({"host_path": "srv", "shared": True}, "an absolute path on the hosts"),
    ],
)
def test_homes_that_would_be_lost(volume: dict[str, Any], words: str) -> None:
    refused(words, volume=volume)


@pytest.mark.parametrize("constraint", [["hostname", "UNIQUE"], ["hostname", "CLUSTER"], ["pool", "IS", "x"]])
def test_a_constraint_that_holds_the_master_to_no_one_host(constraint: list[str]) -> None:
    refused("constraints: a host_path that is not shared", volume={"host_path": "/srv/x"}, constraints=[constraint])


def test_backups_within_the_home_itself() -> None:
    refused("is in the home that it is to keep copies of", backup={"to": "/srv/jenkins/payments/backups"})


def test_ports_that_cannot_be_had_together() -> None:
    refused("ports.agents: takes `http: 0`", ports={"http": 31000, "agents": True})


def test_never_root_unless_it_is_said() -> None:
    assert spec_of().user_id == 1000
    assert spec_of(uid=0).user_id == 0
    assert spec_of(image=None, command="true").user_id is None
    assert spec_of(image=None, command="true", uid=1234).user_id == 1234


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("JENKINS_HOME", "a variable that Butlery sets itself"),
        ("BUTLERY_ANYTHING", "a variable that Butlery sets itself"),
        ("PORT0", "a variable that Butlery sets itself"),
        ("PORT7", "a variable that Marathon or Mesos sets"),
        ("MESOS_SANDBOX", "a variable that Marathon or Mesos sets"),
        ("HOST", "a variable that Marathon or Mesos sets"),
        ("1ST", "the name of a variable"),
        ("a-b", "the name of a variable"),
    ],
)
def test_variables_that_are_not_the_tenants(name: str, words: str) -> None:
    refused(words, env={name: "x"})
    refused(words, secrets={name: {"env": "X"}})


def test_labels_that_are_ours() -> None:
    refused("labels that begin with BUTLERY_ are Butlery's own", labels={"BUTLERY_STATE": "on"})


def test_a_variable_is_open_or_secret() -> None:
    refused("TOKEN is in env too", env={"TOKEN": "x"}, secrets={"TOKEN": {"env": "T"}})
    refused("secrets.TOKEN: give only one of file, env and marathon", secrets={"TOKEN": {"env": "T", "file": "f"}})
    refused("secrets.TOKEN: one of file, env and marathon must be given", secrets={"TOKEN": {}})


def test_addresses() -> None:
    assert spec_of().host_name("jenkins.example") == "payments.jenkins.example"
    assert spec_of(address={"host": "{tenant}.CI.example"}).host_name("x") == "payments.ci.example"
    assert spec_of(address={"path": "/pay"}).host_name("x") is None
    assert spec_of(address={"path": "/pay", "host": "a.b"}).host_name("x") == "a.b"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ({"host": "-a.example"}, "is no host name"),
        ({"host": "a_b"}, "is no host name"),
        ({"host": "a..b"}, "is no host name"),
        ({"host": f"{'a' * 30}{{tenant}}{'b' * 30}"}, "is no host name"),
        ({"path": "/a/b"}, "one segment"),
        ({"path": "/.."}, "one segment"),
    ],
)
def test_addresses_that_are_none(address: dict[str, str], words: str) -> None:
    refused(words, address=address)


def test_plugins_and_files_of_configuration() -> None:
    assert spec_of(plugins=["git:5.2.2", "matrix-auth"], configuration=["./a.yaml"]).configuration == ["a.yaml"]
    refused("ID or ID:VERSION", plugins=["git 5"])
    refused("names git more than once", plugins=["git", "git:5"])
    refused("without `..`", configuration=["../x.yaml"])
    refused("without `..`", configuration=["/etc/x.yaml"])
    refused("names a.yaml more than once", configuration=["a.yaml", "./a.yaml"])


def test_all_faults_at_once() -> None:
    found = faults_of(
        name="A",
        war="/x",
        cpus=0,
        mem_mib=128,
        env={"PORT0": ""},
        volume={"host_path": "/x"},
        plugins=["?"],
        command=None,
        jvm={},
        constraints=[],
    )
    assert list(found) == ["name", "cpus", "env.PORT0", "plugins[0]", "command", "jvm", "constraints"]


def test_null_is_as_if_it_were_not_there_but_no_cloak_for_a_typing_error() -> None:
    assert spec_of(env=None, jvm=None) == spec_of()
    refused("unknown key; the nearest known one is `env`", envv=None)
