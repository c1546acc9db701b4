"""What kind of terminal this is, decided once from the environment and the options."""

from __future__ import annotations

import os
import termios
from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.model.text import ASCII, UNICODE, Glyphs


@dataclass(frozen=True, slots=True)
class Options:
    """How the app was started."""

    read_only: bool = False
    """No act that writes or fetches is offered."""
    ascii: bool = False
    mouse: bool = True
    filter: str = ""
    """The filter that the list starts with."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What may be sent to the terminal."""

    glyphs: Glyphs
    ascii: bool
    ssh: bool
    no_color: bool
    mouse: bool
    animation: bool
    """Whether anything may move by itself; off over SSH."""


def terminal_for(environ: Mapping[str, str], options: Options) -> Terminal:
    """The terminal that `environ` describes.

    ASCII where asked for, on a terminal that is known for no more (`linux`, `dumb`), or where the locale is not UTF-8.
    `NO_COLOR` counts when it is not empty (no-color.org).
    """
    is_ascii = options.ascii or environ.get("TERM", "") in ("linux", "dumb") or not _is_utf8(environ)
    ssh = bool(environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))
    return Terminal(
        glyphs=ASCII if is_ascii else UNICODE,
        ascii=is_ascii,
        ssh=ssh,
        no_color=bool(environ.get("NO_COLOR")),
        mouse=options.mouse,
        animation=not ssh and environ.get("TEXTUAL_ANIMATIONS", "").lower() != "none",
    )


def ensure_terminal_size(descriptor: int) -> None:
    """Makes a terminal that does not know its size (0 x 0: a serial line, `script` without a terminal) 80x24; Textual
    draws without end on such a one."""
    columns, lines = os.get_terminal_size(descriptor)
    if columns <= 0 or lines <= 0:
        termios.tcsetwinsize(descriptor, (24, 80))


def _is_utf8(environ: Mapping[str, str]) -> bool:
    """Whether the locale says UTF-8: the first of LC_ALL, LC_CTYPE and LANG that is set decides, as in setlocale(3).

    `C` and no locale at all count as UTF-8 too, as Python's own UTF-8 mode does for `C` (PEP 540): many containers and
    SSH sessions set none, while their terminal shows UTF-8.
    """
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        value = environ.get(name, "")
        if value:
            charset = value.partition("@")[0].partition(".")[2].lower().replace("-", "")
            return charset == "utf8" or value in ("C", "POSIX")
    return True
