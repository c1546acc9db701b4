"""What the person prefers: `config.toml`, written by them and never by keyturn."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn import ownfile
from keyturn.errors import UnparsableFile, UnsafeFile

Command = tuple[str, ...]
"""A program and its arguments; empty for none."""
_CORRECT = "Correct the file; README.md has its keys"


@dataclass(frozen=True, slots=True)
class Preferences:
    """The file's content; all of it may be left out."""

    mfa_command: Command = ()
    """Prints the current code of an MFA device; `{serial}` in it becomes the device's serial number or ARN."""
    mfa_commands: Mapping[str, Command] = field(default_factory=dict)
    """The same for one profile or one device, by its name or serial; an empty one switches it off there."""

    def code_command(self, profile: str, serial: str) -> Command:
        """What prints the code of `serial` for `profile`; the profile's own first. Empty where a person must type it."""
        for name in (profile, serial):
            if name in self.mfa_commands:
                return self.mfa_commands[name]
        return self.mfa_command


def load(path: Path) -> Preferences:
    """The preferences; the defaults where there is no file.

    :raises UnparsableFile: it is no such file.
    :raises UnsafeFile: it names a command, and others than its owner may write to it.
    """
    content = ownfile.read(path)
    if content is None:
        return Preferences()
    what = f"reading {path}"
    try:
        table = tomllib.loads(content.decode("utf-8"))
        found = Preferences(
            _command(table.get("mfa_command", ())),
            {name: _command(value) for name, value in _table(table.get("mfa_commands", {})).items()},
        )
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise UnparsableFile(what, str(error), _CORRECT, path=str(path)) from None
    if found != Preferences() and path.stat().st_mode & 0o022:
        why = "others may write to it, and it names a command that runs in your name"
        raise UnsafeFile(what, why, f"Run: chmod go-w {path}")
    return found


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("mfa_commands is no table of commands")  # noqa: TRY004  # told as one kind of fault with the rest
    return value


def _command(value: object) -> Command:
    """A list of words as it is; a text split as a POSIX shell splits it, and nothing else that a shell does."""
    if isinstance(value, str):
        return tuple(shlex.split(value))
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("mfa_command is neither a text nor a list of texts")
