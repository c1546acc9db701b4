"""What the person prefers: `config.toml`, written by them and never by keyturn."""

from __future__ import annotations

import os
import shlex
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyturn.model.errors import UnparsableFile, UnsafeFile

Command = tuple[str, ...]
"""A program and its arguments; empty for none."""
_SETTINGS = ("mfa_command", "mfa_commands", "forward")
_HINT = "Correct the file; README.md has its keys"


@dataclass(frozen=True, slots=True)
class Config:
    """The file's content; all of it may be left out."""

    mfa_command: Command = ()
    """Prints the current code of an MFA device; `{serial}` in it becomes the device's serial number or ARN."""
    mfa_commands: Mapping[str, Command] = field(default_factory=dict)
    """The same for one profile or one device, by its name or serial; an empty one switches it off there."""

    forward: tuple[str, ...] = ()
    """The profiles whose temporary credentials a forwarded socket gives to the far end of an SSH line."""

    def code_command(self, profile: str, serial: str) -> Command:
        """What prints the code of `serial` for `profile`; the profile's own first. Empty where a person must type it."""
        for name in (profile, serial):
            if name in self.mfa_commands:
                return self.mfa_commands[name]
        return self.mfa_command


def load(path: Path) -> Config:
    """The preferences; the defaults where there is no file.

    :raises UnparsableFile: it is no such file.
    :raises UnsafeFile: it is no file; or it names a command or what is forwarded, and somebody else may decide what it says.
    """
    what = f"reading {path}"
    try:
        content, unsafe = _read(path)
    except FileNotFoundError:
        return Config()
    try:
        table = tomllib.loads(content.decode("utf-8"))
        _require_known(table)
        config = Config(
            _command(table.get("mfa_command", ())),
            {name: _command(value) for name, value in _table(table.get("mfa_commands", {})).items()},
            _names(table.get("forward", [])),
        )
    except (ValueError, RecursionError) as error:
        raise UnparsableFile(what, str(error), _HINT, path=str(path)) from None
    if config != Config() and unsafe is not None:
        raise UnsafeFile(what, f"{unsafe[0]}, and it names what is run or given away in your name", unsafe[1])
    return config


def _read(path: Path) -> tuple[bytes, tuple[str, str] | None]:
    """The file's bytes, and why somebody else may have written them, with what to do; of the very file that is read.

    :raises FileNotFoundError: there is none.
    :raises UnsafeFile: it is no regular file.
    """
    real_path = Path(os.path.realpath(path))
    folder = os.open(real_path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        handle = os.open(
            real_path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise UnsafeFile(f"reading {path}", "it is no regular file", "Move it away")
            reasons = (
                _unsafe_reason(path, "it", status),
                _unsafe_reason(real_path.parent, "its folder", os.fstat(folder)),
                _unsafe_reason(path.parent, "its folder", path.parent.stat()),
            )
            return file.read(), next(filter(None, reasons), None)
    finally:
        os.close(folder)


def _unsafe_reason(path: Path, label: str, status: os.stat_result) -> tuple[str, str] | None:
    """Why others could have written what is there; root, who may do anything, is not meant."""
    if status.st_uid not in (0, os.geteuid()):
        return f"{label} belongs to another user (uid {status.st_uid})", f"Change the owner of {path}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to {label}", f"Run: chmod go-w {path}"
    return None


def _require_known(table: Mapping[str, object]) -> None:
    """A setting that is misspelled would otherwise be missed without a word."""
    unknown = next((key for key in table if key not in _SETTINGS), None)
    if unknown is not None:
        raise ValueError(f"there is no setting {unknown}; there are {', '.join(_SETTINGS)}")


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("forward is no list of profiles")
    return tuple(value)


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
