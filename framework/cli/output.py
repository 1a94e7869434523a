"""What commands print: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from framework.errors import Fault

RESULT_STYLES = {"passed": "green", "cancelled": "dim", "infrastructure": "magenta"}
"""Colours of how a build ended; red for the others."""
STATE_STYLES = {"running": "cyan", "launching": "cyan", "ending": "yellow", "waiting": "yellow"}
_WIDTH_UNKNOWN = 200
"""Columns of what goes into a file or pipe."""


def say(text: str) -> None:
    """A line for the person, away from what a program reads."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say_faults(faults: Iterable[Fault]) -> None:
    for fault in faults:
        say(printable(f"  {fault.where}: {fault.message}" if fault.where else f"  {fault.message}"))


def printable(text: str) -> str:
    """Without what would command a terminal; lines stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=not _is_utf8()) + "\n")


def print_long_json(value: Mapping[str, Any]) -> None:
    """As ``print_json``, sooner: msgspec alone takes as long to load as a short object to print."""
    if _is_utf8():
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    else:
        print_json(value)


def print_line(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Numbers go to the right; where there are no rows only the heading is printed.

    A terminal that is too narrow breaks the lines itself: an id that is folded within its column cannot be copied. Laid
    out here, since Rich takes a second for a thousand rows.
    """
    from rich.cells import cell_len
    from rich.console import COLOR_SYSTEMS
    from rich.style import Style
    from rich.text import Text

    screen = console()
    colours = None if screen.color_system is None or screen.no_color else COLOR_SYSTEMS[screen.color_system]
    listed = [list(row) for row in rows]
    to_the_right = [_of_numbers(listed, at) for at in range(len(columns))]
    lines = [[(column, "bold") for column in columns]]
    lines += (
        [(cell.plain, str(cell.style)) if isinstance(cell, Text) else (one_line(str(cell)), "") for cell in row]
        for row in listed
    )
    widths = [max(cell_len(line[at][0]) for line in lines) for at in range(len(columns))]
    for line in lines:
        shown = []
        for (text, style), width, right in zip(line, widths, to_the_right, strict=True):
            space = " " * (width - cell_len(text))
            word = Style.parse(style).render(text, color_system=colours) if colours and style else text
            shown.append(space + word if right else word + space)
        screen.file.write("  ".join(shown).rstrip() + "\n")


def console() -> Console:
    from rich.console import Console

    return Console(soft_wrap=False, width=None if sys.stdout.isatty() else _WIDTH_UNKNOWN, highlight=False)


def one_line(text: str) -> str:
    """Text such as a file's name, which may hold anything, on one line of a terminal."""
    return printable(text).replace("\n", "\\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> Table:
    """A table of cells, which are Rich texts, numbers, or texts that are shown as they are."""
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    found = Table(box=None, pad_edge=False, title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        found.add_column(column, justify="right" if _of_numbers(listed, index) else "left", overflow="fold")
    for row in listed:
        found.add_row(*(cell if isinstance(cell, Text) else Text(one_line(str(cell))) for cell in row))
    return found


def _of_numbers(rows: Sequence[Sequence[Any]], index: int) -> bool:
    return bool(rows) and all(isinstance(row[index], int | float) for row in rows)


def outcome(job: Mapping[str, Any]) -> Any:
    """How a job stands in one coloured word: its result's class, else its state."""
    from rich.text import Text

    result = job.get("result")
    if result:
        word = str(result["result_class"])
        return Text(printable(word), RESULT_STYLES.get(word, "red"))
    return Text(printable(str(job["state"])), STATE_STYLES.get(str(job["state"]), ""))


def seconds(value: float | None) -> str:
    """A length of time as people say it, such as ``1m05s``; ``-`` where there is none."""
    if value is None:
        return "-"
    if value < 60:
        return f"{max(value, 0.0):.1f}s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"


def since(start: float | None, end: float | None) -> float | None:
    """Seconds from ``start`` to ``end``, or until now; None where it has not started."""
    return None if start is None else (end if end is not None else time.time()) - start


def clock(at: float | None) -> str:
    """A time, of seconds since the epoch, as it is here; ``-`` where there is none."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def amount(value: float | None) -> str:
    """A number without needless digits; ``-`` where there is none."""
    return "-" if value is None else f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"


def money(micros: int | None, currency: str) -> str:
    """Millionths of a currency as people write amounts: two decimals, or two digits of less than a hundredth."""
    if micros is None:
        return "-"
    value = micros / 1_000_000
    decimals = 2 if micros >= 10_000 or not micros else min(6, 8 - len(str(micros)))
    return f"{value:.{decimals}f} {currency}".rstrip()


def brief(text: str, most: int = 60) -> str:
    """A name that somebody else chose, short enough for a table."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
