"""Console script: choose and run a front end. Imports only parts of the standard library until the choice is
made."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from keyturn_tui.terminal.capabilities import Options

_FAILED = 1
_INTERRUPTED = 130
_PRINTS_AND_ENDS = frozenset({"--help", "-h", "--version", "-V"})
#: Variables of Python that load no code.
_HARMLESS = frozenset(
    {
        "PYTHONCOERCECLOCALE",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONHASHSEED",
        "PYTHONIOENCODING",
        "PYTHONUNBUFFERED",
        "PYTHONUTF8",
        "PYTHON_COLORS",
    }
)
_SECRET_BY_DESCRIPTOR = ("--passphrase-fd", "--recovery-key-fd")


def main(argv: Sequence[str] | None = None) -> int:
    """Run keyturn with the arguments after the program name and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    is_program = argv is None
    if sys.platform == "win32":
        _write_stderr("keyturn does not run on Windows yet. Use WSL.")
        return _FAILED
    try:
        _open_standard_descriptors()
        code = _try_agent(words)
        if code is None and is_program:
            _ignore_python_variables()
        if code is None:
            code = _run_front_end(words)
        _flush()
        return code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _replace_by_devnull(1, os.O_WRONLY)  # because the interpreter would report the lost reader on exit
        return _FAILED
    except Exception as error:  # noqa: BLE001 - boundary of the program: one line for the user, no traceback
        try:
            _flush()
        except OSError:
            _replace_by_devnull(1, os.O_WRONLY)
        return _report(error)


def _try_agent(words: list[str]) -> int | None:
    """Answer `credential-process NAME` from a running agent (the fast path). Return None for anything
    else."""
    if words[:1] != ["credential-process"]:
        return None
    from keyturn.agent.rpc_client import credential_process
    from keyturn.system.prctl import disable_dumps

    disable_dumps()
    code = credential_process(words[1:], os.environ)
    if code is None and not any(word.startswith(_SECRET_BY_DESCRIPTOR) for word in words):
        # Some SDKs pass a pipe that is never written or closed; no child process may wait for it.
        _replace_by_devnull(0, os.O_RDONLY)
    return code


def _ignore_python_variables() -> None:
    """Start this program again without Python's own variables, if one is set that loads or runs other code:
    this process may read a passphrase, and an `.envrc` may set them for any program. The variables stay in
    the environment for the programs that keyturn executes."""
    if sys.flags.ignore_environment or not sys.executable or not sys.orig_argv[1:]:
        return
    if any(name.startswith("PYTHON") and name not in _HARMLESS for name in os.environ):
        os.execv(sys.executable, [sys.executable, "-EP", *sys.orig_argv[1:]])  # noqa: S606 - this program itself


def _run_front_end(words: list[str]) -> int:
    from keyturn.system.hardening import harden_process, require_descriptors

    harden_process()
    require_descriptors()
    own_words = words[: words.index("--")] if "--" in words else words
    if "--sandbox" in own_words:
        words.remove("--sandbox")
        return _in_sandbox(words)
    return _run(words)


def _run(words: list[str]) -> int:
    from pathlib import Path

    from keyturn.storage.raw_paths import state_folder
    from keyturn.system import log

    log.open_log(Path(state_folder(os.environ)))
    options = _app_options(words)
    if options is None:
        from keyturn import cli
        from keyturn_tui import restore_environment

        restore_environment()
        return cli.run_verb(words) or 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        from keyturn.model.errors import UsageError

        raise UsageError(
            "Could not start the app",
            "stdin or stdout is not a terminal",
            "For other commands, run: keyturn --help",
        )
    from keyturn_tui.app import run

    return run(options) or 0


def _app_options(words: Sequence[str]) -> Options | None:
    """Return the app's options if `words` holds nothing else, None if they belong to the command line."""
    if words and not words[0].startswith("-"):
        return None
    from keyturn_tui.terminal.capabilities import Options

    filter_text: str | None = ""
    flags: set[str] = set()
    remaining = iter(words)
    for word in remaining:
        name, equals, value = word.partition("=")
        if name == "--filter":
            filter_text = value if equals else next(remaining, None)
        else:
            flags.add(word)
    if filter_text is None or flags - {"--read-only", "--ascii", "--no-mouse"}:
        return None
    return Options(
        read_only="--read-only" in flags,
        ascii="--ascii" in flags,
        mouse="--no-mouse" not in flags,
        filter=filter_text,
    )


def _in_sandbox(words: list[str]) -> int:
    """Run with a sandboxed AWS, home and agent. All are removed afterwards, also on SIGHUP and SIGTERM."""
    import signal
    from pathlib import Path

    from keyturn.agent.shutdown import lock_all
    from keyturn.model.errors import UsageError
    from keyturn.storage.raw_paths import socket_paths
    from keyturn_sandbox import Sandbox
    from keyturn_sandbox.seed_managed import furnish

    if words[:1] == ["exec"]:
        # exec replaces this process, which runs the AWS stand-in.
        raise UsageError(
            "--sandbox exec",
            "the sandbox ends when exec replaces the process of keyturn",
            "Start keyturn --sandbox, then run the command that it shows in another shell",
        )

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, end)
    with Sandbox() as sandbox:
        os.environ.clear()
        os.environ.update(sandbox.environ)
        try:
            if not _PRINTS_AND_ENDS.intersection(words):
                if sys.stderr.isatty():
                    _write_stderr("Creating a sandbox (takes a few seconds) ...")
                _without_typeahead(lambda: furnish(sandbox, os.environ))
            return _run(words)
        finally:
            lock_all(Path(path) for path in socket_paths(os.environ))


def _without_typeahead(callback: Callable[[], None]) -> None:
    """Run a callback with echo off and discard what is typed, because there is no prompt yet that could take
    it."""
    import termios

    if sys.stdin is None or not sys.stdin.isatty():
        callback()
        return
    terminal = sys.stdin.fileno()
    original, no_echo = termios.tcgetattr(terminal), termios.tcgetattr(terminal)
    no_echo[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, no_echo)
    try:
        callback()
    finally:
        termios.tcflush(terminal, termios.TCIFLUSH)
        termios.tcsetattr(terminal, termios.TCSANOW, original)


def _report(error: Exception) -> int:
    from pathlib import Path

    from keyturn.model.errors import KeyturnError
    from keyturn.model.text import safe
    from keyturn.storage.raw_paths import state_folder
    from keyturn.system import log

    if isinstance(error, KeyturnError):
        _write_stderr(f"keyturn: {error.line()}")
        return error.exit_code
    log.open_log(Path(state_folder(os.environ)))
    log.record_unexpected(error)
    if isinstance(error, OSError) and error.strerror:
        _write_stderr(f"keyturn: System error: {safe(error.strerror)}. See keyturn.log in the state folder.")
        return _FAILED
    _write_stderr("keyturn: Internal error. See keyturn.log in the state folder.")
    return _FAILED


def _write_stderr(line: str) -> None:
    text = f"{line}\n".encode(sys.getfilesystemencoding(), "backslashreplace")
    try:
        os.write(2, text)
    except OSError:
        return


def _open_standard_descriptors() -> None:
    """Open missing standard descriptors on /dev/null. Otherwise the next file or socket would get number 0, 1
    or 2 and receive what is meant for the terminal."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            # The kernel gives the lowest free number, and all below are taken.
            os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - a positional-only parameter
            stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - open until the process ends
            setattr(sys, name, stream)


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _replace_by_devnull(descriptor: int, flags: int) -> None:
    """Redirect a standard descriptor to /dev/null."""
    devnull = os.open(os.devnull, flags)
    os.dup2(devnull, descriptor)
    os.close(devnull)
