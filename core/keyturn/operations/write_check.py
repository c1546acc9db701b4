"""Check, before the user is asked for anything, that an operation can write what it will write.

Refused are files that owner, mode or file system forbid to write, and files of a later keyturn. The index
protects the vault and the sessions: it names the vault, and it lists what was stopped and what lies in
plaintext in the credentials file. So an operation that puts something there does not start without it.
Credentials are handed out all the same.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Iterable
from pathlib import Path

from keyturn.model.errors import (
    UPGRADE,
    ChangeRefused,
    KeyturnError,
    UnsafeFile,
    VaultCorrupt,
    VaultNewer,
    newer_file,
)
from keyturn.model.profile import GroupWrite
from keyturn.operations.context import Context
from keyturn.storage import index
from keyturn.storage.history import History
from keyturn.storage.paths import Paths
from keyturn.system.files import os_error_text
from keyturn.system.ownership import check_writable
from keyturn.system.shared_file import find_group_write, remove_group_write


def require_index(context: Context, what: str) -> None:
    """Check that this version may write the index.

    :param what: the failure if it may not ("Could not set ci-deploy").
    :raises ChangeRefused: if a later keyturn wrote it.
    """
    version = context.index.load().version
    if version > index.VERSION:
        raise _refusal(
            what, newer_file(context.paths.display(context.paths.index_file), version, index.VERSION)
        )


def require_history(context: Context, what: str) -> None:
    """Check that this version may add a shared file's content to the history. A damaged history is replaced
    when that happens.

    :raises ChangeRefused: if a later keyturn wrote it.
    """
    try:
        with contextlib.suppress(VaultCorrupt):
            History(context.paths.history_dir, context.vault.seal, context.clock).list()
    except VaultNewer as error:
        raise _refusal(what, error) from None


def require_index_and_history(context: Context, what: str) -> None:
    """Check both, for an operation that edits a shared file and records it."""
    require_index(context, what)
    require_history(context, what)


def require_own_folders(paths: Paths) -> None:
    """Check that keyturn's own folders can be written.

    :raises UnsafeFile: if one of them is read-only.
    """
    for folder in (paths.vault_dir, paths.config_dir, paths.state_dir, paths.history_dir):
        with os_error_text(f"Could not write {folder}"):
            check_writable(folder)


def find_group_writes(context: Context, what: str, files: Iterable[Path]) -> tuple[GroupWrite, ...]:
    """Check that an operation can write shared files and keyturn's own, once the user has agreed to remove
    group write permissions.

    :param files: the shared files.
    :returns: files and folders whose group write permission must be removed first.
    :raises ChangeRefused: if a file would be refused for another reason.
    """
    require_index_and_history(context, what)
    require_own_folders(context.paths)
    found: dict[str, GroupWrite] = {}
    for file in files:
        with os_error_text(f"Could not write {file}"):
            found |= {item.path: item for item in find_group_write(file, context.paths.home)}
    return tuple(found.values())


def require_writable(context: Context, what: str, files: Iterable[Path]) -> None:
    """Check that an operation without a review can write shared files and keyturn's own.

    :raises ChangeRefused: if it cannot; the error names the command that corrects it.
    """
    for item in find_group_writes(context, what, files):
        raise UnsafeFile(
            f"Could not write {item.path}",
            "members of a group may write it",
            f"Run: chmod g-w {shlex.quote(item.path)}",
        )


def remove_group_writes(
    context: Context, what: str, files: Iterable[Path], accepted: Collection[str]
) -> None:
    """Remove the group write permissions that the user has seen in the plan.

    :param files: the shared files that will be written.
    :param accepted: paths that the plan listed.
    :raises ChangeRefused: if there is another obstacle; nothing is changed then.
    """
    found = find_group_writes(context, what, files)
    for item in found:
        if item.path not in accepted:
            raise UnsafeFile(
                f"Could not write {item.path}", "members of a group may write it now", "Review the plan again"
            )
    for item in found:
        with os_error_text(f"Could not change the permissions of {item.path}"):
            remove_group_write(item)


def warnings(found: Iterable[GroupWrite], paths: Paths) -> tuple[str, ...]:
    """Return one sentence for each group write permission that a plan removes."""
    return tuple(
        f"members of a group may write {paths.display(item.path)} (mode {item.mode:04o}); keyturn runs chmod "
        "g-w on it first"
        for item in found
    )


def _refusal(what: str, error: KeyturnError) -> ChangeRefused:
    return ChangeRefused(what, f"{error.what} was {error.why}", UPGRADE)
