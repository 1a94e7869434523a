"""A real Prometheus, of Debian, as a child process on a free port of 127.0.0.1."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from framework.cli.dashboards import FILES
from framework.errors import UnavailableError
from framework.local.cluster import free_port
from framework.local.server_process import ServerProcess


class PrometheusServer:
    """Scrapes what ``scrape`` names, a second or so apart, and knows the alerts that we ship."""

    def __init__(self, directory: Path, scrape: list[dict[str, Any]]) -> None:
        if shutil.which("prometheus") is None:
            pytest.fail("prometheus is missing: .ci/packages test", pytrace=False)
        directory.mkdir()
        rules = directory / "alerts.yml"
        rules.write_text((FILES / "prometheus" / "butlery-alerts.yml").read_text())
        config = directory / "prometheus.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(rules)],
                    "scrape_configs": scrape,
                }
            )
        )
        port = free_port()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10.0, trust_env=False)
        self._process = ServerProcess(
            "Prometheus",
            directory,
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            directory / "prometheus.pid",
            directory / "prometheus.log",
            self._ask,
        )

    def _ask(self) -> None:
        try:
            self._http.get("/-/ready").raise_for_status()
        except httpx.HTTPError as error:
            raise UnavailableError(str(error)) from error

    def start(self) -> None:
        self._process.start()
        self._process.wait_ready()

    def stop(self) -> None:
        self._http.close()
        self._process.stop()

    def get(self, path: str, **parameters: str) -> Any:
        """``data`` of the answer of its API. AssertionError where it is none, or has warnings."""
        answer = self._http.get(f"/api/v1/{path}", params=parameters)
        told = answer.json()
        assert (told["status"], told.get("warnings")) == ("success", None), f"{parameters}: {answer.text[:1000]}"
        return told["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def names(self) -> set[str]:
        """Of all that it scraped."""
        return set(self.get("label/__name__/values"))


def checked_by_promtool(page: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=30, check=False
    )
