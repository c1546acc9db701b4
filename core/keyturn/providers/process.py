"""Sessions of a profile's own `credential_process`: run the program, and say why it gave none."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from keyturn.aws.process_answer import AnswerRefused, is_whole, read_answer, secrets_in
from keyturn.aws.response_limit import MAX_PROCESS_BYTES
from keyturn.model.chain import MAX_CHAIN
from keyturn.model.errors import Parts, ProfileBroken, Remedy, UsageError
from keyturn.model.profile import Credentials, Kind, Profile
from keyturn.model.redaction import redacted
from keyturn.storage.managed_profiles import ManagedProfiles
from keyturn.system import foreign_program
from keyturn.system.foreign_program import CannotStart, Children, End, Limits, Result
from keyturn.system.terminal_loan import TerminalLoan

#: Seconds that a program may take; the AWS SDK for Go gives it as many.
DEFAULT_SECONDS = 60
MIN_SECONDS, MAX_SECONDS = 1, 600
#: Lines, and characters in all, that are shown of a program's own words.
_WORD_LINES, _WORD_CHARS = 3, 300


def timeout(text: str) -> int:
    """Return the value of the setting `timeout`, in seconds.

    :raises UsageError: if it is not a whole number in the range.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 10 and _is_in_range(int(text))):
        raise UsageError(
            f"Invalid value for timeout: {text}", "", f"Use seconds from {MIN_SECONDS} to {MAX_SECONDS}"
        )
    return int(text)


def _is_in_range(seconds: int) -> bool:
    return MIN_SECONDS <= seconds <= MAX_SECONDS


def seconds_for(definitions: ManagedProfiles, path: Sequence[str]) -> int:
    """Return the time limit of the program at the end of a chain: the `timeout` of the nearest managed
    profile that has one, or the default.

    :param path: the profiles of the chain, that of the program last.
    :raises UsageError: if the value in `profiles.toml` is out of range.
    """
    name = owner(definitions, path)
    seconds = definitions[name].timeout if name is not None else None
    if name is None or seconds is None:
        return DEFAULT_SECONDS
    if not _is_in_range(seconds):
        raise UsageError(
            f"Invalid timeout of {name}: {seconds}",
            f"it is not from {MIN_SECONDS} to {MAX_SECONDS} seconds",
            Remedy("set", name, "timeout=SECONDS"),
        )
    return seconds


def owner(definitions: ManagedProfiles, path: Sequence[str]) -> str | None:
    """Return the managed profile of a chain whose `timeout` applies, or to which it can be given: the nearest
    to the program that has one, else the nearest; None if none is managed.
    """
    managed = [name for name in reversed(path) if name in definitions]
    return next(
        (name for name in managed if definitions[name].timeout is not None), next(iter(managed), None)
    )


def path_to_program(
    definitions: ManagedProfiles, natives: Mapping[str, Profile], name: str
) -> tuple[str, ...]:
    """Return the chain from a profile to the one whose `credential_process` runs for it; empty if there is
    none.
    """
    path: list[str] = []
    following: str | None = name
    while following is not None and following not in path and len(path) <= MAX_CHAIN:
        path.append(following)
        definition, native = definitions.get(following), natives.get(following)
        if definition is not None:
            following = None if definition.key else definition.source_profile
        elif native is not None and native.kind is Kind.PROCESS:
            return tuple(path)
        else:
            following = native.chain[0] if native is not None and native.chain else None
    return ()


def credentials(
    line: str, path: Sequence[str], definitions: ManagedProfiles, clock: Callable[[], datetime]
) -> Credentials:
    """Run the program of a `credential_process` and return the credentials that it prints.

    It gets this process's environment, working directory and terminal, as under botocore.

    :param line: the setting, split into words as botocore does, without a shell.
    :param path: the profiles of the chain, that of the program last.
    :raises ProfileBroken: if it prints none that are valid now.
    :raises WaitCancelled: if nobody waits for them any more.
    """
    profile = path[-1]
    try:
        argv = shlex.split(line)
    except ValueError:
        raise _broken(profile, "its credential_process has a quote that is not closed", _CORRECT) from None
    if not argv:
        raise _broken(profile, "its credential_process is empty", _CORRECT)
    limits = Limits(seconds_for(definitions, path), MAX_PROCESS_BYTES)
    terminal = TerminalLoan.available()
    # A program in a session of its own would take the keys that are typed for another one.
    stdin = subprocess.DEVNULL if terminal is None and os.isatty(0) else None
    try:
        result = foreign_program.run(
            argv, limits, stdin=stdin, terminal=terminal, is_complete=is_whole, children=Children.KEEP
        )
    except CannotStart as failure:
        fault, hint = start_fault(argv[0], failure.error)
        raise _broken(profile, f"its credential_process {argv[0]} {fault}", hint) from None
    try:
        if result.end is not End.EXITED or result.status != 0:
            raise AnswerRefused(_end_fault(result, limits))
        found = read_answer(result.stdout)
        if found.expires is not None and found.expires <= clock():
            expired = f"printed a session that expired at {found.expires:%Y-%m-%d %H:%M:%S} UTC"
            raise AnswerRefused(expired, "Check this machine's clock and what the program caches")
    except AnswerRefused as error:
        managed = owner(definitions, path) if result.end is End.TOO_LATE else None
        more: Parts = ("Allow it more: ", Remedy("set", managed, "timeout=SECONDS")) if managed else ()
        hints = [*more, *((". ",) if more else ()), *((f"{error.hint}. ",) if error.hint else ())]
        why = f"its credential_process {argv[0]} {error.fault}{_own_words(result)}"
        raise _broken(profile, why, (*hints, f"To try it, run: {_command(profile, argv)}")) from None
    return found


_CORRECT = "Correct it in the shared files"


def _broken(profile: str, why: str, hint: str | Parts) -> ProfileBroken:
    return ProfileBroken(f"Could not get credentials of {profile}", why, hint)


def _command(profile: str, argv: Sequence[str]) -> str:
    """Return the command that runs the program. Its arguments may hold a password, so they are not shown."""
    if len(argv) == 1:
        return shlex.quote(argv[0])
    return f'sh -c "$(aws configure get credential_process --profile {shlex.quote(profile)})"'


def start_fault(program: str, error: OSError | ValueError) -> tuple[str, str]:
    """Return why a program could not be started, to follow its name, and the correction."""
    number = error.errno if isinstance(error, OSError) else None
    is_path = "/" in program
    fault, hint = f"could not be started: {getattr(error, 'strerror', None) or error}", _CORRECT
    if number in (errno.ENOENT, errno.ENOTDIR) and is_path and os.path.isfile(program):  # noqa: PTH113  # no error for a folder that cannot be read
        fault, hint = "names an interpreter in its first line that was not found", "Correct that line"
    elif number in (errno.ENOENT, errno.ENOTDIR) and program.startswith(("~", "$")):
        fault, hint = "was not found", f"Write its whole path, because {program[0]} is not expanded"
    elif number in (errno.ENOENT, errno.ENOTDIR):
        fault, hint = (
            "was not found",
            f"Install it, or {'correct its' if is_path else 'write its whole'} path",
        )
    elif number == errno.EACCES and os.path.isdir(program):  # noqa: PTH112  # see above
        fault, hint = "is a folder", "Write the path of a program"
    elif number == errno.EACCES:
        fault = "is not executable"
        hint = f"Run: chmod u+x {shlex.quote(program)}" if is_path else "Make it executable"
    elif number == errno.ENOEXEC:
        fault, hint = "is not a program of this system", "A script begins with a line such as #!/bin/sh"
    return fault, hint


def _end_fault(result: Result, limits: Limits) -> str:
    """Return why a program has no answer, to follow its name."""
    if result.end is End.TOO_LATE:
        return f"took longer than {limits.seconds:g} s"
    if result.end is End.TOO_LONG:
        if len(result.stdout) > limits.stdout_bytes:
            return f"printed more than {limits.stdout_bytes // 1024} KiB"
        return f"wrote more than {foreign_program.MAX_STDERR_BYTES >> 20} MiB to stderr"
    status = result.status or 0
    if status > 0:
        return f"exited with {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _own_words(result: Result) -> str:
    """Return the last lines that a program wrote to stderr, after a colon, without secrets."""
    text = result.stderr.decode("utf-8", "replace")
    for secret in sorted(secrets_in(result.stdout), key=len, reverse=True):
        text = text.replace(secret, "***")
    lines = [line.strip() for line in redacted(text).splitlines() if line.strip()]
    words = " | ".join(lines[-_WORD_LINES:])
    return f": {words[:_WORD_CHARS]}{'…' if len(words) > _WORD_CHARS else ''}".rstrip(".") if words else ""
