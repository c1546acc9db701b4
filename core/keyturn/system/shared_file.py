"""A file that other programs write too: the real file behind a path, its lock, a stable read, and an atomic
replacement.

:mod:`~keyturn.awsconfig.writer` edits with these steps. Long, because each step relies on the marks and the
descriptors of the one before.

The lock is a flock on a file in keyturn's own folder, never beside the shared file. The kernel releases it
when the process ends, so it is never stale. The record in it tells the next writer if the file is as keyturn
left it, complete, or another program may still be writing it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import random
import re
import secrets
import shlex
import stat
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.model.errors import FileBusy, UnsafeFile
from keyturn.model.profile import GroupWrite
from keyturn.system import files
from keyturn.system.clock import system_clock
from keyturn.system.open_files import is_being_written
from keyturn.system.ownership import (
    check_creatable,
    check_writable,
    group_can_write,
    nearest_existing,
    user_name,
)

_LOG = logging.getLogger(__name__)
#: Seconds for which a file must be unchanged before its bytes count.
QUIET = 0.030
#: The same for an empty file, in seconds, because a program that truncates may take time before it writes.
QUIET_EMPTY = 0.500
#: The same for a file that looks truncated, in seconds.
QUIET_CUT = 2.0
#: Seconds to wait for another keyturn process.
LOCK_LIMIT = 10.0
#: Longest wait in seconds, while other processes of keyturn write the file in turn.
LONGEST_LOCK_LIMIT = 60.0
#: Seconds for which a file may keep changing before the read fails.
READ_LIMIT = 10.0
#: As many links as Linux follows before it reports a loop.
_MAX_LINKS = 40
#: Errors of network file systems that do not support flock.
_LOCK_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
#: Errors of extended attributes that are ignored: not supported, or an ordinary user may not copy them.
_XATTR_ERRORS = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA)


def _wall() -> float:
    return system_clock().timestamp()


@dataclass(frozen=True, slots=True)
class Timing:
    """Clocks and randomness of the writer. All times in seconds."""

    wall: Callable[[], float] = _wall
    """Seconds since the epoch; compared with the times of the file system."""
    elapsed: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """Random number from 0 to 1 that keeps several writers out of step."""


# -- the real file -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """The real file behind a path: links resolved, in a folder that is safe to write to."""

    path: Path
    """As the user gave it."""
    real: Path
    """In a folder that exists; not itself a link."""
    status: os.stat_result | None
    """None if there is no file yet."""
    key: str
    """The same for every path that leads to this file."""


def find_target(path: Path) -> Target:
    """Return the target of an edit. A missing folder is created, private.

    :raises UnsafeFile: if the links loop, the target is not a regular file, or an owner or mode lets another
        user decide what is written.
    :raises OSError: if the file system refuses.
    """
    real = _resolve_links(path)
    folder = real.parent
    if not folder.is_dir():
        files.private_dir(folder)
    folder = Path(os.path.realpath(folder))
    real = folder / real.name
    status = None
    with contextlib.suppress(FileNotFoundError):
        status = real.lstat()
    folder_status = folder.stat()
    found = () if status is None else _check_file(path, real, status)
    for unsafe in (*found, *_check_owner(path, real, folder, folder_status)):
        raise UnsafeFile(
            f"Could not write {path}",
            f"members of a group may write {label(path, real, Path(unsafe.path))}",
            f"Run: chmod g-w {shlex.quote(unsafe.path)}",
        )
    return Target(path, real, status, f"{folder_status.st_dev}:{folder_status.st_ino}:{real.name}")


def find_group_write(path: Path, home: Path) -> tuple[GroupWrite, ...]:
    """Check that an edit of `path` will not be refused, without changing or creating anything.

    :param home: the user's home; checked too if the file is in it.
    :returns: the file or folders whose group write permission must be removed first.
    :raises UnsafeFile: if it would be refused for another reason.
    :raises OSError: if the file system refuses.
    """
    real = _resolve_links(path)
    folder = nearest_existing(real.parent)
    real_folder = Path(os.path.realpath(folder))
    found: list[GroupWrite] = []
    if folder == real.parent:
        real = real_folder / real.name
        with contextlib.suppress(FileNotFoundError):
            found += _check_file(path, real, real.lstat())
            if real in _mount_points():
                raise _mounted(path)
    else:
        check_creatable(real.parent)
    found += _check_owner(path, real, real_folder, real_folder.stat())
    real_home = Path(os.path.realpath(home))
    if real_home in real_folder.parents:
        found += _check_owner(path, real, real_home, real_home.stat())
    check_writable(real_folder)
    return tuple(found)


def remove_group_write(found: GroupWrite) -> None:
    """Remove the group's write permission from a file or folder, if it is still as it was found.

    :raises UnsafeFile: if it is not.
    :raises OSError: if the file system refuses.
    """
    handle = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) != found.mode:
            raise UnsafeFile(
                f"Could not change the permissions of {found.path}",
                "they have changed",
                "Review the plan again",
            )
        os.fchmod(handle, found.mode & ~stat.S_IWGRP)
    finally:
        os.close(handle)


def _mount_points() -> frozenset[Path]:
    """Return the paths that are mount points; empty where the system does not list them."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return frozenset()
    escaped = re.compile(rb"\\([0-7]{3})")  # proc(5): space, tab, line end and backslash
    return frozenset(
        Path(os.fsdecode(escaped.sub(lambda code: bytes([int(code[1], 8)]), line.split()[4])))
        for line in lines
    )


def _mounted(path: Path) -> UnsafeFile:
    return UnsafeFile(
        f"Could not write {path}",
        "it is mounted as a single file, which cannot be replaced atomically",
        "Mount its folder instead of the file",
    )


def _resolve_links(path: Path) -> Path:
    current = path.absolute()
    for _ in range(_MAX_LINKS):
        try:
            link = os.readlink(current)  # noqa: PTH115  # one link at a time, where a relative one starts at its folder
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return current
            if error.errno == errno.ELOOP:
                break
            raise
        current = current.parent / link
    raise UnsafeFile(f"Could not write {path}", "its symbolic links form a loop", "Fix the links")


def _check_file(path: Path, real: Path, status: os.stat_result) -> tuple[GroupWrite, ...]:
    """Return the file if a group may write it.

    :raises UnsafeFile: if it must not be replaced for another reason.
    """
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        raise UnsafeFile(
            f"Could not write {path}", f"it is {_file_type(mode)}, not a regular file", "Use a regular file"
        )
    if not mode & stat.S_IWUSR:
        raise UnsafeFile(
            f"Could not write {path}", "it is read-only", f"Run: chmod u+w {shlex.quote(str(real))}"
        )
    return _check_owner(path, real, real, status)


def _check_owner(path: Path, real: Path, checked: Path, status: os.stat_result) -> tuple[GroupWrite, ...]:
    """Return `checked`, which is the file `real` or a folder above it, if a group may write it.

    :raises UnsafeFile: if it belongs to another user, or everybody may write it.
    """
    shown = label(path, real, checked)
    if status.st_uid != os.geteuid():
        raise UnsafeFile(
            f"Could not write {path}",
            f"{shown} belongs to another user, {user_name(status.st_uid)}",
            "Run keyturn as that user, without sudo, or change the owner",
        )
    if status.st_mode & stat.S_IWOTH:
        raise UnsafeFile(
            f"Could not write {path}",
            f"everybody may write {shown}",
            f"Check its contents, then run: chmod o-w {shlex.quote(str(checked))}",
        )
    mode = stat.S_IMODE(status.st_mode)
    return (GroupWrite(str(checked), mode),) if group_can_write(checked, status) else ()


def label(path: Path, real: Path, checked: Path) -> str:
    """Return how an error about the file `path` names `checked`: the file itself, or a folder above it.

    :param real: the file behind the links.
    """
    if checked == real:
        return "it" if real.name == path.name else f"the linked file {real}"
    return f"its folder {checked}" if checked == real.parent else f"the folder {checked} above it"


def _file_type(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")


# -- the lock among keyturn processes ------------------------------------------------------------------------


Mark = tuple[int, int, int, int]
"""Device, inode, size and modification time (ns) of a file. Equal marks mean equal bytes."""


def mark_of(status: os.stat_result) -> Mark:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class LockNote:
    """The record in the lock file, shared between keyturn processes."""

    count: int = 0
    """Number of writes by keyturn so far."""
    first_after_foreign: int = 0
    """Number of keyturn's first write after the last foreign change. If it is <= the number of an earlier
    write, only keyturn has written since, so that write is still in the file."""
    own_mark: Mark | None = None
    """The file as keyturn's last write left it."""
    contended_at: float = 0.0
    """Time of the last observed foreign write, in seconds since the epoch; 0 if none."""


class LockedFile:
    """A lock that this process holds, with its record."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = time.monotonic_ns()
        self.note = self._read()
        self._write()

    def _read(self) -> LockNote:
        try:
            table = json.loads(os.pread(self._descriptor, 4096, 0))
            stored = table["left"]
            mark = (
                None if stored is None else (int(stored[0]), int(stored[1]), int(stored[2]), int(stored[3]))
            )
            return LockNote(
                int(table["count"]), int(table["foreign"]), mark, float(table.get("stirred", 0.0))
            )
        except (ValueError, TypeError, KeyError, IndexError):
            return LockNote()

    def is_our_version(self, status: os.stat_result) -> bool:
        """Return True if the file is exactly as keyturn's last write left it."""
        return self.note.own_mark == mark_of(status)

    def record_own_write(self, status: os.stat_result, *, unbroken: bool) -> int:
        """Record a write and return its number.

        :param unbroken: True if the version that was edited was keyturn's own.
        """
        count = self.note.count + 1
        self.note = replace(
            self.note,
            count=count,
            first_after_foreign=self.note.first_after_foreign if unbroken else count,
            own_mark=mark_of(status),
        )
        # Without the record the next writer only waits a little longer; that is no reason to fail after a
        # successful write.
        with contextlib.suppress(OSError):
            self._write()
        return count

    def record_foreign_write(self, now: float) -> None:
        """Record that another program has just written the file.

        :param now: seconds since the epoch.
        """
        self.note = replace(self.note, contended_at=now)
        with contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        table = {
            "pid": os.getpid(),
            "turn": self._turn,
            "count": self.note.count,
            "foreign": self.note.first_after_foreign,
            "left": self.note.own_mark,
            "stirred": self.note.contended_at,
        }
        text = json.dumps(table).encode()
        os.pwrite(self._descriptor, text.ljust(256), 0)


@contextlib.contextmanager
def lock_file(locks_dir: Path, target: Target, timing: Timing) -> Iterator[LockedFile]:
    """Hold the lock of a target.

    :raises FileBusy: if another process holds it for more than 10 s; the error names the process. Also if
        others take it in turn for more than 60 s.
    :raises OSError: if keyturn's own folder is not writable.
    """
    files.private_dir(locks_dir)
    name = hashlib.sha256(target.key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    descriptor = files.open_lock_file(locks_dir / f"{name}.lock")
    try:
        _acquire(descriptor, target, timing)
        yield LockedFile(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, target: Target, timing: Timing) -> None:
    started = timing.elapsed()
    try:
        # Short pauses, because a write takes milliseconds and others may wait for the same file.
        is_held = files.poll_flock(
            descriptor,
            LOCK_LIMIT,
            longest=LONGEST_LOCK_LIMIT,
            longest_pause=0.01,
            elapsed=timing.elapsed,
            sleep=timing.sleep,
        )
    except OSError as error:
        if error.errno not in _LOCK_UNSUPPORTED:
            raise
        _LOG.warning("file system of %s does not support locks: relying on stable reads alone", target.path)
        return
    if not is_held:
        what = f"Could not write {target.path}"
        if timing.elapsed() - started >= LONGEST_LOCK_LIMIT:
            raise files.queue_error(what, LONGEST_LOCK_LIMIT)
        raise files.busy_error(what, _owner_pid(descriptor), LOCK_LIMIT)


def _owner_pid(descriptor: int) -> int | None:
    try:
        return int(json.loads(os.pread(descriptor, 4096, 0))["pid"])
    except (ValueError, TypeError, KeyError):
        return None


# -- a stable read -------------------------------------------------------------------------------------------


QuietTime = Callable[[bytes], float]
"""Returns the seconds for which a file must be unchanged before these bytes of it count: longer if they look
incomplete, because another program is probably writing them."""


@dataclass(slots=True)
class Version:
    """The bytes of a file and a descriptor that stays open after the name is gone. Must be closed."""

    data: bytes | None
    """None if there is no file."""
    status: os.stat_result | None
    descriptor: int = -1
    is_ours: bool = False
    """True if it was as keyturn's last write left it."""

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def is_current(self, target: Target) -> bool:
        """Return True if the file is still this version now: same file, same bytes."""
        try:
            now = target.real.lstat()
        except FileNotFoundError:
            return self.status is None
        if self.status is None or mark_of(now) != mark_of(self.status):
            return False
        return files.read_open(self.descriptor) == self.data

    def read_late_write(self, path: Path, quiet_time: QuietTime, timing: Timing) -> bytes | None:
        """Return what another program wrote into this version after it was replaced, once it is complete;
        None if nothing.

        A file that was truncated and stays empty counts as nothing, because no program means to keep that.

        :param path: the file's path as the user gave it.
        :raises FileBusy: if it is not complete after 10 s.
        """
        if self.status is None or self.descriptor < 0:
            return None
        deadline = timing.elapsed() + READ_LIMIT
        quiet = _QuietTimer(timing)
        while True:
            status = os.fstat(self.descriptor)
            being_written = is_being_written(self.descriptor)
            if not being_written and mark_of(status) == mark_of(self.status):
                return None
            if being_written:
                quiet.pause()
            else:
                data = files.read_open(self.descriptor)
                # No program can open it any more. If none is known to have it open, it is complete.
                required = 0.0 if being_written is False else quiet_time(data) if data else QUIET_CUT
                if quiet.wait(status, required) and mark_of(os.fstat(self.descriptor)) == mark_of(status):
                    return None if data in (b"", self.data) else data
            if timing.elapsed() >= deadline:
                why = "another program has the previous version open, and what it writes there is lost"
                raise FileBusy(
                    f"Could not write {path}", why, "Close the file in that program, then check its contents"
                )


def read_stable(
    target: Target, lock: LockedFile, quiet_time: QuietTime, timing: Timing, *, existed: bool = False
) -> Version:
    """Return the file once it has been unchanged long enough; longer if it looks incomplete.

    :param existed: True if there was a file at the last look; a missing one may then be about to come back.
    :raises FileBusy: if it keeps changing, or a program keeps it open for writing.
    """
    deadline = timing.elapsed() + READ_LIMIT
    quiet = _QuietTimer(timing)
    while True:
        version = open_version(target.real)
        try:
            if _is_stable(version, lock, quiet_time, quiet, existed=existed):
                return version
            if timing.elapsed() >= deadline:
                why = "another program keeps changing it or has it open for writing"
                raise FileBusy(f"Could not write {target.path}", why, "Stop the other program first")
        except BaseException:
            version.close()
            raise
        version.close()


class _QuietTimer:
    """Measures how long a file has been unchanged: by its modification time, or by observation if that time
    is in the future."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._mark: object = None
        self._since = 0.0

    def quiet_seconds(self, status: os.stat_result | None) -> float:
        """Return the number of seconds for which the file has been unchanged."""
        now = self._timing.elapsed()
        mark = None if status is None else mark_of(status)
        if self._mark != (mark,):
            self._mark, self._since = (mark,), now
        age = self._timing.wall() - status.st_mtime if status is not None else 0.0
        return max(age, now - self._since)

    def wait(self, status: os.stat_result | None, required: float) -> bool:
        """Return True if the file has been unchanged for `required` seconds; otherwise sleep for the rest and
        return False."""
        missing = required - self.quiet_seconds(status)
        if missing <= 0:
            return True
        self._timing.sleep(missing)
        return False

    def pause(self) -> None:
        """Give an active writer some time."""
        self._timing.sleep(QUIET)


def _is_stable(
    version: Version, lock: LockedFile, quiet_time: QuietTime, quiet: _QuietTimer, *, existed: bool
) -> bool:
    status = version.status
    if status is None:
        # A file that existed may be about to come back: an editor moves it away before it creates the new
        # one.
        return not (existed or lock.note.own_mark) or quiet.wait(None, QUIET_EMPTY)
    if is_being_written(version.descriptor):
        quiet.pause()
        return False
    if lock.is_our_version(status):
        version.is_ours = True
        return True
    if quiet.quiet_seconds(status) < QUIET_CUT and not quiet.wait(status, quiet_time(version.data or b"")):
        return False
    return mark_of(os.fstat(version.descriptor)) == mark_of(status)


def open_version(path: Path) -> Version:
    """Open a file as it is now.

    :raises FileBusy: if it is not a regular file.
    :raises OSError: if it cannot be read.
    """
    try:
        descriptor = files.open_regular(path, os.O_NOFOLLOW)
    except FileNotFoundError:
        return Version(None, None)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        why = "it is no longer a regular file"
        raise FileBusy(f"Could not write {path}", why, "Check the file first") from None
    try:
        status = os.fstat(descriptor)
        return Version(files.read_open(descriptor), status, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


# -- an atomic replacement -----------------------------------------------------------------------------------


class Replacement:
    """A new version of a file, complete and synced beside the old one, until it is committed or discarded.

    If the system can exchange two names, the replaced version is at `path` after the commit, until
    :meth:`discard`.
    """

    def __init__(self, target: Target, data: bytes, *, is_secret: bool) -> None:
        """:raises OSError: if it cannot be written; no temporary file is left."""
        self._target = target
        self.path = private_name(target.real.parent)
        self.status = files.write_new(
            self.path, data, lambda descriptor: _copy_permissions(descriptor, target, is_secret=is_secret)
        )

    def commit(self) -> bool:
        """Put the new version in place of the old one.

        :returns: False if another program created the file, moved the old version away, or replaced it;
            nothing is changed then.
        :raises UnsafeFile: if the file is a mount point of its own.
        :raises OSError: if the system refuses; the old version is still in place.
        """
        try:
            if self._target.status is None:
                return self._create()
            if files.exchange(self.path, self._target.real):
                return self._verify_exchange(self._target.status)
            self.path.replace(self._target.real)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise _mounted(self._target.path) from None
        return True

    def _verify_exchange(self, expected: os.stat_result) -> bool:
        """Return True if the expected version was replaced. Otherwise exchange back, so that the other
        version is in place again."""
        displaced = self.path.lstat()
        if (displaced.st_dev, displaced.st_ino) == (expected.st_dev, expected.st_ino):
            return True
        files.exchange(self.path, self._target.real)
        return False

    def _create(self) -> bool:
        """Create the file, only if its name is still free."""
        if not create_exclusive(self.path, self._target.real):
            return False
        self.discard()
        return True

    def discard(self) -> None:
        """Remove the temporary file; do nothing if it was moved into place."""
        files.discard(self.path)


def private_name(folder: Path) -> Path:
    """Return a free name in `folder` for a temporary version of a shared file."""
    return folder / f".keyturn-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def create_exclusive(path: Path, new_name: Path) -> bool:
    """Give a file a second name, only if that name is free.

    On a file system without hard links, rename the file instead. Between the check and the rename is a gap of
    microseconds.

    :returns: False if `new_name` exists.
    :raises OSError: if the file system refuses.
    """
    try:
        os.link(path, new_name, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in files.LINK_UNSUPPORTED:
            raise
        if os.path.lexists(new_name):
            return False
        path.replace(new_name)
    return True


def _copy_permissions(descriptor: int, target: Target, *, is_secret: bool) -> None:
    """Copy group, extended attributes and mode of the old file.

    Others get no permissions on a secret file. If the group cannot be copied, the group permissions are
    removed.
    """
    status = target.status
    if status is None:
        return
    mode = stat.S_IMODE(status.st_mode) & 0o777
    if is_secret:
        mode &= 0o700
    if os.fstat(descriptor).st_gid != status.st_gid:
        try:
            os.fchown(descriptor, -1, status.st_gid)
        except PermissionError:
            mode &= ~0o070
    _copy_attributes(descriptor, target.real)
    os.fchmod(descriptor, mode)


def _copy_attributes(descriptor: int, source: Path) -> None:
    if sys.platform == "linux":
        try:
            names = os.listxattr(source, follow_symlinks=False)
        except OSError as error:
            if error.errno in (*_XATTR_ERRORS, errno.ENOENT):
                # The file is gone. The check before the replacement notices that.
                return
            raise
        for name in names:
            try:
                os.setxattr(descriptor, name, os.getxattr(source, name, follow_symlinks=False))
            except OSError as error:
                if error.errno not in (*_XATTR_ERRORS, errno.ENOENT):
                    raise


def remove_if_unchanged(target: Target, version: Version, keep: Callable[[Path, bytes], None]) -> bool:
    """Remove the file of `target` if it is still `version`.

    The file is renamed before it is compared, because otherwise another program could replace it between the
    comparison and the removal.

    :param keep: saves a foreign version whose name another file took before it could be put back.
    :returns: False if the file changed; it is then in place as before.
    :raises OSError: if the file system refuses.
    """
    aside = private_name(target.real.parent)
    try:
        target.real.rename(aside)
    except FileNotFoundError:
        return False
    if version.is_current(replace(target, real=aside)):
        aside.unlink()
        return True
    if not create_exclusive(aside, target.real):
        keep(target.path, aside.read_bytes())
    aside.unlink(missing_ok=True)
    return False
