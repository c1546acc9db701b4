"""The one writer of the shared files: no torn file, no lost edit of anybody's, no rights widened (safety.md 2.1)."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from keyturn.awsconfig import stable_read, three_way_merge
from keyturn.awsconfig.atomic_replace import Replacement, remove_if_unchanged
from keyturn.awsconfig.file_lock import LockedFile, Mark, lock_file, mark_of
from keyturn.awsconfig.loader import read_regular
from keyturn.awsconfig.parser import Document, FileKind, parse
from keyturn.awsconfig.stable_read import Version
from keyturn.awsconfig.timing import ATTEMPT_LIMIT, ATTEMPTS, CONTENDED, SETTLE, WATCH, Timing
from keyturn.awsconfig.write_target import Target, find
from keyturn.model.errors import (
    ChangeRefused,
    FileBusy,
    FileChanged,
    KeyturnError,
    UnparsableFile,
    UnsafeFile,
    WriteNotConfirmed,
)
from keyturn.system.files import sync_dir

Change = Callable[[Document], bytes]
"""An edit: called on the file as it is at that moment, again if somebody else changed it meanwhile."""


class _Any(Enum):
    ANY = "any"


ANY: Final = _Any.ANY
"""Whatever the file holds."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit found, and what it left."""

    before: bytes | None = field(repr=False)
    """None where it made the file."""
    after: bytes = field(repr=False)


class SharedFiles:
    """Reads and edits shared files; as many processes and threads as like may do so at once.

    :param locks_dir: folder of our own for the locks; made when first needed.
    :param keep: gets each version that is about to be replaced, never an empty one. If it raises, nothing is written.
    :param known_sections: headers that a file had when it was last looked at, to tell a truncated file from a short
        one.
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
        """A file's bytes at this moment, for display; None where there is no regular file.

        :raises KeyturnError: it is there and cannot be read.
        """
        try:
            return read_regular(path)
        except OSError as error:
            raise KeyturnError(f"reading {path}", error.strerror or "no reason given") from error

    def edit(
        self,
        path: Path,
        change: Change,
        *,
        kind: FileKind,
        expect: bytes | Literal[_Any.ANY] | None = ANY,
    ) -> Edit:
        """Changes a file in one step; a missing one is made, private to its owner.

        :param expect: the bytes that the change was planned on, None for no file.
        :raises FileChanged: the file does not hold `expect`, or others changed it in a way that cannot be joined.
        :raises UnparsableFile: AWS tools refuse the file as it is.
        :raises UnsafeFile: its owner, mode or type forbid writing.
        :raises FileBusy: another process holds it, or keeps changing it.
        :raises KeyturnError: the disk said no, or `change` did. The file then is as it was.
        """
        with _translate_os_error(path):
            return _WriteAttempt(self, path, change, kind, expect).run()

    def remove(self, path: Path, *, expect: bytes) -> None:
        """Removes a file that is as we left it; where `path` is a link, what it leads to.

        :raises FileChanged: it holds something else.
        """
        with _translate_os_error(path):
            target = find(path)
            with lock_file(self.locks_dir, target, self.timing) as held:
                found = stable_read.read(target, FileKind.CONFIG, held, (), self.timing)
                try:
                    self._remove(target, found, expect)
                finally:
                    found.close()

    def _remove(self, target: Target, found: Version, expect: bytes) -> None:
        if found.data != expect or not found.current(target):
            raise _changed(target.path)
        if found.data:
            self.keep(target.path, found.data)
        if not remove_if_unchanged(target, found, self.keep):
            raise _changed(target.path)
        sync_dir(target.real.parent)
        self.timing.sleep(SETTLE)
        late = found.read_late_write(target.path, FileKind.CREDENTIALS, self.timing)
        if late is not None:
            # Somebody wrote to it in the same moment: what they wrote comes back.
            back = Replacement(Target(target.path, target.real, None, target.key), late, FileKind.CREDENTIALS)
            back.commit()
            raise _changed(target.path)


@dataclass(frozen=True, slots=True)
class _LateWrite:
    """What somebody wrote into the version that we had just replaced."""

    base: bytes
    theirs: bytes
    ours: bytes


@dataclass(slots=True)
class _Written:
    """One version written by us, and the one before it, still open."""

    before: Version
    base: bytes
    """What the change was applied to."""
    after: bytes
    mark: Mark
    count: int
    failure: KeyturnError | None = None
    """Why only what others wrote was put in place, without our change."""
    observed: Mark | None = None
    """A later version of somebody's that was found to hold what we wrote."""


class _WriteAttempt:
    """One edit, from the first look at the file to the last."""

    def __init__(
        self,
        files: SharedFiles,
        path: Path,
        change: Change,
        kind: FileKind,
        expect: bytes | Literal[_Any.ANY] | None,
    ) -> None:
        self.files = files
        self.path = path
        self.change = change
        self.kind = kind
        self.expect = expect
        self.late: _LateWrite | None = None
        self.contended_at = False
        """Somebody else has written the file just now."""

    def run(self) -> Edit:
        timing = self.files.timing
        begun, tries = timing.elapsed(), 0
        while tries < ATTEMPTS or timing.elapsed() - begun < ATTEMPT_LIMIT:
            tries += 1
            done = self._once()
            if isinstance(done, Edit):
                return done
            if done is not None:
                try:
                    with _written(self.path, done.before.data, done.after):
                        final = self._final(done)
                finally:
                    done.before.close()
                if final:
                    return Edit(done.before.data, done.after)
            self.contended_at = True
            timing.sleep(0.005 + 0.045 * timing.chance())
        raise FileBusy(
            f"writing {self.path}",
            f"others changed it in each of {tries} tries",
            "Stop the other program; keyturn's history folder has every version that was replaced",
        )

    def _once(self) -> _Written | Edit | None:
        """One try: what was written, an edit that found nothing to do, or None if somebody came in between."""
        target = find(self.path)
        with lock_file(self.files.locks_dir, target, self.files.timing) as held:
            found = self._read(target, held)
            try:
                result = self._replace(target, held, found)
            except BaseException:
                found.close()
                raise
            if not isinstance(result, _Written):
                found.close()
            return result

    def _read(self, target: Target, held: LockedFile) -> Version:
        timing = self.files.timing
        found = stable_read.read(target, self.kind, held, self.files.known_sections(self.path), timing)
        now = timing.wall()
        if not found.is_ours and found.status is not None and now - found.status.st_mtime < CONTENDED:
            held.record_foreign_write(now)
        self.contended_at = self.contended_at or 0 <= now - held.note.contended_at < CONTENDED
        return found

    def _replace(self, target: Target, held: LockedFile, found: Version) -> _Written | Edit | None:
        if self.late is None and self.expect is not ANY and found.data != self.expect:
            raise _changed(self.path)
        base = self._base(found)
        after, failure = self._after(base)
        if after == (found.data or b""):
            if failure is not None:
                raise failure
            return Edit(found.data, after)
        if found.data:
            self.files.keep(self.path, found.data)
        target = find(self.path)
        replacement = Replacement(target, after, self.kind)
        try:
            if target.real != find(self.path).real or not found.current(target):
                return None
            if not replacement.commit():
                self._record_late_write(replacement, after)
                return None
        finally:
            replacement.discard()
        with _written(self.path, found.data, after):
            count = held.record_own_write(replacement.status, unbroken=found.is_ours)
            sync_dir(target.real.parent)
        self.late = None
        return _Written(found, base, after, mark_of(replacement.status), count, failure)

    def _record_late_write(self, replacement: Replacement, after: bytes) -> None:
        """Remembers what was written into a version of ours in the microseconds before it had to give way again."""
        ours = stable_read.open_version(replacement.path)
        try:
            theirs = None
            if ours.status is not None:
                ours.status, ours.data = replacement.status, after
                theirs = ours.read_late_write(self.path, self.kind, self.files.timing)
        finally:
            ours.close()
        if theirs is not None:
            self.late = _LateWrite(after, theirs, after)

    def _base(self, found: Version) -> bytes:
        """What the change applies to: the file, with what somebody wrote late into its former version."""
        data = found.data or b""
        if self.late is None:
            return data
        try:
            theirs = self._parse(self.late.theirs)
            if data == self.late.ours:
                return theirs.data
            return three_way_merge.merged(self._parse(self.late.base), theirs, self._parse(data))
        except (ChangeRefused, UnparsableFile) as error:
            self.files.keep(self.path, self.late.theirs)
            raise FileChanged(
                f"writing {self.path}",
                f"another program wrote to it in the same moment, which cannot be joined: {error.why}",
                "keyturn's history folder has what it wrote, sealed",
            ) from error

    def _after(self, base: bytes) -> tuple[bytes, KeyturnError | None]:
        """The new bytes, read back once. What others wrote late is put in place even if our change then fails."""
        try:
            after = self.change(self._parse(base))
            self._parse(after)
        except KeyturnError as error:
            if self.late is None:
                raise
            return base, error
        return after, None

    def _final(self, done: _Written) -> bool:
        """Whether nobody undid what was written; what was written into the old version meanwhile is remembered."""
        if done.failure is not None:
            raise done.failure
        timing = self.files.timing
        begun = timing.elapsed()
        while True:
            timing.sleep(SETTLE)
            theirs = done.before.read_late_write(self.path, self.kind, timing)
            if theirs is not None:
                self.late = _LateWrite(done.before.data or b"", theirs, done.after)
                return False
            if not self._is_still_there(done):
                return False
            if timing.elapsed() - begun >= (WATCH if self.contended_at else SETTLE):
                return True

    def _is_still_there(self, done: _Written) -> bool:
        """Whether what was written is in the file, which others may have written since."""
        target = find(self.path)
        mark = None if target.status is None else mark_of(target.status)
        if mark is not None and mark == done.observed:
            return True
        if mark == done.mark:
            now = stable_read.open_version(target.real)
            now.close()
            if now.data == done.after:
                return True
        with lock_file(self.files.locks_dir, target, self.files.timing) as held:
            found = self._read(target, held)
            found.close()
            # Where only keyturn has written since, each write was on top of what we left.
            if not (found.is_ours and held.note.foreign <= done.count):
                try:
                    document = self._parse(found.data or b"")
                except UnparsableFile:
                    return False
                if not three_way_merge.still_there(self._parse(done.base), self._parse(done.after), document):
                    return False
            done.observed = None if found.status is None else mark_of(found.status)
            return True

    def _parse(self, data: bytes) -> Document:
        return parse(data, str(self.path), self.kind)


def _changed(path: Path) -> FileChanged:
    return FileChanged(f"writing {path}", "somebody else changed it meanwhile", "Look again, and repeat")


@contextlib.contextmanager
def _written(path: Path, before: bytes | None, after: bytes) -> Iterator[None]:
    """Around all that follows once the new version is in its place."""
    try:
        yield
    except OSError as error:
        why = f"it was written, but the disk did not confirm it: {error.strerror}"
        hint = "Look at the disk, and at the file"
        raise WriteNotConfirmed(f"writing {path}", why, hint, before=before, after=after) from error


@contextlib.contextmanager
def _translate_os_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UnsafeFile(
                f"writing {path}", why, "The file is as it was; make it writable first"
            ) from error
        raise KeyturnError(f"writing {path}", why, "The file is as it was; see to that and repeat") from error
