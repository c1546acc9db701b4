"""Capabilities of the terminal, determined once from the environment and the options."""

from __future__ import annotations

import codecs
import os
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TextIO

from keyturn.model.text import ASCII, UNICODE, Glyphs


@dataclass(frozen=True, slots=True)
class Options:
    """Command line options of the app."""

    read_only: bool = False
    """Refuse actions that write or fetch."""
    ascii: bool = False
    mouse: bool = True
    filter: str = ""
    """Initial filter of the list."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Capabilities of the terminal that decide what is sent to it."""

    glyphs: Glyphs
    ascii: bool
    no_color: bool
    animation: bool
    """Allow animations; off over SSH."""


def terminal_for(environ: Mapping[str, str], options: Options, encoding: str = "utf-8") -> Terminal:
    """Return the terminal that `environ` describes.

    ASCII is used if requested, on terminals without Unicode (`linux`, `dumb`), or if the locale or the stream
    is not UTF-8. `NO_COLOR` counts if it is not empty (no-color.org).

    :param encoding: of the stream that the app draws to, which `PYTHONIOENCODING` may set.
    """
    has_unicode = _is_utf8(environ) and codecs.lookup(encoding).name == "utf-8"
    is_ascii = options.ascii or environ.get("TERM", "") in ("linux", "dumb") or not has_unicode
    ssh = bool(environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))
    return Terminal(
        glyphs=ASCII if is_ascii else UNICODE,
        ascii=is_ascii,
        no_color=bool(environ.get("NO_COLOR")),
        animation=not ssh and environ.get("TEXTUAL_ANIMATIONS", "").lower() != "none",
    )


def prepare_stream(stream: TextIO) -> str:
    """Let a stream that is not UTF-8 replace a character by one that it can show, instead of by an escape of
    several, which would break the layout. Return the stream's encoding.
    """
    if isinstance(stream, TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
        stream.reconfigure(errors="replace")
    return stream.encoding


def ensure_terminal_size(descriptor: int) -> None:
    """Set the size to 80x24 on a terminal that reports 0 x 0 (a serial line, `script` without a terminal),
    because Textual draws without end on such a terminal."""
    columns, lines = os.get_terminal_size(descriptor)
    if columns <= 0 or lines <= 0:
        termios.tcsetwinsize(descriptor, (24, 80))


def _is_utf8(environ: Mapping[str, str]) -> bool:
    """Return True if the locale is UTF-8. The first of LC_ALL, LC_CTYPE and LANG that is set decides, as in
    setlocale(3).

    `C` and an unset locale count as UTF-8, as in Python's UTF-8 mode (PEP 540), because many containers and
    SSH sessions set none although their terminal shows UTF-8.
    """
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or "C"
    charset = locale.partition("@")[0].partition(".")[2].lower().replace("-", "")
    return charset == "utf8" or locale in ("C", "POSIX")
