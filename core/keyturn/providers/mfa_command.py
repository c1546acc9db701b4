"""Execution of the user's `mfa_command`: without a shell, without credentials in its environment, and with a
time limit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from keyturn.model.errors import KeyturnError
from keyturn.model.redaction import redacted
from keyturn.storage.config import Command
from keyturn.system import foreign_program
from keyturn.system.foreign_program import End

#: Time for the user to touch a YubiKey.
TIMEOUT_SECONDS = 10.0
_MAX_BYTES = 4096
_CODE = re.compile(rb"([0-9]{6})\s*")
#: Six digits or more, also in groups.
_DIGITS = re.compile(r"\d(?:[^\w\n]?\d){5,}")


class CommandFailed(KeyturnError):
    """The command yielded no code. `what` names the command, `why` the reason."""


def run(command: Command, serial: str, environ: Mapping[str, str], seconds: float = TIMEOUT_SECONDS) -> str:
    """Return the code that `command` prints for a device.

    :raises CommandFailed: if it does not start, fails, takes longer than `seconds`, or prints anything but
        six digits.
    """
    name = command[0]
    if serial.startswith("-"):
        raise CommandFailed(
            f"mfa_command {name}", f"the serial {serial} looks like an option", "Correct mfa_serial"
        )
    if "/" in name and not name.startswith("/"):
        raise CommandFailed(
            f"mfa_command {name}",
            "it is neither an absolute path nor a name without slashes",
            "Correct config.toml",
        )
    argv = [name, *(argument.replace("{serial}", serial) for argument in command[1:])]
    try:
        result = foreign_program.run(
            argv, foreign_program.Limits(seconds, _MAX_BYTES), environ=without_credentials(environ), cwd="/"
        )
    except foreign_program.CannotStart as failure:
        why = getattr(failure.error, "strerror", None) or str(failure.error)
        raise CommandFailed(
            f"mfa_command {name}", f"it could not be started: {why}", "Correct config.toml"
        ) from None
    if result.end is End.TOO_LATE:
        raise CommandFailed(f"mfa_command {name}", f"it took longer than {seconds:.0f} s", "Try again")
    if result.status not in (0, None):
        raise CommandFailed(
            f"mfa_command {name}",
            f"it exited with {result.status}{_last_line(result.stderr)}",
            "Correct the command",
        )
    match = _CODE.fullmatch(result.stdout)
    if match is None:
        raise CommandFailed(f"mfa_command {name}", "it did not print six digits", "Correct config.toml")
    return match.group(1).decode("ascii")


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without AWS credentials and without keyturn's internal variables."""
    return {name: value for name, value in environ.items() if not name.startswith(("AWS_", "KEYTURN_"))}


def _last_line(stderr: bytes) -> str:
    """Return the last line of stderr, with possible codes and secrets masked."""
    lines = stderr.decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {redacted(_DIGITS.sub('******', last))[:120]}" if last else ""
