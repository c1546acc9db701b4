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


def _refresh(context: Context, args: Args) -> object:
    return refreshed_table(refresh.refresh(context, str(args["name"]), _text(args, "code")))


def _document(context: Context, args: Args) -> object:
    return refresh.document(context, str(args["name"]))


def _get_credentials(context: Context, args: Args) -> object:
    seconds = args.get("least_seconds")
    least = None if seconds is None else timedelta(seconds=int(seconds))
    return get_credentials.get_credentials(context, str(args["name"]), least, _text(args, "code"))


def _deliver(context: Context, args: Args) -> object:
    return deliver.deliver(context, str(args["name"]), Delivery(args["to"]), _text(args, "as"))


def _stop(context: Context, args: Args) -> object:
    return deliver.stop(context, str(args["name"]))


def _adopt(context: Context, args: Args) -> object:
    none = bool(args.get("session_none"))
    return list(adopt.adopt(context, _names(args), str(args["digest"]), session_none=none))


def _plan_release(context: Context, args: Args) -> object:
    return plan_table(release.plan(context, _names(args)))


def _release(context: Context, args: Args) -> object:
    done = release.release(
        context,
        _names(args),
        str(args["digest"]),
        passphrase=_secret(args, "passphrase"),
        recovery_key=_secret(args, "recovery_key"),
        words=_text(args, "words"),
    )
    return list(done)


def _mfa_devices(context: Context, args: Args) -> object:
    return list(configure.mfa_devices(context, str(args["name"])))


def _rotate_begin(context: Context, args: Args) -> object:
    return progress_table(create_key.start(context, str(args["name"]), _text(args, "code")))


def _rotate_step(context: Context, args: Args) -> object:
    return progress_table(runner.advance(context, str(args["name"]), _text(args, "code")))


def _rotate_undo(context: Context, args: Args) -> object:
    return progress_table(runner.undo(context, str(args["name"]), _text(args, "code")))


def _rotate_ending(context: Context, args: Args) -> object:
    return delete_key.deletion_facts_table(
        delete_key.deletion_facts(context, str(args["name"]), _text(args, "code"))
    )


def _rotate_finish(context: Context, args: Args) -> object:
    word = _text(args, "last_four")
    return progress_table(delete_key.finish(context, str(args["name"]), word, _text(args, "code")))


def _rotate_drop(context: Context, args: Args) -> object:
    return delete_key.delete_other_key(
        context, str(args["name"]), str(args["last_four"]), _text(args, "code")
    )


def _rotate_status(context: Context, args: Args) -> object:
    return status.status(context, str(args["name"]), _text(args, "code"))


OPERATIONS: Mapping[str, Callable[[Context, Args], object]] = {
    "refresh": _refresh,
    "document": _document,
    "hand": _get_credentials,
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


def dispatch(context: Context, act: str, args: Args) -> object:
    """Does one act.

    :param args: its arguments, and under `files` the shared files that the caller means.
    :raises UsageError: no such act, or its arguments are off.
    :raises KeyturnError: what the act raises; or the caller means other files than this process.
    """
    do = OPERATIONS.get(act)
    if do is None:
        raise UsageError(
            f"act {act}", "this keyturn knows none by that name", "Run: keyturn agent stop, then try again"
        )
    mine = files_of(context)
    if args.get("files", mine) != mine:
        raise KeyturnError(
            "the agent", f"it was started for the AWS files {mine[0]} and {mine[1]}",
            "Run: keyturn agent stop, then try again in this shell",
        )  # fmt: skip
    try:
        return do(context, args)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, KeyturnError):
            raise
        raise UsageError(f"act {act}", f"its arguments are off ({type(error).__name__})") from None


def files_of(context: Context) -> list[str]:
    """The shared files that this process means."""
    return [str(context.paths.aws_config), str(context.paths.aws_credentials)]


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
