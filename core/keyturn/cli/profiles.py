"""Commands that show profiles and change their settings: list, show, set."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import click

from keyturn.cli.options import as_json, credential_service, opens_vault, yes
from keyturn.cli.output import columns, emit, say, unconfirmed_line, warn
from keyturn.cli.prompts import VaultUnlocker, ask_line, confirm, on_terminal
from keyturn.model.errors import NeedsInteraction, NotFound, Remedy, UsageError
from keyturn.model.json_codec import to_table
from keyturn.model.labels import (
    LOGIN_WORDS,
    ROLE_WORDS,
    kind_words,
    login_profile,
    login_words,
    rotation_words,
    sign_in_command,
)
from keyturn.model.profile import (
    Delivery,
    FileWarning,
    Key,
    LoginState,
    Profile,
    RotationState,
    Snapshot,
    State,
    VaultState,
    has_login,
    login_state,
    state_of,
)
from keyturn.model.text import countdown, iso, safe
from keyturn.profiles import settings
from keyturn.profiles.filter import parse
from keyturn.profiles.renewal_words import renewal_words
from keyturn.profiles.status import row_table

#: Most misread lines that `list` names one by one.
MAX_NOTICES = 3


@click.command("list")
@as_json
@click.option(
    "--filter", "text", metavar="TEXT", default="", help="Show only matches: words, type: state: acct:, !not."
)
def list_(*, json_: bool, text: str) -> None:
    """List all profiles: kind, time left, account, rotation. Never unlocks or prompts."""
    service = credential_service()
    snapshot, now = service.snapshot(), service.now()
    query = parse(text)
    rows = [row for row in snapshot.profiles if query.shows(row, snapshot.vault, now)]
    if json_:
        emit(
            {
                "profiles": [row_table(row, snapshot.vault, now) for row in rows],
                "warnings": [to_table(warning) for warning in snapshot.warnings],
            }
        )
    else:
        _table(rows, snapshot.vault, now)
        for line in key_notices(snapshot.profiles):
            warn(line)
    for problem in snapshot.problems:
        line = f"line {problem.line}: " if problem.line else ""
        is_own = problem.path == str(service.paths.config_file)
        effect = (
            "The defaults apply until it is corrected"
            if is_own
            else "Its profiles are not listed until it is corrected"
        )
        warn(f"{problem.path}: {line}{problem.reason}. {effect}")
    if not json_:
        for line in file_notices(snapshot.warnings):
            warn(line)


def file_notices(warnings: Sequence[FileWarning]) -> tuple[str, ...]:
    """Return one line for each misread line of no profile, and one line for those of profiles."""
    of_files = [warning for warning in warnings if warning.profile is None]
    names = list(dict.fromkeys(warning.profile for warning in warnings if warning.profile is not None))
    lines = [f"{warning.path}: line {warning.line}: {warning.reason}" for warning in of_files[:MAX_NOTICES]]
    if len(of_files) > MAX_NOTICES:
        lines.append(f"{len(of_files) - MAX_NOTICES} more lines like that. Run: keyturn list --json")
    if names:
        count = len(warnings) - len(of_files)
        subject = "1 line is" if count == 1 else f"{count} lines are"
        others = f" and of {len(names) - 1} more profiles" if len(names) > 2 else ""
        of = f"{names[0]} and {names[1]}" if len(names) == 2 else f"{names[0]}{others}"
        lines.append(
            f"{subject} not read as they look, or not by all AWS tools, in {of}. "
            f"Run: keyturn show {shlex.quote(names[0])}"
        )
    return tuple(lines)


def key_notices(rows: Iterable[Profile]) -> tuple[str, ...]:
    """Return one line for each pending rotation, and one for all keys that are past their rotation policy."""
    overdue = [row.name for row in rows if row.rotation.state is RotationState.OVERDUE and row.managed]
    lines = [
        f"{row.name}: rotation {rotation_words(row.rotation)}. Run: keyturn rotate {row.name} --status"
        for row in rows
        if row.rotation.pending_step
    ]
    lines += [unconfirmed_line(row.name) for row in rows if row.lacks_consent]
    if overdue:
        subject = "the key is" if len(overdue) == 1 else "the keys are"
        lines.append(
            f"{', '.join(overdue)}: {subject} past the rotation policy. Run: keyturn rotate {overdue[0]}"
        )
    return tuple(lines)


def _table(rows: list[Profile], vault: VaultState, now: datetime) -> None:
    if not rows:
        say("No profiles.")
        return
    heading = ("PROFILE", "KIND", "STATE", "LEFT", "ACCOUNT", "ROTATION", "DELIVERY")
    columns([heading, *(_cells(row, vault, now) for row in rows)])


def _cells(row: Profile, vault: VaultState, now: datetime) -> tuple[str, ...]:
    account = f"~{row.account}" if row.account and row.account_derived else row.account or "-"
    state = state_of(row, vault, now)
    return (
        row.name,
        str(row.kind),
        str(state),
        _left(row, state, now),
        account,
        rotation_words(row.rotation),
        str(row.delivery),
    )


def _left(row: Profile, state: State, now: datetime) -> str:
    """Return the time left of a session, or the state of the sign-in that gets the next one."""
    if state is State.NONE:
        return LOGIN_WORDS[login_state(row.login, now)] if row.login and has_login(row, now) else "-"
    if row.session is not None and row.session.expires is not None:
        return countdown(row.session.expires - now)
    return str(state) if state is State.EXPIRED else "-"


@click.command()
@click.argument("profile")
@as_json
def show(*, profile: str, json_: bool) -> None:
    """Show one profile in full. Never a secret."""
    service = credential_service()
    snapshot, now = service.snapshot(), service.now()
    row = next((row for row in snapshot.profiles if row.name == profile), None)
    if row is None:
        row = service.context.read().row(profile)
    warnings = [warning for warning in snapshot.warnings if warning.profile == profile]
    if json_:
        emit(
            {
                "profile": row_table(row, snapshot.vault, now),
                "warnings": [to_table(warning) for warning in warnings],
            }
        )
        return
    lines = _lines(row, snapshot, now)
    lines += [("Warning", f"{warning.path}:{warning.line}: {warning.reason}") for warning in warnings]
    for label, value in lines:
        if value:
            click.echo(f"{label:<12}{safe(value)}")


def _lines(row: Profile, snapshot: Snapshot, now: datetime) -> list[tuple[str, str | None]]:
    key, state = row.key, state_of(row, snapshot.vault, now)
    session = None if state is State.NONE else row.session
    expires = iso(session.expires) if session else None
    time = f", {_left(row, state, now)} left, until {expires}" if expires else ""
    if state is State.EXPIRED:
        time = f", since {expires}" if expires else ""
    if state is State.UNKNOWN:
        time = ": its expiry is not recorded"
    account = f"{row.account} (derived from the key id)" if row.account_derived else row.account
    lines: list[tuple[str, str | None]] = [
        ("Profile", row.name),
        ("Managed", "by keyturn" if row.managed else "no: resolved by the AWS CLI and SDKs"),
        ("Kind", kind_words(row)),
        ("State", f"{state}{time}"),
        ("Login", _login(row, now)),
        ("Problem", row.problem),
        ("Account", account),
        ("Role", row.role),
        (
            "Source",
            " <- ".join((*row.chain, row.source))
            if row.source and row.source not in row.chain
            else row.source,
        ),
        ("Region", row.region),
        ("MFA", row.mfa_serial),
        *((ROLE_WORDS[setting], value) for setting, value in row.role_settings),
        ("Session", (session.key_id or None) if session else None),
        ("Identity", session.arn if session else None),
        ("Delivery", _delivery(row)),
        ("Renewal", renewal_words(row, snapshot, now)),
    ]
    if key is not None:
        location = "plaintext in the shared files" if row.plaintext_key else None
        lines += [
            ("Key", ", ".join(filter(None, (key.key_id, key.status, location)))),
            ("Key user", key.user),
            ("Key created", iso(key.created)),
            ("Key slots", f"{key.slots_used} of 2 used" if key.slots_used else None),
            ("Key used", _last_use(key)),
            ("Rotation", rotation_words(row.rotation)),
        ]
    lines += [
        ("Failed", f"{iso(row.failure.at)} {row.failure.line}" if row.failure else None),
        ("Defined", f"{row.origin.file}:{row.origin.line}" if row.origin else None),
    ]
    return lines


def _login(row: Profile, now: datetime) -> str | None:
    """Return the sign-in of a profile, and the command that signs in again once it has ended."""
    if row.login is None:
        return None
    words = f"{row.login.name}: {login_words(row.login, now)}"
    if login_state(row.login, now) is not LoginState.ENDED:
        return words
    return f"{words}: {sign_in_command(row.login.kind, login_profile(row))}"


def _last_use(key: Key) -> str | None:
    """Return the last use as AWS reports it, up to hours late, or None if it is unknown."""
    if key.last_used is None:
        return None
    return f"{iso(key.last_used)}{f' ({key.last_used_by})' if key.last_used_by else ''}, as reported by AWS"


def _delivery(row: Profile) -> str:
    if row.lacks_consent:
        return f"{row.delivery}: a session; session = none is not confirmed"
    if row.delivers_key:
        return f"{row.delivery}: the long-term key itself, which does not expire. A risk"
    if row.delivery is Delivery.CREDENTIALS_FILE:
        return f"credentials file, as [{row.deliver_as or row.name}]"
    return str(row.delivery)


#: Value of `mfa_serial` that lists the devices from IAM.
CHOOSE_DEVICE = "choose"
RISK = (
    "session=none delivers the long-term key itself to every client: it does not expire, and any client that "
    "gets it can keep it"
)


@click.command("set")
@click.argument("profile")
@click.argument("key_values", nargs=-1, metavar="[KEY=VALUE]...")
@yes
@as_json
@opens_vault
def set_(
    unlocker: VaultUnlocker, *, profile: str, key_values: tuple[str, ...], yes: bool, json_: bool
) -> None:
    """Change settings of a profile: region, renew, duration, tags, policy, session ...; KEY= unsets one.

    Without KEY=VALUE, print all settings. Sessions made with the old settings are ended.

    \b
    region             in the shared files; also for native profiles
    renew              auto, on-demand, off
    duration           900 to 43200 s for a role, to 129600 for a user; or 45m, 1h30m
    session            temporary, or none: deliver the long-term key itself. A risk.
    mfa_serial         ARN or serial number of the MFA device; choose: select from IAM's list
    external_id, role_session_name, source_identity
    tags               session tags: team=ops,stage=prod
    transitive_tags    keys of tags that pass along a role chain: team,stage
    policy             session policy: JSON or a file
    policy_arns        managed session policies, comma-separated
    timeout            of a role: seconds for the credential_process of its source, 1 to 600; 60 by default
    rotation_days      90 by default; 0 for no policy
    rotate             ask, or auto: the agent rotates a key that is past its policy, and deletes none
    """
    service = unlocker.service
    changes = settings.parse(key_values)
    if changes.get("mfa_serial") == CHOOSE_DEVICE:
        changes["mfa_serial"] = _choose_device(unlocker, profile)
    if changes.get("policy"):
        changes["policy"] = _absolute_policy(changes["policy"])
    if changes:
        service.check_set(profile, changes)
    if changes.get("session") == "none":
        warn(f"{RISK}.")
        confirm(f"Deliver the long-term key of {profile}", yes=yes)
    result = unlocker.run(lambda: service.set(profile, changes)) if changes else None
    table = service.settings(profile)
    if json_:
        keys, ended = (list(result.keys), list(result.ended)) if result else ([], [])
        emit({"profile": profile, "settings": table, "changed": keys, "ended": ended})
    elif result is None:
        for key, value in table.items():
            click.echo(f"{key:<18}{safe(_value_text(value))}")
    else:
        _print_changes(profile, result.keys, result.ended, table)


def _print_changes(
    profile: str, keys: tuple[str, ...], ended: tuple[str, ...], table: dict[str, object]
) -> None:
    if not keys:
        say(f"{profile}: no change")
    for key in keys:
        say(f"{profile}: {key} = {_value_text(table[key])}")
    if ended:
        say(
            f"Ended sessions made with the old settings: {', '.join(ended)}. "
            f"Run: keyturn refresh {' '.join(ended)}"
        )


def _value_text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={text}" for key, text in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _absolute_policy(policy: str) -> str:
    """Return a policy with its file as an absolute path, because the agent reads it from another folder."""
    if policy.lstrip().startswith("{"):
        return policy
    path = os.path.expanduser(policy.removeprefix("file://"))  # noqa: PTH111  # Path.expanduser raises for no such user
    return str(Path(path).absolute())


def _choose_device(unlocker: VaultUnlocker, profile: str) -> str:
    """Return the MFA device that the user selects from those that IAM lists.

    :raises NotFound: if IAM lists none.
    :raises NeedsInteraction: if there are several, and there is no terminal.
    :raises UsageError: if the answer is not one of the numbers.
    """
    devices = unlocker.run(lambda: unlocker.service.mfa_devices(profile))
    what, hint = (
        f"Could not choose an MFA device of {profile}",
        ("Set one: ", Remedy("set", profile, "mfa_serial=SERIAL")),
    )
    if not devices:
        raise NotFound(what, "IAM lists no device that shows codes", "Add one in the console, then try again")
    if len(devices) == 1:
        return devices[0]
    if not on_terminal():
        raise NeedsInteraction(what, f"IAM lists {len(devices)}: {', '.join(devices)}", hint)
    for number, serial in enumerate(devices, 1):
        click.echo(f"  {number}  {safe(serial)}", err=True)
    answer = ask_line(f"MFA device (1 to {len(devices)})")
    if not answer.isascii() or not answer.isdigit() or not 1 <= int(answer) <= len(devices):
        raise UsageError(what, "invalid number", hint)
    return devices[int(answer) - 1]
