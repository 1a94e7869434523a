"""JENKINS_HOME, in Jenkins' layout: jobs, builds, nodes, queue.xml, secrets."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakes.jenkins.definitions import NodeDefinition, node_from_xml, node_xml

LOG = logging.getLogger("jenkins")

TOKEN_FILE = "butlery-api-token"
"""Below ``secrets/``: the API token of the user ``butlery``, made at the first start."""


class SavedItem(NamedTuple):
    """Of the queue. ``part``: of a Pipeline, its build's number and which step it is."""

    id: int
    job: str
    since_ms: int
    due_ms: int
    causes: list[str | None]
    parameters: dict[str, str]
    part: tuple[int, str] | None


class Home:
    """Raises OSError where the disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("jobs", "nodes", "secrets"):
            (path / name).mkdir(parents=True, exist_ok=True)
        (path / "secrets").chmod(0o700)
        self._agents_key = self._secret("jenkins.slaves.JnlpSlaveAgentProtocol.secret", lambda: secrets.token_hex(32))

    def node_secret(self, name: str) -> str:
        return hmac.new(self._agents_key.encode(), name.encode(), hashlib.sha256).hexdigest()

    def api_token(self) -> str:
        return self._secret(TOKEN_FILE, lambda: "11" + secrets.token_hex(16))

    def _secret(self, name: str, make: Any) -> str:
        path = self.path / "secrets" / name
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            made = str(make())
            write(path, made, mode=0o600)
            return made

    # Jobs and builds

    def jobs(self) -> Iterator[tuple[str, str, int]]:
        """Name, config.xml and next build number of each."""
        for path in sorted((self.path / "jobs").iterdir()):
            if (path / "config.xml").is_file():
                number = path / "nextBuildNumber"
                config = (path / "config.xml").read_bytes().decode("utf-8")
                yield path.name, config, int(number.read_text()) if number.exists() else 1

    def save_job(self, name: str, config: str, next_number: int) -> None:
        directory = self.path / "jobs" / name
        directory.mkdir(exist_ok=True)
        write(directory / "config.xml", config)
        write(directory / "nextBuildNumber", f"{next_number}\n")

    def save_next_number(self, name: str, number: int) -> None:
        write(self.path / "jobs" / name / "nextBuildNumber", f"{number}\n")

    def delete_job(self, name: str) -> None:
        shutil.rmtree(self.path / "jobs" / name)

    def build_directory(self, job: str, number: int) -> Path:
        return self.path / "jobs" / job / "builds" / str(number)

    def save_build(self, job: str, number: int, record: dict[str, Any]) -> None:
        write(self.build_directory(job, number) / "build.json", json.dumps(record))

    def builds(self, job: str) -> list[tuple[int, dict[str, Any]]]:
        """Oldest first; one that was cut before it was first saved is not there."""
        paths = (self.path / "jobs" / job).glob("builds/*/build.json")
        found = [(int(path.parent.name), json.loads(path.read_text())) for path in paths]
        return sorted(found, key=lambda one: one[0])

    # Nodes

    def nodes(self) -> list[NodeDefinition]:
        paths = sorted((self.path / "nodes").glob("*/config.xml"))
        return [node_from_xml(path.read_text()) for path in paths]

    def save_node(self, node: NodeDefinition) -> None:
        directory = self.path / "nodes" / node.name
        directory.mkdir(exist_ok=True)
        write(directory / "config.xml", node_xml(node))

    def delete_node(self, name: str) -> None:
        shutil.rmtree(self.path / "nodes" / name, ignore_errors=True)

    # The queue

    def save_queue(self, last_id: int, items: list[SavedItem]) -> None:
        """Jenkins does so when it is told to stop, not when it is killed."""
        root = ET.Element("queue", lastId=str(last_id))
        for item in items:
            one = ET.SubElement(root, "item", id=str(item.id), job=item.job)
            one.attrib.update(since=str(item.since_ms), due=str(item.due_ms))
            if item.part is not None:
                one.attrib.update(build=str(item.part[0]), step=item.part[1])
            for user in item.causes:
                ET.SubElement(one, "cause").text = user
            for name, value in item.parameters.items():
                ET.SubElement(one, "parameter", name=name).text = value
        write(self.path / "queue.xml", ET.tostring(root, encoding="unicode"))

    def take_queue(self) -> tuple[int, list[SavedItem]]:
        """What was saved, once: the file is queue.xml.bak from here on."""
        path = self.path / "queue.xml"
        if not path.exists():
            return 0, []
        text = path.read_text()
        path.replace(self.path / "queue.xml.bak")
        try:
            root = ET.fromstring(text)
        except ET.ParseError as error:
            LOG.warning("%s cannot be read: %s", path, error)
            return 0, []
        return int(root.get("lastId", "0")), [_item(one) for one in root]


def _item(one: ET.Element) -> SavedItem:
    given = one.attrib
    part = (int(given["build"]), given["step"]) if "build" in given else None
    causes = [cause.text for cause in one.iterfind("cause")]
    parameters = {each.get("name", ""): each.text or "" for each in one.iterfind("parameter")}
    return SavedItem(
        int(given["id"]), given["job"], int(given["since"]), int(given["due"]), causes, parameters, part
    )  # fmt: skip


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """All of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
    beside.replace(path)
