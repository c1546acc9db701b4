"""What stands on the vault in clear: `recipient.txt`, a recipients file that `age -R` reads, with our notes as comments.

::

    # keyturn vault, format 1
    # id 5f0c9a3e5b7d2468
    # slots keyring passphrase
    # identity.age sha256 9c56…
    # check 0123456789abcdef
    age1…

The notes hold no secret. `check` guards against accident, so that a damaged file is never half believed; against malice
stands that whoever unlocks compares the recipient with the identity. The digest tells a damaged `identity.age` from a
mistyped passphrase, which age itself cannot; while it is being replaced there are two, so that a crash in between
leaves a slot that opens.
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
HINT = "Run: keyturn vault restore --recovery-key-fd N. Nothing was written over"


@dataclass(frozen=True, slots=True)
class RecipientFile:
    """The contents of `recipient.txt`."""

    recipient: str
    vault_id: str
    """Random, so that two folders that hold the same identity keep separate keyring entries."""
    slots: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """SHA-256 of the `identity.age` that may be there: the one, or the old and the new."""

    @property
    def entry(self) -> str:
        """The name of this vault's entry in the system keyring."""
        return f"{self.recipient}.{self.vault_id}"

    def with_slot(self, slot: str) -> tuple[str, ...]:
        """The slots and `slot`, in their fixed order."""
        return tuple(name for name in SLOTS if name in self.slots or name == slot)

    def without_slot(self, slot: str) -> tuple[str, ...]:
        """The slots but for `slot`."""
        return tuple(name for name in self.slots if name != slot)

    def encode(self) -> bytes:
        """The file's bytes."""
        notes = (
            f"# keyturn vault, format {FORMAT}\n# id {self.vault_id}\n"
            f"{' '.join(('# slots', *self.slots))}\n"
            f"{' '.join(('# identity.age sha256', *self.digests))}\n"
        )
        last = f"{self.recipient}\n"
        return f"{notes}# check {_checksum(notes + last)}\n{last}".encode("ascii")


def new_id() -> str:
    """A fresh vault id."""
    return secrets.token_hex(8)


def digest(data: bytes) -> str:
    """As the label notes it for `identity.age`."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes) -> RecipientFile:
    """The label that `data` holds.

    :raises VaultNewer: a later keyturn wrote it.
    :raises VaultCorrupt: it is anything but what :meth:`Label.encode` writes.
    """
    text = data.decode("ascii", errors="replace")
    check = _CHECK.search(text)
    is_intact = check is not None and _checksum(text[: check.start()] + text[check.end() :]) == check[1]
    head = _HEAD.match(text)
    if is_intact and head is not None and int(head[1]) > FORMAT:
        raise VaultNewer(
            "the vault", f"its format is {head[1]}, and this keyturn knows {FORMAT}", "Upgrade keyturn"
        )
    lines = _LINES.fullmatch(text)
    if not is_intact or lines is None or not age.is_recipient(lines["recipient"]):
        raise VaultCorrupt(FILE, "it is damaged", HINT)
    return RecipientFile(
        lines["recipient"], lines["id"], tuple(lines["slots"].split()), tuple(lines["digests"].split())
    )


def read(folder: Path) -> RecipientFile | None:
    """The label of the vault in `folder`, None if there is no such file. Errors as :func:`parse`."""
    data = read_regular(folder / FILE, _LIMIT)
    return None if data is None else parse(data)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
