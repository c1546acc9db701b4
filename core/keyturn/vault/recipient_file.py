"""The plaintext header file of the vault, `recipient.txt`: a recipients file for `age -R`, with keyturn's
notes as comments.

::

    # keyturn vault, format 1
    # id 5f0c9a3e5b7d2468
    # slots keyring passphrase
    # identity.age sha256 9c56…
    # check 0123456789abcdef
    age1…

The notes hold no secret. `check` protects against accidental damage only; against tampering, unlocking
compares the recipient with the identity. The digest tells a damaged `identity.age` from a mistyped
passphrase, which age itself cannot. While that file is being replaced there are two digests, so that a crash
in between leaves a slot that opens.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from keyturn.model.errors import VaultCorrupt, VaultNewer
from keyturn.vault import age
from keyturn.vault.files import read_regular

FILE = "recipient.txt"
FORMAT = 1
KEYRING = "keyring"
PASSPHRASE = "passphrase"  # noqa: S105  # the name of a slot
SLOTS = (KEYRING, PASSPHRASE)

_LIMIT = 4096
_HEAD = re.compile(r"# keyturn vault, format ([1-9][0-9]{0,5})")
_LINES = re.compile(
    r"# keyturn vault, format 1\n"
    r"# id (?P<id>[0-9a-f]{16})\n"
    r"# slots(?P<slots>(?: keyring)?(?: passphrase)?)\n"
    r"# identity\.age sha256(?P<digests>(?: [0-9a-f]{64}){0,2})\n"
    r"# check [0-9a-f]{16}\n"
    r"(?P<recipient>age1[02-9ac-hj-np-z]{58})\n"
)
_CHECK = re.compile(r"^# check ([0-9a-f]{16})\n", re.MULTILINE)
HINT = "Run: keyturn vault restore --recovery-key-fd N. Nothing was overwritten"


@dataclass(frozen=True, slots=True)
class RecipientFile:
    """The contents of `recipient.txt`."""

    recipient: str
    vault_id: str
    """Random, so that two folders with the same identity have separate keyring entries."""
    slots: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """SHA-256 of `identity.age`: one, or the old and the new while it is being replaced."""

    @property
    def entry(self) -> str:
        """The name of this vault's entry in the system keyring."""
        return f"{self.recipient}.{self.vault_id}"

    def with_slot(self, slot: str) -> tuple[str, ...]:
        """Return the slots plus `slot`, in their fixed order."""
        return tuple(name for name in SLOTS if name in self.slots or name == slot)

    def without_slot(self, slot: str) -> tuple[str, ...]:
        """Return the slots without `slot`."""
        return tuple(name for name in self.slots if name != slot)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        notes = (
            f"# keyturn vault, format {FORMAT}\n# id {self.vault_id}\n"
            f"{' '.join(('# slots', *self.slots))}\n"
            f"{' '.join(('# identity.age sha256', *self.digests))}\n"
        )
        last = f"{self.recipient}\n"
        return f"{notes}# check {_checksum(notes + last)}\n{last}".encode("ascii")


def new_id() -> str:
    """Return a new random vault ID."""
    return secrets.token_hex(8)


def digest(data: bytes) -> str:
    """Return the SHA-256 of `identity.age` as the notes record it."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes) -> RecipientFile:
    """Parse `data`.

    :raises VaultNewer: if a later keyturn wrote it.
    :raises VaultCorrupt: if it differs from what :meth:`RecipientFile.encode` writes.
    """
    text = data.decode("ascii", errors="replace")
    check = _CHECK.search(text)
    is_intact = check is not None and _checksum(text[: check.start()] + text[check.end() :]) == check[1]
    head = _HEAD.match(text)
    if is_intact and head is not None and int(head[1]) > FORMAT:
        raise VaultNewer(
            "Vault",
            f"written by a newer keyturn (format {head[1]}, this one supports {FORMAT})",
            "Upgrade keyturn",
        )
    lines = _LINES.fullmatch(text)
    if not is_intact or lines is None or not age.is_recipient(lines["recipient"]):
        raise VaultCorrupt(FILE, "damaged", HINT)
    return RecipientFile(
        lines["recipient"], lines["id"], tuple(lines["slots"].split()), tuple(lines["digests"].split())
    )


def read(folder: Path) -> RecipientFile | None:
    """Return the recipient file of the vault in `folder`; None if there is none. Raises as :func:`parse`."""
    data = read_regular(folder / FILE, _LIMIT)
    return None if data is None else parse(data)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
