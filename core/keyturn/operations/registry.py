"""Registry of operations, and their dispatch by name with JSON arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.model.errors import RUN, KeyturnError, Remedy, UsageError
from keyturn.operations import adopt, configure, deliver, key_delivery, release
from keyturn.operations.context import Context
from keyturn.operations.credentials import get_credentials, refresh, refresh_many
from keyturn.operations.operation import Operation
from keyturn.operations.rotation import advance, create_key, delete_key, key_status

OPERATIONS: Mapping[str, Operation[..., Any]] = {
    item.name: item
    for item in (
        refresh.refresh,
        refresh.document,
        refresh_many.refresh_many,
        get_credentials.get_credentials,
        deliver.deliver,
        deliver.stop,
        adopt.adopt,
        release.plan,
        release.release,
        configure.mfa_devices,
        key_delivery.allow,
        key_delivery.forbid,
        create_key.start,
        advance.advance,
        advance.undo,
        delete_key.deletion_facts,
        delete_key.finish,
        delete_key.delete_other_key,
        key_status.status,
    )
}


def dispatch(context: Context, name: str, arguments: Mapping[str, Any]) -> object:
    """Run an operation in this process.

    :param arguments: its arguments; `files` holds the paths of the caller's shared files.
    :raises UsageError: if there is no such operation, or an argument is missing or has the wrong type.
    :raises KeyturnError: if the operation fails, or the caller uses other shared files than this process.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise UsageError(
            f"Unknown operation: {name}",
            "this keyturn is of another version",
            (RUN, Remedy("agent stop"), ", then try again"),
        )
    own_files = shared_files(context)
    if arguments.get("files", own_files) != own_files:
        raise KeyturnError(
            "The agent uses other files",
            f"it was started for the AWS files {own_files[0]} and {own_files[1]}",
            (RUN, Remedy("agent stop"), ", then try again in this shell"),
        )  # fmt: skip
    try:
        return operation.run(context, arguments)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, KeyturnError):
            raise
        raise UsageError(f"Could not run {name}", f"invalid arguments ({type(error).__name__})") from None


def is_unknown_operation(error: UsageError, name: str) -> bool:
    """Return True if an agent reported that it has no operation of this name, because it runs another version
    of keyturn. The first release words it as `act NAME`.
    """
    return error.what in (f"Unknown operation: {name}", f"act {name}")


def shared_files(context: Context) -> list[str]:
    """Return the paths of the two shared files that this process reads and writes."""
    return [str(context.paths.aws_config), str(context.paths.aws_credentials)]
