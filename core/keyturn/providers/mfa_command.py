"""Execution of the user's `mfa_command`: without a shell, without credentials in its environment, and with a
time limit.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import IO

from keyturn.model.errors import KeyturnError
from keyturn.model.redaction import redacted
from keyturn.storage.config import Command

#: Time for the user to touch a YubiKey.
TIMEOUT_SECONDS = 10.0
_MAX_BYTES = 4096
#: Interval of the check for the program's exit, which its pipes may not show.
_POLL_SECONDS = 0.02
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
        process = subprocess.Popen(  # noqa: S603  # the user's own program, from a file that only the user can write
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=without_credentials(environ),
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CommandFailed(
            f"mfa_command {name}", f"it could not be started: {why}", "Correct config.toml"
        ) from None
    with process:
        try:
            stdout, stderr = _read_output(process, seconds)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if stderr is None:
        raise CommandFailed(f"mfa_command {name}", f"it took longer than {seconds:.0f} s", "Try again")
    if process.returncode != 0:
        raise CommandFailed(
            f"mfa_command {name}",
            f"it exited with {process.returncode}{_last_line(stderr)}",
            "Correct the command",
        )
    match = _CODE.fullmatch(stdout)
    if match is None:
        raise CommandFailed(f"mfa_command {name}", "it did not print six digits", "Correct config.toml")
    return match.group(1).decode("ascii")


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without AWS credentials and without keyturn's internal variables."""
    return {name: value for name, value in environ.items() if not name.startswith(("AWS_", "KEYTURN_"))}


def _read_output(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes | None]:
    """Return the start of a process's stdout and stderr until it exits; stderr is None if it did not exit in
    time.

    Pipes that a child process keeps open are not waited for.
    """
    assert process.stdout is not None  # noqa: S101  # both are pipes, requested above
    assert process.stderr is not None  # noqa: S101  # see above
    output: dict[IO[bytes], bytes] = {process.stdout: b"", process.stderr: b""}
    for pipe in output:
        os.set_blocking(pipe.fileno(), False)
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for pipe in output:
            selector.register(pipe, selectors.EVENT_READ, pipe)
        while True:
            has_exited = process.poll() is not None
            for key in list(selector.get_map().values()):
                if not _read(key.data, output):
                    selector.unregister(key.data)
            if has_exited:
                return output[process.stdout], output[process.stderr]
            left = deadline - time.monotonic()
            if left <= 0:
                return b"", None
            if selector.get_map():
                selector.select(min(left, _POLL_SECONDS))
            else:
                time.sleep(min(left, _POLL_SECONDS))


def _read(pipe: IO[bytes], output: dict[IO[bytes], bytes]) -> bool:
    """Read one chunk of a pipe into `output`. Return False at its end."""
    try:
        chunk = os.read(pipe.fileno(), _MAX_BYTES)
    except BlockingIOError:
        return True
    output[pipe] = (output[pipe] + chunk)[: _MAX_BYTES + 1]
    return chunk != b""


def _last_line(stderr: bytes | None) -> str:
    """Return the last line of stderr, with possible codes and secrets masked."""
    lines = (stderr or b"").decode("utf-8", "replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {redacted(_DIGITS.sub('******', last))[:120]}" if last else ""
