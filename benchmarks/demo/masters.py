"""The tenants' masters: their YAML, ``butlery tenants apply``, and a look at each through the ingress."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from benchmarks.cluster import Cluster, Say
from benchmarks.command import Butlery
from benchmarks.demo.builds import TENANTS
from benchmarks.demo.jenkins import Kind
from framework.errors import ButleryError

APPLY_TIMEOUT_S = 120.0
LOOK_TIMEOUT_S = 20.0
POLL_S = 0.2


def make(cluster: Cluster, kind: Kind, say: Say) -> dict[str, Any]:
    """The masters' figures by tenant: where each is, and what answers there.

    Raises ButleryError where one does not become healthy, or is not reached at its address.
    """
    folder = cluster.directory / "tenants"
    _write(folder, cluster.directory / "homes", kind)
    say(f"{len(TENANTS)} masters: {kind.what}")
    started = time.monotonic()
    applied = Butlery(cluster.directory).run(
        "tenants", "apply", str(folder), "--json", "--yes", timeout_s=APPLY_TIMEOUT_S, codes=(0, 1)
    )
    failed = [f"{one['tenant']}: {one['message']}" for one in applied.document["results"] if one["outcome"] != "done"]
    if failed:
        raise ButleryError("; ".join(failed))
    say(f"healthy after {time.monotonic() - started:.0f} s")
    ingress = cluster.now().ingress_url
    if ingress is None:
        return {"kind": "real" if kind.real else "stand-in", "addresses": {}}
    addresses = {}
    for tenant in TENANTS:
        addresses[tenant] = _look(ingress, tenant)
        say(f"  {tenant:10} {addresses[tenant]['url']}  answers {addresses[tenant]['status']}")
    return {"kind": "real" if kind.real else "stand-in", "addresses": addresses}


def _write(folder: Path, homes: Path, kind: Kind) -> None:
    """As an operator would keep them: one file each, and what they have in common."""
    homes.mkdir()
    folder.mkdir()
    defaults = {
        **kind.fields,
        "volume": {"host_path": f"{homes}/{{tenant}}", "shared": True},
        "constraints": [["hostname", "UNIQUE"]],
        "health": {"interval_s": 1, "grace_s": APPLY_TIMEOUT_S},
        "stop_timeout_s": 5,
    }
    (folder / "defaults.yaml").write_text(yaml.safe_dump(defaults, sort_keys=False))
    for tenant, weight in TENANTS.items():
        (homes / tenant).mkdir()
        # A path, which agents find too, where names below localhost are not known.
        described = {"weight": weight, "address": {"path": f"/{tenant}"}}
        (folder / f"{tenant}.yaml").write_text(yaml.safe_dump(described))


def _look(ingress: str, tenant: str) -> Mapping[str, Any]:
    """What HAProxy answers at the master's address, which is asked for until the route has followed."""
    address = urlsplit(ingress)
    url = f"http://{address.hostname}:{address.port}/{tenant}/"
    deadline = time.monotonic() + LOOK_TIMEOUT_S
    while True:
        try:
            status, jenkins = _asked(str(address.hostname), int(address.port or 80), f"/{tenant}/login")
        except (OSError, http.client.HTTPException) as error:
            status, jenkins = 0, str(error)
        if status == http.HTTPStatus.OK and jenkins:
            return {"url": url, "status": status, "jenkins": jenkins}
        if time.monotonic() > deadline:
            raise ButleryError(f"{url} does not lead to the master of {tenant}: {status} {jenkins or ''}")
        time.sleep(POLL_S)


def _asked(address: str, port: int, path: str) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(address, port, timeout=LOOK_TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("X-Jenkins")
    finally:
        connection.close()
