"""Owner and mode of files and folders: other users who could write or replace them, and the commands that end
that.

The rules are those of OpenSSH's `StrictModes`, with one exception that :func:`is_private_group` describes.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from keyturn.model.errors import UnsafeFile

#: Extended attribute of a POSIX access control list, which may let further users write.
_ACL = "system.posix_acl_access"
_NO_ACL = (errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.ENOENT)


# -- groups --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """An entry of the password database."""

    name: str
    uid: int
    gid: int
    """Primary group."""


@dataclass(frozen=True, slots=True)
class Group:
    """An entry of the group database."""

    name: str
    gid: int
    members: tuple[str, ...]


def is_private_group(user: Account, group: Group, accounts: Iterable[Account]) -> bool:
    """Return True if `user` is certainly the only member of `group`: a user private group, which Debian,
    Fedora and RHEL create for each user, and which makes their umask of 002 safe.

    :param accounts: all accounts. If the system does not list `user` among them, it does not list everybody
        (as with some directory services), and the group counts as shared.
    """
    everybody = tuple(accounts)
    return (
        user in everybody
        and group.gid == user.gid
        and group.name == user.name
        and set(group.members) <= {user.name}
        and all(account.uid == user.uid for account in everybody if account.gid == group.gid)
    )


@lru_cache(maxsize=32)
def _is_own_private_group(gid: int, uid: int) -> bool:
    """Return True if only the user `uid` is in the group `gid`, by the databases of the system."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return is_private_group(
        Account(user.pw_name, user.pw_uid, user.pw_gid),
        Group(group.gr_name, group.gr_gid, tuple(group.gr_mem)),
        (Account(entry.pw_name, entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()),
    )


# -- who may write -------------------------------------------------------------------------------------------


def others_can_write(path: Path, status: os.stat_result) -> bool:
    """Return True if users other than the owner could write a file, or replace the files of a folder.

    :param path: its path, for the access control list.
    """
    return bool(status.st_mode & stat.S_IWOTH) or group_can_write(path, status)


def group_can_write(path: Path, status: os.stat_result) -> bool:
    """Return True if a group with other members may write, or an access control list decides who may."""
    if not status.st_mode & stat.S_IWGRP:
        return False
    return _has_acl(path) or not _is_own_private_group(status.st_gid, status.st_uid)


def _has_acl(path: Path) -> bool:
    if sys.platform != "linux":
        return False
    try:
        os.getxattr(path, _ACL)
    except OSError as error:
        return error.errno not in _NO_ACL
    return True


def is_trusted_owner(uid: int) -> bool:
    """Return True for this user and for root, who can change everything anyway."""
    return uid in (os.geteuid(), 0)


def is_unmapped(uid: int) -> bool:
    """Return True if `uid` stands for the users of the host that do not exist in this container, to which
    its root folder may belong."""
    try:
        unmapped = int(Path("/proc/sys/kernel/overflowuid").read_text("ascii"))
        first, _, count = Path("/proc/self/uid_map").read_text("ascii").splitlines()[0].split()
    except (OSError, ValueError, IndexError):
        return False
    return uid == unmapped and not (first == "0" and int(count) > unmapped)


def user_name(uid: int) -> str:
    """Return `NAME (uid N)`, or `uid N` for a user without an entry in the password database."""
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


# -- keyturn's own files -------------------------------------------------------------------------------------


def check_own(path: Path, *, may_be_read: bool = False, missing_ok: bool = False) -> None:
    """Check that one of keyturn's own files or folders belongs to this user and that nobody else can use it.

    :param may_be_read: others may read it, but not write it.
    :param missing_ok: nothing is at `path` is no error.
    :raises UnsafeFile: if not; the error names the command that corrects it.
    :raises OSError: if it cannot be examined.
    """
    try:
        link = path.lstat()
        status = path.stat() if stat.S_ISLNK(link.st_mode) else link
    except FileNotFoundError:
        if missing_ok:
            return
        raise
    for found in (link, status):
        if found.st_uid != os.geteuid():
            raise _foreign(path, found.st_uid)
    excess = stat.S_IMODE(status.st_mode) & (0o022 if may_be_read else 0o077)
    if excess:
        kept = "go-w" if may_be_read else "700" if stat.S_ISDIR(status.st_mode) else "600"
        verb = "write" if excess & 0o022 else "read"
        raise UnsafeFile(
            f"Could not use {path}",
            f"other users may {verb} it (mode {stat.S_IMODE(status.st_mode):04o})",
            f"Check that its contents are yours, then run: chmod {kept} {shlex.quote(str(path))}",
        )


def check_creatable(folder: Path) -> None:
    """Check that `folder`, or the nearest existing folder above it, belongs to this user, so that this
    process does not leave files in another user's home.

    Root's folders count as this user's own where root has made them for everybody (as `/tmp`).

    :raises UnsafeFile: if it belongs to somebody else.
    """
    nearest = nearest_existing(folder)
    status = nearest.stat()
    if status.st_uid == os.geteuid():
        return
    if status.st_uid == 0 and nearest != folder and status.st_mode & stat.S_ISVTX:
        return
    raise _foreign(nearest, status.st_uid)


def check_writable(folder: Path) -> None:
    """Check that files can be created in `folder`, or in the nearest existing folder above it.

    :raises UnsafeFile: if it is read-only; nothing is written for the check.
    """
    nearest = nearest_existing(folder)
    if os.access(nearest, os.W_OK | os.X_OK):
        return
    is_read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY
    raise UnsafeFile(
        f"Could not write {folder}",
        f"{nearest} is on a read-only file system" if is_read_only else f"{nearest} is not writable",
        "Mount it for writing" if is_read_only else f"Run: chmod u+wx {shlex.quote(str(nearest))}",
    )


def nearest_existing(folder: Path) -> Path:
    """Return `folder`, or the nearest folder above it that exists and can be examined."""
    while not _is_dir(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:  # in a closed folder, which is somebody else's
        return False


def _foreign(path: Path, uid: int) -> UnsafeFile:
    return UnsafeFile(
        f"Could not use {path}",
        f"it belongs to {user_name(uid)}, and this process runs as {user_name(os.geteuid())}",
        "Run keyturn as that user, without sudo, or set HOME or KEYTURN_HOME to a folder of your own",
    )
