"""Pipeline scripts of the simple kind, read into steps.

Known: ``node``, ``stage``, ``sh``, ``echo``, ``sleep``, ``error``, ``parallel``, ``timeout``, ``retry``, ``dir``,
``withEnv``, and a declarative ``pipeline { agent .. stages { stage { steps { .. } } } }`` around them. Arguments are
strings (with ``$NAME`` and ``${env.NAME}`` in double quotes), numbers, booleans and lists of those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

STEPS = frozenset({
    "node", "stage", "sh", "echo", "sleep", "error", "parallel", "timeout", "retry", "dir", "withEnv",
    "pipeline", "agent", "label", "stages", "steps", "any", "none", "options", "environment",
})  # fmt: skip

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|//[^\n]*|/\*.*?\*/)
    |(?P<line>[\n;])
    |(?P<text>'''.*?'''|\"\"\".*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_.]*)
    |(?P<sign>[{}()\[\],:=])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class PipelineError(ValueError):
    """The script is none that the stand-in can run; the text says at which line."""


class Text(NamedTuple):
    """A string; ``filled``: names in it are replaced."""

    value: str
    filled: bool


@dataclass(slots=True)
class Step:
    """``body``: its block; ``branches``: those of parallel, by name."""

    name: str
    argument: Any = None
    named: dict[str, Any] = field(default_factory=dict)
    body: list[Step] | None = None
    branches: dict[str, list[Step]] = field(default_factory=dict)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def parse(script: str) -> list[Step]:
    """Raises PipelineError."""
    try:
        steps = _Parser(_tokens(script)).steps("")
    except IndexError as error:
        raise PipelineError("unexpected end of the script") from error
    except RecursionError as error:
        raise PipelineError("its blocks are too deep in each other") from error
    if len(steps) == 1 and steps[0].name == "pipeline":
        return _declarative(steps[0].body or [])
    return steps


def _tokens(script: str) -> list[_Token]:
    found, at, line = [], 0, 1
    while at < len(script):
        match = _TOKEN.match(script, at)
        if match is None:
            raise PipelineError(f"line {line}: {script[at : at + 20]!r} is nothing the stand-in knows")
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
        at = match.end()
    return [*found, _Token("end", "", line)]


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._at = tokens, 0

    def steps(self, end: str) -> list[Step]:
        """Up to ``end``, which is taken."""
        found: list[Step] = []
        while True:
            self._skip_lines()
            token = self._next()
            if token.text == end:
                return found
            if token.kind != "name" or token.text not in STEPS:
                raise PipelineError(f"line {token.line}: No such DSL method {token.text!r} found among steps")
            found.append(self._step(token.text))

    def _step(self, name: str) -> Step:
        step = Step(name)
        if self._peek().text == "(":
            self._at += 1
            self._arguments(step, ")")
        elif self._peek().kind in ("text", "number", "name") or self._peek().text == "[":
            self._arguments(step, "")
        self._block(step)
        return step

    def _block(self, step: Step) -> None:
        if self._peek().text == "{":
            self._at += 1
            step.body = self._variables() if step.name == "environment" else self.steps("}")

    def _variables(self) -> list[Step]:
        """``NAME = 'value'`` lines."""
        found: list[Step] = []
        while True:
            self._skip_lines()
            token = self._next()
            if token.text == "}":
                return found
            self._want("=")
            found.append(Step("environment", argument=self._value(), named={"name": token.text}))

    def _arguments(self, step: Step, end: str) -> None:
        """``value`` or ``name: value, ..`` up to ``end``, or to the line's where there is none."""
        while True:
            if end:
                self._skip_lines()
            if end and self._peek().text == end:
                break
            if self._tokens[self._at + 1].text == ":" and self._peek().kind in ("name", "text"):
                self._named(step)
            else:
                step.argument = self._value()
            if self._peek().text != ",":
                break
            self._at += 1
            self._skip_lines()
        if end:
            self._skip_lines()
            self._want(end)

    def _named(self, step: Step) -> None:
        token = self._next()
        name = _text(token.text).value if token.kind == "text" else token.text
        self._want(":")
        if self._peek().text == "{":
            self._at += 1
            step.branches[name] = self.steps("}")
        else:
            step.named[name] = self._value()

    def _value(self) -> Any:
        token = self._next()
        if token.kind == "text":
            return _text(token.text)
        if token.kind == "number":
            return float(token.text) if "." in token.text else int(token.text)
        if token.text in ("true", "false"):
            return token.text == "true"
        if token.text == "[":
            return self._list()
        if token.kind == "name":
            return Text("${" + token.text + "}", filled=True)
        raise PipelineError(f"line {token.line}: {token.text!r} is no value that the stand-in knows")

    def _list(self) -> list[Any]:
        found: list[Any] = []
        self._skip_lines()
        while self._peek().text != "]":
            found.append(self._value())
            self._skip_lines()
            if self._peek().text == ",":
                self._at += 1
                self._skip_lines()
        self._at += 1
        return found

    def _skip_lines(self) -> None:
        while self._peek().kind == "line":
            self._at += 1

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _want(self, sign: str) -> None:
        token = self._next()
        if token.text != sign:
            raise PipelineError(f"line {token.line}: expected {sign!r}, found {token.text!r}")


def _text(quoted: str) -> Text:
    size = 3 if quoted[:3] in ("'''", '"""') else 1
    inner = quoted[size:-size]
    filled = quoted[0] == '"'
    if filled:
        inner = inner.replace("\\$", "\0")
    inner = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), inner, flags=re.DOTALL)
    return Text(inner, filled)


def _declarative(sections: list[Step]) -> list[Step]:
    stages = next((one.body or [] for one in sections if one.name == "stages"), [])
    return _within_agent(sections, [_stage(one) for one in stages])


def _stage(stage: Step) -> Step:
    inner = stage.body or []
    steps = [step for one in inner if one.name == "steps" for step in one.body or []]
    nested = [_stage(step) for one in inner if one.name == "stages" for step in one.body or []]
    return Step("stage", stage.argument, body=_within_agent(inner, steps + nested))


def _within_agent(sections: list[Step], steps: list[Step]) -> list[Step]:
    variables = [
        Text(f"{one.named['name']}={_plain(one.argument)}", filled=True)
        for section in sections
        if section.name == "environment"
        for one in section.body or []
    ]
    if variables:
        steps = [Step("withEnv", variables, body=steps)]
    agent = next((one for one in sections if one.name == "agent"), None)
    if agent is None or _plain(agent.argument) == "${none}":
        return steps
    label = next((one.argument for one in agent.body or [] if one.name == "label"), None)
    return [Step("node", label, body=steps)]


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Text) else value


def fill(value: Any, variables: dict[str, str]) -> Any:
    """A value of a step with the names in it replaced; one that is not known is empty, as in a shell."""
    if isinstance(value, list):
        return [fill(one, variables) for one in value]
    if not isinstance(value, Text):
        return value
    if not value.filled:
        return value.value
    pattern = r"\$\{(?:env\.|params\.)?([A-Za-z_][A-Za-z0-9_]*)\}|\$(?:env\.|params\.)?([A-Za-z_][A-Za-z0-9_]*)"
    filled = re.sub(pattern, lambda found: variables.get(found[1] or found[2], ""), value.value)
    return filled.replace("\0", "$")
