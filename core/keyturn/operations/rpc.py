"""The acts by name, JSON in and JSON out: how a process that holds no identity has them done by the one that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.profile import Delivery, DiffLine, Plan, Refreshed, Session
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso, iso
from keyturn.operations import adopt, configure, deliver, release
from keyturn.operations.context import Context
from keyturn.operations.credentials import get_credentials, refresh
from keyturn.operations.rotation import create_key, delete_key, runner, status
from keyturn.operations.rotation.progress import progress_table

Args = Mapping[str, Any]


def _refresh(desk: Context, args: Args) -> object:
    return refreshed_table(refresh.refresh(desk, str(args["name"]), _text(args, "code")))


def _document(desk: Context, args: Args) -> object:
    return refresh.document(desk, str(args["name"]))


def _hand(desk: Context, args: Args) -> object:
    seconds = args.get("least_seconds")
    least = None if seconds is None else timedelta(seconds=int(seconds))
    return get_credentials.hand(desk, str(args["name"]), least, _text(args, "code"))


def _deliver(desk: Context, args: Args) -> object:
    return deliver.deliver(desk, str(args["name"]), Delivery(args["to"]), _text(args, "as"))


def _stop(desk: Context, args: Args) -> object:
    return deliver.stop(desk, str(args["name"]))


def _adopt(desk: Context, args: Args) -> object:
    none = bool(args.get("session_none"))
    return list(adopt.adopt(desk, _names(args), str(args["digest"]), session_none=none))


def _plan_release(desk: Context, args: Args) -> object:
    return plan_table(release.plan(desk, _names(args)))


def _release(desk: Context, args: Args) -> object:
    done = release.release(
        desk,
        _names(args),
        str(args["digest"]),
        passphrase=_secret(args, "passphrase"),
        recovery_key=_secret(args, "recovery_key"),
        words=_text(args, "words"),
    )
    return list(done)


def _mfa_devices(desk: Context, args: Args) -> object:
    return list(configure.mfa_devices(desk, str(args["name"])))


def _rotate_begin(desk: Context, args: Args) -> object:
    return progress_table(create_key.begin(desk, str(args["name"]), _text(args, "code")))


def _rotate_step(desk: Context, args: Args) -> object:
    return progress_table(runner.advance(desk, str(args["name"]), _text(args, "code")))


def _rotate_undo(desk: Context, args: Args) -> object:
    return progress_table(runner.undo(desk, str(args["name"]), _text(args, "code")))


def _rotate_ending(desk: Context, args: Args) -> object:
    return delete_key.ending_table(delete_key.ending(desk, str(args["name"]), _text(args, "code")))


def _rotate_finish(desk: Context, args: Args) -> object:
    word = _text(args, "last_four")
    return progress_table(delete_key.finish(desk, str(args["name"]), word, _text(args, "code")))


def _rotate_drop(desk: Context, args: Args) -> object:
    return delete_key.drop(desk, str(args["name"]), str(args["last_four"]), _text(args, "code"))


def _rotate_status(desk: Context, args: Args) -> object:
    return status.status(desk, str(args["name"]), _text(args, "code"))


ACTS: Mapping[str, Callable[[Context, Args], object]] = {
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


def perform(desk: Context, act: str, args: Args) -> object:
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


def files_of(desk: Context) -> list[str]:
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
