"""A directory of tenants: which files count, what is merged beneath, and every fault of every file with its place."""

import os
from pathlib import Path

import pytest

from framework.errors import InputError
from masters.spec.files import ReadTenant, read_tenants

SMALL = "image: j\nvolume: {host_path: '/srv/{tenant}', shared: true}\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(**files: str) -> None:
    for name, text in files.items():
        path = Path("t", name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(path: str = "t") -> dict[str, ReadTenant]:
    return {tenant.spec.name: tenant for tenant in read_tenants(Path(path), "localhost")}


def faults(path: str = "t") -> list[str]:
    with pytest.raises(InputError) as caught:
        read(path)
    return [f"{where}: {message}" for where, message in caught.value.faults]


def test_every_file_is_a_tenant_or_a_list_of_them() -> None:
    put(
        pay=SMALL,
        deep__er__ship=SMALL + "name: shipping\n",
        both=f"tenants:\n- name: a\n  {SMALL.replace(chr(10), chr(10) + '  ')}\n",
    )
    Path("t/web.json").write_text('{\n\t"image": "j",\n\t"volume": {"docker": {"driver": "nfs"}}\n}\n')
    Path("t/.hidden").mkdir()
    Path("t/.hidden/x.yaml").write_text("nonsense")
    Path("t/README.md").write_text("# not a tenant")
    found = read()
    assert list(found) == ["a", "pay", "shipping", "web"]
    assert found["pay"].where("volume.host_path") == "t/pay.yaml:2 volume.host_path"
    assert found["pay"].where("volume.size_mib") == "t/pay.yaml:2 volume.size_mib"
    assert found["pay"].where("cpus") == "t/pay.yaml:1 cpus"
    assert found["a"].where("volume") == "t/both.yaml:4 volume"
    assert found["web"].where("volume.docker") == "t/web.json:3 volume.docker"


def test_defaults_are_merged_beneath_each() -> None:
    put(
        defaults="image: j\nenv:\n  TZ: UTC\n  LANG: C\nplugins: [a, b]\nvolume: {docker: {driver: nfs}}\nuid: 7\n",
        pay="env: {TZ: CET}\nplugins: [c]\n",
        web="volume: {docker: null, persistent: true, size_mib: 64}\nuid: null\nenv: {TZ: null}\n",
        empty="",
    )
    found = read()
    assert found["pay"].spec.env == {"TZ": "CET", "LANG": "C"}
    assert found["pay"].spec.plugins == ["c"]
    assert found["pay"].where("env.TZ") == "t/pay.yaml:1 env.TZ"
    assert found["pay"].where("env.LANG") == "t/defaults.yaml:4 env.LANG"
    assert found["pay"].where("volume.docker.name") == "t/defaults.yaml:6 volume.docker.name"
    assert found["web"].spec.volume.persistent
    assert found["web"].spec.user_id == 1000
    assert found["web"].spec.env == {"LANG": "C"}
    assert found["empty"].spec.image == "j"


def test_paths_start_at_the_file_that_names_them() -> None:
    put(defaults=SMALL + "secrets: {A: {file: a.key}}\n", deep__pay="secrets: {B: {file: b.key}}\n")
    pay = read()["pay"]
    assert pay.base("secrets.A.file") == Path("t")
    assert pay.base("secrets.B.file") == Path("t/deep")


def test_one_file_has_the_nearest_defaults_above_it() -> None:
    put(defaults=SMALL, deep__pay="cpus: 2\n")
    assert read("t/deep/pay.yaml") == read()


def test_files_that_tenants_name_are_no_tenants() -> None:
    put(
        defaults="secrets: {KEY: {file: key.yaml}}\n",
        pay=SMALL + "configuration: [casc/jenkins.yaml]\n",
        casc__jenkins="jenkins: !broken [\n",
        key="secret: text",
    )
    assert list(read()) == ["pay"]


def test_every_fault_of_every_file() -> None:
    put(
        defaults="image: j\nhealth: {interval_s: 0}\nnmae: x\nname: y\n",
        a="volume: {host_path: /a}\nenv:\n  PORT0: x\n",
        b="volume: [\n",
        c="tenants: 3\ncpus: 1\n",
        d="- a list\n",
        e="tenants:\n- volume: {persistent: true}\n",
        sub__defaults="cpus: 1\n",
    )
    assert faults() == [
        "t/sub/defaults.yaml: counts only at the top, in t; name it otherwise if it is a tenant",
        "t/defaults.yaml:4 name: name is no default: it is each tenant's own",
        "t/c.yaml:2 cpus: stands beside `tenants`, where nothing else may; what is for all goes into defaults.yaml",
        "t/c.yaml:1 tenants: must be a list",
        "t/b.yaml:2: is not YAML: while parsing a flow node; expected the node content, but found '<stream end>'",
        "t/a.yaml:1: a host_path that is not shared is on one host alone, and the master must stay there: add the "
        "constraint [hostname, IS, HOST], or say `shared: true` of one that all hosts have",
        "t/defaults.yaml:2 health.interval_s: must be at least 1, not 0",
        "t/a.yaml:3 env.PORT0: PORT0 is a variable that Butlery sets itself",
        "t/defaults.yaml:3 nmae: unknown key; the nearest known one is `name`",
        "t/d.yaml:1: must be a mapping of keys to values",
        "t/e.yaml:2 volume: size_mib is missing: a persistent volume has the size that is reserved for it",
    ]


def test_what_two_tenants_may_not_share() -> None:
    put(
        a=SMALL + "name: one\naddress: {host: CI.example, path: /x}\nports: {http: 8080}\n",
        b=SMALL + "name: two\naddress: {host: ci.example, path: /x}\nports: {http: 8080}\ncpus: x\n",
        c=SMALL + "name: one\n",
        d="image: j\nvolume: {host_path: /srv/one/, shared: true}\naddress: {path: /d}\n",
        e="image: j\nvolume: {host_path: /srv/one/within, shared: true}\naddress: {host: d.localhost}\n",
        f="image: j\nvolume: {docker: {driver: nfs, name: jenkins-g}}\n",
        g="image: j\nvolume: {docker: {driver: nfs}}\n",
    )
    assert faults() == [
        "t/b.yaml:6 cpus: must be a number, not 'x'",
        "t/c.yaml:3 name: there are two tenants one; the other is at t/a.yaml:3 name",
        "t/b.yaml:4 address.host: the host name ci.example is that of one too, at t/a.yaml:4 address.host",
        "t/b.yaml:4 address.path: the path /x is that of one too, at t/a.yaml:4 address.path",
        "t/b.yaml:5 ports.http: the port 8080 is that of one too, at t/a.yaml:5 ports.http",
        "t/d.yaml:2 volume.host_path: the directory /srv/one is that of one too, at t/a.yaml:2 volume.host_path",
        "t/g.yaml:2 volume.docker: the volume jenkins-g is that of f too, at t/f.yaml:2 volume.docker",
        "t/e.yaml:2 volume.host_path: /srv/one/within is within that of d too, at t/d.yaml:2 volume.host_path",
    ]


def test_directories_that_cannot_be_read_as_they_are() -> None:
    put(a=SMALL)
    Path("t/deep").mkdir()
    Path("t/deep/loop").symlink_to("..")
    Path("t/gone.yaml").symlink_to("nowhere")
    os.mkfifo("t/pipe.yaml")
    assert faults() == [
        "t/deep/loop: is a link to a folder that it is in itself",
        "t/gone.yaml: cannot be read: No such file or directory",
        "t/pipe.yaml: is not a file",
    ]
    assert faults("t/pipe.yaml") == ["t/pipe.yaml: is not a file"]
    assert faults("t/none") == ["t/none: cannot be read: No such file or directory"]


def test_an_empty_directory() -> None:
    Path("t").mkdir()
    assert faults() == ["t: holds no tenants: no *.yaml, *.yml or *.json file with one"]
