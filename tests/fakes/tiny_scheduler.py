#!/usr/bin/env python3
"""Stands in for the scheduler where only its being a process matters: answers /v1/health on the port of its settings.

usage: tiny_scheduler.py SETTINGS_FILE [WORDS]; with WORDS it says them and ends with 1, as one that cannot start.
"""

import http.server
import sys
from pathlib import Path

import yaml


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"ok": true}'
        self.send_response(200 if self.path == "/v1/health" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(sys.argv[2])
    api = yaml.safe_load(Path(sys.argv[1]).read_text())["api"]
    http.server.ThreadingHTTPServer((api["host"], api["port"]), Handler).serve_forever()
