"""User settings: `config.toml`, written by the user and never by keyturn."""

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
from keyturn.model.file_limits import MAX_OWN_BYTES

Command = tuple[str, ...]
"""A program and its arguments; empty for none."""
_SETTINGS = ("mfa_command", "mfa_commands", "forward")
_HINT = "Correct the file; README.md lists its settings"


@dataclass(frozen=True, slots=True)
class Config:
    """Content of `config.toml`. Every setting is optional."""

    mfa_command: Command = ()
    """Command that prints the current code of an MFA device. `{serial}` is replaced with the device's
    serial number or ARN.
    """
    mfa_commands: Mapping[str, Command] = field(default_factory=dict)
    """The same for one profile or device, by profile name or serial. An empty command disables it there."""

    forward: tuple[str, ...] = ()
    """Profiles whose temporary credentials the forwarded socket gives to a remote host."""

    def code_command(self, profile: str, serial: str) -> Command:
        """Return the command that prints the code of `serial` for `profile`; the profile's own command
        takes precedence. Empty if the user must type the code.
        """
        for name in (profile, serial):
            if name in self.mfa_commands:
                return self.mfa_commands[name]
        return self.mfa_command


def load(path: Path) -> Config:
    """Return the settings, or the defaults if there is no file.

    :raises UnparsableFile: if the file is invalid.
    :raises UnsafeFile: if it is not a regular file, or if it contains any setting and another user could have
        written it.
    """
    what = f"Could not read {path}"
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
        raise UnsafeFile(
            what,
            f"{unsafe[0]}, and it defines the commands that keyturn runs and the profiles that it forwards",
            unsafe[1],
        )
    return config


def _read(path: Path) -> tuple[bytes, tuple[str, str] | None]:
    """Return the file's bytes and, if another user could have written them, the reason and a hint. Both
    describe the same open file.

    :raises FileNotFoundError: if there is no file.
    :raises UnsafeFile: if it is not a regular file, or too long.
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
                raise UnsafeFile(f"Could not read {path}", "it is not a regular file", "Move it away")
            reasons = (
                _unsafe_reason(path, "it", status),
                _unsafe_reason(real_path.parent, "its folder", os.fstat(folder)),
                _unsafe_reason(path.parent, "its folder", path.parent.stat()),
            )
            content = file.read(MAX_OWN_BYTES + 1)
            if len(content) > MAX_OWN_BYTES:
                raise UnsafeFile(f"Could not read {path}", "it is too long", "Remove what is not needed")
            return content, next(filter(None, reasons), None)
    finally:
        os.close(folder)


def _unsafe_reason(path: Path, label: str, status: os.stat_result) -> tuple[str, str] | None:
    """Return the reason why other users could have written the path, and a hint, or None. root is trusted,
    because it can do anything.
    """
    if status.st_uid not in (0, os.geteuid()):
        return f"{label} belongs to another user (uid {status.st_uid})", f"Change the owner of {path}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others can write to {label}", f"Run: chmod go-w {path}"
    return None


def _require_known(table: Mapping[str, object]) -> None:
    """Reject unknown settings, because a misspelled setting would be ignored silently.

    :raises ValueError: if there is one.
    """
    unknown = next((key for key in table if key not in _SETTINGS), None)
    if unknown is not None:
        raise ValueError(f"unknown setting: {unknown}. Valid: {', '.join(_SETTINGS)}")


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("forward must be a list of profiles")
    return tuple(value)


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("mfa_commands must be a table of commands")  # noqa: TRY004  # load() expects ValueError
    return value


def _command(value: object) -> Command:
    """Return a list unchanged, or a string split like a POSIX shell, without any expansion.

    :raises ValueError: if `value` is neither.
    """
    if isinstance(value, str):
        return tuple(shlex.split(value))
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise ValueError("mfa_command must be a string or a list of strings")
