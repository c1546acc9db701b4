"""What a verb prints: lines made harmless, JSON, tables, and the choice of exit code for several names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from keyturn.model.errors import KeyturnError
from keyturn.model.text import cells, safe

#: The version of every `--json` output.
VERSION = 1
#: Of a cell of a table, in characters; `--json` has it whole.
MAX_CELL_WIDTH = 72


def say(text: str) -> None:
    """One line on stdout."""
    click.echo(safe(text))


def warn(text: str) -> None:
    """One line on stderr, under the program's name."""
    click.echo(f"keyturn: {safe(text)}", err=True)


def emit(table: dict[str, Any]) -> None:
    """An object as JSON on stdout, with its version; ASCII only, so that no string of it reaches a terminal raw."""
    click.echo(json.dumps({"version": VERSION, **table}, indent=2, ensure_ascii=True))


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Rows as a table with two spaces between; the first row is the heading. A column is as wide as its widest cell."""
    clean = [[safe(text, limit=MAX_CELL_WIDTH) for text in texts] for texts in rows]
    widths = [max(cells(row[column]) for row in clean) for column in range(len(clean[0]))]
    for row in clean:
        padded = (cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def for_each(names: Iterable[str], action: Callable[[str], None]) -> int:
    """Does `act` for every name, prints the errors, and gives the exit code: 1 if any failed, else 4 if any needs a
    person, else 0. A single name's own code stands."""
    codes = []
    for name in names:
        try:
            action(name)
        except KeyturnError as error:
            warn(error.line())
            codes.append(error.exit_code)
        else:
            codes.append(0)
    if len(codes) == 1:
        return codes[0]
    if any(code not in (0, 4) for code in codes):
        return 1
    return 4 if 4 in codes else 0
