"""Commands that give a session to one program: exec, env."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

import click

from keyturn.agent.rpc_client import TTY_NOTE
from keyturn.cli.options import opens_vault
from keyturn.cli.output import unconfirmed_line, warn
from keyturn.cli.prompts import VaultUnlocker
from keyturn.delivery import credential_process, environment
from keyturn.delivery.endpoint import http, launcher
from keyturn.delivery.environment import Change, Shell
from keyturn.model.errors import THEN_RUN, ChangeRefused, NotFound, Parts, Remedy, UsageError
from keyturn.model.profile import Delivery, Kind, Profile
from keyturn.model.secret import Secret
from keyturn.profiles.settings import check_region, seconds_of
from keyturn.service import CredentialService
from keyturn.system.hardening import restore_core_limit

#: Environment variable that names the profile of the session, for prompts and scripts.
PROFILE_VARIABLE = "KEYTURN_PROFILE"
_MIN_LEFT = click.option(
    "--min-left", metavar="TIME", help="Renew the session if it expires earlier: 45m, 1h30m."
)
_REGION = click.option(
    "--region",
    metavar="REGION",
    help="Set AWS_REGION and AWS_DEFAULT_REGION. Default: the one that is set, else the region of PROFILE.",
)
_CODE = click.option("--mfa-code", metavar="CODE", help="Current six-digit code of the MFA device.")


@click.command("exec")
@click.argument("profile")
@click.argument("command", nargs=-1, metavar="[-- CMD...]", type=click.UNPROCESSED)
@_MIN_LEFT
@_REGION
@_CODE
@click.option(
    "--endpoint",
    "as_endpoint",
    is_flag=True,
    help="Renew the session while CMD runs. CMD gets a loopback address for credentials instead of keys.",
)
@click.option(
    "--token-env",
    is_flag=True,
    help="With --endpoint, for AWS SDKs before 2024: pass its token in the environment, not in a file.",
)
@opens_vault
def exec_(
    unlocker: VaultUnlocker,
    *,
    profile: str,
    command: tuple[str, ...],
    min_left: str | None,
    region: str | None,
    mfa_code: str | None,
    as_endpoint: bool,
    token_env: bool,
) -> None:
    """Run a command, or a shell, with a session of PROFILE in its environment.

    Other AWS credentials and settings are removed from the environment. The session is not renewed while CMD
    runs, except with --endpoint.
    """
    if token_env and not as_endpoint:
        raise UsageError("Invalid option --token-env", "it requires --endpoint", "Add --endpoint")
    if command and not command[0]:
        raise UsageError("Invalid command", "it is empty", "Give a program after --, or nothing for a shell")
    program = command or (os.environ.get("SHELL") or "/bin/sh",)
    _check_region(region)
    if os.sep not in program[0] and shutil.which(program[0]) is None:
        raise _program_not_found(program[0])
    if not as_endpoint:
        change = _change(unlocker, profile, region, min_left, mfa_code)
        _exec_program(program, {**environment.apply(change, os.environ), PROFILE_VARIABLE: profile})
    require_endpoint_precedence(unlocker.service, profile)
    first = _document(unlocker, profile, min_left, mfa_code)
    with endpoint_environment(unlocker.service, profile, first, region, in_file=not token_env) as environ:
        _exec_program(program, {**environ, PROFILE_VARIABLE: profile})


@click.command("env")
@click.argument("profile")
@click.option(
    "--shell",
    type=click.Choice([str(shell) for shell in Shell]),
    help="Shell syntax. Default: the shell in SHELL.",
)
@_MIN_LEFT
@_REGION
@_CODE
@opens_vault
def env(
    unlocker: VaultUnlocker,
    *,
    profile: str,
    shell: str | None,
    min_left: str | None,
    region: str | None,
    mfa_code: str | None,
) -> None:
    """Print shell commands that export a session of PROFILE: eval "$(keyturn env PROFILE)"."""
    language = Shell(shell) if shell else environment.shell_from_path(os.environ.get("SHELL", ""))
    _check_region(region)
    lines = environment.render(_change(unlocker, profile, region, min_left, mfa_code), language)
    if sys.stdout.isatty():
        click.echo(TTY_NOTE, err=True, nl=False)
    click.echo(lines, nl=False)


def _document(unlocker: VaultUnlocker, profile: str, min_left: str | None, mfa_code: str | None) -> Secret:
    min_lifetime = timedelta(seconds=seconds_of(min_left, "--min-left")) if min_left is not None else None
    return Secret(
        unlocker.run_with_code(
            lambda code: unlocker.service.get_credentials(profile, min_lifetime, code), mfa_code
        )
    )


def _check_region(region: str | None) -> None:
    """Check the value of `--region`.

    :raises UsageError: if it is empty or malformed.
    """
    if region is not None and not check_region(region):
        raise UsageError("Invalid region", "it is empty", "A region looks like eu-west-1")


def _change(
    unlocker: VaultUnlocker, profile: str, region: str | None, min_left: str | None, mfa_code: str | None
) -> Change:
    document = _document(unlocker, profile, min_left, mfa_code)
    if unlocker.service.lacks_consent(profile):
        warn(unconfirmed_line(profile))
    credentials, account = credential_process.parse(document.reveal())
    regions = environment.regions(os.environ, unlocker.service.region(profile), region)
    change = environment.session(credentials, regions, account)
    return {**environment.without_bearer_tokens(os.environ), **change}


def _exec_program(command: tuple[str, ...], environ: dict[str, str]) -> NoReturn:
    """Replace this process with another program, which keeps the process id, signals and exit status.

    :raises NotFound: if there is no such program.
    :raises UsageError: if an argument holds a NUL character.
    :raises ChangeRefused: if the program cannot be executed.
    """
    sys.stdout.flush()
    # Python ignores these two signals, and the program would inherit that. Python does not keep their former
    # handlers. All other signals are as this process inherited them.
    for ignored in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, ignored), signal.SIG_DFL)
    what = f"Could not run {command[0]}"
    try:
        with restore_core_limit():
            os.execvpe(command[0], command, environ)  # noqa: S606  # the user's own command, without a shell
    except (FileNotFoundError, NotADirectoryError):
        raise _program_not_found(command[0]) from None
    except ValueError:
        raise UsageError(what, "an argument contains a NUL character", "Remove it") from None
    except OSError as error:
        raise ChangeRefused(what, str(error.strerror), "Make it executable, or run another program") from None


def _program_not_found(program: str) -> NotFound:
    return NotFound(f"Could not run {program}", "program not found", "Give a program in PATH, or its path")


#: The profile that AWS clients use if none is named.
_DEFAULT = "default"


def require_endpoint_precedence(service: CredentialService, profile: str) -> None:
    """Require that a program with an endpoint gets the credentials of `profile`, and of no other profile.

    :raises UsageError: if the profile gives no temporary credentials, or the shared files hold credentials
        that AWS clients use before they look for an endpoint.
    """
    rows = {row.name: row for row in service.snapshot().profiles}
    if profile in rows and rows[profile].delivers_key:
        raise http.only_temporary(profile)
    delivered = next((row.name for row in rows.values() if row.deliver_as == _DEFAULT), None)
    if delivered is None and not _has_default_credentials(rows.get(_DEFAULT), profile):
        return
    raise UsageError(
        f"Could not start an endpoint for {profile}",
        f"AWS clients use the credentials of [{_DEFAULT}] in the shared files before an endpoint",
        _advice(service, rows.get(_DEFAULT), delivered),
    )


def _advice(service: CredentialService, default: Profile | None, delivered: str | None) -> Parts:
    """Return the hint for a profile `default` that has credentials.

    :param delivered: the profile whose session is delivered to `default`.
    """
    if delivered is not None:
        return ("Remove --endpoint, or ", THEN_RUN, Remedy("deliver", delivered, "--to credential-process"))
    file = service.paths.display(default.origin.file) if default and default.origin else "the shared files"
    is_managed = default is not None and default.managed
    first: Parts = ("run ", Remedy("release", _DEFAULT), ", then ") if is_managed else ()
    advice = (
        f"rename [{_DEFAULT}] in {file}, for example to [own] ([profile own] in the config file), "
        "and set AWS_PROFILE=own in your shell (CMD does not get it)"
    )
    return ("Remove --endpoint, or ", *first, advice)


def _has_default_credentials(default: Profile | None, profile: str) -> bool:
    if default is None or (default.kind is Kind.UNKNOWN and default.problem is None):
        return False
    # The credential_process of `default` gets its credentials from keyturn for the same profile.
    return not (profile == _DEFAULT and default.delivery is Delivery.CREDENTIAL_PROCESS)


@contextmanager
def endpoint_environment(
    service: CredentialService, profile: str, first: Secret, region: str | None = None, *, in_file: bool
) -> Iterator[dict[str, str]]:
    """Yield an environment with an endpoint for `profile`. See
    :func:`keyturn.delivery.endpoint.launcher.start_endpoint`.

    :param first: the first credential document of the endpoint.
    :param region: a region for the program in place of the caller's and the profile's.
    :param in_file: pass the endpoint's token in a file instead of the environment.
    """
    regions = environment.regions(os.environ, service.region(profile), region)
    with launcher.start_endpoint(
        service.paths,
        os.environ,
        profile,
        first,
        uses_caller_credentials=service.uses_caller_credentials(profile),
        in_file=in_file,
    ) as address:
        change = environment.endpoint(
            address.url, regions, token=address.token, token_file=address.token_file
        )
        proxies = environment.without_proxy(os.environ, http.HOST)
        others = environment.without_bearer_tokens(os.environ)
        yield environment.apply({**others, **change, **proxies}, os.environ)
