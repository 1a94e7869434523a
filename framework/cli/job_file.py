"""A job as options and a YAML file say it, made into what the API takes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from framework.api.checks import COMMAND_MAX_BYTES
from framework.catalog.repository import FILE as REPOSITORY_FILE
from framework.documents import Document, read_document
from framework.errors import Fault, InputError

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class Draft:
    """A job being put together: first the file's fields, then options over them, with every fault kept."""

    def __init__(self, document: Document | None) -> None:
        self._document = document
        self._overrides: Document | None = None  # the repository's own file
        self._faults: list[Fault] = []
        data = document.data if document is not None else {}
        if not isinstance(data, dict):
            self._faults.append(Fault(document.source if document else "", "must be a mapping of fields to values"))
            data = {}
        self.body: dict[str, Any] = dict(data)

    def put(self, field: str, value: object) -> None:
        """An option goes before the file's field; where it was not given, the file's stays."""
        if value is not None:
            self.body[field] = value

    def put_git(self, url: str | None, ref: str | None) -> None:
        given = {key: value for key, value in (("url", url), ("ref", ref)) if value is not None}
        if given:
            self.body["git"] = self._under("git") | given

    def put_command(
        self, command: str | None, script: Path | None, jenkinsfile: Path | None, jenkinsfile_path: str | None
    ) -> None:
        """Any of these options takes the place of all of the file's fields of what to run."""
        if all(given is None for given in (command, script, jenkinsfile, jenkinsfile_path)):
            return
        for field in ("command", "script", "jenkinsfile", "jenkinsfile_path"):
            self.body.pop(field, None)
        self.put("command", command)
        self.put("jenkinsfile_path", jenkinsfile_path)
        if script is not None:
            self.put("script", self._text(script, "--script"))
        if jenkinsfile is not None:
            self.put("jenkinsfile", self._text(jenkinsfile, "--jenkinsfile"))
            self._put_overrides(jenkinsfile.parent / REPOSITORY_FILE)

    def _put_overrides(self, path: Path) -> None:
        """What the repository's own file asks for, where there is one and the job says nothing of it."""
        if "overrides" in self.body or not path.exists():
            return
        try:
            self._overrides = read_document(path)
        except InputError as error:
            self._faults += error.faults
        else:
            self.body["overrides"] = self._overrides.data

    def put_list(self, field: str, values: Sequence[object]) -> None:
        if values:
            self.body[field] = list(values)

    def put_pairs(
        self, field: str, option: str, pairs: Sequence[str], read: Callable[[str], str] | None = None
    ) -> None:
        """``NAME=VALUE`` each, added to the file's; ``read`` makes the value of the text after ``=``."""
        added: dict[str, str] = {}
        for number, pair in enumerate(pairs, start=1):
            name, equals, value = pair.partition("=")
            if not equals or not name:
                # The text is not repeated: somebody who forgot the name may have given the secret.
                which = f"number {number} of {len(pairs)} " if len(pairs) > 1 else ""
                self._faults.append(Fault(option, f"{which}must be NAME=VALUE"))
            elif name in added:
                self._faults.append(Fault(option, f"{name} stands twice"))
            else:
                added[name] = read(value) if read is not None else value
        if added:
            self.body[field] = self._under(field) | added

    def put_secrets(self, from_environment: Sequence[str], from_files: Sequence[str]) -> None:
        """Secrets by the names of variables of this process and by ``NAME=FILE``: never on the command line."""
        found = {}
        for name in from_environment:
            if name in os.environ:
                found[name] = os.environ[name]
            else:
                self._faults.append(Fault("--secret-env", f"{name} is not set in this environment"))
        if found:
            self.body["secrets"] = self._under("secrets") | found
        self.put_pairs(
            "secrets", "--secret-file", from_files, lambda path: self._text(Path(path), "--secret-file").rstrip("\n")
        )

    def finished(self) -> dict[str, Any]:
        """The whole job. Raises InputError with every fault."""
        if self._faults:
            raise InputError(self._faults)
        return self.body

    def placed(self, faults: Sequence[Fault]) -> list[Fault]:
        """The server's faults, those of fields that the file has with their line in it."""
        return [Fault(self._place(fault.where), fault.message) for fault in faults]

    def _place(self, where: str) -> str:
        path = tuple(int(index) if index else name for index, name in _STEP.findall(where))
        if self._overrides is not None and path[:1] == ("overrides",):
            return self._overrides.where(path[1:])
        if self._document is None or not path or path[:1] not in self._document.lines:
            return where
        return self._document.where(path)

    def _under(self, field: str) -> dict[str, Any]:
        present = self.body.get(field)
        return dict(present) if isinstance(present, Mapping) else {}

    def _text(self, path: Path, option: str) -> str:
        try:
            with path.open("rb") as file:
                text = file.read(COMMAND_MAX_BYTES + 1)
            if len(text) <= COMMAND_MAX_BYTES:
                return text.decode()
            message = f"{path} has more than {COMMAND_MAX_BYTES >> 10} KiB; put it into the repository"
        except OSError as error:
            message = f"{path} cannot be read: {error.strerror}"
        except ValueError:
            message = f"{str(path)!r} is not UTF-8 text"
        self._faults.append(Fault(option, message))
        return ""
