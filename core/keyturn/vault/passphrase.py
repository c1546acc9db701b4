"""Encryption with a passphrase (age's scrypt), in a child process, after the header was checked in this one.

The library holds the interpreter lock during scrypt and accepts any work factor in a file: 22 takes a quarter
of a minute and gigabytes. Therefore it gets only headers with a single scrypt stanza and a factor of at most
20, and runs in a process that can be killed.

A passphrase is encoded in Unicode's composed form (NFC), so that the same keys give the same passphrase on
any keyboard or system; `age -d` needs the same text. To open a file, the composed form is tried first and
then, if it differs, the text as typed, so that files sealed with `age -p` open too. Otherwise the passphrase
is not changed: spaces count.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from keyturn.model.errors import RUN, Remedy, UsageError, VaultCorrupt, VaultError, WrongPassphrase
from keyturn.model.secret import Secret
from keyturn.system import child_process

#: Bytes. An identity encrypted by age takes 256.
IDENTITY_LIMIT = 4096
EXPORT_LIMIT = 64 * 1024 * 1024
#: 2^20 takes 1 GiB and a few seconds.
MAX_FACTOR = 20
SECONDS = 20.0
MEMORY = 1536 * 1024 * 1024

_HEADER = re.compile(
    rb"age-encryption\.org/v1\n"
    rb"-> scrypt [A-Za-z0-9+/]{22} (?P<factor>[1-9][0-9]?)\n"
    rb"[A-Za-z0-9+/]{43}\n"
    rb"--- [A-Za-z0-9+/]{43}\n"
)
#: Bytes: a nonce and the tag of an empty last chunk.
_SHORTEST_BODY = 32
RESET_HINT = ("Use the recovery key to set a new passphrase. ", RUN, Remedy("vault reset-passphrase"))

_SEAL, _OPEN = b"S", b"O"
_DONE, _WRONG, _DAMAGED, _BUSY = b"+", b"-", b"!", b"~"
#: The library benchmarks the machine before it opens a file, and rejects work that would take 16 times its
#: target. Beside other load a benchmark is unreliable, and the next may give another result, so it is
#: repeated up to this often.
_MAX_ATTEMPTS = 200


def check_header(data: bytes, what: str, limit: int) -> None:
    """Check that `data` is an age file that one passphrase opens at an acceptable cost.

    :raises VaultCorrupt: if it is longer than `limit` bytes, has anything but exactly one scrypt stanza, or a
        work factor over 20.
    """
    if len(data) > limit:
        raise VaultCorrupt(what, f"longer than {limit} bytes", RESET_HINT)
    header = _HEADER.match(data)
    if header is None or len(data) < header.end() + _SHORTEST_BODY:
        raise VaultCorrupt(what, "not an age file encrypted with a single passphrase", RESET_HINT)
    if int(header["factor"]) > MAX_FACTOR:
        raise VaultCorrupt(
            what,
            f"work factor {int(header['factor'])}; keyturn never uses more than {MAX_FACTOR}",
            RESET_HINT,
        )


def seal(data: bytes, passphrase: Secret, what: str) -> bytes:
    """Encrypt `data` with `passphrase`, and verify that it opens again. Takes a few seconds.

    :raises UsageError: if the passphrase is empty or not valid text.
    :raises VaultError: if the limits of time or memory do not suffice.
    """
    composed = _forms(passphrase)[0]
    _, sealed = _ask(_SEAL, composed, data, what)
    header = _HEADER.match(sealed)
    if header is None or int(header["factor"]) > MAX_FACTOR:
        raise VaultError(
            f"Could not encrypt {what}",
            f"the age library chose a work factor above {MAX_FACTOR} on this machine",
            "Use the system keyring, or try again while the machine is busy",
        )
    if _ask(_OPEN, composed, sealed, what) != (_DONE, data):
        raise VaultError(f"Could not encrypt {what}", "the result does not decrypt", "Try again")
    return sealed


def unseal(data: bytes, passphrase: Secret, what: str, limit: int = IDENTITY_LIMIT) -> bytes:
    """Decrypt `data` with `passphrase`. Takes a second or more.

    :raises VaultCorrupt: see :func:`check_header`; also if the passphrase is right but the contents are
        damaged.
    :raises WrongPassphrase: if the passphrase does not open the file.
    :raises VaultError: if the limits of time or memory do not suffice, or the machine is too busy.
    """
    check_header(data, what, limit)
    for form in _forms(passphrase):
        status, plain = _ask(_OPEN, form, data, what)
        if status == _DONE:
            return plain
        if status == _DAMAGED:
            raise VaultCorrupt(what, "damaged", RESET_HINT)
        if status == _BUSY:
            raise VaultError(
                f"Could not decrypt {what}",
                "this machine is too busy or too slow for scrypt",
                "Try again; the recovery key opens the vault without scrypt",
            )
    raise WrongPassphrase(what, "wrong passphrase", "Try again, or use the recovery key")


def _forms(passphrase: Secret) -> list[Secret]:
    """Return the passphrase in composed form, then as typed if that differs."""
    typed = passphrase.reveal()
    if not typed:
        raise UsageError("Passphrase", "empty", "Use several words")
    if any("\ud800" <= ch <= "\udfff" for ch in typed):
        raise UsageError("Passphrase", "not valid text in this terminal's encoding", "Use another one")
    composed = unicodedata.normalize("NFC", typed)
    return [passphrase] if composed == typed else [Secret(composed), passphrase]


def _ask(op: bytes, passphrase: Secret, data: bytes, what: str) -> tuple[bytes, bytes]:
    secret = passphrase.reveal().encode()
    request = op + len(secret).to_bytes(4, "big") + secret + data
    try:
        answer = child_process.run(__name__, request, SECONDS, child_process.library_paths())
    except child_process.ChildFailed as failure:
        raise VaultError(
            f"Could not use the passphrase of {what}",
            str(failure),
            "Free some memory, then try again; the recovery key opens the vault without scrypt",
        ) from None
    return answer[:1], answer[1:]


def child_main() -> None:
    """Handle one request to seal or open. Runs in the child."""
    child_process.limit(SECONDS, MEMORY)
    import pyrage

    request = child_process.read_request()
    op, size = request[:1], int.from_bytes(request[1:5], "big")
    passphrase, data = request[5 : 5 + size].decode(), request[5 + size :]
    child_process.answer(
        _DONE + pyrage.passphrase.encrypt(data, passphrase)
        if op == _SEAL
        else _open_with_retries(pyrage, data, passphrase)
    )


def _open_with_retries(pyrage: Any, data: bytes, passphrase: str) -> bytes:
    for _ in range(_MAX_ATTEMPTS):
        try:
            plain: bytes = pyrage.passphrase.decrypt(data, passphrase)
        except pyrage.DecryptError as error:
            status = _status_of(str(error))
            if status != _BUSY:
                return status
        else:
            return _DONE + plain
    return _BUSY


def _status_of(message: str) -> bytes:
    """Return the status for an error message of the library.

    A file key that does not decrypt means a wrong passphrase, and excessive work means a busy machine. Any
    other error concerns the contents after the header.
    """
    if message == "Decryption failed":
        return _WRONG
    return _BUSY if message.startswith("Excessive work parameter") else _DAMAGED


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
