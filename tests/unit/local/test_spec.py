"""The ``local:`` section."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.errors import InputError
from framework.local.spec import LocalSettings, hosts_of
from framework.settings import load_section


def load(tmp_path: Path, text: str) -> LocalSettings:
    path = tmp_path / "butlery.yaml"
    path.write_text(text)
    return load_section(path, "local", LocalSettings)


def test_a_count_makes_equal_hosts_that_fit_the_machine(tmp_path: Path) -> None:
    hosts = hosts_of(load(tmp_path, "local: {hosts: 4}\n"))
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert [host.name for host in hosts] == ["host-1", "host-2", "host-3", "host-4"]
    assert sum(host.mem_mib for host in hosts) <= int(memory) // 1024
    assert len({(host.cpus, host.mem_mib, host.disk_mib) for host in hosts}) == 1


def test_nothing_said_makes_three_hosts(tmp_path: Path) -> None:
    assert len(hosts_of(load(tmp_path, ""))) == 3
    assert len(hosts_of(LocalSettings())) == 3


REFERENCE = """
local:
  hosts:
    - {count: 186, cpus: 16, mem_mib: 61440, attributes: {rack: [r1, r2], pool: large}}
    - {count: 66, cpus: 8, mem_mib: 14336}
    - {count: 65, name: small, cpus: 4, mem_mib: 14336, ports: 0}
"""


def test_shapes_become_hosts_with_names_ports_and_attributes_of_their_own(tmp_path: Path) -> None:
    hosts = hosts_of(load(tmp_path, REFERENCE))
    assert len(hosts) == len({host.name for host in hosts}) == 317
    assert hosts[1].attributes_text() == "pool:large;rack:r2"
    assert hosts[186].resources_text() == "cpus:8;mem:14336;disk:10000;ports:[49600-49699]"
    assert hosts[316].resources_text() == "cpus:4;mem:14336;disk:10000;ports:[]"
    ports = [port for host in hosts if host.ports for port in range(host.ports[0], host.ports[1] + 1)]
    assert len(ports) == len(set(ports)) == 252 * 100
    assert max(ports) < 65536


def test_many_hosts_share_the_ports_there_are(tmp_path: Path) -> None:
    hosts = hosts_of(load(tmp_path, "local: {hosts: 2000}\n"))
    assert {host.ports[1] - host.ports[0] + 1 for host in hosts if host.ports} == {17}


FAULTY = """
local:
  hosts:
    - {count: 0, cpus: -1, mem_mib: 1}
    - {cpus: 1, mem_mib: 64, name: "a/b", attributes: {rack: "7", "x;y": a, pool: []}}
  prot: 5050
"""


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, FAULTY)
    found = {fault.where.partition("butlery.yaml:")[2] for fault in caught.value.faults}
    assert found == {
        "4 local.hosts[0].count",
        "4 local.hosts[0].cpus",
        "4 local.hosts[0].mem_mib",
        "5 local.hosts[1].name",
        "5 local.hosts[1].attributes",
        "6 local.prot",
    }


def test_what_an_attribute_may_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"odd: \['a b', '7'\] must begin with a letter; letters, digits, '.', '_', '-' and"
    ):
        load(tmp_path, "local: {hosts: [{cpus: 1, mem_mib: 64, attributes: {odd: [a b, '7', c-1]}}]}\n")


@pytest.mark.parametrize(
    "hosts",
    [
        "0",
        "-3",
        "2001",
        "true",
        "'3'",
        "3.5",
        "{}",
        "[]",
        "[{count: 1500, cpus: 1, mem_mib: 64}, {count: 501, cpus: 1, mem_mib: 64}]",
        "[{count: 400, cpus: 1, mem_mib: 64, ports: 100}]",
    ],
)
def test_hosts_that_cannot_be_are_refused(tmp_path: Path, hosts: str) -> None:
    with pytest.raises(InputError):
        load(tmp_path, f"local: {{hosts: {hosts}}}\n")


def test_roles_of_apps_may_be_any_or_one(tmp_path: Path) -> None:
    given = "local: {marathon: {role: '*', default_accepted_roles: ['*', web/front]}}\n"
    marathon = load(tmp_path, given).marathon
    assert (marathon.role, marathon.default_accepted_roles) == ("*", ["*", "web/front"])
    with pytest.raises(InputError) as error:
        load(tmp_path, "local: {marathon: {role: a b, default_accepted_roles: ['**']}}\n")
    told = [(fault.where.split()[-1], fault.message.partition(", such")[0]) for fault in error.value.faults]
    assert told == [
        ("local.marathon.role", "must be * or a Mesos role"),
        ("local.marathon.default_accepted_roles[0]", "must be * or a Mesos role"),
    ]
