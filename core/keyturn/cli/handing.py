"""Verbs that hand a session to one program: exec, env."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta
from typing import NoReturn

import click

from keyturn.agent.client import TTY_NOTE
from keyturn.cli import serving
from keyturn.cli.options import opens_vault
from keyturn.cli.person import Opening
from keyturn.delivery import credential_process, environment
from keyturn.delivery.environment import Change, Shell
from keyturn.errors import NotFound, Protected, UsageError
from keyturn.hardening import limits_of_before
from keyturn.secret import Secret
from keyturn.settings import seconds_of

#: Tells a prompt, or a script, whose session it has.
MARK = "KEYTURN_PROFILE"
_MIN_LEFT = click.option(
    "--min-left", metavar="TIME", help="Renew it first unless it lives so long: 45m, 1h30m."
)
_CODE = click.option("--mfa-code", metavar="CODE", help="The six digits that the MFA device shows now.")


@click.command("exec")
@click.argument("profile")
@click.argument("command", nargs=-1, metavar="[-- CMD...]", type=click.UNPROCESSED)
@_MIN_LEFT
@_CODE
@click.option(
    "--endpoint",
    "as_endpoint",
    is_flag=True,
    help="Renew it for as long as CMD runs: CMD gets no keys, but an address on this machine to ask for them.",
)
@click.option(
    "--token-env",
    is_flag=True,
    help="With --endpoint, for AWS SDKs from before 2024: its token in the environment, not in a file.",
)
@opens_vault
def exec_(
    opening: Opening,
    *,
    profile: str,
    command: tuple[str, ...],
    min_left: str | None,
    mfa_code: str | None,
    as_endpoint: bool,
    token_env: bool,
) -> None:
    """Run a command, or a shell, with a session of PROFILE in its environment.

    Whatever else AWS clients would take from the environment is removed. The session is not renewed while CMD runs,
    unless with --endpoint.
    """
    if token_env and not as_endpoint:
        raise UsageError("exec", "--token-env goes with --endpoint only", "Add --endpoint")
    if command and not command[0]:
        raise UsageError("exec", "the command is empty", "Name a program after --, or nothing for a shell")
    program = command or (os.environ.get("SHELL") or "/bin/sh",)
    if not as_endpoint:
        change = _change(opening, profile, min_left, mfa_code)
        _become(program, {**environment.applied(change, os.environ), MARK: profile})
    serving.require_effect(opening.keeper, profile)
    first = _document(opening, profile, min_left, mfa_code)
    with serving.environment_for(opening.keeper, profile, first, in_file=not token_env) as environ:
        _become(program, {**environ, MARK: profile})


@click.command("env")
@click.argument("profile")
@click.option(
    "--shell", type=click.Choice([str(shell) for shell in Shell]), help="For which; else the one in SHELL."
)
@_MIN_LEFT
@_CODE
@opens_vault
def env(
    opening: Opening, *, profile: str, shell: str | None, min_left: str | None, mfa_code: str | None
) -> None:
    """Print what sets a session of PROFILE in a shell: eval "$(keyturn env PROFILE)"."""
    language = Shell(shell) if shell else environment.shell_called(os.environ.get("SHELL", ""))
    lines = environment.spoken(_change(opening, profile, min_left, mfa_code), language)
    if sys.stdout.isatty():
        click.echo(TTY_NOTE, err=True, nl=False)
    click.echo(lines, nl=False)


def _document(opening: Opening, profile: str, min_left: str | None, mfa_code: str | None) -> Secret:
    least = timedelta(seconds=seconds_of(min_left, "--min-left")) if min_left is not None else None
    return Secret(opening.done_with_code(lambda code: opening.keeper.hand(profile, least, code), mfa_code))


def _change(opening: Opening, profile: str, min_left: str | None, mfa_code: str | None) -> Change:
    document = _document(opening, profile, min_left, mfa_code)
    credentials, account = credential_process.parsed(document.reveal())
    change = environment.session(credentials, opening.keeper.region(profile), account)
    return {**environment.without_bearers(os.environ), **change}


def _become(command: tuple[str, ...], environ: dict[str, str]) -> NoReturn:
    """This process goes on as another program: its signals and its exit status are that program's own.

    :raises NotFound: there is no such program.
    :raises Protected: it may not be run.
    """
    sys.stdout.flush()
    # Ignored by Python, and a program would inherit that; what they were before, Python does not tell. All other signals
    # are as this process was started with them.
    for ignored in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, ignored), signal.SIG_DFL)
    what = f"exec of {command[0]}"
    try:
        with limits_of_before():
            os.execvpe(command[0], command, environ)  # noqa: S606  # what the person asked for, without a shell
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(what, "there is no such program", "Name one that is in PATH, or by its path") from None
    except ValueError:
        raise UsageError(what, "a word of it holds a NUL character", "Leave it out") from None
    except OSError as error:
        raise Protected(what, str(error.strerror), "Make it executable, or name another program") from None


VERBS = (exec_, env)
