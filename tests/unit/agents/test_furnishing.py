"""Files and volumes in a workspace, whatever its checkout has put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.executor import furnishing
from agents.executor.furnishing import FurnishError, link_volumes, mounts, unlinkable, write_files
from agents.spec import VolumeSpec


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    made.mkdir()
    return made


def test_files_are_written_in_place_of_what_is_there(workspace: Path) -> None:
    (workspace / "Jenkinsfile").write_text("of the checkout")
    write_files(str(workspace), {"Jenkinsfile": "given ü", "a/b/c.txt": "deep"}, None)
    assert (workspace / "Jenkinsfile").read_text() == "given ü"
    assert (workspace / "a" / "b" / "c.txt").read_text() == "deep"


def test_no_link_of_the_checkout_is_followed(workspace: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("theirs")
    (workspace / "up").symlink_to(outside)
    (workspace / "file").symlink_to(outside / "file")
    with pytest.raises(FurnishError, match="'up/file' cannot be written"):
        write_files(str(workspace), {"up/file": "mine"}, None)
    write_files(str(workspace), {"file": "mine"}, None)
    assert (outside / "file").read_text() == "theirs"
    assert (workspace / "file").read_text() == "mine"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a/", "a//b", "./x", "a\0b"])
def test_a_path_that_leads_elsewhere_is_refused(workspace: Path, path: str) -> None:
    with pytest.raises(FurnishError, match="no path below the workspace") as caught:
        write_files(str(workspace), {path: "x"}, None)
    assert caught.value.result_class == "failed"
    assert list(workspace.iterdir()) == []


def test_too_much_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furnishing, "MAX_FILE_BYTES", 1 << 20)
    write_files(str(workspace), {"Jenkinsfile": (1 << 20) * "x"}, None)
    with pytest.raises(FurnishError, match="or 1 MiB are given"):
        write_files(str(workspace), {"Jenkinsfile": (1 << 20) * "x", "more": "x"}, None)
    with pytest.raises(FurnishError, match="more than 100 files"):
        write_files(str(workspace), {str(number): "" for number in range(101)}, None)


def test_volumes_are_links(workspace: Path, tmp_path: Path) -> None:
    source = tmp_path / "cache"
    source.mkdir()
    wanted = [VolumeSpec(str(source), ".m2/repository"), VolumeSpec(str(source), "/var/cache")]
    link_volumes(str(workspace), wanted, None)
    assert (workspace / ".m2" / "repository").readlink() == source
    assert (workspace / "var" / "cache").readlink() == source
    with pytest.raises(FurnishError, match="File exists"):
        link_volumes(str(workspace), [VolumeSpec(str(source), ".m2/repository")], None)
    with pytest.raises(FurnishError, match="is no directory of this host") as caught:
        link_volumes(str(workspace), [VolumeSpec(str(tmp_path / "none"), "x")], None)
    assert caught.value.result_class == "infrastructure"


def test_what_takes_a_container() -> None:
    assert unlinkable([VolumeSpec("/a", "b")]) == ""
    assert unlinkable([VolumeSpec("/a", "b", read_only=True)]) == "read-only volume /a"
    assert unlinkable([VolumeSpec("cache", "b")]) == "volume cache of a Docker engine"


def test_volumes_as_an_engine_has_them() -> None:
    found = mounts([VolumeSpec("/a", "b", read_only=True), VolumeSpec("cache", "/c")], "/butlery/workspace")
    assert found == [
        {"Type": "bind", "Source": "/a", "Target": "/butlery/workspace/b", "ReadOnly": True},
        {"Type": "volume", "Source": "cache", "Target": "/c", "ReadOnly": False},
    ]
