"""A registry of one Docker image on 127.0.0.1 that asks who one is (Docker's registry API, version 2)."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
from pathlib import Path

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class ImageRegistry:
    """Has ``image``, which is this host's static busybox; ``pulls`` counts who asked for it by its tag."""

    def __init__(self, user: str, password: str) -> None:
        layer = _layer()
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {"Env": ["FROM=registry"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }).encode()  # fmt: skip
        told = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": _digest(config)},
            "layers": [{"mediaType": LAYER, "size": len(layer), "digest": _digest(layer)}],
        }
        self._manifest = json.dumps(told).encode()
        self._blobs = {_digest(one): one for one in (layer, config)}
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.pulls = 0
        registry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry._answer(self)

            def do_HEAD(self) -> None:
                registry._answer(self)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.image = f"127.0.0.1:{self._server.server_port}/team/tool:1"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, call: http.server.BaseHTTPRequestHandler) -> None:
        if call.headers.get("Authorization") != self._authorization:
            call.send_response(401)
            call.send_header("WWW-Authenticate", 'Basic realm="test"')
            call.send_header("Content-Length", "0")
            call.end_headers()
            return
        kind, body = "application/json", b"{}"
        name = call.path.rpartition("/")[2]
        if "/manifests/" in call.path:
            kind, body = MANIFEST, self._manifest
            self.pulls += call.command == "HEAD" or name == "1"
        elif "/blobs/" in call.path:
            kind, body = "application/octet-stream", self._blobs[name]
        call.send_response(200)
        call.send_header("Content-Type", kind)
        call.send_header("Docker-Content-Digest", _digest(body))
        call.send_header("Content-Length", str(len(body)))
        call.end_headers()
        if call.command == "GET":
            call.wfile.write(body)


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("bin")
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)
        busybox = tarfile.TarInfo("bin/busybox")
        data = Path("/bin/busybox").read_bytes()
        busybox.size, busybox.mode = len(data), 0o755
        tar.addfile(busybox, io.BytesIO(data))
        link = tarfile.TarInfo("bin/sh")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
