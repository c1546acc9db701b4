"""The acts by name, JSON in and JSON out: how a process that holds no identity has them done by the one that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.profile import Delivery, DiffLine, Plan, Refreshed, Session
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso, iso
from keyturn.operations import adopt as adopting
from keyturn.operations import configure as setting
from keyturn.operations import deliver as delivering
from keyturn.operations import release as releasing
from keyturn.operations.context import Desk
from keyturn.operations.credentials import get_credentials as handing
from keyturn.operations.credentials import refresh as refreshing
from keyturn.operations.rotation import create_key as creating
from keyturn.operations.rotation import delete_key as finishing
from keyturn.operations.rotation import runner as going
from keyturn.operations.rotation import status as standing
from keyturn.operations.rotation.progress import progress_table

Args = Mapping[str, Any]


def _refresh(desk: Desk, args: Args) -> object:
    return refreshed_table(refreshing.refresh(desk, str(args["name"]), _text(args, "code")))


def _document(desk: Desk, args: Args) -> object:
    return refreshing.document(desk, str(args["name"]))


def _hand(desk: Desk, args: Args) -> object:
    seconds = args.get("least_seconds")
    least = None if seconds is None else timedelta(seconds=int(seconds))
    return handing.hand(desk, str(args["name"]), least, _text(args, "code"))


def _deliver(desk: Desk, args: Args) -> object:
    return delivering.deliver(desk, str(args["name"]), Delivery(args["to"]), _text(args, "as"))


def _stop(desk: Desk, args: Args) -> object:
    return delivering.stop(desk, str(args["name"]))


def _adopt(desk: Desk, args: Args) -> object:
    none = bool(args.get("session_none"))
    return list(adopting.adopt(desk, _names(args), str(args["digest"]), session_none=none))


def _plan_release(desk: Desk, args: Args) -> object:
    return plan_table(releasing.plan(desk, _names(args)))


def _release(desk: Desk, args: Args) -> object:
    done = releasing.release(
        desk,
        _names(args),
        str(args["digest"]),
        passphrase=_secret(args, "passphrase"),
        recovery_key=_secret(args, "recovery_key"),
        words=_text(args, "words"),
    )
    return list(done)


def _mfa_devices(desk: Desk, args: Args) -> object:
    return list(setting.mfa_devices(desk, str(args["name"])))


def _rotate_begin(desk: Desk, args: Args) -> object:
    return progress_table(creating.begin(desk, str(args["name"]), _text(args, "code")))


def _rotate_step(desk: Desk, args: Args) -> object:
    return progress_table(going.advance(desk, str(args["name"]), _text(args, "code")))


def _rotate_undo(desk: Desk, args: Args) -> object:
    return progress_table(going.undo(desk, str(args["name"]), _text(args, "code")))


def _rotate_ending(desk: Desk, args: Args) -> object:
    return finishing.ending_table(finishing.ending(desk, str(args["name"]), _text(args, "code")))


def _rotate_finish(desk: Desk, args: Args) -> object:
    word = _text(args, "last_four")
    return progress_table(finishing.finish(desk, str(args["name"]), word, _text(args, "code")))


def _rotate_drop(desk: Desk, args: Args) -> object:
    return finishing.drop(desk, str(args["name"]), str(args["last_four"]), _text(args, "code"))


def _rotate_status(desk: Desk, args: Args) -> object:
    return standing.status(desk, str(args["name"]), _text(args, "code"))


ACTS: Mapping[str, Callable[[Desk, Args], object]] = {
    "refresh": _refresh,
    "document": _document,
    "hand": _hand,
    "deliver": _deliver,
    "stop": _stop,
    "adopt": _adopt,
    "plan-release": _plan_release,
    "release": _release,
    "mfa-devices": _mfa_devices,
    "rotate-begin": _rotate_begin,
    "rotate-step": _rotate_step,
    "rotate-undo": _rotate_undo,
    "rotate-ending": _rotate_ending,
    "rotate-finish": _rotate_finish,
    "rotate-drop": _rotate_drop,
    "rotate-status": _rotate_status,
}


def perform(desk: Desk, act: str, args: Args) -> object:
    """Does one act.

    :param args: its arguments, and under `files` the shared files that the caller means.
    :raises UsageError: no such act, or its arguments are off.
    :raises KeyturnError: what the act raises; or the caller means other files than this process.
    """
    do = ACTS.get(act)
    if do is None:
        raise UsageError(
            f"act {act}", "this keyturn knows none by that name", "Run: keyturn agent stop, then try again"
        )
    mine = files_of(desk)
    if args.get("files", mine) != mine:
        raise KeyturnError(
            "the agent", f"it was started for the AWS files {mine[0]} and {mine[1]}",
            "Run: keyturn agent stop, then try again in this shell",
        )  # fmt: skip
    try:
        return do(desk, args)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, KeyturnError):
            raise
        raise UsageError(f"act {act}", f"its arguments are off ({type(error).__name__})") from None


def files_of(desk: Desk) -> list[str]:
    """The shared files that this process means."""
    return [str(desk.places.aws_config), str(desk.places.aws_credentials)]


def _names(args: Args) -> Sequence[str]:
    return [str(name) for name in args["names"]]


def _text(args: Args, key: str) -> str | None:
    value = args.get(key)
    return None if value is None else str(value)


def _secret(args: Args, key: str) -> Secret | None:
    value = _text(args, key)
    return None if value is None else Secret(value)


def refreshed_table(one: Refreshed) -> dict[str, Any]:
    """For the wire."""
    session = one.session
    return {
        "profile": one.profile, "seconds": one.seconds, "delivered": str(one.delivered), "note": one.note,
        "key_id": session.key_id, "issued": iso(session.issued), "expires": iso(session.expires), "arn": session.arn,
    }  # fmt: skip


def refreshed_of(table: Mapping[str, Any]) -> Refreshed:
    """From the wire."""
    session = Session(table["key_id"], from_iso(table["issued"]), from_iso(table["expires"]), table["arn"])
    return Refreshed(table["profile"], session, table["seconds"], Delivery(table["delivered"]), table["note"])


def plan_table(one: Plan) -> dict[str, Any]:
    """For the wire."""
    return {
        "action": one.action, "names": list(one.names), "also": list(one.also),
        "diff": [[line.sign, line.text] for line in one.diff], "secrets": list(one.secrets),
        "warnings": list(one.warnings), "digest": one.digest,
    }  # fmt: skip


def plan_of(table: Mapping[str, Any]) -> Plan:
    """From the wire."""
    return Plan(
        action=table["action"],
        names=tuple(table["names"]),
        also=tuple(table["also"]),
        diff=tuple(DiffLine(sign, text) for sign, text in table["diff"]),
        secrets=tuple(table["secrets"]),
        warnings=tuple(table["warnings"]),
        needs_vault=True,
        digest=table["digest"],
    )
