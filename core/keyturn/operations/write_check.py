"""Check, before the user is asked for anything, that what an operation will write can be written."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable
from pathlib import Path

from keyturn.model.errors import UnsafeFile
from keyturn.model.profile import GroupWrite
from keyturn.storage.paths import Paths
from keyturn.system.files import os_error_text
from keyturn.system.ownership import check_writable
from keyturn.system.shared_file import find_group_write, remove_group_write


def check_own_writable(paths: Paths) -> None:
    """Check that the vault, `profiles.toml`, the index and the history can be written.

    :raises UnsafeFile: if one of their folders is read-only.
    """
    for folder in (paths.vault_dir, paths.config_dir, paths.state_dir, paths.history_dir):
        with os_error_text(f"Could not write {folder}"):
            check_writable(folder)


def find_obstacles(paths: Paths, files: Iterable[Path]) -> tuple[GroupWrite, ...]:
    """Check that an operation can write shared files and keyturn's own.

    :param files: the shared files.
    :returns: files and folders whose group write permission must be removed first.
    :raises UnsafeFile: if a file would be refused for another reason.
    """
    check_own_writable(paths)
    found: dict[str, GroupWrite] = {}
    for file in files:
        with os_error_text(f"Could not write {file}"):
            found |= {item.path: item for item in find_group_write(file, paths.home)}
    return tuple(found.values())


def require_writable(paths: Paths, files: Iterable[Path]) -> None:
    """Check that an operation without a review can write shared files and keyturn's own.

    :raises UnsafeFile: if it cannot; the error names the command that corrects it.
    """
    for item in find_obstacles(paths, files):
        raise UnsafeFile(
            f"Could not write {item.path}",
            "members of a group may write it",
            f"Run: chmod g-w {shlex.quote(item.path)}",
        )


def remove_obstacles(paths: Paths, files: Iterable[Path], accepted: Collection[str]) -> None:
    """Remove the group write permissions that the user has seen in the plan.

    :param files: the shared files that will be written.
    :param accepted: paths that the plan listed.
    :raises UnsafeFile: if there is another obstacle; nothing is changed then.
    """
    found = find_obstacles(paths, files)
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
