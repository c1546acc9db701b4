"""The verb that changes what a profile's definition says: set."""

from __future__ import annotations

import os
from pathlib import Path

import click

from keyturn import settings
from keyturn.cli.options import as_json, opens_vault, yes
from keyturn.cli.output import emit, say, warn
from keyturn.cli.person import Opening, ask_line, confirm, on_terminal
from keyturn.errors import NeedsPerson, NotFound, UsageError
from keyturn.text import safe

#: In place of a serial number: ask IAM which devices there are.
CHOOSE = "choose"
RISK = (
    "session=none hands the long-term key itself to every client that asks: it does not expire, and anything that gets it "
    "can keep it"
)


@click.command("set")
@click.argument("profile")
@click.argument("key_values", nargs=-1, metavar="[KEY=VALUE]...")
@yes
@as_json
@opens_vault
def set_(opening: Opening, *, profile: str, key_values: tuple[str, ...], yes: bool, json_: bool) -> None:
    """Change settings of a profile: region, renew, duration, tags, policy, session ...; KEY= takes one away.

    Without KEY=VALUE it prints them all. Sessions that rested on what was set before are ended.

    \b
    region             of the shared files; of native profiles too
    renew              auto, on-demand, off
    duration           900 to 43200 s for a role, to 129600 for a user; or 45m, 1h30m
    session            temporary, or none: the long-term key itself. A risk.
    mfa_serial         ARN or number of the MFA device; choose: ask IAM for them
    external_id, role_session_name, source_identity
    tags               session tags, as team=ops,stage=prod
    transitive_tags    those of them that go along a chain of roles: team,stage
    policy             session policy: JSON, or a file that holds it
    policy_arns        managed session policies, with commas between
    rotation_days      90 by default; 0 for no policy
    rotate             ask, or auto: the agent replaces a key that is past its policy, and deletes none
    """
    front = opening.keeper
    wanted = settings.parsed(key_values)
    if wanted.get("mfa_serial") == CHOOSE:
        wanted["mfa_serial"] = _chosen(opening, profile)
    if wanted.get("policy"):
        wanted["policy"] = _located(wanted["policy"])
    if wanted.get("session") == "none":
        warn(f"{RISK}.")
        confirm(f"Hand out the key of {profile}", yes=yes)
    done = front.set(profile, wanted) if wanted else None
    table = front.settings(profile)
    if json_:
        keys, ended = (list(done.keys), list(done.ended)) if done else ([], [])
        emit({"profile": profile, "settings": table, "changed": keys, "ended": ended})
    elif done is None:
        for key, value in table.items():
            click.echo(f"{key:<18}{safe(_shown(value))}")
    else:
        _tell(profile, done.keys, done.ended, table)


def _tell(profile: str, keys: tuple[str, ...], ended: tuple[str, ...], table: dict[str, object]) -> None:
    if not keys:
        say(f"{profile}: nothing to change")
    for key in keys:
        say(f"{profile}: {key} = {_shown(table[key])}")
    if ended:
        say(
            f"ended, since they rested on what was set before: {', '.join(ended)}. Run: keyturn refresh {' '.join(ended)}"
        )


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={text}" for key, text in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)


def _located(policy: str) -> str:
    """A policy's file by its absolute path: whoever reads it later works in another folder."""
    if policy.lstrip().startswith("{"):
        return policy
    path = os.path.expanduser(policy.removeprefix("file://"))  # noqa: PTH111  # Path.expanduser raises for no such user
    return str(Path(path).absolute())


def _chosen(opening: Opening, profile: str) -> str:
    """The MFA device that the person wants, of those that IAM knows.

    :raises NotFound: there is none.
    :raises NeedsPerson: there are several, and no terminal to choose on.
    """
    devices = opening.done(lambda: opening.keeper.mfa_devices(profile))
    what, hint = f"MFA device of {profile}", f"Name one: keyturn set {profile} mfa_serial=SERIAL"
    if not devices:
        raise NotFound(what, "IAM knows none that shows codes", "Add one in the console, then try again")
    if len(devices) == 1:
        return devices[0]
    if not on_terminal():
        raise NeedsPerson(what, f"there are {len(devices)}: {', '.join(devices)}", hint)
    for number, serial in enumerate(devices, 1):
        click.echo(f"  {number}  {safe(serial)}", err=True)
    answer = ask_line(f"Which one, 1 to {len(devices)}")
    if not answer.isascii() or not answer.isdigit() or not 1 <= int(answer) <= len(devices):
        raise UsageError(what, "that is none of them", hint)
    return devices[int(answer) - 1]


VERBS = (set_,)
