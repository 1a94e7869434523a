"""Configuration-as-code, packed: the same for the same files, and nothing from elsewhere."""

import base64
import io
import os
import tarfile
from pathlib import Path

import pytest

from framework.errors import InputError
from masters.configuration import packed_all
from masters.spec.files import ReadTenant, read_tenants

SMALL = "image: j\nvolume: {host_path: '/srv/{tenant}', shared: true}\n"


def read(folder: Path, **configuration: str) -> list[ReadTenant]:
    for name, given in configuration.items():
        own = f"configuration: [{given}]\n" if given else ""
        (folder / f"{name}.yaml").write_text("" if name == "defaults" and not given else SMALL + own)
    return read_tenants(folder, "localhost")


def test_the_same_files_make_the_same_text(tmp_path: Path) -> None:
    folder = tmp_path / "casc"
    folder.mkdir()
    (folder / "b.yaml").write_text("jenkins: {numExecutors: 0}\n")
    (folder / "a.yml").write_text("unclassified: {}\n")
    tenants = read(tmp_path, one="casc/b.yaml, casc/a.yml", two="casc/a.yml, casc/b.yaml", none="")
    found = packed_all(tenants)
    assert set(found) == {"one", "two"}
    assert found["one"] == found["two"]
    os.utime(folder / "b.yaml", (1, 1))
    assert packed_all(tenants) == found
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(found["one"])), mode="r:gz") as archive:
        assert archive.getnames() == ["casc/a.yml", "casc/b.yaml"]
        file = archive.extractfile("casc/b.yaml")
        assert file is not None
        assert file.read() == b"jenkins: {numExecutors: 0}\n"


def test_files_of_the_defaults_are_below_their_folder(tmp_path: Path) -> None:
    (tmp_path / "casc.yaml").write_text("jenkins: {}\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "one.yaml").write_text(SMALL)
    (tenant,) = read(tmp_path, defaults="casc.yaml")
    assert set(packed_all([tenant])) == {"one"}


def test_every_fault_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "outside.yaml").write_text("secret: hunter2\n")
    (tmp_path / "t" / "out.yaml").symlink_to("../outside.yaml")
    (tmp_path / "t" / "bad.yaml").write_text("jenkins: [\n")
    (tmp_path / "t" / "dir.yaml").mkdir()
    (tmp_path / "t" / "x.groovy").write_text("")
    names = "out.yaml, bad.yaml, dir.yaml, x.groovy, none.yaml"
    tenants = read(tmp_path / "t", one=names, two="bad.yaml")
    with pytest.raises(InputError) as caught:
        packed_all(tenants)
    file, folder = tmp_path / "t" / "one.yaml", tmp_path / "t"
    assert [f"{fault.where}: {fault.message}" for fault in caught.value.faults] == [
        f"{file}:3 configuration[0]: out.yaml is a link that leads out of {folder}",
        f"{folder}/bad.yaml:2: is not YAML: while parsing a flow node; expected the node content, but found "
        "'<stream end>'",
        f"{file}:3 configuration[2]: dir.yaml is not a file",
        f"{file}:3 configuration[3]: x.groovy is no file of configuration-as-code: its name ends with .yaml or .yml",
        f"{file}:3 configuration[4]: none.yaml cannot be read: No such file or directory",
    ]


def test_more_than_a_variable_should_hold(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text("a: " + base64.b64encode(os.urandom(60_000)).decode())
    with pytest.raises(InputError, match="KiB packed, and 64 at most go into a master's environment"):
        packed_all(read(tmp_path, one="large.yaml"))
