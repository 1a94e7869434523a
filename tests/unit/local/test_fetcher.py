"""mesos-fetcher, as the agent runs it."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framework.local import fetcher


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    path = tmp_path / "sandbox"
    path.mkdir()
    return path


class Served(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/short"):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"ended early")
        elif self.path.startswith("/odd"):
            self.wfile.write(b"SSH-2.0-x\r\n\r\n")
        elif self.path.startswith("/locked") and self.headers["Authorization"] != "Basic bWU6b3BlbiE=":
            self.send_error(401)
        elif self.path.startswith(("/file", "/locked")):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"served")
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def run(sandbox: Path, *items: dict[str, Any], **info: Any) -> subprocess.CompletedProcess[str]:
    body = {"sandbox_directory": str(sandbox), "items": list(items), **info}
    return subprocess.run(
        [sys.executable, "-I", "-S", fetcher.__file__],
        env={**os.environ, "MESOS_FETCHER_INFO": json.dumps(body)},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def uri(value: object, **fields: Any) -> dict[str, Any]:
    return {"action": "BYPASS_CACHE", "uri": {"value": str(value), **fields}}


def tar(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_path_and_a_file_url_are_copied(sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("one")
    done = run(sandbox, uri(tmp_path / "a b"), uri(f"file://{tmp_path}/a%20b", output_file="sub/two", executable=True))
    assert (done.returncode, done.stderr) == (0, "")
    assert (sandbox / "a b").read_text() == (sandbox / "sub/two").read_text() == "one"
    assert (sandbox / "sub/two").stat().st_mode & 0o777 == 0o755
    assert (sandbox / "a b").stat().st_mode & 0o111 == 0


def test_http_is_fetched(sandbox: Path, server: str) -> None:
    assert run(sandbox, uri(f"http://{server}/file?signature=secret")).returncode == 0
    assert (sandbox / "file").read_text() == "served"


def test_a_password_in_the_url_is_used(sandbox: Path, server: str) -> None:
    assert run(sandbox, uri(f"http://me:open%21@{server}/locked")).returncode == 0
    assert (sandbox / "locked").read_text() == "served"
    assert "401" in run(sandbox, uri(f"http://{server}/locked")).stderr


def test_archives_are_unpacked_unless_told_not_to(sandbox: Path, tmp_path: Path) -> None:
    packed = tar(tmp_path / "one.tar.gz", sub__file=b"in tar")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        info = zipfile.ZipInfo("program")
        info.external_attr = 0o755 << 16
        archive.writestr(info, "in zip")
    kept = tar(tmp_path / "three.tgz", three=b"")
    assert run(sandbox, uri(packed), uri(tmp_path / "two.zip"), uri(kept, extract=False)).returncode == 0
    assert (sandbox / "sub/file").read_bytes() == b"in tar"
    assert (sandbox / "program").stat().st_mode & 0o777 == 0o755
    assert (sandbox / "three.tgz").exists()
    assert not (sandbox / "three").exists()


def test_one_file_is_unpacked_beside_its_archive(sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "tool.gz").write_bytes(gzip.compress(b"a tool"))
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"a tool" * 1000)[:-12])
    done = run(sandbox, uri(tmp_path / "tool.gz", output_file="fetched/one", executable=True))
    assert (done.returncode, done.stderr) == (0, "")
    assert (sandbox / "tool").read_bytes() == b"a tool"
    done = run(sandbox, uri(tmp_path / "broken.gz"))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_nothing_is_unpacked_outside_the_sandbox(sandbox: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as zipped:
        zipped.writestr("../up", "")
    tarred = tar(tmp_path / "up.tar.gz", **{"..__up": b""})
    done = run(sandbox, uri(tmp_path / "link.tar"), uri(tmp_path / "up.zip"), uri(tarred))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 3
    assert not (tmp_path / "up").exists()
    assert not (sandbox / "link").exists()


def test_the_cache_is_filled_and_used(sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("first")
    cache = str(tmp_path / "cache")
    item = {"uri": {"value": str(tmp_path / "file"), "cache": True}, "cache_filename": "c1"}
    assert run(sandbox, {**item, "action": "DOWNLOAD_AND_CACHE"}, cache_directory=cache).returncode == 0
    (tmp_path / "file").write_text("second")
    assert run(sandbox, {**item, "action": "RETRIEVE_FROM_CACHE"}, cache_directory=cache).returncode == 0
    assert (sandbox / "file").read_text() == "first"
    assert run(sandbox, {**item, "action": "RETRIEVE_FROM_CACHE"}).returncode == 1


def test_faults_are_told_all_at_once_and_without_secrets(sandbox: Path, server: str) -> None:
    done = run(
        sandbox,
        uri(f"http://user:hunter2@{server}/missing?token=hunter2"),
        uri(f"http://{server}/short"),
        uri("ftp://host/file"),
        uri("/nowhere/file"),
        uri("/etc/passwd", output_file="../out"),
        uri("http://127.0.0.1:1/file"),
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 6
    assert "404" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
    assert list(sandbox.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [("odd?word=hush", "BadStatusLine"), ("file%00", "no file name"), ("fi\u00e9?word=hush", "UnicodeEncodeError")],
)
def test_odd_servers_and_names_are_faults_as_others(sandbox: Path, server: str, path: str, words: str) -> None:
    done = run(sandbox, uri(f"http://{server}/{path}"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("mesos-fetcher: ")
    assert words in line
    assert "hush" not in line


def test_archives_that_cannot_be_unpacked_are_faults(sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tar.xz").write_bytes(lzma.compress(b"x" * 99999)[:-9])
    (tmp_path / "bad.gz").write_bytes(gzip.compress(b"x" * 99999)[:-9])
    with zipfile.ZipFile(tmp_path / "locked.zip", "w") as packed:
        packed.writestr("in", "side")
    raw = bytearray((tmp_path / "locked.zip").read_bytes())
    for start in (raw.index(b"PK\x03\x04") + 6, raw.index(b"PK\x01\x02") + 8):
        raw[start] |= 1  # encrypted
    (tmp_path / "locked.zip").write_bytes(raw)
    names = ("bad.tar.xz", "bad.gz", "locked.zip")
    done = run(sandbox, *(uri(tmp_path / name) for name in names))
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == [str(tmp_path / name) for name in names]


def test_what_mesos_would_not_say_is_refused(sandbox: Path) -> None:
    for words in ("", "[]", '{"items": []}', "{"):
        done = subprocess.run(
            [sys.executable, fetcher.__file__],
            env={"MESOS_FETCHER_INFO": words},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert "MESOS_FETCHER_INFO" in done.stderr
        assert "Traceback" not in done.stderr


def test_files_are_handed_to_the_tasks_user(sandbox: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    me = sandbox.owner()
    user = "nobody" if me == "root" else me  # only root gives files away
    assert run(sandbox, uri(tmp_path / "file", output_file="sub/file"), user=user).returncode == 0
    assert {path.owner() for path in sandbox.rglob("*")} == {user}
    assert sandbox.owner() == me
