"""The files of the vault on disk: never torn, never through a link, readable by this user only.

`keys.age` and its nine previous generations are shifted by one at each change. `sessions.age` is a cache
without generations that may be deleted at any time. The history and the rotation journal use the same writer.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from keyturn.model.errors import THEN_RUN, Remedy, UnsafeFile, VaultCorrupt, VaultError, VaultNewer
from keyturn.system import files
from keyturn.system.files import private_dir, sync_dir
from keyturn.vault import age, documents
from keyturn.vault.age import RESTORE_HINT
from keyturn.vault.documents import Document, Entries

KEYS_FILE = "keys.age"
GENERATIONS = 10
"""Number of generations on disk, including the current one."""
SESSIONS_FILE = "sessions.age"
#: More than a vault with thousands of sessions needs; a larger file is not from keyturn.
MAX_BYTES = 64 * 1024 * 1024


# -- keys.age ------------------------------------------------------------------------------------------------


def generation_path(folder: Path, back: int) -> Path:
    """Return the file of the generation `back` steps before the current one."""
    return folder / (KEYS_FILE if back == 0 else f"keys.{back}.age")


def read_keys(folder: Path, identity: age.Identity, expected: int) -> tuple[bytes, Document]:
    """Return the current generation, encrypted and decrypted.

    :param expected: a generation that is known to have existed; anything older is a rollback.
    :raises VaultCorrupt: if it is missing, damaged, or older than `expected`.
    :raises VaultNewer: if a later keyturn wrote it.
    """
    sealed = read_regular(folder / KEYS_FILE)
    if sealed is None:
        raise VaultCorrupt(KEYS_FILE, "missing", RESTORE_HINT)
    document = documents.decode(identity.open(sealed, KEYS_FILE), documents.KEYS, KEYS_FILE)
    if document.generation < expected:
        why = f"an old copy: generation {document.generation}, but {expected} existed already"
        hint = (
            "Put the newer file back, or ",
            THEN_RUN,
            Remedy("vault restore"),
            " (uses the newest generation here)",
        )
        raise VaultCorrupt(KEYS_FILE, why, hint)
    return sealed, document


def readable_generations(folder: Path, identity: age.Identity) -> Iterator[tuple[Path, Document]]:
    """Yield every generation that can be read, in no particular order.

    :raises VaultNewer: if a later keyturn wrote one of them.
    """
    for back in range(GENERATIONS):
        file = generation_path(folder, back)
        try:
            sealed = read_regular(file)
        except VaultCorrupt:
            continue
        plain = None if sealed is None else identity.try_open(sealed)
        if plain is None:
            continue
        try:
            document = documents.decode(plain, documents.KEYS, file.name)
        except VaultNewer:
            raise
        except VaultError:
            continue
        yield file, document


def write_keys(folder: Path, identity: age.Identity, document: Document, before: bytes | None) -> None:
    """Make `document` the current generation and shift the previous ones. The caller must hold the vault's
    lock.

    The new file is synced, read back and decrypted before any other file is changed. `keys.age` exists at
    every moment.

    :param before: the current `keys.age` as it was read; None if there is none.
    :raises OSError: if the system refuses; the current generation is unchanged.
    :raises VaultError: if the file read back does not decrypt to what was encrypted.
    """
    plain = document.encode()
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(stage(folder / KEYS_FILE, age.seal(plain, identity.recipient)))
        if identity.try_open(new.read_bytes()) != plain:
            raise VaultError(
                f"Could not write {KEYS_FILE}", "the new file does not decrypt; nothing was replaced"
            )
        if before is not None:
            previous = generation_path(folder, 1)
            old = stack.enter_context(stage(previous, before))
            _shift_generations(folder)
            old.replace(previous)
        new.replace(folder / KEYS_FILE)
    sync_dir(folder)


def _shift_generations(folder: Path) -> None:
    """Free position 1. The oldest generation is dropped only if there is no gap (a crash in this function
    leaves one)."""
    paths = [generation_path(folder, back) for back in range(GENERATIONS)]
    gap = next((back for back in range(1, GENERATIONS) if not paths[back].exists()), GENERATIONS - 1)
    for back in range(gap, 1, -1):
        paths[back - 1].replace(paths[back])


# -- sessions.age --------------------------------------------------------------------------------------------


def read_sessions(folder: Path, identity: age.Identity) -> Document:
    """Return the session cache; generation 0 if there is no readable one.

    :raises VaultNewer: if a later keyturn wrote it.
    """
    with contextlib.suppress(VaultCorrupt):
        sealed = read_regular(folder / SESSIONS_FILE)
        if sealed is not None:
            return documents.decode(identity.open(sealed, SESSIONS_FILE), documents.SESSIONS, SESSIONS_FILE)
    return Document(documents.SESSIONS, 0, {})


def write_sessions(folder: Path, identity: age.Identity, old: Document, entries: Entries) -> None:
    """Write `entries` as the successor of `old`, the result of :func:`read_sessions`. The caller must
    hold the vault's lock.

    An unreadable file is moved aside.
    """
    file = folder / SESSIONS_FILE
    if old.generation == 0 and file.exists():
        move_aside(file)
    new = Document(documents.SESSIONS, old.generation + 1, entries)
    put(file, age.seal(new.encode(), identity.recipient))


# -- any file ------------------------------------------------------------------------------------------------


def read_regular(path: Path, limit: int = MAX_BYTES) -> bytes | None:
    """Return the bytes of `path`; None if it does not exist.

    Reads regular files only, because a FIFO would block and a link could lead anywhere.

    :raises VaultCorrupt: if it is not a regular file, or longer than `limit` bytes.
    :raises VaultError: if the system cannot read it; that says nothing about its contents.
    """
    what = f"{path.name} in {path.parent}"
    try:
        data = files.read_regular(path, os.O_NOFOLLOW, limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        # A link or socket in place of the file is damage; a full file table or a failing disk is not.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise VaultCorrupt(what, "not a regular file", RESTORE_HINT) from None
        hint = "Check the disk and the file's permissions, then try again. Nothing was written"
        raise VaultError(what, f"cannot be read ({error.strerror})", hint) from None
    if len(data) > limit:
        raise VaultCorrupt(what, f"longer than {limit} bytes", RESTORE_HINT)
    return data


def make_private(folder: Path) -> None:
    """Create `folder` and its missing parents with mode 0700, regardless of the umask.

    :raises VaultError: if the system refuses.
    """
    missing = not folder.is_dir()
    with vault_write_errors(str(folder)):
        private_dir(folder)
        if missing:
            folder.chmod(0o700)


def check_private(folder: Path) -> None:
    """Check that no other user can put files into `folder`.

    :raises UnsafeFile: if `folder` belongs to another user or is writable by others.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise UnsafeFile(str(folder), "belongs to another user", "Run keyturn as the user who owns it")
    if status.st_mode & 0o022:
        raise UnsafeFile(str(folder), "writable by others", f"Run: chmod 700 {folder}")


@contextlib.contextmanager
def stage(path: Path, content: bytes) -> Iterator[Path]:
    """Write `content` to a new file beside `path` (mode 0600 regardless of the umask), sync it, and read it
    back. It is removed if the block raises.

    Yields the temporary file; `.replace(path)` puts it in place.

    :raises VaultError: if the bytes read back differ from those written.
    """
    with files.staged(path, content, lambda handle: os.fchmod(handle, 0o600)) as temporary:
        if temporary.read_bytes() != content:
            raise VaultError(
                f"Could not write {path.name}", "the disk returned other bytes than were written"
            )
        yield temporary


def put(path: Path, content: bytes) -> None:
    """Replace `path` with `content` atomically: a reader, a crash or a power loss sees the old or the new
    file."""
    with stage(path, content) as temporary:
        temporary.replace(path)
    sync_dir(path.parent)


def move_aside(path: Path) -> Path:
    """Rename an unreadable file to a free name beside it, because somebody may still be able to use it."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        if not aside.exists():
            path.rename(aside)
            sync_dir(path.parent)
            return aside
    raise VaultError(
        f"Could not move {path.name} aside",
        "there are a thousand damaged copies already",
        "Remove some of them",
    )


def vault_write_errors(what: str) -> contextlib.AbstractContextManager[None]:
    """Turn an `OSError` (disk full, read-only, no permission) into a `VaultError`."""
    return files.translate_os_errors(
        lambda error: VaultError(
            f"Could not write {what}",
            f"{error.strerror or error}; the previous contents are unchanged",
            "Free some space or fix the permissions, then try again",
        )
    )
