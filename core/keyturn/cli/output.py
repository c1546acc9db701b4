"""Output of the commands: escaped lines, JSON, tables, and the exit code for several names."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from keyturn.model.errors import KeyturnError
from keyturn.model.labels import consent_command
from keyturn.model.text import cells, safe

#: Version of every `--json` output.
VERSION = 1
#: Seconds. Opening the vault usually takes less than one.
SLOW_SECONDS = 3.0
#: Maximum width of a table cell in characters. `--json` does not truncate.
MAX_CELL_WIDTH = 72


def say(*lines: str, err: bool = False) -> None:
    """Print lines to stdout, or to stderr."""
    for line in lines:
        click.echo(safe(line), err=err)


def warn(text: str) -> None:
    """Print one line to stderr, prefixed with the program's name."""
    click.echo(f"keyturn: {safe(text)}", err=True)


def unconfirmed_line(name: str) -> str:
    """Return the warning about a profile whose `session = none` was never confirmed."""
    return (
        f"{name}: session = none in profiles.toml is not confirmed, so it gets temporary sessions. "
        f"Run: {consent_command(name)}"
    )


@contextmanager
def tell_if_slow(what: str) -> Iterator[Callable[[], None]]:
    """Print one line on a terminal's stderr if the block takes longer than :data:`SLOW_SECONDS`. Yield a
    function that the block may call as soon as the work is done and something else follows.

    :param what: the work that CPU time is needed for, as in `Opening the vault`.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda: None
        return
    text = f"{what} takes longer than usual, because this machine is busy or slow. Ctrl+C cancels."
    timer = threading.Timer(SLOW_SECONDS, warn, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield timer.cancel
    finally:
        timer.cancel()


def emit(table: dict[str, Any]) -> None:
    """Print an object as JSON to stdout, with its version. ASCII only, so that no string reaches the terminal
    unescaped."""
    click.echo(json.dumps({"version": VERSION, **table}, indent=2, ensure_ascii=True))


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table with two spaces between the columns. The first row is the heading."""
    clean = [[safe(text, limit=MAX_CELL_WIDTH) for text in texts] for texts in rows]
    widths = [max(cells(row[column]) for row in clean) for column in range(len(clean[0]))]
    for row in clean:
        padded = (cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def for_each(names: Iterable[str], action: Callable[[str], None]) -> int:
    """Call `action` for every name, print the errors, and return the exit code.

    For one name it is the code of its error or 0. For several it is 1 if any failed, else 4 if any needs
    interaction, else 0.
    """
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
