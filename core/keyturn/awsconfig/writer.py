"""The only writer of the shared files: no torn file, no lost edit of any program, no wider permissions."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final, Literal

from keyturn.awsconfig import three_way_merge
from keyturn.awsconfig.loader import read_regular
from keyturn.awsconfig.parser import Document, FileKind, parse
from keyturn.model.errors import (
    ChangeRefused,
    FileBusy,
    FileChanged,
    KeyturnError,
    UnparsableFile,
    UnsafeFile,
    UsageError,
    WriteNotConfirmed,
)
from keyturn.model.file_limits import shared_file_excess
from keyturn.system.files import sync_dir, translate_os_errors
from keyturn.system.shared_file import (
    QUIET,
    QUIET_CUT,
    QUIET_EMPTY,
    LockedFile,
    Mark,
    Replacement,
    Target,
    Timing,
    Version,
    find_target,
    lock_file,
    mark_of,
    open_version,
    read_stable,
    remove_if_unchanged,
)

#: Seconds to watch for a program that read the file before it was replaced and writes it now.
LATE_WRITE_WAIT = 0.030
#: The same while others have just written it, in seconds, because they may be slowed down by each other and
#: by keyturn.
CONTENDED_WAIT = 0.300
#: Seconds for which a program that wrote the file is expected to write it again.
CONTENTION_PERIOD = 2.0
#: Minimum number of attempts, and minimum seconds, for an edit that others undo. A slow disk and a busy
#: writer can collide for a while.
ATTEMPTS = 10
ATTEMPT_LIMIT = 20.0

Change = Callable[[Document], bytes]
"""An edit. It is called on the current file, and again if another program changes the file before the
write."""


class _Any(Enum):
    ANY = "any"


ANY: Final = _Any.ANY
"""Matches any contents of the file."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The contents of a file before and after an edit."""

    before: bytes | None = field(repr=False)
    """None if the edit created the file."""
    after: bytes = field(repr=False)


def require_file(path: Path, kind: FileKind) -> None:
    """Check that a shared file can be written.

    :raises UsageError: if AWS tools use no such file, because its variable is empty or `/dev/null`.
    """
    if str(path) == os.devnull:
        variable = "AWS_CONFIG_FILE" if kind is FileKind.CONFIG else "AWS_SHARED_CREDENTIALS_FILE"
        raise UsageError(
            f"Could not write the {kind} file",
            f"{variable} names no file, so AWS tools use none",
            f"Set {variable} to a path, or unset it",
        )


class SharedFiles:
    """Reads and edits shared files. Any number of processes and threads may do so at once.

    :param locks_dir: keyturn's own folder for the locks; created at first use.
    :param keep: saves each version that is about to be replaced, never an empty one. If it raises, nothing is
        written.
    :param known_sections: returns the headers that a file had at the last look, to tell a truncated file from
        a short one.
    """

    def __init__(
        self,
        locks_dir: Path,
        *,
        keep: Callable[[Path, bytes], None],
        known_sections: Callable[[Path], Collection[str]] = lambda _: (),
        timing: Timing | None = None,
    ) -> None:
        self.locks_dir = locks_dir
        self.keep = keep
        self.known_sections = known_sections
        self.timing = timing or Timing()

    def read(self, path: Path) -> bytes | None:
        """Return a file's bytes now, for display; None if there is no regular file.

        :raises KeyturnError: if it exists and cannot be read.
        """
        try:
            return read_regular(path)
        except OSError as error:
            raise KeyturnError(f"Could not read {path}", error.strerror or "unknown error") from error

    def edit(
        self,
        path: Path,
        change: Change,
        *,
        kind: FileKind,
        expect: bytes | Literal[_Any.ANY] | None = ANY,
        earlier: Document | None = None,
    ) -> Edit:
        """Change a file in one atomic step; a missing file is created, private to its owner.

        :param expect: the bytes that the change was planned on; None for no file.
        :param earlier: the file as it was read before; the same content is not parsed again.
        :raises UsageError: if AWS tools use no such file.
        :raises FileChanged: if the file does not hold `expect`, or changes of others cannot be merged.
        :raises UnparsableFile: if AWS tools reject the file as it is.
        :raises UnsafeFile: if its owner, mode or type forbids writing.
        :raises FileBusy: if another process holds it, or keeps changing it.
        :raises WriteNotConfirmed: if the file was written, but the disk did not confirm it.
        :raises KeyturnError: if the disk refuses, or `change` does. The file is then unchanged.
        """
        require_file(path, kind)
        with _translate_os_error(path):
            return _WriteAttempt(self, path, change, kind, expect=expect, earlier=earlier).run()

    def remove(self, path: Path, *, expect: bytes) -> None:
        """Remove a file that still holds `expect`; if `path` is a link, the file that it leads to.

        :raises FileChanged: if it holds something else.
        """
        with _translate_os_error(path):
            target = find_target(path)
            with lock_file(self.locks_dir, target, self.timing) as lock:
                version = read_stable(target, lock, partial(_quiet_time, kind=FileKind.CONFIG), self.timing)
                try:
                    self._remove(target, version, expect)
                finally:
                    version.close()

    def _remove(self, target: Target, version: Version, expect: bytes) -> None:
        if version.data != expect or not version.is_current(target):
            raise _changed_error(target.path)
        if version.data:
            self.keep(target.path, version.data)
        if not remove_if_unchanged(target, version, self.keep):
            raise _changed_error(target.path)
        sync_dir(target.real.parent)
        self.timing.sleep(LATE_WRITE_WAIT)
        quiet_time = partial(_quiet_time, kind=FileKind.CREDENTIALS)
        late = version.read_late_write(target.path, quiet_time, self.timing)
        if late is not None:
            # Another program wrote to it at the same moment: restore what it wrote.
            restored = Replacement(replace(target, status=None), late, is_secret=True)
            restored.commit()
            raise _changed_error(target.path)


@dataclass(frozen=True, slots=True)
class _LateWrite:
    """A late write of another program into the version that keyturn had just replaced."""

    base: bytes
    theirs: bytes
    ours: bytes


@dataclass(slots=True)
class _WriteResult:
    """A version that keyturn wrote, and the version before it, still open."""

    before: Version
    base: bytes
    """The contents that the change was applied to."""
    after: bytes
    mark: Mark
    count: int
    failure: KeyturnError | None = None
    """The error of the change, if only a late write of another program was put in place, without the
    change."""
    observed: Mark | None = None
    """A later version of another program in which keyturn's change was found."""


class _WriteAttempt:
    """One edit, from the first read to the last check."""

    def __init__(
        self,
        files: SharedFiles,
        path: Path,
        change: Change,
        kind: FileKind,
        *,
        expect: bytes | Literal[_Any.ANY] | None,
        earlier: Document | None,
    ) -> None:
        self.files = files
        self.path = path
        self.change = change
        self.kind = kind
        self._late_quiet_time = partial(_quiet_time, kind=kind)
        self.expect = expect
        self.document = earlier
        """The last content of the file that was parsed."""
        self.late: _LateWrite | None = None
        self.is_contended = False
        """True if another program has just written the file."""

    def run(self) -> Edit:
        timing = self.files.timing
        started, tries = timing.elapsed(), 0
        while tries < ATTEMPTS or timing.elapsed() - started < ATTEMPT_LIMIT:
            tries += 1
            result = self._try_once()
            if isinstance(result, Edit):
                return result
            if result is not None:
                try:
                    with _report_unconfirmed(self.path, result.before.data, result.after):
                        final = self._is_final(result)
                finally:
                    result.before.close()
                if final:
                    return Edit(result.before.data, result.after)
            self.is_contended = True
            timing.sleep(0.005 + 0.045 * timing.jitter())
        raise FileBusy(
            f"Could not write {self.path}",
            f"other programs changed it during each of {tries} attempts",
            "Stop the other program; keyturn's history folder has every replaced version",
        )

    def _try_once(self) -> _WriteResult | Edit | None:
        """Make one attempt.

        :returns: the written version; an edit if there was nothing to change; None if another program
            interfered.
        """
        target = find_target(self.path)
        with lock_file(self.files.locks_dir, target, self.files.timing) as lock:
            version = self._read(target, lock)
            try:
                result = self._replace(target, lock, version)
            except BaseException:
                version.close()
                raise
            if not isinstance(result, _WriteResult):
                version.close()
            return result

    def _read(self, target: Target, lock: LockedFile) -> Version:
        timing = self.files.timing
        known_sections = self.files.known_sections(self.path)
        quiet_time = partial(
            _quiet_time, kind=self.kind, known_sections=known_sections, earlier=self.document
        )
        version = read_stable(target, lock, quiet_time, timing, existed=bool(known_sections))
        now = timing.wall()
        if (
            not version.is_ours
            and version.status is not None
            and now - version.status.st_mtime < CONTENTION_PERIOD
        ):
            lock.record_foreign_write(now)
        self.is_contended = self.is_contended or 0 <= now - lock.note.contended_at < CONTENTION_PERIOD
        return version

    def _replace(self, target: Target, lock: LockedFile, version: Version) -> _WriteResult | Edit | None:
        if self.late is None and self.expect is not ANY and version.data != self.expect:
            raise _changed_error(self.path)
        base = self._merge_late_write(version)
        after, failure = self._apply_change(base)
        if after == (version.data or b""):
            if failure is not None:
                raise failure
            return Edit(version.data, after)
        if version.data:
            self.files.keep(self.path, version.data)
        target = find_target(self.path)
        replacement = Replacement(target, after, is_secret=self.kind is FileKind.CREDENTIALS)
        try:
            if target.real != find_target(self.path).real or not version.is_current(target):
                return None
            if not replacement.commit():
                self._record_late_write(replacement, after)
                return None
        finally:
            replacement.discard()
        with _report_unconfirmed(self.path, version.data, after):
            count = lock.record_own_write(replacement.status, unbroken=version.is_ours)
            sync_dir(target.real.parent)
        self.late = None
        return _WriteResult(version, base, after, mark_of(replacement.status), count, failure)

    def _record_late_write(self, replacement: Replacement, after: bytes) -> None:
        """Save what was written into keyturn's version in the microseconds before the exchange was undone."""
        ours = open_version(replacement.path)
        try:
            theirs = None
            if ours.status is not None:
                ours.status, ours.data = replacement.status, after
                theirs = ours.read_late_write(self.path, self._late_quiet_time, self.files.timing)
        finally:
            ours.close()
        if theirs is not None:
            self.late = _LateWrite(after, theirs, after)

    def _merge_late_write(self, version: Version) -> bytes:
        """Return the contents that the change applies to: the file, with a late write into its previous
        version merged."""
        data = version.data or b""
        if self.late is None:
            return data
        try:
            theirs = self._parse(self.late.theirs)
            if data == self.late.ours:
                return theirs.data
            return three_way_merge.merge(self._parse(self.late.base), theirs, self._parse(data))
        except (ChangeRefused, UnparsableFile) as error:
            self.files.keep(self.path, self.late.theirs)
            raise FileChanged(
                f"Could not write {self.path}",
                f"another program wrote to it at the same time, and the edits cannot be merged: {error.why}",
                "keyturn's history folder has its version, encrypted",
            ) from error

    def _apply_change(self, base: bytes) -> tuple[bytes, KeyturnError | None]:
        """Return the new bytes, parsed once as a check. If the change fails after a late write, return that
        late write and the error, so that it is still put in place."""
        try:
            after = self.change(self._parse(base))
            self._parse(after)
        except KeyturnError as error:
            if self.late is None:
                raise
            return base, error
        return after, None

    def _is_final(self, result: _WriteResult) -> bool:
        """Return True if no program undid the write. A write into the previous version is saved for the next
        attempt."""
        if result.failure is not None:
            raise result.failure
        timing = self.files.timing
        started = timing.elapsed()
        while True:
            timing.sleep(LATE_WRITE_WAIT)
            theirs = result.before.read_late_write(self.path, self._late_quiet_time, timing)
            if theirs is not None:
                self.late = _LateWrite(result.before.data or b"", theirs, result.after)
                return False
            if not self._is_still_applied(result):
                return False
            if timing.elapsed() - started >= (CONTENDED_WAIT if self.is_contended else LATE_WRITE_WAIT):
                return True

    def _is_still_applied(self, result: _WriteResult) -> bool:
        """Return True if the written change is in the file, which others may have written since."""
        target = find_target(self.path)
        mark = None if target.status is None else mark_of(target.status)
        if mark is not None and mark == result.observed:
            return True
        if mark == result.mark:
            now = open_version(target.real)
            now.close()
            if now.data == result.after:
                return True
        with lock_file(self.files.locks_dir, target, self.files.timing) as lock:
            version = self._read(target, lock)
            version.close()
            # If only keyturn has written since, each write was made on top of this one.
            if not (version.is_ours and lock.note.first_after_foreign <= result.count):
                try:
                    document = self._parse(version.data or b"")
                except UnparsableFile:
                    return False
                if not three_way_merge.is_still_applied(
                    self._parse(result.base), self._parse(result.after), document
                ):
                    return False
            result.observed = None if version.status is None else mark_of(version.status)
            return True

    def _parse(self, data: bytes) -> Document:
        excess = shared_file_excess(data)
        if excess is not None:
            raise UnsafeFile(f"Could not write {self.path}", excess, "Remove what is not needed")
        if self.document is None:
            self.document = parse(data, str(self.path), self.kind)
        else:
            self.document = self.document.reparse(data)
        return self.document


def _quiet_time(
    data: bytes, *, kind: FileKind, known_sections: Collection[str] = (), earlier: Document | None = None
) -> float:
    """Return the seconds for which a file must be unchanged before `data` counts.

    :param earlier: the file as it was parsed before.
    :param known_sections: headers that the file had at the last look. If one is missing, or botocore rejects
        the file, another program is probably writing it.
    """
    try:
        document = parse(data, kind=kind) if earlier is None else earlier.reparse(data)
        present = {section.name for section in document.sections}
    except UnparsableFile:
        return QUIET_CUT
    if not set(known_sections) <= present:
        return QUIET_CUT
    return QUIET if data else QUIET_EMPTY


def _changed_error(path: Path) -> FileChanged:
    return FileChanged(
        f"Could not write {path}",
        "another program changed it in the meantime",
        "Review the change and try again",
    )


def _report_unconfirmed(
    path: Path, before: bytes | None, after: bytes
) -> contextlib.AbstractContextManager[None]:
    """Turn an `OSError` after the new version is in place into `WriteNotConfirmed`."""
    return translate_os_errors(
        lambda error: WriteNotConfirmed(
            f"Write to {path} not confirmed",
            f"the file was written, but the disk did not confirm it: {error.strerror}",
            "Check the disk and the file",
            before=before,
            after=after,
        )
    )


def _translate_os_error(path: Path) -> contextlib.AbstractContextManager[None]:
    def translate(error: OSError) -> KeyturnError:
        what, why = f"Could not write {path}", error.strerror or type(error).__name__
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return UnsafeFile(what, why, "The file is unchanged; make it writable first")
        return KeyturnError(what, why, "The file is unchanged; fix the cause and try again")

    return translate_os_errors(translate)
