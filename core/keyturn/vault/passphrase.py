"""A passphrase: sealing and opening by age's own scrypt, in a child process, after the header was looked at here.

The library holds the interpreter lock for the whole scrypt and obeys any work factor that a file asks for: 22 takes a
quarter of a minute and gigabytes. So nothing reaches it but a header with one scrypt stanza and a factor up to 20, and
it works where it can be killed.

A passphrase is sealed in Unicode's composed form (NFC), so that the same keys give the same passphrase on any keyboard
or system; `age -d` asks for the same text. A file is opened with the composed form and, where that differs, with the
text as it was typed, so that one which `age -p` sealed opens too. Nothing else of it is changed: spaces count.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from keyturn.model.errors import UsageError, VaultCorrupt, VaultError, WrongPassphrase
from keyturn.model.secret import Secret
from keyturn.system import child_process

#: An identity sealed by age takes 256 bytes.
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
#: A nonce and the tag of an empty last chunk.
_SHORTEST_BODY = 32
_RESET = "Open the vault with the recovery key, and set a passphrase by `keyturn vault reset-passphrase`"

_SEAL, _OPEN = b"S", b"O"
_DONE, _WRONG, _DAMAGED, _BUSY = b"+", b"-", b"!", b"~"
#: The library measures this machine before it opens a file, and refuses what would take it sixteen times as long as it
#: likes. Beside other work the measure is short, and another one says something else.
_MAX_ATTEMPTS = 200


def check_header(data: bytes, what: str, limit: int) -> None:
    """Lets an age file pass that one passphrase opens at a bearable price.

    :raises VaultCorrupt: longer than `limit` bytes, not exactly one scrypt stanza, or a work factor over 20.
    """
    if len(data) > limit:
        raise VaultCorrupt(what, f"it is longer than {limit} bytes", _RESET)
    header = _HEADER.match(data)
    if header is None or len(data) < header.end() + _SHORTEST_BODY:
        raise VaultCorrupt(what, "it is not an age file sealed by one passphrase", _RESET)
    if int(header["factor"]) > MAX_FACTOR:
        why = f"its work factor is {int(header['factor'])}; more than {MAX_FACTOR} is never ours"
        raise VaultCorrupt(what, why, _RESET)


def seal(data: bytes, passphrase: Secret, what: str) -> bytes:
    """An age file that `passphrase` opens; it was opened again to be sure of that. Takes some seconds.

    :raises UsageError: the passphrase is empty or no text.
    :raises VaultError: the work could not be done within its limits.
    """
    composed = _forms(passphrase)[0]
    _, sealed = _ask(_SEAL, composed, data, what)
    header = _HEADER.match(sealed)
    if header is None or int(header["factor"]) > MAX_FACTOR:
        why = f"the age library chose a work factor beyond {MAX_FACTOR} on this machine"
        raise VaultError(
            f"sealing {what}", why, "Use the system keyring, or try again while the machine is busy"
        )
    if _ask(_OPEN, composed, sealed, what) != (_DONE, data):
        raise VaultError(f"sealing {what}", "what was sealed does not open again", "Try again")
    return sealed


def unseal(data: bytes, passphrase: Secret, what: str, limit: int = IDENTITY_LIMIT) -> bytes:
    """What `passphrase` opens. Takes a second or more.

    :raises VaultCorrupt: by :func:`check_header`, or the contents are damaged though the passphrase is right.
    :raises WrongPassphrase: it does not open the file.
    :raises VaultError: the work could not be done within its limits, or the machine is too busy for it.
    """
    check_header(data, what, limit)
    for form in _forms(passphrase):
        status, plain = _ask(_OPEN, form, data, what)
        if status == _DONE:
            return plain
        if status == _DAMAGED:
            raise VaultCorrupt(what, "it is damaged", _RESET)
        if status == _BUSY:
            why = "this machine is too busy, or too slow, for the work that it takes"
            raise VaultError(
                f"the passphrase of {what}", why, "Try again; the recovery key opens the vault without this"
            )
    raise WrongPassphrase(what, "the passphrase does not open it", "Try again, or use the recovery key")


def _forms(passphrase: Secret) -> list[Secret]:
    """The passphrase composed, and as typed where that differs."""
    typed = passphrase.reveal()
    if not typed:
        raise UsageError("passphrase", "it is empty", "Choose one of several words")
    if any("\ud800" <= ch <= "\udfff" for ch in typed):
        raise UsageError("passphrase", "it is not valid text in this terminal's encoding", "Use another one")
    composed = unicodedata.normalize("NFC", typed)
    return [passphrase] if composed == typed else [Secret(composed), passphrase]


def _ask(op: bytes, passphrase: Secret, data: bytes, what: str) -> tuple[bytes, bytes]:
    secret = passphrase.reveal().encode()
    request = op + len(secret).to_bytes(4, "big") + secret + data
    try:
        answer = child_process.run(__name__, request, SECONDS, child_process.library_paths())
    except child_process.ChildFailed as failure:
        hint = "Free some memory, then try again; the recovery key opens the vault without this"
        raise VaultError(f"the passphrase of {what}", failure.why, hint) from None
    return answer[:1], answer[1:]


def child_main() -> None:
    """One request: sealing or opening. Runs in the child."""
    child_process.limit(SECONDS, MEMORY)
    import pyrage

    request = child_process.read_request()
    op, size = request[:1], int.from_bytes(request[1:5], "big")
    passphrase, data = request[5 : 5 + size].decode(), request[5 + size :]
    if op == _SEAL:
        child_process.answer(_DONE + pyrage.passphrase.encrypt(data, passphrase))
        return
    child_process.answer(_open_with_retries(pyrage, data, passphrase))


def _open_with_retries(pyrage: Any, data: bytes, passphrase: str) -> bytes:
    status = _BUSY
    for _ in range(_MAX_ATTEMPTS):
        try:
            plain: bytes = pyrage.passphrase.decrypt(data, passphrase)
        except pyrage.DecryptError as error:
            status = _status_of(str(error))
            if status != _BUSY:
                return status
        else:
            return _DONE + plain
    return status


def _status_of(message: str) -> bytes:
    """What the library means. A file key that does not open is a wrong passphrase; all but that, and the refusal to
    begin, is about what comes after it."""
    if message == "Decryption failed":
        return _WRONG
    return _BUSY if message.startswith("Excessive work parameter") else _DAMAGED


#: Below this many characters a stolen file is opened by trying them all, scrypt or not.
MIN_LENGTH = 8


def check(passphrase: Secret) -> Secret:
    """`passphrase` itself, fit for use.

    :raises UsageError: it is too short.
    """
    length = len(passphrase.reveal())
    if length < MIN_LENGTH:
        why = "it is empty" if not length else f"{length} characters are soon guessed"
        raise UsageError("the new passphrase", why, f"Take {MIN_LENGTH} or more; a few words are best")
    return passphrase
