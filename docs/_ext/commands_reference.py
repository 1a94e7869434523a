"""The directive ``commands``: every command of the program with its arguments and options, from the program itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from framework.cli.program import Commands


class CommandsDirective(SphinxDirective):
    """Replaced by the description of all commands."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # commands come from several packages
        program = Commands(name="butlery")
        lines = [line for name in program.list_commands(None) for line in command_lines(program, name, "butlery")]
        return self.parse_text_to_nodes(StringList(lines, source="butlery --help"), allow_section_headings=True)


def command_lines(group: Any, name: str, above: str) -> Iterator[str]:
    """reStructuredText for one command and, of a group, for all below it."""
    command = group.get_command(None, name)
    words = f"{above} {name}"
    below = getattr(command, "commands", {})
    if above == "butlery":
        yield from (f"``{words}``", "-" * (len(words) + 4), "")
    if below:
        yield from (*_prose(command.help), "")
        for inner in below:
            yield from command_lines(command, inner, words)
        return
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    yield from (f"``{' '.join([words, *(_placeholder(param) for param in arguments)])}``", "")
    for line in _prose(command.help):
        yield f"    {line}"
    yield ""
    for param in [*arguments, *(param for param in command.params if param not in arguments)]:
        if getattr(param, "hidden", False) or "--help" in param.opts:
            continue
        yield from (f"    {_heading(param)}", f"        {' '.join(_prose(getattr(param, 'help', '')))}", "")


def _prose(text: str | None) -> list[str]:
    """Help is Markdown; of that, only code differs here."""
    return inspect.cleandoc(text or "").replace("``", "`").replace("`", "``").replace("*", "\\*").splitlines()


def _placeholder(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _heading(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"``{_placeholder(param)}``"
    names = ", ".join(f"``{name}``" for name in (*param.opts, *param.secondary_opts))
    value = "" if getattr(param, "is_flag", False) else f" ``{_placeholder(param)}``"
    return names + value + (" (required)" if param.required else "")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("commands", CommandsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
