"""Commands that adopt and release profiles, and make and deliver sessions."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import click

from keyturn.cli.options import as_json, opens_vault, yes
from keyturn.cli.output import emit, for_each, say, tell_if_slow, warn
from keyturn.cli.progress import progress_bar
from keyturn.cli.prompts import VaultUnlocker, ask_line, confirm, on_terminal
from keyturn.model.errors import KeyturnError, NeedsMfa, Stopped, UsageError
from keyturn.model.labels import undo_command
from keyturn.model.profile import Delivery, Plan, Refreshed
from keyturn.model.text import countdown, iso, masked_key_id
from keyturn.operations.credentials.refresh_many import RefreshOutcome
from keyturn.operations.release import confirmation
from keyturn.profiles.status import why_not_adoptable
from keyturn.service import CredentialService

#: Most profiles that a question or a command names; more are counted.
MAX_NAMES = 10


@click.command()
@click.argument("profiles", nargs=-1)
@click.option(
    "--all", "all_", is_flag=True, help="Every profile that holds a long-term key or assumes a role."
)
@click.option(
    "--session-none", is_flag=True, help="Deliver the long-term key itself instead of sessions. A risk."
)
@click.option("--plan", "only_plan", is_flag=True, help="Show the change, and write nothing.")
@yes
@opens_vault
def adopt(
    unlocker: VaultUnlocker,
    *,
    profiles: tuple[str, ...],
    all_: bool,
    session_none: bool,
    only_plan: bool,
    yes: bool,
) -> int:
    """Move the secrets of native profiles to the vault, and replace them with credential_process.

    The change is shown first. Profiles with an adopted profile as source_profile are also included.
    """
    service = unlocker.service
    names, refused_count = profiles, 0
    if all_:
        names, refused_count = _all_adoptable(service)
        if not names:
            say("Nothing to adopt.")
            return min(refused_count, 1)
    if not names:
        raise UsageError("Missing profile", "adopt needs at least one", "Give profiles, or use --all")
    plan = service.plan_adopt(names, session_none=session_none)
    _print_plan(plan)
    if only_plan:
        return min(refused_count, 1)
    confirm(f"Adopt {_names(plan)}", yes=yes)

    def run() -> tuple[str, ...]:
        with progress_bar() as bar:
            return service.watched(bar.steps).adopt(plan)

    adopted = unlocker.run(run)
    for name in adopted:
        say(f"adopted {name}")
    if plan.dependants and len(adopted) == len(plan.names):
        say(f"To undo all of it: {undo_command(plan)}", err=True)
    options = ("--session-none",) if session_none else ()
    return _say_rest("adopt", plan, adopted, options) or min(refused_count, 1)


def _names(plan: Plan) -> str:
    """Return the profiles of a plan for a question."""
    if len(plan.names) > MAX_NAMES:
        return f"{len(plan.names)} profiles"
    return ", ".join(plan.names)


def _say_rest(verb: str, plan: Plan, done: Sequence[str], options: Sequence[str] = ()) -> int:
    """Say what is left of a plan that was stopped. Return the exit code, 0 if nothing is left.

    :param options: those of the command that the rest needs too.
    """
    rest = [name for name in plan.names if name not in set(done)]
    if not rest:
        return 0
    command = shlex.join(["keyturn", verb, *options, "--", *rest])
    go_on = f"Run: {command}" if len(rest) <= MAX_NAMES else f"{len(rest)} are left, first {rest[0]}"
    done_words = {"adopt": "adopted", "release": "released"}
    warn(f"Stopped: {len(done)} of {len(plan.names)} profiles {done_words[verb]}. {go_on}")
    return Stopped.exit_code


def _all_adoptable(service: CredentialService) -> tuple[tuple[str, ...], int]:
    """Return every profile that can be adopted, and the number of those that are refused. Prints the reason
    of each refusal."""
    snapshot = service.snapshot()
    for problem in snapshot.problems:
        warn(f"{problem.path}: line {problem.line}: {problem.reason}. Its profiles are skipped")
    names, refused_count = [], 0
    for row in snapshot.profiles:
        if why_not_adoptable(row) is not None:
            continue
        try:
            service.check_adopt(row.name)
        except KeyturnError as error:
            warn(error.line())
            refused_count += 1
        else:
            names.append(row.name)
    return tuple(names), refused_count


def _print_plan(plan: Plan) -> None:
    """Print a change to stderr, because stdout is for results."""
    for change in plan.diff:
        say(change.text if change.sign == "@" else f"  {change.sign} {change.text}", err=True)
    for secret in plan.secrets:
        say(f"vault {'+' if plan.action == 'adopt' else '-'} {secret}", err=True)
    for name in plan.dependants:
        say(f"also included: {name}", err=True)
    for warning in plan.warnings:
        say(f"note: {warning}", err=True)
    if plan.remaining:
        count = len(plan.remaining)
        names = ", ".join(plan.remaining[:3]) + (f" and {count - 3} more" if count > 3 else "")
        verb = "stays managed and gets its" if count == 1 else "stay managed and get their"
        say(f"note: {names} {verb} sessions from here; --with-dependents releases them too", err=True)
    if plan.action == "adopt" and plan.secrets and not plan.session_none:
        say("note: --session-none would deliver the key itself, for IAM calls without MFA. A risk", err=True)


@click.command()
@click.argument("profiles", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="Every managed profile.")
@click.option(
    "--with-dependents", is_flag=True, help="Also the managed profiles that get their sessions from these."
)
@click.option("--plan", "only_plan", is_flag=True, help="Show the change, and write nothing.")
@click.option(
    "--confirm", "words", metavar="TEXT", help="The confirmation text, if the vault has only a keyring slot."
)
@yes
@opens_vault
def release(
    unlocker: VaultUnlocker,
    *,
    profiles: tuple[str, ...],
    all_: bool,
    with_dependents: bool,
    only_plan: bool,
    words: str | None,
    yes: bool,
) -> int:
    """Move settings and secrets of managed profiles back to where adopt found them.

    Plaintext secrets require the vault's passphrase, or a typed confirmation if the vault has only a keyring
    slot.
    """
    service = unlocker.service
    names = profiles
    if all_:
        names = tuple(row.name for row in service.snapshot().profiles if row.managed)
        if not names:
            say("Nothing to release.")
            return 0
    if not names:
        raise UsageError(
            "Missing profile", "release needs at least one", "Give managed profiles, or use --all"
        )
    plan = unlocker.run(lambda: service.plan_release(names, with_dependents=with_dependents))
    _print_plan(plan)
    if only_plan:
        return 0
    confirm(f"Release {_names(plan)}", yes=yes)
    passphrase = recovery_key = None
    if plan.secrets and unlocker.recovery_key_fd is not None:
        recovery_key = unlocker.recovery_key()
    elif plan.secrets and "passphrase" in service.context.vault.slots():
        passphrase = unlocker.passphrase("A secret leaves the vault in plaintext. Passphrase of the vault")
    elif plan.secrets and words is None and on_terminal():
        click.echo(
            "A secret leaves the vault in plaintext. To confirm, type the text in the brackets.", err=True
        )
        words = ask_line(f"[{confirmation(plan.names)}]")
    with tell_if_slow("Opening the vault") as has_opened, progress_bar(has_opened) as bar:
        released = service.watched(bar.steps).release(plan, passphrase, words, recovery_key=recovery_key)
    for name in released:
        say(f"released {name}")
    return _say_rest("release", plan, released)


@click.command()
@click.argument("profiles", nargs=-1)
@click.option("--due", is_flag=True, help="All profiles that are in use and due.")
@click.option("--mfa-code", metavar="CODE", help="Current six-digit code of the MFA device.")
@as_json
@opens_vault
def refresh(
    unlocker: VaultUnlocker, *, profiles: tuple[str, ...], due: bool, mfa_code: str | None, json_: bool
) -> int:
    """Get a new session, and deliver it. Default profile: AWS_PROFILE."""
    service = unlocker.service
    names = profiles or ((service.due_profiles()) if due else ())
    if not names and not due:
        # A variable that is set but empty decides too, as it does for the AWS CLI.
        current = os.environ.get("AWS_PROFILE", os.environ.get("AWS_DEFAULT_PROFILE"))
        if not current:
            why = "AWS_PROFILE is not set" if current is None else "AWS_PROFILE is empty"
            raise UsageError("Missing profile", why, "Give a profile")
        names = (current,)
    outcomes: dict[str, RefreshOutcome] = {}
    begun = list(names)
    if len(names) > 1:
        outcomes = _refresh_together(unlocker, names)
        begun = [name for name in names if name in outcomes]
    results: list[dict[str, Any]] = []
    codes = [mfa_code] if mfa_code else []

    def refresh_one(name: str) -> None:
        try:
            refreshed = _refreshed(unlocker, name, outcomes.get(name), codes)
        except KeyturnError as error:
            results.append(
                {"profile": name, "ok": False, "error": error.line(), "exit_code": error.exit_code}
            )
            raise
        results.append(_refreshed_table(refreshed))
        if not json_:
            _say_refreshed(refreshed, service.now())

    code = for_each(begun, refresh_one)
    if json_:
        emit({"results": results})
    elif not names:
        say("No session is due.")
    if len(begun) < len(names):
        warn(f"Stopped: {len(begun)} of {len(names)} profiles refreshed")
        return Stopped.exit_code
    return code


def _refresh_together(unlocker: VaultUnlocker, names: Sequence[str]) -> dict[str, RefreshOutcome]:
    """Refresh several profiles at the same time, as far as they need no MFA code. Return the outcomes of
    those that were begun, by profile.
    """

    def run() -> tuple[RefreshOutcome, ...]:
        with progress_bar() as bar:
            return unlocker.service.watched(bar.steps).refresh_many(names)

    return {outcome.profile: outcome for outcome in unlocker.run(run)}


def _refreshed(
    unlocker: VaultUnlocker, name: str, outcome: RefreshOutcome | None, codes: list[str]
) -> Refreshed:
    """Return the new session of one profile, which may need an MFA code.

    :param outcome: its outcome if several were refreshed together.
    :param codes: the code that the user gave. AWS accepts it once, so it is removed when it is used.
    :raises KeyturnError: if it could not be refreshed.
    """
    service = unlocker.service
    if outcome is not None:
        if outcome.refreshed is not None:
            return outcome.refreshed
        if outcome.error is not None and not isinstance(outcome.error, NeedsMfa):
            raise outcome.error
    code = codes[0] if codes else None
    is_needed = code is not None and service.takes_code(name)
    try:
        return unlocker.run_with_code(lambda code: service.refresh(name, code), code)
    finally:
        if is_needed:
            codes.clear()


def _refreshed_table(refreshed: Refreshed) -> dict[str, Any]:
    session = refreshed.session
    return {
        "profile": refreshed.profile, "ok": True, "key_id": session.key_id, "issued": iso(session.issued),
        "expires": iso(session.expires), "arn": session.arn, "delivery": str(refreshed.delivered),
        "note": refreshed.note or None,
    }  # fmt: skip


def _say_refreshed(refreshed: Refreshed, now: Any) -> None:
    session = refreshed.session
    until = (
        f", {countdown(session.expires - now)} left, until {iso(session.expires)}" if session.expires else ""
    )
    say(f"refreshed {refreshed.profile}: {masked_key_id(session.key_id)}{until} ({refreshed.seconds:.1f} s)")
    if refreshed.note:
        say(f"  {refreshed.note}")


@click.command()
@click.argument("profile")
@opens_vault
def stop(unlocker: VaultUnlocker, *, profile: str) -> None:
    """End a session: remove delivered credentials and delete it."""
    say(unlocker.run(lambda: unlocker.service.stop(profile)))


@click.command()
@click.argument("profile")
@click.option(
    "--to",
    type=click.Choice(
        [str(Delivery.CREDENTIAL_PROCESS), str(Delivery.CREDENTIALS_FILE), str(Delivery.NOWHERE)]
    ),
    required=True,
    help="Where AWS clients find the session.",
)
@click.option("--as", "as_name", metavar="NAME", help="Section of the credentials file.")
@opens_vault
def deliver(unlocker: VaultUnlocker, *, profile: str, to: str, as_name: str | None) -> None:
    """Set where a managed profile's sessions are delivered: credential_process or the credentials file."""
    say(unlocker.run(lambda: unlocker.service.deliver(profile, Delivery(to), as_name)))


@click.command("credential-process")
@click.argument("profile")
@opens_vault
def credential_process(unlocker: VaultUnlocker, *, profile: str) -> None:
    """Print the credential_process JSON for AWS clients. Never prompts."""
    if unlocker.has_given_secret:
        unlocker.unlock()
    document = unlocker.service.credential_process(profile)
    if sys.stdout.isatty():
        warn("These are plaintext credentials. They stay in this terminal's scrollback.")
    click.echo(document)
