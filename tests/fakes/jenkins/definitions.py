"""The config.xml of jobs and of nodes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.sax.saxutils import escape

_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>\s*")  # of XML 1.1, which expat does not read


class DefinitionError(ValueError):
    """It is no job that the stand-in knows."""


@dataclass(frozen=True, slots=True)
class Parameter:
    kind: Literal["String", "Boolean", "Choice", "Text", "Password"]
    name: str
    default: str
    choices: tuple[str, ...] = ()

    @property
    def value_class(self) -> str:
        plain = {"Boolean": "Boolean", "Text": "Text", "Password": "Password"}
        return f"hudson.model.{plain.get(self.kind, 'String')}ParameterValue"


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """``label`` is the expression as written; ``quiet_s`` None: the master's own."""

    pipeline: bool
    description: str
    label: str | None = None
    concurrent: bool = True
    disabled: bool = False
    quiet_s: float | None = None
    commands: tuple[str, ...] = ()
    script: str = ""
    parameters: tuple[Parameter, ...] = ()


def without_declaration(config: str) -> str:
    return _DECLARATION.sub("", config)


def job_definition(config: str) -> JobDefinition:
    """Raises DefinitionError."""
    try:
        root = ET.fromstring(without_declaration(config))
    except ET.ParseError as error:
        raise DefinitionError(str(error)) from error
    shared: dict[str, Any] = {
        "description": root.findtext("description") or "",
        "disabled": _true(root.findtext("disabled")),
        "parameters": tuple(_parameters(root)),
    }
    quiet = root.findtext("quietPeriod")
    shared["quiet_s"] = float(quiet) if quiet else None
    if root.tag == "project":
        roams = root.findtext("assignedNode") is None or _true(root.findtext("canRoam"))
        return JobDefinition(
            pipeline=False,
            label=None if roams else root.findtext("assignedNode"),
            concurrent=_true(root.findtext("concurrentBuild")),
            commands=tuple(one.text or "" for one in root.iterfind("builders/hudson.tasks.Shell/command")),
            **shared,
        )
    if root.tag == "flow-definition":
        forbidden = "properties/org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty"
        return JobDefinition(
            pipeline=True,
            label="built-in",
            concurrent=root.find(forbidden) is None,
            script=root.findtext("definition/script") or "",
            **shared,
        )
    raise DefinitionError(f"{root.tag} is not a kind of job here")


def _parameters(root: ET.Element) -> list[Parameter]:
    found = []
    holder = "properties/hudson.model.ParametersDefinitionProperty/parameterDefinitions"
    for one in root.find(holder) or ():
        kind = one.tag.removeprefix("hudson.model.").removesuffix("ParameterDefinition")
        if kind not in ("String", "Boolean", "Choice", "Text", "Password"):
            raise DefinitionError(f"{one.tag} is not a kind of parameter here")
        choices = tuple(choice.text or "" for choice in one.iter("string"))
        default = one.findtext("defaultValue") or (choices[0] if choices else "")
        found.append(Parameter(kind, one.findtext("name") or "", default, choices))  # type: ignore[arg-type]
    return found


@dataclass(frozen=True, slots=True)
class NodeDefinition:
    """``launcher``: whether the definition names one (inbound); ``tunnel`` is its ``HOST:PORT``."""

    name: str
    remote_fs: str
    description: str | None = None
    executors: int = 1
    exclusive: bool = False
    label: str = ""
    launcher: bool = False
    web_socket: bool = False
    tunnel: str = ""
    retention: str | None = None
    internal_dir: str = "remoting"
    labels: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", frozenset([*self.label.split(), self.name]))


def node_from_form(name: str, form: str) -> NodeDefinition:
    """Of the form field ``json`` of /computer/doCreateItem. Raises DefinitionError."""
    try:
        given = json.loads(form)
        launcher = given.get("launcher") or {}
        work_dir = launcher.get("workDirSettings") or {}
        retention = given.get("retentionStrategy") or {}
        return NodeDefinition(
            name=name,
            remote_fs=given.get("remoteFS") or "",
            description=given.get("nodeDescription") or None,
            executors=int(given.get("numExecutors") or 1),
            exclusive=given.get("mode") == "EXCLUSIVE",
            label=given.get("labelString") or "",
            launcher=bool(launcher),
            web_socket=bool(launcher.get("webSocket")),
            tunnel=launcher.get("tunnel") or "",
            retention=retention.get("$class") or retention.get("stapler-class"),
            internal_dir=work_dir.get("internalDir") or "remoting",
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise DefinitionError(f"the form's json is no node: {error}") from error


def node_xml(node: NodeDefinition) -> str:
    """As Jenkins writes it to nodes/NAME/config.xml."""
    lines = ['<?xml version="1.1" encoding="UTF-8"?>', "<slave>", _line("name", node.name)]
    if node.description is not None:
        lines.append(_line("description", node.description))
    lines += [
        _line("remoteFS", node.remote_fs),
        _line("numExecutors", str(node.executors)),
        _line("mode", "EXCLUSIVE" if node.exclusive else "NORMAL"),
    ]
    if node.retention is not None:
        lines.append(f'  <retentionStrategy class="{escape(node.retention)}"/>')
    if node.launcher:
        lines += [
            '  <launcher class="hudson.slaves.JNLPLauncher">',
            "    <workDirSettings>",
            "      <disabled>false</disabled>",
            f"  {_line('internalDir', node.internal_dir).replace('  ', '    ', 1)}",
            "      <failIfWorkDirIsMissing>false</failIfWorkDirIsMissing>",
            "    </workDirSettings>",
            *([f"  {_line('tunnel', node.tunnel)}"] if node.tunnel else []),
            f"    <webSocket>{str(node.web_socket).lower()}</webSocket>",
            "  </launcher>",
        ]
    return "\n".join([*lines, _line("label", node.label), "  <nodeProperties/>", "</slave>"])


def node_from_xml(text: str) -> NodeDefinition:
    """The reverse of ``node_xml``. Raises DefinitionError."""
    try:
        root = ET.fromstring(without_declaration(text))
    except ET.ParseError as error:
        raise DefinitionError(f"the definition of a node is no XML: {error}") from error
    retention = root.find("retentionStrategy")
    return NodeDefinition(
        name=root.findtext("name") or "",
        remote_fs=root.findtext("remoteFS") or "",
        description=root.findtext("description"),
        executors=int(root.findtext("numExecutors") or 1),
        exclusive=root.findtext("mode") == "EXCLUSIVE",
        label=root.findtext("label") or "",
        launcher=root.find("launcher") is not None,
        web_socket=_true(root.findtext("launcher/webSocket")),
        tunnel=root.findtext("launcher/tunnel") or "",
        retention=retention.get("class") if retention is not None else None,
        internal_dir=root.findtext("launcher/workDirSettings/internalDir") or "remoting",
    )


def _line(name: str, value: str) -> str:
    return f"  <{name}>{escape(value)}</{name}>"


def _true(text: str | None) -> bool:
    return (text or "").strip() == "true"
