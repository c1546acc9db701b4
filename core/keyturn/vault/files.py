"""The files of the vault on disk: never torn, never through a link, readable by this user only.

`keys.age` and its nine previous generations are shifted by one at each change; `generation.txt` is the mark
that an old copy of `keys.age` is recognized by. `sessions.age` is a cache without generations that may be
deleted at any time. `recipient.txt` lists the slots; `identity.age` is the passphrase slot. The history and
the rotation journal use the same writer.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.model.errors import (
    RUN,
    THEN_RUN,
    UPGRADE,
    Remedy,
    VaultCorrupt,
    VaultError,
    VaultNewer,
    VaultReadOnly,
)
from keyturn.system import files
from keyturn.system.files import private_dir, sync_dir
from keyturn.system.ownership import check_own
from keyturn.vault import age, documents, passphrase
from keyturn.vault.age import RESTORE_HINT
from keyturn.vault.documents import Document, Entries

KEYS_FILE = "keys.age"
GENERATIONS = 10
"""Number of generations on disk, including the current one."""
SESSIONS_FILE = "sessions.age"
IDENTITY_FILE = "identity.age"
#: More than a vault of 3,000 keys and sessions needs. The agent holds such a file several times while it is
#: changed, and must stay small.
MAX_BYTES = 8 * 1024 * 1024
#: Room for age's header, nonces and tags.
_MAX_PLAIN_BYTES = MAX_BYTES - 16 * 1024


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
    plain = _encode(document, KEYS_FILE)
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


def _encode(document: Document, what: str) -> bytes:
    """Return the bytes of a document.

    :raises VaultError: if they would be too long to be read again.
    """
    plain = document.encode()
    if len(plain) > _MAX_PLAIN_BYTES or not documents.is_parsable(plain):
        raise VaultError(
            f"Could not write {what}",
            f"it would be longer than {MAX_BYTES >> 20} MiB; nothing was replaced",
            "Release profiles that you no longer use",
        )
    return plain


def _shift_generations(folder: Path) -> None:
    """Free position 1. The oldest generation is dropped only if there is no gap (a crash in this function
    leaves one)."""
    paths = [generation_path(folder, back) for back in range(GENERATIONS)]
    gap = next((back for back in range(1, GENERATIONS) if not paths[back].exists()), GENERATIONS - 1)
    for back in range(gap, 1, -1):
        paths[back - 1].replace(paths[back])


# -- generation.txt ------------------------------------------------------------------------------------------


GENERATION_FILE = "generation.txt"
_GENERATION_FORMAT = 1
_GENERATION_LIMIT = 4096
_GENERATION_HEAD = re.compile(
    rb"# keyturn vault, highest generation of keys\.age, format ([1-9][0-9]{0,5})\n"
)
_GENERATION_LINES = re.compile(
    r"# keyturn vault, highest generation of keys\.age, format ([1-9][0-9]{0,5})\n"
    r"(?P<notes>(?:# [ -~]*\n)*)"
    r"(?P<recipient>age1[02-9ac-hj-np-z]{58}) (?P<generation>[1-9][0-9]{0,15})\n"
    r"# check (?P<check>[0-9a-f]{16})\n"
)


@dataclass(frozen=True, slots=True)
class GenerationMark:
    """The contents of `generation.txt`: the highest generation that `keys.age` has had.

    ::

        # keyturn vault, highest generation of keys.age, format 1
        age1… 17
        # check 0123456789abcdef

    It is a file of its own, because a release that wrote `recipient.txt` in format 1 calls any further note
    in it damage and offers a repair that drops the keyring slot, and calls another format newer and then
    hands out nothing, even from an agent that is open. Such a release ignores this file: the mark then lags
    behind.

    The mark is written after `keys.age`, so that after a crash it lags and never leads. It holds for one
    recipient, and is as trustworthy as the index: it detects an old copy, not an attacker.
    """

    recipient: str
    generation: int
    other_notes: tuple[str, ...] = ()
    """Notes that this version does not know, without `# `. They are written back."""

    def encode(self) -> bytes:
        """Return the file's bytes."""
        text = f"# keyturn vault, highest generation of keys.age, format {_GENERATION_FORMAT}\n"
        text += "".join(f"# {note}\n" for note in self.other_notes)
        text += f"{self.recipient} {self.generation}\n"
        return f"{text}# check {_checksum(text)}\n".encode("ascii")


def _parse_generation_mark(data: bytes) -> GenerationMark | None:
    """Return the mark, or None for a damaged file."""
    text = data.decode("ascii", errors="replace")
    lines = _GENERATION_LINES.fullmatch(text)
    if lines is None or _checksum(text[: lines.start("check") - len("# check ")]) != lines["check"]:
        return None
    notes = tuple(line.removeprefix("# ") for line in lines["notes"].splitlines())
    return GenerationMark(lines["recipient"], documents.believable(int(lines["generation"])), notes)


def read_generation(folder: Path, recipient: str) -> int:
    """Return the highest generation known of the vault with `recipient`; 0 if the mark is missing, damaged,
    or of another vault."""
    try:
        data = read_regular(folder / GENERATION_FILE, _GENERATION_LIMIT)
    except VaultError:
        return 0
    mark = None if data is None else _parse_generation_mark(data)
    return mark.generation if mark is not None and mark.recipient == recipient else 0


def write_generation(folder: Path, recipient: str, generation: int) -> None:
    """Raise the mark to `generation`. The caller must hold the vault's lock, or own the folder.

    Nothing is written if the mark is as high, or in a format of a later keyturn. A failure is ignored,
    because `keys.age` is written already, and the next change or unlock repeats this.
    """
    with contextlib.suppress(OSError, VaultError):
        data = b""
        with contextlib.suppress(VaultCorrupt):
            data = read_regular(folder / GENERATION_FILE, _GENERATION_LIMIT) or b""
        head = _GENERATION_HEAD.match(data)
        if head is not None and int(head[1]) > _GENERATION_FORMAT:
            return
        mark = _parse_generation_mark(data)
        if mark is None or mark.recipient != recipient:
            mark = GenerationMark(recipient, 0)
        if mark.generation < generation:
            put(folder / GENERATION_FILE, replace(mark, generation=generation).encode())


# -- sessions.age --------------------------------------------------------------------------------------------


NEWER_SESSIONS_FILE = "sessions.age.newer"


def read_sessions(folder: Path, identity: age.Identity) -> Document:
    """Return the session cache; generation 0 if there is none that this version can read."""
    with contextlib.suppress(VaultCorrupt, VaultNewer):
        sealed = read_regular(folder / SESSIONS_FILE)
        if sealed is not None:
            return documents.decode(identity.open(sealed, SESSIONS_FILE), documents.SESSIONS, SESSIONS_FILE)
    return Document(documents.SESSIONS, 0, {})


def write_sessions(folder: Path, identity: age.Identity, old: Document, entries: Entries) -> None:
    """Write `entries` as the successor of `old`, the result of :func:`read_sessions`. The caller must
    hold the vault's lock.

    An unreadable file is moved aside. One that a later keyturn wrote becomes `sessions.age.newer`. Only the
    last such file is kept, because it is a cache, and its sessions are those that are still valid.
    """
    file = folder / SESSIONS_FILE
    if old.generation == 0 and file.exists():
        if _is_newer_cache(file, identity):
            file.replace(folder / NEWER_SESSIONS_FILE)
        else:
            move_aside(file)
    new = replace(old, generation=old.generation + 1, entries=entries)
    put(file, age.seal(_encode(new, SESSIONS_FILE), identity.recipient))


def _is_newer_cache(file: Path, identity: age.Identity) -> bool:
    try:
        sealed = read_regular(file)
        if sealed is not None:
            documents.decode(identity.open(sealed, SESSIONS_FILE), documents.SESSIONS, SESSIONS_FILE)
    except VaultNewer:
        return True
    except VaultCorrupt:
        return False
    return False


# -- recipient.txt -------------------------------------------------------------------------------------------


RECIPIENT_FILE = "recipient.txt"
RECIPIENT_FORMAT = 1
RECIPIENT_HINT = (RUN, Remedy("vault restore", flag="--recovery-key-fd N"), ". Nothing was overwritten")
_RECIPIENT_LIMIT = 4096
_RECIPIENT_HEAD = re.compile(r"# keyturn vault, format ([1-9][0-9]{0,5})")
_RECIPIENT_LINES = re.compile(
    r"# keyturn vault, format 1\n"
    r"# id (?P<id>[0-9a-f]{16})\n"
    r"# slots(?P<slots>(?: keyring)?(?: passphrase)?)\n"
    r"# identity\.age sha256(?P<digests>(?: [0-9a-f]{64}){0,2})\n"
    r"(?P<notes>(?:# (?!check )[ -~]*\n)*)"
    r"# check [0-9a-f]{16}\n"
    r"(?P<recipient>age1[02-9ac-hj-np-z]{58})\n"
)
_RECIPIENT_CHECK = re.compile(r"^# check ([0-9a-f]{16})\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RecipientFile:
    """The contents of `recipient.txt`, the vault's plaintext header: a recipients file for `age -R`, with
    keyturn's notes as comments.

    ::

        # keyturn vault, format 1
        # id 5f0c9a3e5b7d2468
        # slots keyring passphrase
        # identity.age sha256 9c56…
        # check 0123456789abcdef
        age1…

    The notes hold no secret. `check` protects against accidental damage only; against tampering, unlocking
    compares the recipient with the identity. The digest tells a damaged `identity.age` from a mistyped
    passphrase, which age itself cannot. While that file is being replaced there are two digests, so that a
    crash in between leaves a slot that opens.
    """

    recipient: str
    vault_id: str
    """Random, so that two folders with the same identity have separate keyring entries."""
    slots: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """SHA-256 of `identity.age`: one, or the old and the new while it is being replaced."""
    other_notes: tuple[str, ...] = ()
    """Lines of notes that this version does not know, without `# `. They are written back."""

    @property
    def entry(self) -> str:
        """The name of this vault's entry in the system keyring."""
        return f"{self.recipient}.{self.vault_id}"

    def encode(self) -> bytes:
        """Return the file's bytes."""
        notes = (
            f"# keyturn vault, format {RECIPIENT_FORMAT}\n# id {self.vault_id}\n"
            f"{' '.join(('# slots', *self.slots))}\n"
            f"{' '.join(('# identity.age sha256', *self.digests))}\n"
            f"{''.join(f'# {note}{chr(10)}' for note in self.other_notes)}"
        )
        last = f"{self.recipient}\n"
        return f"{notes}# check {_checksum(notes + last)}\n{last}".encode("ascii")


def new_vault_id() -> str:
    """Return a new random vault ID."""
    return secrets.token_hex(8)


def parse_recipient_file(data: bytes) -> RecipientFile:
    """Parse `data`.

    :raises VaultNewer: if a later keyturn wrote it.
    :raises VaultCorrupt: if it has another form than :meth:`RecipientFile.encode` writes.
    """
    text = data.decode("ascii", errors="replace")
    check = _RECIPIENT_CHECK.search(text)
    is_intact = check is not None and _checksum(text[: check.start()] + text[check.end() :]) == check[1]
    head = _RECIPIENT_HEAD.match(text)
    if is_intact and head is not None and int(head[1]) > RECIPIENT_FORMAT:
        raise VaultNewer(
            "Vault",
            f"written by a newer keyturn (format {head[1]}, this one supports {RECIPIENT_FORMAT})",
            UPGRADE,
        )
    lines = _RECIPIENT_LINES.fullmatch(text)
    if not is_intact or lines is None or not age.is_recipient(lines["recipient"]):
        raise VaultCorrupt(RECIPIENT_FILE, "damaged", RECIPIENT_HINT)
    notes = tuple(line.removeprefix("# ") for line in lines["notes"].splitlines())
    return RecipientFile(
        lines["recipient"], lines["id"], tuple(lines["slots"].split()), tuple(lines["digests"].split()), notes
    )


def read_recipient_file(folder: Path) -> RecipientFile | None:
    """Return the recipient file of the vault in `folder`; None if there is none. Errors as
    :func:`parse_recipient_file`."""
    data = read_regular(folder / RECIPIENT_FILE, _RECIPIENT_LIMIT)
    return None if data is None else parse_recipient_file(data)


def write_recipient_file(folder: Path, new: RecipientFile) -> None:
    """Replace the recipient file of the vault in `folder`."""
    put(folder / RECIPIENT_FILE, new.encode())


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def wrong_recipient_error() -> VaultCorrupt:
    """Return the error for a `recipient.txt` that does not match the identity: anything sealed now would be
    sealed to somebody else."""
    return VaultCorrupt(
        RECIPIENT_FILE, "names another identity than the vault's; the file was replaced", RECIPIENT_HINT
    )


# -- identity.age --------------------------------------------------------------------------------------------


def identity_digest(data: bytes) -> str:
    """Return the SHA-256 of `identity.age` as the notes record it."""
    return hashlib.sha256(data).hexdigest()


def read_sealed_identity(folder: Path, current: RecipientFile) -> bytes:
    """Return the bytes of `identity.age`.

    :raises VaultCorrupt: if it is missing, damaged, or not an age file with a passphrase.
    """
    sealed = read_regular(folder / IDENTITY_FILE, passphrase.IDENTITY_LIMIT)
    if sealed is None:
        raise VaultCorrupt(IDENTITY_FILE, "missing", passphrase.RESET_HINT)
    if identity_digest(sealed) not in current.digests:
        raise VaultCorrupt(IDENTITY_FILE, "damaged", passphrase.RESET_HINT)
    passphrase.check_header(sealed, IDENTITY_FILE, passphrase.IDENTITY_LIMIT)
    return sealed


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
    """Create `folder` and its missing parents with mode 0700.

    :raises VaultError: if the system refuses.
    """
    with vault_write_errors(str(folder)):
        private_dir(folder)


def check_private(folder: Path) -> None:
    """Check that no other user can put files into `folder`, or read its files.

    :raises UnsafeFile: if `folder` belongs to another user or others have any permission on it.
    """
    check_own(folder)


@contextlib.contextmanager
def stage(path: Path, content: bytes) -> Iterator[Path]:
    """Write `content` to a new file beside `path` (mode 0600 regardless of the umask), sync it, and read it
    back. It is removed if the block raises.

    Yields the temporary file; `.replace(path)` puts it in place.

    :raises VaultError: if the bytes read back differ from those written.
    """
    with files.staged(path, content) as temporary:
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
    """Turn an `OSError` (disk full, no permission) into a `VaultError`, of a read-only folder into
    `VaultReadOnly`."""

    def translate(error: OSError) -> VaultError:
        kind = VaultReadOnly if error.errno in files.READ_ONLY else VaultError
        return kind(
            f"Could not write {what}",
            f"{error.strerror or error}; the previous contents are unchanged",
            "Free some space or fix the permissions, then try again",
        )

    return files.translate_os_errors(translate)
