"""Encryption with a passphrase (age's scrypt), in a child process, after the header was checked in this one.

scrypt takes hundreds of megabytes, so it runs in a short-lived process with a limit of memory. The time limit
is one of CPU time, because a busy machine only delays the work; the limit of wall time ends a process that
hangs. Files are sealed with a work factor of 17. Earlier releases and `age -p` use others.

A passphrase is encoded in Unicode's composed form (NFC), so that the same keys give the same passphrase on
any keyboard or system; `age -d` needs the same text. To open a file, the composed form is tried first and
then, if it differs, the text as typed, so that files sealed with `age -p` open too. Otherwise the passphrase
is not changed: spaces count.
"""

from __future__ import annotations

import threading
import unicodedata
from dataclasses import dataclass, field

from keyturn.model.errors import RUN, Hint, Remedy, UsageError, VaultCorrupt, VaultError, WrongPassphrase
from keyturn.model.secret import Secret
from keyturn.system import child_process
from keyturn.system.child_process import Cause
from keyturn.vault import age_passphrase
from keyturn.vault.age_passphrase import MAX_FACTOR

#: Bytes. An identity encrypted by age takes 256.
IDENTITY_LIMIT = 4096
EXPORT_LIMIT = 64 * 1024 * 1024
#: The work factor of what is sealed here: 128 MiB, and about half a second of CPU time. age programs choose
#: one that takes a second on the machine that seals; a vault must also open where that would take minutes.
FACTOR = 17
#: age programs choose at least this. Only tests seal with less, to save the work.
_LOWEST_USUAL_FACTOR = 10
#: CPU time of one child, eight times the work of :data:`FACTOR` on a machine thirty times slower than most.
CPU_SECONDS = 120
#: Wall time of one child after its start. It only ends a process that hangs.
SECONDS = 240.0
#: The highest factor takes 1 GiB.
MEMORY = 1536 * 1024 * 1024

RESET_HINT = ("Use the recovery key to set a new passphrase. ", RUN, Remedy("vault reset-passphrase"))

_SEAL, _OPEN = b"S", b"O"
_DONE, _WRONG, _DAMAGED, _NO_MEMORY = b"+", b"-", b"!", b"m"
_FREE_MEMORY = "Free some memory, then try again"
_HINTS: dict[Cause, Hint] = {
    Cause.NO_ANSWER: "Try again when the machine is less busy",
    Cause.CPU_LIMIT: "Use a faster machine",
    Cause.KILLED: _FREE_MEMORY,
    Cause.EXITED: "Try again",
}


def check_header(data: bytes, what: str, limit: int) -> int:
    """Check that `data` is an age file that one passphrase opens at an acceptable cost. Return its work
    factor.

    :raises VaultCorrupt: if it is longer than `limit` bytes, has anything but exactly one scrypt stanza, or a
        work factor over 20.
    """
    if len(data) > limit:
        raise VaultCorrupt(what, f"longer than {limit} bytes", RESET_HINT)
    try:
        factor = age_passphrase.parse_header(data).factor
    except age_passphrase.DamagedError as error:
        raise VaultCorrupt(what, str(error), RESET_HINT) from None
    if factor > MAX_FACTOR:
        raise VaultCorrupt(
            what, f"work factor {factor}; keyturn never uses more than {MAX_FACTOR}", RESET_HINT
        )
    return factor


def seal(data: bytes, passphrase: Secret, what: str) -> bytes:
    """Encrypt `data` with `passphrase`, and verify that it opens again. Takes about a second of CPU time.

    :raises UsageError: if the passphrase is empty or not valid text.
    :raises VaultError: if the limits of time or memory do not suffice.
    """
    return seal_unchanged(data, _forms(passphrase)[0], what)


def seal_unchanged(data: bytes, form: Secret, what: str) -> bytes:
    """Encrypt `data` like :func:`seal`, with the passphrase in exactly this Unicode form."""
    _, sealed = _ask(_SEAL, form, data, what)
    if _ask(_OPEN, form, sealed, what) != (_DONE, data):
        raise VaultError(f"Could not encrypt {what}", "the result does not decrypt", "Try again")
    return sealed


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that a passphrase opened."""

    plain: bytes = field(repr=False)
    form: Secret
    """The Unicode form of the passphrase that opened it."""
    factor: int

    @property
    def is_outdated(self) -> bool:
        """True if it is to be sealed anew with :data:`FACTOR`."""
        return self.factor != FACTOR and self.factor >= _LOWEST_USUAL_FACTOR


def open_sealed(
    data: bytes,
    passphrase: Secret,
    what: str,
    limit: int = IDENTITY_LIMIT,
    *,
    cancelled: threading.Event | None = None,
) -> Opened:
    """Decrypt `data` with `passphrase`. Takes half a second of CPU time or more.

    :param cancelled: set by another thread to end the work.
    :raises VaultCorrupt: see :func:`check_header`; also if the passphrase is right but the contents are
        damaged.
    :raises WrongPassphrase: if the passphrase does not open the file.
    :raises VaultError: if the limits of time or memory do not suffice.
    :raises WaitCancelled: if it was cancelled.
    """
    factor = check_header(data, what, limit)
    for form in _forms(passphrase):
        status, plain = _ask(_OPEN, form, data, what, cancelled)
        if status == _DONE:
            return Opened(plain, form, factor)
        if status == _DAMAGED:
            raise VaultCorrupt(what, "damaged", RESET_HINT)
    raise WrongPassphrase(what, "wrong passphrase", "Try again, or use the recovery key")


def unseal(data: bytes, passphrase: Secret, what: str, limit: int = IDENTITY_LIMIT) -> bytes:
    """Return the contents of :func:`open_sealed`. Raises like it."""
    return open_sealed(data, passphrase, what, limit).plain


def _forms(passphrase: Secret) -> list[Secret]:
    """Return the passphrase in composed form, then as typed if that differs."""
    typed = passphrase.reveal()
    if not typed:
        raise UsageError("Passphrase", "empty", "Use several words")
    if any("\ud800" <= ch <= "\udfff" for ch in typed):
        raise UsageError("Passphrase", "not valid text in this terminal's encoding", "Use another one")
    composed = unicodedata.normalize("NFC", typed)
    return [passphrase] if composed == typed else [Secret(composed), passphrase]


def _ask(
    op: bytes, passphrase: Secret, data: bytes, what: str, cancelled: threading.Event | None = None
) -> tuple[bytes, bytes]:
    secret = passphrase.reveal().encode()
    request = op + len(secret).to_bytes(4, "big") + secret + data
    what = f"Could not use the passphrase of {what}"
    try:
        answer = child_process.run(
            __name__, request, SECONDS, child_process.library_paths(), cancelled=cancelled
        )
    except child_process.ChildFailed as failure:
        raise VaultError(what, str(failure), _HINTS[failure.cause]) from None
    status, result = answer[:1], answer[1:]
    if status == _NO_MEMORY:
        raise VaultError(what, "not enough memory for scrypt", _FREE_MEMORY)
    return status, result


def child_main() -> None:
    """Handle one request to seal or open. Runs in the child."""
    child_process.limit(cpu_seconds=CPU_SECONDS, memory=MEMORY)
    try:
        answer = _handle(child_process.read_request())
    except MemoryError:
        answer = _NO_MEMORY
    child_process.answer(answer)


def _handle(request: bytes) -> bytes:
    op, size = request[:1], int.from_bytes(request[1:5], "big")
    passphrase, data = request[5 : 5 + size], request[5 + size :]
    if op == _SEAL:
        return _DONE + age_passphrase.seal(data, passphrase, FACTOR)
    try:
        return _DONE + age_passphrase.open_sealed(data, passphrase)
    except age_passphrase.PassphraseError:
        return _WRONG
    except age_passphrase.DamagedError:
        return _DAMAGED


#: Minimum length in characters. A shorter passphrase can be found by brute force from a stolen file, despite
#: scrypt.
MIN_LENGTH = 8


def check(passphrase: Secret) -> Secret:
    """Return `passphrase` if it is acceptable for a new slot.

    :raises UsageError: if it is too short.
    """
    length = len(passphrase.reveal())
    if length < MIN_LENGTH:
        why = "empty" if not length else f"too short ({length} characters)"
        raise UsageError("New passphrase", why, f"Use at least {MIN_LENGTH}; several words are best")
    return passphrase
